"""Resampling pictures."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image

from hires_nst.imageio.picture import Floats

COLOUR_KERNEL = Image.Resampling.LANCZOS

ALPHA_KERNEL = Image.Resampling.HAMMING
"""For alpha channels: it does not overshoot, so that what is opaque stays opaque, and what is hidden, hidden."""

STRIP_ROWS = 256
"""Of the larger one of source and target."""


def resize_pixels(
    pixels: Floats,
    size: tuple[int, int],
    *,
    box: tuple[float, float, float, float] | None = None,
    kernel: Image.Resampling = COLOUR_KERNEL,
) -> Floats:
    """Resample `pixels`, float32 (H, W) or (H, W, C) in [0, 1], to `size` (width, height) with an antialiased kernel.

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
    source: Floats,
    target: Floats,
    *,
    kernel: Image.Resampling = COLOUR_KERNEL,
    check_stop: Callable[[], None] = lambda: None,
) -> None:
    """Resample `source`, float32 (H, W, C) in [0, 1], into all of `target`, float32 (h, w, C), as `resize_pixels` does.

    Either may be a memory map. Works in strips, so the extra memory depends on the widths and the reduction factor, not
    on the heights. `check_stop` is called before each strip; it may raise to end the work.
    """
    source_height, source_width = source.shape[:2]
    height, width = target.shape[:2]
    reduction = max(1.0, source_height / height)
    margin = math.ceil(3 * reduction) + 2  # Lanczos reaches 3 target pixels far; 2 for rounding
    rows = max(1, int(STRIP_ROWS / reduction))
    for top in range(0, height, rows):
        check_stop()
        bottom = min(top + rows, height)
        source_top, source_bottom = top * source_height / height, bottom * source_height / height
        first = max(0, math.floor(source_top) - margin)
        last = min(source_height, math.ceil(source_bottom) + margin)
        # The offset is taken from the strip's own first row: Pillow keeps boxes in float32, too coarse for large ones.
        box = (0.0, source_top - first, source_width, source_bottom - source_top)
        strip = np.asarray(source[first:last])
        target[top:bottom] = resize_pixels(strip, (width, bottom - top), box=box, kernel=kernel)
