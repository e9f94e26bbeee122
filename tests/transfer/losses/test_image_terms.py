from __future__ import annotations

import numpy as np
import torch

from hires_nst.imageio.picture import luma
from hires_nst.transfer.losses.image_terms import colours, content_sum, variation_sum
from tests.transfer.losses.plain import features


def test_content_and_variation_are_sums() -> None:
    a, b = features(seed=1), features(seed=2)
    torch.testing.assert_close(content_sum(a, b), (a - b).square().sum())
    image = torch.rand((1, 3, 7, 9), dtype=torch.float64)
    whole = variation_sum(image, owned_rows=slice(0, 7), owned_columns=slice(0, 9))
    torch.testing.assert_close(whole, image.diff(dim=2).square().sum() + image.diff(dim=3).square().sum())
    parts = variation_sum(image, owned_rows=slice(0, 4), owned_columns=slice(0, 9)) + variation_sum(
        image, owned_rows=slice(4, 7), owned_columns=slice(0, 9)
    )
    torch.testing.assert_close(parts, whole)


def test_colours_are_what_is_left_without_brightness() -> None:
    image = torch.rand((1, 3, 7, 9), dtype=torch.float64)
    grey = torch.rand((1, 1, 7, 9), dtype=torch.float64)
    torch.testing.assert_close(colours(image + grey), colours(image))
    torch.testing.assert_close(colours(grey.expand(1, 3, 7, 9)), torch.zeros((1, 3, 7, 9), dtype=torch.float64))
    pixels = image[0].permute(1, 2, 0).numpy().astype(np.float32)
    np.testing.assert_allclose(colours(image)[0].permute(1, 2, 0).numpy(), pixels - luma(pixels), atol=1e-6)
