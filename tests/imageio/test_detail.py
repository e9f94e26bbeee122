"""The fine detail of images, in strips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hires_nst.imageio import detail
from hires_nst.imageio.detail import add_difference, mean_square, original, smoothed
from hires_nst.imageio.picture import Floats
from hires_nst.imageio.resize import resize_pixels
from tests.conftest import random_canvas


def new_image(rows: int, columns: int) -> Floats:
    return np.zeros((rows, columns, 3), np.float32)


def waves(period: float) -> Floats:
    """Vertical stripes of 600 x 96 pixels."""
    line = 0.5 + 0.4 * np.sin(2 * np.pi * np.arange(96) / period)
    return np.broadcast_to(line[None, :, None], (600, 96, 3)).astype(np.float32)


def test_high_frequencies_go_and_low_ones_stay() -> None:
    for period, left in ((2.4, 0.03), (16.0, 0.99)):
        found = smoothed(waves(period), 0.5, new_image=new_image).rows(8, 592)[:, 8:-8]
        assert float((found - 0.5).std() / (waves(period)[8:-8, 8:-8] - 0.5).std()) == pytest.approx(left, abs=0.03)


def test_strips_and_memory_maps_give_what_the_whole_image_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = random_canvas(600, 48, 1).pixels
    whole = resize_pixels(resize_pixels(image, (36, 450)), (48, 600))
    mapped = iter(range(9))

    def on_disk(rows: int, columns: int) -> Floats:
        return np.memmap(tmp_path / str(next(mapped)), np.float32, "w+", shape=(rows, columns, 3))

    smooth = smoothed(image, 0.75, new_image=on_disk)
    found = smooth.rows(0, 600)
    np.testing.assert_allclose(found, whole, atol=1e-5)
    fine = original(image)
    assert mean_square(fine, smooth) == pytest.approx(float(np.square(image - found).mean()), rel=1e-5)
    start = random_canvas(600, 48, 2).pixels
    changed = start.copy()
    add_difference(changed, 5.0, fine=fine, smooth=smooth)
    monkeypatch.setattr(detail, "STRIP_ROWS", 1000)
    add_difference(start, 5.0, fine=fine, smooth=smooth)
    np.testing.assert_allclose(changed, start, atol=1e-5)
    assert changed.min() == 0 and changed.max() == 1


def test_half_precision_is_read_as_float32() -> None:
    image = random_canvas(40, 30, 1).pixels.astype(np.float16)
    assert original(image).rows(3, 9).dtype == np.float32
    smooth = smoothed(image, 0.5, new_image=new_image)
    assert smooth.rows(0, 40).dtype == np.float32
    np.testing.assert_array_equal(original(image).rows(3, 9), image[3:9].astype(np.float32))
