"""What a run will do and need, told before it starts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from hires_nst import events, images, run_size
from hires_nst.canvas import temporary_folder
from hires_nst.config import Config
from hires_nst.events import OnEvent
from hires_nst.job import Job, canvas_bytes, check_painting, open_job, with_styles
from hires_nst.levels import Level, LevelPlan, schedule
from hires_nst.memory import free_memory
from hires_nst.sheets import Sheet, sheet_for
from hires_nst.tiles import Grid


@dataclass(frozen=True)
class Plan:
    """What a run will do and need.

    Attributes:
        width, height: pixels of the result.
        canvas_bytes: of all canvases together, at most; `canvas_place` says where they are (`memory` or `disk`).
        canvas_folder: the folder for temporary files that they are in, if they are on disk.
        tile_bytes: an estimate for one tile's optimisation.
        available_bytes: free memory where tiles are optimised.
        run_bytes: what the run directory takes at most.
        output_bytes: the uncompressed size of the result's file.
        seconds_per_megapixel: measured time of one evaluation; None when it was not measured.
        seconds: an estimate of the whole run from it.
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


def plan(
    content: Path | str,
    *,
    style: Path | str | Sequence[Path | str] = (),
    config: Config | None = None,
    measure: bool = True,
    on_event: OnEvent = events.ignore,
) -> Plan:
    """What `stylize` would do and need; writes nothing.

    Args:
        measure: time two evaluations of one tile, for the estimate of the whole.

    Raises:
        As `stylize`, except for the output.
    """
    config = with_styles(config or Config(), [style] if isinstance(style, (str, Path)) else style)
    sheet = sheet_for(images.picture_size(Path(content), max_megapixels=config.images.max_megapixels), config, content)
    notes: list[str] = []

    def note(event: events.Event) -> None:
        notes.extend([event.message] if isinstance(event, events.Notice) else [])
        on_event(event)

    paintings = []
    for painting in config.styles:
        size = images.picture_size(painting.image, max_megapixels=config.images.max_megapixels)
        check_painting(painting, size, config)
        paintings.append((size[1], size[0]))
    job = open_job(config, sheet, note)
    plans = level_plans(job, sheet)
    largest = max(plans, key=lambda p: p.window)
    per_megapixel = seconds = None
    if measure:
        per_megapixel = seconds_per_megapixel(job, min(largest.window, 512))
        seconds = sum(_work(job, p) for p in plans) / 1e6 * per_megapixel
    pixels = sheet.width * sheet.height
    return Plan(
        width=sheet.width,
        height=sheet.height,
        levels=plans,
        model=config.model.name,
        device=str(job.extract.device),
        precision=str(job.extract.autocast or job.extract.dtype).removeprefix("torch."),
        canvas_bytes=canvas_bytes(config, sheet.height, sheet.width, paintings),
        canvas_place="disk" if job.on_disk else "memory",
        canvas_folder=str(temporary_folder()) if job.on_disk else None,
        tile_bytes=int(largest.window**2 * job.bytes_per_pixel),
        available_bytes=free_memory(job.extract.device),
        run_bytes=run_bytes(config, plans),
        output_bytes=pixels * 3 * config.output.bit_depth // 8,
        seconds_per_megapixel=per_megapixel,
        seconds=seconds,
        notes=tuple(notes),
    )


def level_plans(job: Job, sheet: Sheet) -> tuple[LevelPlan, ...]:
    """The levels of the run with their tiles."""
    plans = []
    for level in schedule(sheet.height, sheet.width, job.config.levels):
        size = job.tile_size(level)
        grid = job.grid(level.height, level.width, size)
        window = max(max(tile.window.height, tile.window.width) for tile in grid.tiles)
        level = split_coarse(level, grid, job.config)
        plans.append(LevelPlan(**vars(level), tiles=len(grid.tiles), tile_size=size, window=window))
    return tuple(plans)


def run_bytes(config: Config, plans: Sequence[LevelPlan]) -> int:
    """What the run directory takes at most."""
    return run_size.run_bytes(config, [(plan, plan.tile_size) for plan in plans])


def split_coarse(level: Level, grid: Grid, config: Config) -> Level:
    """A coarsest level that does not fit into one tile is refined in rounds, like the others."""
    if level.index or len(grid.tiles) == 1 or level.steps <= config.levels.steps:
        return level
    rounds = -(-level.evaluations // config.levels.steps)
    return Level(level.index, level.height, level.width, rounds, config.levels.steps)


def seconds_per_megapixel(job: Job, side: int) -> float:
    """The time of one evaluation (forward and backward) of a tile of noise, per million pixels."""
    layers = set(job.config.layers)
    x = torch.rand((1, 3, side, side), device=job.extract.device).requires_grad_()
    seconds = 0.0
    for _ in range(2):  # the first one warms up
        began = time.monotonic()
        with torch.enable_grad():
            features = [x, *job.extract(x, layers).values()]  # the image itself, lest there be nothing
            value = torch.stack([feature.float().square().mean() for feature in features]).sum()
            (pull,) = torch.autograd.grad(value, x)
        pull.sum().item()
        seconds = time.monotonic() - began
    return seconds / (side * side / 1e6)


def _work(job: Job, level: LevelPlan) -> float:
    """Pixel evaluations of a level, with overlaps, moments and the photograph's activations (a third each)."""
    grid = job.grid(level.height, level.width, level.tile_size)
    windows = sum(tile.window.area for tile in grid.tiles)
    measured = grid.image.area if level.tiles > 1 else 0
    return level.rounds * (level.steps * windows + (windows + measured) / 3)
