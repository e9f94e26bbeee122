"""What a run will do and need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hires_nst import events
from hires_nst.config import Config
from hires_nst.events import OnEvent
from hires_nst.run.canvases import small_style
from hires_nst.run.context import RunContext, open_context
from hires_nst.run.disk_space import picture_bytes, run_bytes
from hires_nst.run.estimate import estimated_seconds
from hires_nst.run.memory import canvas_bytes
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
        photograph: what becomes of it in words, see `OutputSize.use`.
        cropped: the share of the photograph, 0 to 1, that is cropped to the shape of the paper.
        enlarged: how many times the rest is made longer and wider; below 1 it is reduced.
        seconds_per_megapixel: measured time per million pixels and evaluation at the finest level, see
            `estimate.Rates`; None when it was not measured.
        seconds: an estimate for the whole run, without what `levels.tolerance` may save.
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
    photograph: str
    cropped: float
    enlarged: float
    seconds_per_megapixel: float | None
    seconds: float | None
    notes: tuple[str, ...]


def make_plan(
    config: Config,
    size: OutputSize,
    *,
    own_sizes: Sequence[tuple[int, int]],
    reading: Iterable[events.Event],
    measure: bool,
    on_event: OnEvent,
) -> Plan:
    """The plan of a run, see `pipeline.plan`.

    Args:
        own_sizes: the heights and widths of the style images.
        reading: what is to be said of the pictures.
    """
    notes: list[str] = []

    def note(event: events.Event) -> None:
        if isinstance(event, events.Notice):
            notes.append(event.message)
        else:
            on_event(event)

    for notice in reading:
        note(notice)
    context = open_context(config, size, emit=note)
    if text := size.loss(config):
        note(events.Notice(text))
    plans = level_plans(context, size)
    if small := small_style(own_sizes, config.paintings, levels=painted(plans)):
        note(small[1])
    if start := later_start(plans, config):
        note(start)
    per_megapixel = seconds = None
    if measure:
        per_megapixel, seconds = estimated_seconds(context, plans)
    return Plan(
        width=size.width,
        height=size.height,
        levels=plans,
        model=config.model.name,
        device=str(context.extract.device),
        precision=context.precision,
        canvas_bytes=planned_canvas_bytes(config, plans, own_sizes=own_sizes),
        canvas_place="disk" if context.on_disk else "memory",
        canvas_folder=str(temporary_folder()) if context.on_disk else None,
        tile_bytes=int(max(plan.window_area * context.bytes_per_pixel(plan.steps) for plan in plans)),
        available_bytes=free_memory(context.extract.device),
        run_bytes=planned_run_bytes(config, plans),
        output_bytes=picture_bytes(size.width * size.height, bit_depth=config.output.bit_depth),
        photograph=size.use,
        cropped=size.cropped,
        enlarged=size.enlarged,
        seconds_per_megapixel=per_megapixel,
        seconds=seconds,
        notes=tuple(notes),
    )


def level_plans(context: RunContext, output: OutputSize) -> tuple[LevelPlan, ...]:
    """The levels of the run with their tiles."""
    plans = []
    for level in schedule(output.height, output.width, levels=context.config.levels, first=output.first_level):
        size = context.tile_size(level)
        grid, shifted = (
            context.grid(*level.canvas_size, size=size, shifted=shifted)
            for shifted in (False, context.config.tiles.shift)
        )
        window = max((tile.window for tile in (*grid.tiles, *shifted.tiles)), key=lambda window: window.area)
        level = split_coarse(level, grid, config=context.config)
        plans.append(
            LevelPlan(
                **vars(level), tiles=len(grid.tiles), tile_size=size, window_height=window.height,
                window_width=window.width,
            )
        )  # fmt: skip
    return tuple(plans)


def painted(plans: Sequence[LevelPlan]) -> tuple[LevelPlan, ...]:
    """The levels without those that are skipped."""
    return tuple(plan for plan in plans if not plan.skipped)


def later_start(plans: Sequence[LevelPlan], config: Config) -> events.Notice | None:
    """What to say where painting does not begin at the coarsest level; None where it does."""
    first = painted(plans)[0]
    if not first.index:
        return None
    start = config.init.kind if config.init.file is None else config.init.file
    return events.Notice(
        f"painting begins at level {first.index + 1} of {len(plans)}, {first.width} x {first.height} px, from {start}; "
        "--init-level coarsest begins at the first"
    )


def planned_canvas_bytes(config: Config, plans: Sequence[LevelPlan], *, own_sizes: Sequence[tuple[int, int]]) -> int:
    """The most that the canvases take together; transparency is not known before the pictures are read."""
    masked = [painting.style.own_mask is not None for painting in config.paintings]
    return canvas_bytes(config, plans[-1], styles=own_sizes, transparent=[False, *masked])


def planned_run_bytes(config: Config, plans: Sequence[LevelPlan]) -> int:
    """The most that the run directory takes."""
    return run_bytes(config, [(plan, plan.tile_size) for plan in plans])


def split_coarse(level: Level, grid: Grid, *, config: Config) -> Level:
    """A coarsest level that does not fit into one tile is refined in rounds, like the others."""
    if level.index or level.skipped or len(grid.tiles) == 1 or level.steps <= config.levels.steps:
        return level
    rounds = -(-level.evaluations // config.levels.steps)
    return Level(
        index=level.index, height=level.height, width=level.width, rounds=rounds, steps=config.levels.steps,
        border=level.border,
    )  # fmt: skip
