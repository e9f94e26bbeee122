"""Whether the network may run in half precision: a check on the pictures of the run, before it begins."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hires_nst import events
from hires_nst.config import Painting
from hires_nst.run.canvases import style_images
from hires_nst.run.content import ContentImage
from hires_nst.run.context import RunContext, in_float32
from hires_nst.run.output_size import OutputSize
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.levels import Level
from hires_nst.transfer.loss_targets import loss_targets
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.tiles import Grid, make_grid
from hires_nst.transfer.weights import WeightedImage

LEAST_COSINE = 0.99
"""Between the gradients in half precision and in float32."""

SIDE = 256
"""Pixels of the long edge of the picture that is checked."""


def in_checked_precision(
    context: RunContext,
    size: OutputSize,
    *,
    content: ContentImage,
    styles: Sequence[tuple[WeightedImage, Painting]],
) -> RunContext:
    """The context, in float32 where `runtime.precision` is `auto` and half precision would change the gradient.

    Both gradients are those of the run's objective at its photograph, reduced to 256 px.
    """
    if context.config.runtime.precision != "auto" or context.extract.network.precision == torch.float32:
        return context
    exact = in_float32(context)
    level = _small_level(size, least=context.config.stride)
    small = content.at(level, context)
    scaled = [one for source in styles for one in style_images(*source, level=level, context=context)]
    ours, theirs = (_gradient(one, context=context, content=small, styles=scaled) for one in (context, exact))
    cosine = float(torch.nn.functional.cosine_similarity(ours, theirs, dim=0))
    if cosine >= LEAST_COSINE or not bool(theirs.any()):
        return context
    context.emit(
        events.Notice(
            f"the network runs in float32: in {context.precision} the gradient of these pictures would differ (cosine "
            f"{cosine:.3f})"
        )
    )
    return exact


def _small_level(size: OutputSize, *, least: int) -> Level:
    factor = min(1.0, SIDE / max(size.height, size.width))
    height, width = (max(least, round(side * factor)) for side in (size.height, size.width))
    return Level(index=0, height=height, width=width, rounds=0, steps=0)


def _gradient(
    precise: RunContext, *, context: RunContext, content: WeightedImage, styles: Sequence[tuple[WeightedImage, float]]
) -> Tensor:
    """The gradient of what the network sees, at the content image, flat, with the network of `precise`."""
    extract, config = precise.extract, context.config
    loss = config.loss.model_copy(update={"palette_weight": 0.0})  # it is the same in any precision

    def whole(image: Canvas) -> Grid:
        return make_grid(image.height, image.width, size=max(image.height, image.width), stride=config.stride)

    grid = whole(content.canvas)
    style, norms = loss_targets(
        precise.extract_whole, styles, content=content, loss=loss, grid_of=whole, extract_content=extract
    )
    objective = Objective(
        extract=extract, loss=loss, weights=content.weights, height=content.size[0], width=content.size[1],
        style=style, content_norms=norms,
        desaturation=config.colors.desaturation,
    )  # fmt: skip
    with torch.enable_grad():
        return objective.gradient(content.canvas, content.canvas, grid=grid)[1].flatten()
