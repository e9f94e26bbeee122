"""The balance of content and style by their gradients, measured once at the start of a level."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.reductions import inner, total
from hires_nst.transfer.sums import visible_tiles
from hires_nst.transfer.tiles import Grid

NEAR = 0.01
"""Mean absolute difference of the pixels in [0, 1], below which a start is the content image itself."""


def content_factor(
    objective: Objective, start: Canvas, *, content: Canvas, noise: Callable[[], Canvas], grid: Grid
) -> float:
    """The factor of the content weight with which the gradients of content and style have the ratio of their weights.

    That is |g_s| / |g_c| for the gradients, with respect to the pixels, of the two losses with weights of 1; 1 where
    there is only one of them. The gradients are those of the untiled objective, and take 12 bytes a pixel for a while.

    neural-style (Johnson 2015, `-normalize_gradients`) divides the gradient of each layer by its L1 norm anew at each
    step, and style-transfer-pytorch (Crowson 2020, `ScaledMSELoss`) each layer's loss by its L1 distance. Deviation:
    here there is one factor for a level and the L2 norm, so that what is minimised stays a function, whose values are
    those of all tiles.

    Args:
        start: the image at the start of the level.
        content: the content image at the same size.
        noise: makes an image far from both. The content has no gradient at the content image itself, with which a run
            may begin; there, the gradients at this image are compared.
        grid: tiles to work in, without overlap.
    """
    if not (objective.style and objective.content_norms):
        return 1.0
    style, content_only = replace(objective, content_norms={}), replace(objective, style={})

    def norm(one: Objective, image: Canvas) -> float:
        weights = {
            "style_weight": 1.0, "palette_weight": 0.0, "content_weight": 1.0, "tv_weight": 0.0, "colour_tv_weight": 0.0
        }  # fmt: skip
        # Without what is kept: it belongs to the layers of the whole objective.
        alone = replace(one, loss=one.loss.model_copy(update=weights), kept=None)
        with torch.enable_grad():
            gradient = alone.gradient(image, content, grid=grid)[1]
        mask = objective.changeable(image.image, gradient.device)
        return _length(gradient if mask is None else gradient.mul_(mask))

    place = noise() if _distance(objective, start, content=content, grid=grid) < NEAR else start
    of_style, of_content = norm(style, place), norm(content_only, place)
    factor = of_style / of_content if of_content > 0 else math.inf
    return factor if 0 < factor < math.inf else 1.0


def _length(gradient: Tensor) -> float:
    """The L2 norm, by whose largest entry the gradient is divided in place, as squares of small ones could vanish."""
    largest = float(gradient.abs().max())
    flat = gradient.flatten()
    return largest * math.sqrt(float(inner(flat.div_(largest), flat))) if largest > 0 else 0.0


def _distance(objective: Objective, canvas: Canvas, *, content: Canvas, grid: Grid) -> float:
    """The mean absolute difference of two images, by the weights of their pixels."""
    found, weights = 0.0, objective.weights
    for tile in visible_tiles(grid, weights):
        difference = (objective.extract.read(canvas, tile.owned) - objective.extract.read(content, tile.owned)).abs()
        if weights is not None:
            difference = difference * torch.from_numpy(weights.read(tile.owned)).to(difference)
        found += float(total(difference)) / 3
    return found / objective.area
