"""The scores of a picture that is finished, whoever painted it: with the network, and without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from hires_nst import events
from hires_nst.config import Config, StyleImage
from hires_nst.errors import InputError
from hires_nst.evaluation import metrics
from hires_nst.events import OnEvent
from hires_nst.imageio.paper import central_crop
from hires_nst.imageio.pixels import Floats
from hires_nst.imageio.reading import read_picture
from hires_nst.imageio.resize import resize_pixels
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.extractor import load_extractor
from hires_nst.transfer.objective import Objective, content_norms, style_statistics
from hires_nst.transfer.style_images import check_painting
from hires_nst.transfer.tiles import Grid, make_grid

LOSS_EDGE = 768
"""Pixels of the long edge at which the network's losses are measured; those of different sizes do not compare."""

TILE = 512


@dataclass(frozen=True)
class Evaluation:
    """What a result amounts to.

    Attributes:
        style_loss, content_loss: as configured, without their weights, of copies whose long edge has LOSS_EDGE pixels
            at most. The paintings are taken at the same size, never enlarged.
        scores: those without a network, see `metrics`.
    """

    style_loss: float
    content_loss: float
    scores: tuple[metrics.Score, ...]


def evaluate(
    result: Path,
    content: Path,
    styles: Sequence[Path],
    *,
    config: Config | None = None,
    on_event: OnEvent = events.ignore,
) -> Evaluation:
    """Compare a result with its photograph, of which the centred part of its proportions is taken, and its paintings.

    Raises:
        InputError: a picture cannot be read, or is too small for the network. ConfigError, WeightsError: see
        `load_extractor`.
    """
    config = (config or Config()).with_styles(styles)
    config.check_styles()
    limit = config.images.max_megapixels
    picture, photograph = (read_picture(path, max_megapixels=limit).pixels for path in (result, content))
    paintings = [(style, read_picture(style.image, max_megapixels=limit).pixels) for style in config.styles]
    small = metrics.reduced(picture, LOSS_EDGE)
    height, width = small.shape[:2]
    size = (photograph.shape[1], photograph.shape[0])
    photograph = resize_pixels(photograph, width, height, box=central_crop(size, (picture.shape[1], picture.shape[0])))
    if min(width, height) < config.minimum_side:
        raise InputError(
            f"{result} is {width} x {height} px, but {config.model.name} needs {config.minimum_side} px on each side; "
            "give a larger one"
        )
    style_loss, content_loss = _losses(small, photograph, paintings, config, on_event)
    named = {style.image.stem: pixels for style, pixels in paintings}
    return Evaluation(style_loss, content_loss, metrics.scores(picture, photograph=photograph, paintings=named))


def _losses(
    picture: Floats, photograph: Floats, paintings: Sequence[tuple[StyleImage, Floats]], config: Config, emit: OnEvent
) -> tuple[float, float]:
    """The style and the content loss of a picture, both of one size."""
    height, width = picture.shape[:2]
    canvas, content = Canvas(picture), Canvas(photograph)
    scaled = []
    for style, pixels in paintings:
        small = metrics.reduced(pixels, max(height, width))
        check_painting(style, (small.shape[1], small.shape[0]), config)
        scaled.append((Canvas(small), style.weight))
    with torch.no_grad():
        extract = load_extractor(config, on_event=emit)
        stride = config.stride

        def grid(canvas: Canvas) -> Grid:
            return make_grid(canvas.height, canvas.width, size=TILE, stride=stride)

        objective = Objective(
            extract=extract,
            loss=config.loss,
            style=style_statistics(extract, scaled, list(config.loss.active_style_layers), grid),
            content_norms=content_norms(extract, content, list(config.loss.active_content_layers), grid(content)),
            height=height,
            width=width,
        )
        terms = objective.measure(canvas, content, grid=grid(canvas))
        return float(objective.style_value(objective.statistics(terms.moments))), float(terms.content_loss)
