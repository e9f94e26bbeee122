from __future__ import annotations

import torch

from hires_nst.transfer.losses.image_terms import content_sum, variation_sum
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
