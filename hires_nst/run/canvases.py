"""The canvases of a run: content and style images as read and at the size of a level, and the starts of levels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hires_nst import events
from hires_nst.config import Init, StyleImage
from hires_nst.errors import InputError
from hires_nst.imageio import reading, resize
from hires_nst.imageio.paper import central_crop
from hires_nst.imageio.picture import Picture
from hires_nst.run.context import RunContext
from hires_nst.run.output_size import OutputSize
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.levels import Level, style_size


def read_content(path: Path, size: OutputSize, *, context: RunContext) -> tuple[Canvas, np.ndarray | None]:
    """The content image at the size of the result, and its alpha channel if it has one."""
    picture = _read(path, context)
    left, top, width, height = size.crop
    crop = slice(top, top + height), slice(left, left + width)
    canvas = context.place(size.height, size.width)
    resize.resize_strips(picture.pixels[crop], canvas.pixels)
    alpha = None
    if picture.alpha is not None:
        alpha = resize.resize_pixels(picture.alpha[crop], (size.width, size.height))
    return canvas, alpha


def read_styles(context: RunContext) -> list[tuple[Canvas, StyleImage]]:
    """The style images at their own sizes; InputError for one that has transparent pixels."""
    result = []
    for style in context.config.styles:
        picture = _read(style.image, context)
        if picture.alpha is not None and float(picture.alpha.min()) < 1:
            raise InputError(
                f"the style {style.image} has transparent pixels, which have no colour to learn from; flatten it onto "
                "a background first"
            )
        result.append((Canvas(picture.pixels), style))
    return result


def _read(path: Path, context: RunContext) -> Picture:
    picture = reading.read_picture(path, max_megapixels=context.config.images.max_megapixels)
    for text in picture.notes:
        context.emit(events.Notice(f"{path}: {text}"))
    return picture


def resized(source: Canvas, height: int, *, width: int, context: RunContext) -> Canvas:
    """The image at another size, antialiased; the same canvas if it has that size."""
    if (source.height, source.width) == (height, width):
        return source
    target = context.place(height, width)
    resize.resize_strips(source.pixels, target.pixels, check_stop=context.check_stop)
    return target


def style_canvas(source: Canvas, style: StyleImage, *, level: Level, context: RunContext) -> Canvas:
    """The style image at the size that goes with a level, see `style_size`."""
    own = source.height, source.width
    height, width = style_size(own, (level.height, level.width), scale=style.scale, config=context.config)
    return resized(source, height, width=width, context=context)


def small_style(
    sizes: Sequence[tuple[int, int]], styles: Sequence[StyleImage], *, levels: Sequence[Level]
) -> tuple[int, events.Notice] | None:
    """The index of the first level for which a style image has too few pixels, and what to say; None if there is none.

    `sizes` are the heights and widths of the style images.
    """
    for level in levels:
        for size, style in zip(sizes, styles, strict=True):
            if style.scale * max(level.height, level.width) > max(size):
                return level.index, events.Notice(
                    f"the painting is smaller than {level.width} x {level.height} px and is not enlarged, so its "
                    "strokes get no larger from here on; use a larger scan or a smaller --style-scale"
                )
    return None


def first_canvas(content_canvas: Canvas, styles: Sequence[tuple[Canvas, StyleImage]], *, context: RunContext) -> Canvas:
    """The start of the coarsest level, as `init` says."""
    init = context.config.init
    rng = np.random.default_rng(context.config.runtime.seed)
    canvas = context.place(content_canvas.height, content_canvas.width)
    shape = canvas.pixels.shape
    if init.kind == "uniform":
        canvas.pixels[:] = rng.random(shape, np.float32)
        return canvas
    noise = None
    if init.kind == "noise" or init.noise:
        noise = rng.standard_normal(shape, np.float32) * np.float32(0.2) + np.float32(0.5)
    if init.kind == "noise":
        canvas.pixels[:] = noise
    else:
        canvas.pixels[:] = _start_pixels(init, content_canvas, styles=styles, context=context)
        if noise is not None:
            canvas.pixels[:] = (1 - init.noise) * canvas.pixels + init.noise * noise
    canvas.clip()
    return canvas


def _start_pixels(
    init: Init, content_canvas: Canvas, *, styles: Sequence[tuple[Canvas, StyleImage]], context: RunContext
) -> np.ndarray:
    """The pixels of a start from an image, which fills the canvas without distortion."""
    if init.kind == "content":
        return content_canvas.pixels
    if init.kind == "style":
        source = styles[0][0].pixels
    else:
        assert init.file is not None
        source = _read(init.file, context).pixels
    size = content_canvas.width, content_canvas.height
    return resize.resize_pixels(source, size, box=central_crop((source.shape[1], source.shape[0]), size))


def enlarged_canvas(canvas: Canvas, *, source: Canvas, content_canvas: Canvas, context: RunContext) -> Canvas:
    """The start of a finer level: the last one enlarged, with a share of the content image's fine detail.

    `source` is the content image at the size of the result, `content_canvas` at the size of the level.
    """
    result = resized(canvas, content_canvas.height, width=content_canvas.width, context=context)
    share = context.config.levels.detail
    if share:
        coarse = resized(source, canvas.height, width=canvas.width, context=context)
        smooth = resized(coarse, content_canvas.height, width=content_canvas.width, context=context)
        for top in range(0, content_canvas.height, 256):
            rows = slice(top, top + 256)
            result.pixels[rows] += np.float32(share) * (content_canvas.pixels[rows] - smooth.pixels[rows])
    result.clip()
    return result
