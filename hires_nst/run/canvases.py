"""The canvases of a run: content and style images as read and at the size of a level, and the starts of levels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hires_nst import events
from hires_nst.config import Init, StyleImage
from hires_nst.errors import InputError
from hires_nst.imageio import reading, resize
from hires_nst.run.context import RunContext
from hires_nst.run.output_size import OutputSize
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.levels import Level, style_size


def read_content(path: Path, size: OutputSize, *, context: RunContext) -> tuple[Canvas, np.ndarray | None]:
    """The content image at the size of the result, and its alpha channel if it has one."""
    picture = reading.read_picture(path, max_megapixels=context.config.images.max_megapixels)
    for text in picture.notes:
        context.emit(events.Notice(f"{path}: {text}"))
    left, top, width, height = size.crop
    pixels = picture.pixels[top : top + height, left : left + width]
    canvas = context.place(size.height, size.width)
    resize.resize_strips(pixels, canvas.pixels)
    alpha = None
    if picture.alpha is not None:
        alpha = resize.resize_pixels(picture.alpha[top : top + height, left : left + width], (size.width, size.height))
    return canvas, alpha


def read_styles(context: RunContext) -> list[tuple[Canvas, StyleImage]]:
    """The style images at their own sizes.

    Raises:
        InputError: one has transparent pixels.
    """
    result = []
    for style in context.config.styles:
        picture = reading.read_picture(style.image, max_megapixels=context.config.images.max_megapixels)
        if picture.alpha is not None and float(picture.alpha.min()) < 1:
            raise InputError(
                f"the style {style.image} has transparent pixels, which have no colour to learn from; flatten it onto "
                "a background first"
            )
        for text in picture.notes:
            context.emit(events.Notice(f"{style.image}: {text}"))
        result.append((Canvas(picture.pixels), style))
    return result


def resized(source: Canvas, height: int, *, width: int, context: RunContext) -> Canvas:
    """The image at another size, antialiased; the same canvas if it has that size."""
    if (source.height, source.width) == (height, width):
        return source
    target = context.place(height, width)
    resize.resize_strips(source.pixels, target.pixels, check_stop=context.check_stop)
    return target


def style_canvas_at(source: Canvas, style: StyleImage, *, level: Level, context: RunContext) -> tuple[Canvas, bool]:
    """The style image at the size that goes with a level, see `style_size`.

    Returns:
        The canvas, and whether the style image has fewer pixels than the level asks for.
    """
    own = source.height, source.width
    height, width = style_size(own, (level.height, level.width), scale=style.scale, config=context.config)
    is_short = style.scale * max(level.height, level.width) > max(own)
    return resized(source, height, width=width, context=context), is_short


def first_canvas(content: Canvas, styles: Sequence[tuple[Canvas, StyleImage]], *, context: RunContext) -> Canvas:
    """The start of the coarsest level, as `init` says."""
    init = context.config.init
    rng = np.random.default_rng(context.config.runtime.seed)
    canvas = context.place(content.height, content.width)
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
        canvas.pixels[:] = _start_pixels(init, content, styles=styles, context=context)
        if noise is not None:
            canvas.pixels[:] = (1 - init.noise) * canvas.pixels + init.noise * noise
    canvas.clip()
    return canvas


def _start_pixels(
    init: Init, content: Canvas, *, styles: Sequence[tuple[Canvas, StyleImage]], context: RunContext
) -> np.ndarray:
    """The pixels of a start from an image, filling the canvas."""
    if init.kind == "content":
        return content.pixels
    if init.kind == "style":
        source = styles[0][0].pixels
    else:
        assert init.file is not None
        source = reading.read_picture(init.file, max_megapixels=context.config.images.max_megapixels).pixels
    # Fill the canvas without distortion: the largest centred part of the same shape.
    rows, columns = source.shape[:2]
    part = min(columns / content.width, rows / content.height)
    across, down = content.width * part, content.height * part
    box = ((columns - across) / 2, (rows - down) / 2, across, down)
    return resize.resize_pixels(source, (content.width, content.height), box=box)


def enlarged_canvas(canvas: Canvas, *, source: Canvas, content: Canvas, context: RunContext) -> Canvas:
    """The start of a finer level: the last one enlarged, with a share of the content image's fine detail.

    Args:
        source: the content image at the size of the result.
        content: the same at the size of the level.
    """
    result = resized(canvas, content.height, width=content.width, context=context)
    share = context.config.levels.detail
    if share:
        coarse = resized(source, canvas.height, width=canvas.width, context=context)
        smooth = resized(coarse, content.height, width=content.width, context=context)
        for top in range(0, content.height, 256):
            rows = slice(top, top + 256)
            result.pixels[rows] += np.float32(share) * (content.pixels[rows] - smooth.pixels[rows])
    result.clip()
    return result
