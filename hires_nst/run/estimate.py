"""How long a run will take, by timing rounds of its levels on small images of noise."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hires_nst.executors.devices import tile_devices
from hires_nst.run.context import RunContext
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.device import synchronise
from hires_nst.transfer.levels import LevelPlan
from hires_nst.transfer.loss_targets import loss_targets
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.refine import refine_round
from hires_nst.transfer.rounds import OptimizerCanvases, Round
from hires_nst.transfer.tiles import Grid, make_grid
from hires_nst.transfer.weights import WeightedImage

SIDE = 512
"""The root of the pixels of a measured image."""

MOST_STEPS = 4
"""Evaluations of a measured round; a longer one is so many times as long."""

TRIES = 3
"""Rounds that are timed; the first one warms up."""

PAINTING = 128
"""Pixels of a side of the painting."""


@dataclass(frozen=True)
class Rates:
    """Measured seconds.

    Attributes:
        round: a pixel of a window and an evaluation, with everything that a round does for it.
        forward: a pixel of an evaluation without a gradient.
    """

    round: float
    forward: float


def estimated_seconds(context: RunContext, plans: Sequence[LevelPlan]) -> tuple[float, float]:
    """Seconds for a million pixels and an evaluation at the finest level, and for a whole run."""
    total, rates = 0.0, Rates(0.0, 0.0)
    measured: dict[object, Rates] = {}
    for plan in plans:
        if plan.skipped:
            continue
        config = context.config
        key = (
            config.loss_at(plan.index).model_dump_json(), config.optimizer.at_level(plan.index),
            min(plan.steps, MOST_STEPS), min(plan.window_area, SIDE**2), bool(plan.index and plan.border),
        )  # fmt: skip
        if key not in measured:
            measured[key] = measured_rates(context, plan, side=SIDE)
        rates = measured[key]
        total += _seconds(plan, rates, context=context)
    return rates.round * 1e6, total


def seconds_per_megapixel(context: RunContext, plan: LevelPlan, *, side: int) -> float:
    """The time of an evaluation with its step in a level, per million pixels; see `measured_rates`."""
    return measured_rates(context, plan, side=side).round * 1e6


def measured_size(plan: LevelPlan, *, side: int) -> tuple[int, int]:
    """Height and width of the level's largest window, or of the part of it that has at most side x side pixels."""
    height = min(plan.window_height, max(side, side**2 // plan.window_width))
    return height, min(plan.window_width, side**2 // height)


def measured_rates(context: RunContext, plan: LevelPlan, *, side: int) -> Rates:
    """Time a round, and an evaluation without a gradient, of a level with the loss and the optimiser of the run.

    They are those of a single tile of noise, see `measured_size`.
    """
    config, (height, width) = context.config, measured_size(plan, side=side)
    steps = max(1, min(plan.steps, MOST_STEPS))
    canvas, content = _noise(height, width, seed=0), _noise(height, width, seed=1)
    objective = _objective(context, plan, height=height, width=width)
    grid = make_grid(height, width, size=max(height, width, config.stride), stride=config.stride)

    carried = OptimizerCanvases()

    def a_round() -> None:
        nonlocal carried
        result = refine_round(
            Round(
                canvas=canvas, content_canvas=content, objective=objective, grid=grid, measure_grid=grid,
                coupling=config.tiles.coupling, optimizer=config.optimizer.at_level(plan.index), steps=steps,
                optimizer_canvases=carried, half=True,
            )
        )  # fmt: skip
        carried = result.optimizer_canvases or carried  # as in a run, for the next round

    with torch.enable_grad():
        of_round = _least_seconds(a_round, context)
        forward = _least_seconds(lambda: objective.measure(canvas, content, grid=grid), context)
    return Rates(of_round / (steps * height * width), forward / (2 * height * width))


def _seconds(plan: LevelPlan, rates: Rates, *, context: RunContext) -> float:
    """The time of a level with its overlaps, the moments of its rounds, and what is measured before them.

    Without a gradient are evaluated: of each round, the image; once, the photograph for its norms, and for its
    activations in both grids.
    """
    config = context.config
    grids = [context.grid(*plan.canvas_size, size=plan.tile_size, shifted=shifted) for shifted in (False, True)]
    windows = sum(tile.window.area for grid in grids for tile in grid.tiles) / len(grids)
    is_measured = plan.tiles > 1 and config.tiles.coupling == "balanced"
    in_tiles = plan.rounds * (plan.steps * windows * rates.round + is_measured * plan.canvas_area * rates.forward)
    devices = len(set(tile_devices(config.runtime.workers, config.runtime.device)))
    once = (plan.canvas_area + 2 * windows) * rates.forward
    return in_tiles / min(devices, plan.tiles) + once


def _objective(context: RunContext, plan: LevelPlan, *, height: int, width: int) -> Objective:
    """The objective of a level for an image of this size, with a painting of noise."""
    loss = context.config.loss_at(plan.index)
    painting = [(WeightedImage(_noise(PAINTING, PAINTING, seed=2)), 1.0)]

    def grid_of(image: Canvas) -> Grid:
        return context.measure_grid(image.height, image.width, size=PAINTING)

    style, norms = loss_targets(context.extract_whole, painting, content=painting[0][0], loss=loss, grid_of=grid_of)
    return Objective(
        extract=context.extract if plan.index and plan.border else context.extract_whole, loss=loss,
        style=style, content_norms=norms, height=height, width=width,
        desaturation=context.config.colors.desaturation,
    )  # fmt: skip


def _noise(height: int, width: int, *, seed: int) -> Canvas:
    return Canvas.of(np.random.default_rng(seed).random((height, width, 3), np.float32))


def _least_seconds(work: Callable[[], object], context: RunContext) -> float:
    """The least time of some tries."""
    found = []
    for _ in range(TRIES):
        synchronise(context.extract.device)
        began = time.monotonic()
        work()
        synchronise(context.extract.device)
        found.append(time.monotonic() - began)
    return min(found)
