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
from hires_nst.imageio.transparency import fill_hidden
from hires_nst.run.context import RunContext
from hires_nst.run.output_size import OutputSize
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.levels import Level, style_size
from hires_nst.transfer.weights import PixelWeights, WeightedImage


def read_content(path: Path, size: OutputSize, *, context: RunContext) -> WeightedImage:
    """The content image at the size of the result, weighted by its alpha channel.

    Raises:
        InputError: it cannot be read, or nothing in the part that is painted is visible.
    """
    picture = _read(path, context)
    left, top, width, height = size.crop
    crop = slice(top, top + height), slice(left, left + width)
    canvas = context.place(size.height, size.width)
    resize.resize_strips(picture.pixels[crop], canvas.pixels)
    if picture.alpha is None or float(picture.alpha[crop].min()) == 1:
        return WeightedImage(canvas)
    alpha = context.place(size.height, size.width, channels=1)
    resize.resize_strips(picture.alpha[crop][..., None], alpha.pixels, kernel=resize.ALPHA_KERNEL)
    content = WeightedImage(canvas, PixelWeights(alpha))
    _check_visible(content, path, context=context)
    return content


def read_styles(context: RunContext) -> list[tuple[WeightedImage, StyleImage]]:
    """The style images at their own sizes, weighted by their alpha channels."""
    result = []
    for style in context.config.styles:
        picture = _read(style.image, context)
        weights = None if picture.alpha is None else PixelWeights(Canvas(picture.alpha[..., None]))
        image = WeightedImage(Canvas(picture.pixels), weights)
        _check_visible(image, style.image, context=context)
        result.append((image, style))
    return result


def _check_visible(image: WeightedImage, path: Path, *, context: RunContext) -> None:
    """Raise InputError where the deepest layer would see nothing of an image."""
    if image.weights is not None and image.weights.total(context.config.stride) == 0:
        raise InputError(f"what would be used of {path} is transparent; give a picture that is visible there")


def _read(path: Path, context: RunContext) -> Picture:
    picture = reading.read_picture(path, max_megapixels=context.config.images.max_megapixels)
    for text in picture.notes:
        context.emit(events.Notice(f"{path}: {text}"))
    return picture


def resized(source: Canvas, height: int, *, width: int, context: RunContext) -> Canvas:
    """The image at another size, antialiased; the same canvas if it has that size."""
    if (source.height, source.width) == (height, width):
        return source
    channels = source.pixels.shape[2]
    kernel = resize.ALPHA_KERNEL if channels == 1 else resize.COLOUR_KERNEL
    target = context.place(height, width, channels=channels)
    resize.resize_strips(source.pixels, target.pixels, kernel=kernel, check_stop=context.check_stop)
    return target


def resized_image(source: WeightedImage, height: int, *, width: int, context: RunContext) -> WeightedImage:
    """The image at another size with its weights, see `resized`."""
    canvas, weights = resized(source.canvas, height, width=width, context=context), source.weights
    if weights is not None:
        alpha = resized(weights.canvas, height, width=width, context=context)
        weights = weights if alpha is weights.canvas else PixelWeights(alpha)
    return WeightedImage(canvas, weights)


def style_image(source: WeightedImage, style: StyleImage, *, level: Level, context: RunContext) -> WeightedImage:
    """The style image at the size that goes with a level, see `style_size`."""
    height, width = style_size(source.size, (level.height, level.width), scale=style.scale, config=context.config)
    return resized_image(source, height, width=width, context=context)


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


def start_canvas(
    before: Canvas | None,
    *,
    content: WeightedImage,
    level_content: WeightedImage,
    styles: Sequence[tuple[WeightedImage, StyleImage]],
    context: RunContext,
) -> Canvas:
    """The start of a level: the last level's canvas, enlarged, or as `init` says; hidden pixels take colours around.

    `content` is the content image at the size of the result, `level_content` at the size of the level.
    """
    if before is None:
        canvas = first_canvas(level_content.canvas, styles, context=context)
    else:
        canvas = enlarged_canvas(before, source=content.canvas, content_canvas=level_content.canvas, context=context)
    if level_content.weights is not None:
        fill_hidden(canvas.pixels, level_content.weights.canvas.pixels[..., 0])
    return canvas


def first_canvas(
    content_canvas: Canvas, styles: Sequence[tuple[WeightedImage, StyleImage]], *, context: RunContext
) -> Canvas:
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
    init: Init, content_canvas: Canvas, *, styles: Sequence[tuple[WeightedImage, StyleImage]], context: RunContext
) -> np.ndarray:
    """The pixels of a start from an image, which fills the canvas without distortion."""
    if init.kind == "content":
        return content_canvas.pixels
    if init.kind == "style":
        source = styles[0][0].canvas.pixels
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
