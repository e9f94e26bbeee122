"""Resampling pictures."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image

from hires_nst.imageio.picture import Floats, Samples

COLOUR_KERNEL = Image.Resampling.LANCZOS

ALPHA_KERNEL = Image.Resampling.HAMMING
"""For alpha channels: it does not overshoot, so that what is opaque stays opaque, and what is hidden, hidden."""

STRIP_ROWS = 256
"""Of the larger one of source and target, at once."""


def resize_pixels(
    pixels: Samples,
    size: tuple[int, int],
    *,
    box: tuple[float, float, float, float] | None = None,
    kernel: Image.Resampling = COLOUR_KERNEL,
) -> Floats:
    """Resample `pixels`, (H, W) or (H, W, C) in [0, 1], to `size` (width, height) with an antialiased kernel.

    `box` is (left, top, width, height) in source pixels, fractions allowed: the part that fills the result; pixels
    around the box still take part in the filter at its border. The result is float32 and clipped to [0, 1].
    """
    width, height = size
    planes = pixels.reshape(*pixels.shape[:2], -1)
    source_height, source_width, channels = planes.shape
    left, top, box_width, box_height = box or (0.0, 0.0, source_width, source_height)
    corners = (left, top, min(left + box_width, source_width), min(top + box_height, source_height))
    result = np.empty((height, width, channels), np.float32)
    for channel in range(channels):
        plane = Image.fromarray(np.ascontiguousarray(planes[..., channel], np.float32))
        result[..., channel] = np.asarray(plane.resize(size, kernel, box=corners))
    np.clip(result, 0.0, 1.0, out=result)
    return result.reshape(height, width, *pixels.shape[2:])


def resize_strips(
    source: Samples,
    target: Floats,
    *,
    box: tuple[float, float, float, float] | None = None,
    kernel: Image.Resampling = COLOUR_KERNEL,
    check_stop: Callable[[], None] = lambda: None,
) -> None:
    """Resample `source`, (H, W, C) in [0, 1], into all of `target`, (h, w, C), as `resize_pixels` does.

    Either is float32 or float16, and may be a memory map. Works in strips, so the extra memory depends on the widths
    and the reduction factor, not on the heights.

    Args:
        box: as in `resize_pixels`; where it reaches beyond the source, the source is mirrored at its edge. A box of
            whole pixels that has the target's size is copied.
        check_stop: called before each strip; it may raise to end the work.
    """
    height, width = target.shape[:2]
    box_height = source.shape[0] if box is None else box[3]
    rows = max(1, int(STRIP_ROWS / max(1.0, box_height / height)))
    for first in range(0, height, rows):
        check_stop()
        last = min(first + rows, height)
        target[first:last] = resized_rows(source, (width, height), rows=(first, last), box=box, kernel=kernel)


def resized_rows(
    source: Samples,
    size: tuple[int, int],
    *,
    rows: tuple[int, int],
    box: tuple[float, float, float, float] | None = None,
    kernel: Image.Resampling = COLOUR_KERNEL,
) -> Floats:
    """The rows from the first to before the last of `source` resampled to `size` (width, height), float32 (h, w, C).

    `source` is float32 or float16; the other arguments are those of `resize_strips`.
    """
    (width, height), (first, last) = size, rows
    left, top, box_width, box_height = box or (0.0, 0.0, source.shape[1], source.shape[0])
    start, end = (top + row * box_height / height for row in rows)
    if (box_width, box_height) == (width, height) and float(left).is_integer() and float(top).is_integer():
        part = _mirrored(source, rows=(int(start), int(end)), columns=(int(left), int(left) + width))
        return np.asarray(part, np.float32)
    columns = _reach(left, box_width, size=width, box=(left, left + box_width), source=source.shape[1])
    reach = _reach(start, end - start, size=last - first, box=(top, top + box_height), source=source.shape[0])
    # The offset is taken from the strip's own first row: Pillow keeps boxes in float32, too coarse for large ones.
    offset = (left - columns[0], start - reach[0], box_width, end - start)
    strip = _mirrored(source, rows=reach, columns=columns)
    return resize_pixels(strip, (width, last - first), box=offset, kernel=kernel)


def _reach(start: float, length: float, *, size: int, box: tuple[float, float], source: int) -> tuple[int, int]:
    """The lines of the source that make `size` lines of the target out of `length` lines from `start`.

    Beyond the source, there are only those inside the box.
    """
    margin = math.ceil(3 * max(1.0, length / size)) + 2  # Lanczos reaches 3 target pixels far; 2 for rounding
    first, last = math.floor(start) - margin, math.ceil(start + length) + margin
    return max(first, min(0, math.floor(box[0]))), min(last, max(source, math.ceil(box[1])))


def _mirrored(source: Samples, *, rows: tuple[int, int], columns: tuple[int, int]) -> Samples:
    """A part of the source, mirrored beyond its edges."""
    height, width = source.shape[:2]
    if rows[0] >= 0 and rows[1] <= height and columns[0] >= 0 and columns[1] <= width:
        return np.asarray(source[slice(*rows), slice(*columns)])
    index = [np.arange(*lines) % (2 * length) for lines, length in ((rows, height), (columns, width))]
    down, across = (np.minimum(i, 2 * n - 1 - i) for i, n in zip(index, (height, width), strict=True))
    return np.asarray(source[down[:, None], across])
