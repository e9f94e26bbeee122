"""What a run will do and need."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from hires_nst import events
from hires_nst.config import Config
from hires_nst.events import OnEvent
from hires_nst.run.context import RunContext, canvas_bytes, open_context
from hires_nst.run.disk_space import picture_bytes, run_bytes
from hires_nst.run.output_size import OutputSize
from hires_nst.transfer.canvas import temporary_folder
from hires_nst.transfer.device import free_memory
from hires_nst.transfer.levels import Level, LevelPlan, schedule
from hires_nst.transfer.tiles import Grid


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run will do and need.

    Attributes:
        width, height: pixels of the result.
        canvas_bytes: of all canvases together, at most.
        canvas_place: `memory` or `disk`.
        canvas_folder: the folder for temporary files that they are in, if they are on disk.
        tile_bytes: an estimate for one tile's optimisation.
        available_bytes: free memory where tiles are optimised.
        run_bytes: the most that the run directory takes.
        output_bytes: the uncompressed size of the result's file.
        seconds_per_megapixel: measured time per million pixels and evaluation; None when it was not measured.
        seconds: an estimate for the whole run from it.
    """

    width: int
    height: int
    levels: tuple[LevelPlan, ...]
    model: str
    device: str
    precision: str
    canvas_bytes: int
    canvas_place: str
    canvas_folder: str | None
    tile_bytes: int
    available_bytes: int
    run_bytes: int
    output_bytes: int
    seconds_per_megapixel: float | None
    seconds: float | None
    notes: tuple[str, ...]


def make_plan(
    config: Config, size: OutputSize, *, own_sizes: Sequence[tuple[int, int]], measure: bool, on_event: OnEvent
) -> Plan:
    """The plan of a run, see `pipeline.plan`; `own_sizes` are the heights and widths of the style images."""
    notes: list[str] = []

    def note(event: events.Event) -> None:
        notes.extend([event.message] if isinstance(event, events.Notice) else [])
        on_event(event)

    context = open_context(config, size, emit=note)
    plans = level_plans(context, size)
    largest = max(plans, key=lambda p: p.window)
    per_megapixel = seconds = None
    if measure:
        per_megapixel = seconds_per_megapixel(context, min(largest.window, 512))
        seconds = sum(_work(context, p) for p in plans) / 1e6 * per_megapixel
    return Plan(
        width=size.width,
        height=size.height,
        levels=plans,
        model=config.model.name,
        device=str(context.extract.device),
        precision=context.precision,
        canvas_bytes=canvas_bytes(config, size.height, width=size.width, styles=own_sizes),
        canvas_place="disk" if context.on_disk else "memory",
        canvas_folder=str(temporary_folder()) if context.on_disk else None,
        tile_bytes=int(largest.window**2 * context.bytes_per_pixel),
        available_bytes=free_memory(context.extract.device),
        run_bytes=planned_run_bytes(config, plans),
        output_bytes=picture_bytes(size.width * size.height, bit_depth=config.output.bit_depth),
        seconds_per_megapixel=per_megapixel,
        seconds=seconds,
        notes=tuple(notes),
    )


def level_plans(context: RunContext, output: OutputSize) -> tuple[LevelPlan, ...]:
    """The levels of the run with their tiles."""
    plans = []
    for level in schedule(output.height, output.width, levels=context.config.levels):
        size = context.tile_size(level)
        grid = context.grid(level.height, level.width, size=size)
        window = max(max(tile.window.height, tile.window.width) for tile in grid.tiles)
        level = split_coarse(level, grid, config=context.config)
        plans.append(LevelPlan(**vars(level), tiles=len(grid.tiles), tile_size=size, window=window))
    return tuple(plans)


def planned_run_bytes(config: Config, plans: Sequence[LevelPlan]) -> int:
    """The most that the run directory takes."""
    return run_bytes(config, [(plan, plan.tile_size) for plan in plans])


def split_coarse(level: Level, grid: Grid, *, config: Config) -> Level:
    """A coarsest level that does not fit into one tile is refined in rounds, like the others."""
    if level.index or len(grid.tiles) == 1 or level.steps <= config.levels.steps:
        return level
    rounds = -(-level.evaluations // config.levels.steps)
    return Level(index=level.index, height=level.height, width=level.width, rounds=rounds, steps=config.levels.steps)


def seconds_per_megapixel(context: RunContext, side: int) -> float:
    """The time of one evaluation (forward and backward) of a tile of noise, per million pixels."""
    layers = set(context.config.layers)
    x = torch.rand((1, 3, side, side), device=context.extract.device).requires_grad_()
    seconds = 0.0
    for _ in range(2):  # the first one warms up
        began = time.monotonic()
        with torch.enable_grad():
            features = [x, *context.extract(x, layers).values()]  # the image itself, in case there are no layers
            value = torch.stack([feature.float().square().mean() for feature in features]).sum()
            (gradient,) = torch.autograd.grad(value, x)
        gradient.sum().item()
        seconds = time.monotonic() - began
    return seconds / (side * side / 1e6)


def _work(context: RunContext, level: LevelPlan) -> float:
    """Pixel evaluations of a level, with overlaps, moments and the content image's activations (a third each)."""
    grid = context.grid(level.height, level.width, size=level.tile_size)
    windows = sum(tile.window.area for tile in grid.tiles)
    measured = grid.image.area if level.tiles > 1 else 0
    return level.rounds * (level.steps * windows + (windows + measured) / 3)
