"""The scores of any finished picture, with the network and without."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from hires_nst import events
from hires_nst.config import Config
from hires_nst.errors import InputError
from hires_nst.evaluation import metrics
from hires_nst.events import OnEvent
from hires_nst.gallery import painting_file, resolved
from hires_nst.imageio import image_list
from hires_nst.imageio.images import ImageInput, to_picture
from hires_nst.imageio.paper import central_crop
from hires_nst.imageio.picture import Floats
from hires_nst.imageio.resize import resize_pixels
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.extractor import load_extractor
from hires_nst.transfer.levels import check_side
from hires_nst.transfer.loss_targets import loss_targets
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.tiles import Grid, make_grid
from hires_nst.transfer.weights import PixelWeights, WeightedImage

LOSS_EDGE = 768
"""Pixels of the long edge at which the network's losses are measured; those of different sizes do not compare."""

TILE = 512


@dataclass(frozen=True)
class Evaluation:
    """The scores of a result.

    Attributes:
        style_loss, content_loss: as configured, without their weights, of copies whose long edge has LOSS_EDGE pixels
            at most. The style images are taken at the same size, never enlarged.
        scores: those without a network, see `metrics`.
    """

    style_loss: float
    content_loss: float
    scores: tuple[metrics.Score, ...]


@dataclass(frozen=True)
class _Style:
    name: str  # its file's, or its number in the list
    pixels: Floats  # (H, W, 3 | 4)
    weight: float


def evaluate(
    result: ImageInput,
    *,
    content: ImageInput,
    styles: ImageInput | Iterable[ImageInput] = (),
    config: Config | None = None,
    on_event: OnEvent = events.ignore,
) -> Evaluation:
    """Compare a result with its content image, of which the centred part of its proportions is taken, and its styles.

    What is transparent in the result or in the content image is left out, and so is what is in a style image.

    Args:
        result, content, styles: paths, or images in memory, see `imageio.images.to_picture`.
        styles: one or several style images of equal weight, also in words of the gallery; those of the configuration,
            in their own orientation, when none is given.
        config: the network, the losses and the device; the schema's defaults when not given.
        on_event: receives the progress of a download of the weights, and notices about a folder of paintings.

    Raises:
        InputError: an image cannot be read, or is too small for the network. ConfigError: there is no style image.
        ConfigError, WeightsError: see `load_extractor`.
    """
    config = config or Config()
    limit = config.images.max_megapixels
    picture = to_picture(result, max_megapixels=limit, name="the result").samples
    content_pixels = to_picture(content, max_megapixels=limit, name="the photograph").samples
    style_images = _read_styles(styles, config, emit=on_event)
    small = metrics.reduced(picture, LOSS_EDGE)
    height, width = small.shape[:2]
    name = str(result) if isinstance(result, (str, os.PathLike)) else "the result"
    check_side(name, (width, height), config=config)
    box = central_crop((content_pixels.shape[1], content_pixels.shape[0]), (picture.shape[1], picture.shape[0]))
    small, content_pixels = metrics.with_common_alpha(small, resize_pixels(content_pixels, (width, height), box=box))
    style_loss, content_loss = _losses(small, content_pixels, styles=style_images, config=config, emit=on_event)
    named = [(style.name, style.pixels) for style in style_images]
    return Evaluation(style_loss, content_loss, metrics.scores(picture, content=content_pixels, styles=named))


def _read_styles(styles: ImageInput | Iterable[ImageInput], config: Config, *, emit: OnEvent) -> list[_Style]:
    given: list[tuple[ImageInput, float]] = [
        (painting_file(Path(image), config.gallery_folders) if isinstance(image, (str, os.PathLike)) else image, 1.0)
        for image in image_list(styles)
    ]
    if not given:
        config.check_styles()
        given = [(painting.image, painting.weight) for painting in resolved(config, emit=emit).paintings]
    result = []
    for number, (image, weight) in enumerate(given, start=1):
        name = f"painting {number}"
        pixels = to_picture(image, max_megapixels=config.images.max_megapixels, name=name).samples
        result.append(_Style(Path(image).name if isinstance(image, (str, os.PathLike)) else name, pixels, weight))
    return result


def _losses(
    picture: Floats, content: Floats, *, styles: Sequence[_Style], config: Config, emit: OnEvent
) -> tuple[float, float]:
    """The style and the content loss of a picture; the content image has its size and its alpha channel."""
    height, width = picture.shape[:2]
    image, content_image = _weighted(picture), _weighted(content)
    if image.weights is not None and image.weights.total(config.stride) == 0:
        raise InputError("nothing of the photograph is visible in the result; give the photograph that it was made of")
    scaled = []
    for style in styles:
        small = metrics.reduced(style.pixels, max(height, width))
        check_side(f"the style {style.name}", (small.shape[1], small.shape[0]), config=config)
        scaled.append((_weighted(small), style.weight))
    with torch.no_grad():
        extract = load_extractor(config, on_event=emit)
        stride = config.stride

        def grid(canvas: Canvas) -> Grid:
            return make_grid(canvas.height, canvas.width, size=TILE, stride=stride)

        loss = config.loss
        data, norms = loss_targets(extract, scaled, content=content_image, loss=loss, grid_of=grid)
        objective = Objective(
            extract=extract, loss=loss, style=data, content_norms=norms, height=height, width=width,
            weights=image.weights,
        )  # fmt: skip
        return objective.losses(image.canvas, content_image.canvas, grid=grid(image.canvas))


def _weighted(pixels: Floats) -> WeightedImage:
    """(h, w, 3), or (h, w, 4) with alpha."""
    weights = PixelWeights.of(Canvas.of(pixels[..., 3:])) if pixels.shape[2] == 4 else None
    return WeightedImage(Canvas.of(pixels[..., :3]), weights)
