"""The fine detail of an image: what is lost when it is made smaller and enlarged again. In strips, for memory maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hires_nst.imageio import resize
from hires_nst.imageio.picture import Floats, Samples

STRIP_ROWS = 256

NewImage = Callable[[int, int], Floats]
"""Rows and columns to an array of them, float32 with 3 channels, in memory or mapped."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Resampled:
    """An image at another size, of which only the rows asked for are made.

    Attributes:
        source: (H, W, 3) in [0, 1].
        height, width: of the image.
        box: see `resize.resize_strips`; None for the whole source.
    """

    source: Samples
    height: int
    width: int
    box: tuple[float, float, float, float] | None = None

    def rows(self, first: int, last: int) -> Floats:
        """The rows from `first` to before `last`, float32 (h, w, 3)."""
        return resize.resized_rows(self.source, (self.width, self.height), rows=(first, last), box=self.box)


def original(image: Samples) -> Resampled:
    """An image at its own size."""
    return Resampled(source=image, height=image.shape[0], width=image.shape[1])


def smoothed(
    image: Samples, factor: float, *, new_image: NewImage, check_stop: Callable[[], None] = lambda: None
) -> Resampled:
    """An image, (H, W, 3) in [0, 1], without the frequencies above `factor` times its Nyquist frequency.

    It is made smaller by that factor and enlarged again, as `resize_strips` does.
    """
    height, width = image.shape[:2]
    small = new_image(max(1, round(height * factor)), max(1, round(width * factor)))
    resize.resize_strips(image, small, check_stop=check_stop)
    return Resampled(source=small, height=height, width=width)


def add_difference(
    image: Floats,
    share: float,
    *,
    fine: Resampled,
    smooth: Resampled,
    check_stop: Callable[[], None] = lambda: None,
) -> None:
    """Add `share` times the difference of two images of its size to an image, in place, and clip it to [0, 1]."""
    for first in range(0, len(image), STRIP_ROWS):
        check_stop()
        last = min(first + STRIP_ROWS, len(image))
        difference = fine.rows(first, last) - smooth.rows(first, last)
        image[first:last] = np.clip(image[first:last] + np.float32(share) * difference, 0, 1)


def mean_square(fine: Resampled, smooth: Resampled, *, check_stop: Callable[[], None] = lambda: None) -> float:
    """The mean square of the difference of two images of the same size, in float64."""
    total, size = 0.0, 0
    for first in range(0, fine.height, STRIP_ROWS):
        check_stop()
        last = min(first + STRIP_ROWS, fine.height)
        difference = fine.rows(first, last) - smooth.rows(first, last)
        total += float(np.square(difference, dtype=np.float64).sum())
        size += difference.size
    return total / size
