"""The fine detail of an image: what is lost when it is made smaller and enlarged again. In strips, for memory maps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hires_nst.imageio import resize
from hires_nst.imageio.picture import Floats

STRIP_ROWS = 256

NewImage = Callable[[int, int], Floats]
"""Rows and columns to an array of them, float32 with 3 channels, in memory or mapped."""


def smoothed(
    image: Floats, factor: float, *, new_image: NewImage, check_stop: Callable[[], None] = lambda: None
) -> Floats:
    """An image, float32 (H, W, 3) in [0, 1], without the frequencies above `factor` times its Nyquist frequency.

    It is made smaller by that factor and enlarged again, as `resize_strips` does.
    """
    height, width = image.shape[:2]
    small = new_image(max(1, round(height * factor)), max(1, round(width * factor)))
    resize.resize_strips(image, small, check_stop=check_stop)
    result = new_image(height, width)
    resize.resize_strips(small, result, check_stop=check_stop)
    return result


def add_difference(image: Floats, share: float, *, fine: Floats, smooth: Floats) -> None:
    """Add `share` times the difference of two images of its size to an image, in place, and clip it to [0, 1]."""
    for top in range(0, len(image), STRIP_ROWS):
        rows = slice(top, top + STRIP_ROWS)
        changed = image[rows] + np.float32(share) * (fine[rows] - smooth[rows])
        image[rows] = np.clip(changed, 0, 1)


def mean_square(fine: Floats, smooth: Floats) -> float:
    """The mean square of the difference of two images of the same size, in float64."""
    total = 0.0
    for top in range(0, len(fine), STRIP_ROWS):
        rows = slice(top, top + STRIP_ROWS)
        total += float(np.square(fine[rows] - smooth[rows], dtype=np.float64).sum())
    return total / fine.size
