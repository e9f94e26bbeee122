"""The canvases of a run: style images as read and at the size of a level, and the starts of levels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hires_nst import events
from hires_nst.config import Init, Painting, StyleImage
from hires_nst.errors import InputError
from hires_nst.imageio import reading, resize
from hires_nst.imageio.detail import Resampled
from hires_nst.imageio.oklab import grey
from hires_nst.imageio.paper import central_crop
from hires_nst.imageio.picture import Floats, Picture
from hires_nst.imageio.recolour import colour_moments, mean_moments, recolour
from hires_nst.run.context import RunContext
from hires_nst.run.masks import read_mask
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.levels import Level, style_size
from hires_nst.transfer.weights import PixelWeights, WeightedImage

STRIP_ROWS = 256

GREY_NOISE = 0.01
"""Standard deviation of the noise in a start from grey. A flat image looks the same everywhere, and so flat a one that
8 bits do not show it has L-BFGS overshoot: the objective rises sixfold, and takes 200 evaluations to come back."""


def read_styles(context: RunContext) -> list[tuple[WeightedImage, Painting]]:
    """The style images at their own sizes, weighted by their alpha channels."""
    result = []
    for painting in context.config.paintings:
        picture = read_image(painting.image, context)
        alpha = _own_alpha(painting.style, picture, context=context)
        weights = None if alpha is None else PixelWeights.of(Canvas.of(alpha[..., None]))
        image = WeightedImage(Canvas.of(picture.pixels), weights)
        _check_visible(image, painting.image, context=context)
        result.append((image, painting))
    return result


def _own_alpha(style: StyleImage, picture: Picture, *, context: RunContext) -> Floats | None:
    """How much each pixel of a painting counts, (H, W): its alpha channel within its mask; None where all do."""
    if style.own_mask is None:
        return picture.alpha
    mask = read_mask(style.own_mask, colour=style.own_mask_colour, config=context.config)
    own = resize.resize_pixels(mask[..., 0], (picture.width, picture.height), kernel=resize.ALPHA_KERNEL)
    return own if picture.alpha is None else own * picture.alpha


def _check_visible(image: WeightedImage, path: Path, *, context: RunContext) -> None:
    """Raise InputError where the deepest layer would see nothing of an image."""
    if image.weights is not None and image.weights.total(context.config.stride) == 0:
        raise InputError(
            f"what would be used of {path} is transparent or outside its mask; give a picture that is visible there"
        )


def read_image(path: Path, context: RunContext) -> Picture:
    """Read a picture, with a notice for each of its notes."""
    picture = reading.read_picture(path, max_megapixels=context.config.images.max_megapixels)
    for text in picture.notes:
        context.emit(events.Notice(f"{path}: {text}"))
    return picture


def _resized(source: Canvas, height: int, *, width: int, context: RunContext) -> Canvas:
    """The image at another size, antialiased; the same canvas if it has that size."""
    if (source.height, source.width) == (height, width):
        return source
    channels = source.pixels.shape[2]
    kernel = resize.ALPHA_KERNEL if channels == 1 else resize.COLOUR_KERNEL
    target = context.place(height, width, channels=channels)
    resize.resize_strips(source.pixels, target.pixels, kernel=kernel, check_stop=context.check_stop)
    return target


def style_images(
    source: WeightedImage, painting: Painting, *, level: Level, context: RunContext
) -> list[tuple[WeightedImage, float]]:
    """The style image in all its sizes and orientations at a level, each with its share of the weight."""
    scales, orientations = painting.style.scales(context.long_edge), painting.style.orientations
    share = painting.weight / (len(scales) * len(orientations))
    upright = [style_image(source, scale, level=level, context=context) for scale in scales]
    return [(_turned(image, turn, context=context), share) for image in upright for turn in orientations]


def _turned(image: WeightedImage, turn: tuple[int, bool], *, context: RunContext) -> WeightedImage:
    """An image in one of the `StyleImage.orientations`; the same one where nothing changes."""
    degrees, mirror = turn
    if not (degrees or mirror):
        return image

    def turned(canvas: Canvas) -> Canvas:
        pixels = np.rot90(canvas.pixels[:, ::-1] if mirror else canvas.pixels, degrees // 90)
        result = context.place(*pixels.shape[:2], channels=pixels.shape[2])
        result.pixels[:] = pixels
        return result

    weights = image.weights
    if weights is not None and weights.alpha is not None:
        weights = PixelWeights.of(turned(weights.alpha))
    return WeightedImage(turned(image.canvas), weights)


def style_image(source: WeightedImage, scale: float, *, level: Level, context: RunContext) -> WeightedImage:
    """The style image at the size that goes with a scale and a level, see `style_size`."""
    height, width = style_size(source.size, (level.height, level.width), scale=scale, config=context.config)
    weights = source.weights
    if weights is not None and weights.alpha is not None:
        weights = PixelWeights.of(_resized(weights.alpha, height, width=width, context=context))
    return WeightedImage(_resized(source.canvas, height, width=width, context=context), weights)


def small_style(
    sizes: Sequence[tuple[int, int]], paintings: Sequence[Painting], *, levels: Sequence[Level]
) -> tuple[int, events.Notice] | None:
    """The index of the first level for which a style image has too few pixels, and what to say; None if there is none.

    `sizes` are the heights and widths of the style images.
    """
    long_edge = max(levels[-1].height, levels[-1].width)
    for level in levels:
        for size, painting in zip(sizes, paintings, strict=True):
            if max(painting.style.scales(long_edge)) * max(level.height, level.width) > max(size):
                option = "--style-scale" if painting.style.size is None else "--style-size"
                return level.index, events.Notice(
                    f"the painting is smaller than {level.width} x {level.height} px and is not enlarged, so its "
                    f"strokes get no larger from here on; use a larger scan or a smaller {option}"
                )
    return None


def first_canvas(
    content: Canvas, styles: Sequence[tuple[WeightedImage, Painting]], *, level: Level, context: RunContext
) -> Canvas:
    """The start of a level with its border, as `init` says; `content` is the content image of that level."""
    init = context.config.init
    rng = np.random.default_rng(context.config.runtime.seed)
    canvas = context.place(*level.canvas_size)
    shape = canvas.pixels.shape
    noise = None
    if init.kind != "uniform" and (init.kind == "noise" or init.noise):
        noise = _gaussian(rng, shape)
    if init.kind == "uniform":
        canvas.pixels[:] = rng.random(shape, np.float32)
    elif init.kind == "noise":
        canvas.pixels[:] = noise
    else:
        if init.kind == "grey":
            canvas.pixels[:] = np.float32(0.5) + np.float32(GREY_NOISE) * rng.standard_normal(shape, np.float32)
        elif init.kind == "style-noise":
            canvas.pixels[:] = style_noise(rng, shape, styles=styles)
        else:
            canvas.pixels[:] = _start_pixels(init, content, styles=styles, level=level, context=context)
        if noise is not None:
            canvas.pixels[:] = (1 - init.noise) * canvas.pixels + init.noise * noise
    canvas.clip()
    if share := context.config.colors.desaturation:
        recolour(canvas.pixels, grey, strength=share, check_stop=context.check_stop)
    return canvas


def noise_canvas(level: Level, context: RunContext) -> Canvas:
    """A level of Gaussian noise, as the start of `init: {kind: noise}`."""
    canvas = context.place(*level.canvas_size)
    canvas.pixels[:] = _gaussian(np.random.default_rng(context.config.runtime.seed), canvas.pixels.shape)
    canvas.clip()
    return canvas


def _gaussian(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    noise: Floats = rng.standard_normal(shape, np.float32) * np.float32(0.2) + np.float32(0.5)
    return noise


def style_noise(
    rng: np.random.Generator, shape: tuple[int, ...], *, styles: Sequence[tuple[WeightedImage, Painting]]
) -> Floats:
    """Pixels (H, W, 3) that are drawn one by one from the Gaussian of the style images' colours, not clipped.

    It has the mean and the covariance of all their pixels, each by its alpha and the image by its weight.
    """
    moments = mean_moments(
        [colour_moments(image.canvas.pixels, image.alpha) for image, _ in styles], [one.weight for _, one in styles]
    )
    # Not a matrix product, whose last bits depend on the number of threads.
    noise: Floats = np.einsum("hwi,ij->hwj", rng.standard_normal(shape, np.float32), moments.root.astype(np.float32))
    return noise + moments.mean.astype(np.float32)


def _start_pixels(
    init: Init, content: Canvas, *, styles: Sequence[tuple[WeightedImage, Painting]], level: Level,
    context: RunContext,
) -> Floats:  # fmt: skip
    """The pixels of a start from an image, which fills the picture without distortion; the border mirrors them."""
    if init.kind == "content":
        return content.pixels
    if init.kind == "style":
        source = styles[0][0].canvas.pixels
    else:
        assert init.file is not None
        source = read_image(init.file, context).pixels
    size = level.width, level.height
    pixels = resize.resize_pixels(source, size, box=central_crop((source.shape[1], source.shape[0]), size))
    return np.pad(pixels, ((level.border,) * 2, (level.border,) * 2, (0, 0)), mode="symmetric")


def level_of_file(level: Level, context: RunContext) -> Level | None:
    """The level that an initial image from a file is the finished picture of, below `level`, where painting begins.

    None where it is no file, or not smaller, or where it is only a start, that of the coarsest level.
    """
    init = context.config.init
    if init.file is None or not level.index:
        return None
    width, height = reading.read_header(init.file, max_megapixels=context.config.images.max_megapixels).size
    share = min(width / level.width, height / level.height)
    if share >= 1:
        return None
    rows, columns = max(1, round(level.height * share)), max(1, round(level.width * share))
    return Level(index=level.index - 1, height=rows, width=columns, rounds=0, steps=0, border=level.border)


def enlarged(canvas: Canvas, *, lower: Level, level: Level) -> Resampled:
    """The canvas of the level `lower` at the size of `level`, each with its border, mirrored where it ends."""
    rows, columns = level.canvas_size
    across, down = lower.width / level.width, lower.height / level.height
    left, top = lower.border - level.border * across, lower.border - level.border * down
    return Resampled(
        source=canvas.pixels, height=rows, width=columns, box=(left, top, columns * across, rows * down)
    )  # fmt: skip


def enlarged_canvas(canvas: Canvas, *, lower: Level, level: Level, context: RunContext) -> Canvas:
    """A new canvas with what `enlarged` gives."""
    image, result = enlarged(canvas, lower=lower, level=level), context.place(*level.canvas_size)
    resize.resize_strips(image.source, result.pixels, box=image.box, check_stop=context.check_stop)
    return result
