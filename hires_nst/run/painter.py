"""The image of a run: levels from coarse to fine, each refined in rounds, with checkpoints in between."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from hires_nst import events
from hires_nst.config import Init, StyleImage
from hires_nst.errors import Interrupted, out_of_memory
from hires_nst.events import OnEvent
from hires_nst.imageio import reading, resize
from hires_nst.run.checkpoint import CheckpointStore, DiskRoundStore, Progress
from hires_nst.run.context import RunContext
from hires_nst.run.plan import split_coarse
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.device import release_memory, unless_memory_runs_out
from hires_nst.transfer.levels import Level, LevelPlan
from hires_nst.transfer.memory import SMALLEST_TILE
from hires_nst.transfer.moments import Statistics
from hires_nst.transfer.objective import Objective, content_norms, style_statistics
from hires_nst.transfer.refine import refine_round
from hires_nst.transfer.rounds import OptimizerCanvases, Round, RoundListener
from hires_nst.transfer.style_images import style_size
from hires_nst.transfer.tiles import Grid


def resized(source: Canvas, height: int, width: int, context: RunContext) -> Canvas:
    """The image at another size, antialiased; the same canvas when the size is the same."""
    if (source.height, source.width) == (height, width):
        return source
    target = context.place(height, width)
    resize.resize_strips(source.pixels, target.pixels, check_stop=context.check_stop)
    return target


def painting_at(painting: Canvas, style: StyleImage, level: Level, context: RunContext) -> tuple[Canvas, bool]:
    """The painting at the size that goes with a level, see `style_size`.

    Returns:
        The canvas, and whether the painting's own pixels were too few.
    """
    own = painting.height, painting.width
    height, width = style_size(own, (level.height, level.width), scale=style.scale, config=context.config)
    return resized(painting, height, width, context), style.scale * max(level.height, level.width) > max(own)


def paint(
    context: RunContext,
    plans: Sequence[LevelPlan],
    photograph: Canvas,
    paintings: list[tuple[Canvas, StyleImage]],
    checkpoints: CheckpointStore,
) -> Canvas:
    """All levels, coarse to fine, from where the checkpoints stand."""
    canvas: Canvas | None = None
    memory = OptimizerCanvases()
    progress = None
    found = checkpoints.find({plan.index: (plan.height, plan.width) for plan in plans}, context.place)
    if found is not None:
        progress, canvas, memory = found
    if checkpoints.resumed:
        next_level, next_round = (0, 0) if progress is None else (progress.level, progress.round + 1)
        if progress is not None and progress.finished:
            next_level, next_round = progress.level + 1, 0
        context.emit(events.RunResumed(str(checkpoints.folder), next_level, next_round))
    finest_told = False
    for level in plans:
        if progress is not None and progress.is_past(level.index):
            continue
        begun = progress if progress is not None and progress.level == level.index else None
        began = time.monotonic()
        content = resized(photograph, level.height, level.width, context)
        if canvas is None:
            canvas = first_canvas(context, content, paintings)
        elif begun is None:
            canvas = enlarged_canvas(context, canvas, photograph, content)
        scaled = [(painting_at(p, s, level, context), s.weight) for p, s in paintings]
        if not finest_told and any(short for (_, short), _ in scaled):
            finest_told = True
            context.emit(
                events.Notice(
                    f"a painting has too few pixels for {level.width} x {level.height}; it is not enlarged, so from "
                    "here on its strokes keep their own size in pixels (a larger scan or a smaller styles.scale helps)"
                )
            )
        held, canvas = [canvas], None
        canvas = paint_level(
            context, level, len(plans), held, content, [(p, w) for (p, _), w in scaled], checkpoints,
            begun=begun, memory=memory if begun else OptimizerCanvases(),
        )  # fmt: skip
        context.emit(events.LevelFinished(level.index, len(plans), time.monotonic() - began))
    assert canvas is not None
    return canvas


def objective_of(
    context: RunContext,
    planned: LevelPlan,
    content: Canvas,
    paintings: Sequence[tuple[Canvas, float]],
    checkpoints: CheckpointStore,
) -> tuple[Objective, int]:
    """What a level is measured against, from the run directory if it is there, and the tile size that memory allowed.

    Raises:
        ResourceError: it allows no tiles that make sense.
    """
    known = checkpoints.objective(planned.index)
    while known is None:
        measured = unless_memory_runs_out(partial(_measured, context, planned, content, paintings))
        if measured is None:
            release_memory()
            grid = context.grid(planned.height, planned.width, planned.tile_size)
            planned = replace(planned, tile_size=smaller_tiles(planned.tile_size, grid, context.stride))
            context.emit(events.TilesShrunk(planned.index, 0, planned.tile_size))
            continue
        known = *measured, planned.tile_size
        checkpoints.save_objective(planned.index, *known)
    style, norms, size = known
    objective = Objective(
        extract=context.extract, loss=context.config.loss,
        style={layer: statistics.to(context.extract.device) for layer, statistics in style.items()},
        content_norms=norms, height=planned.height, width=planned.width,
    )  # fmt: skip
    return objective, size


def _measured(
    context: RunContext, planned: LevelPlan, content: Canvas, paintings: Sequence[tuple[Canvas, float]]
) -> tuple[dict[str, Statistics], dict[str, float]]:
    """The paintings' statistics and the norms of the photograph's activations, by layer."""
    active = [name for name in context.config.layers if name in context.config.loss.active_content_layers]
    grid = context.measure_grid(planned.height, planned.width, planned.tile_size)
    return style_targets(context, planned, paintings), content_norms(context.extract, content, layers=active, grid=grid)


def style_targets(
    context: RunContext, planned: LevelPlan, paintings: Sequence[tuple[Canvas, float]]
) -> dict[str, Statistics]:
    """The paintings' statistics for a level, by layer: kept from an earlier picture, or measured."""
    layers, size = tuple(context.config.layers), planned.tile_size
    active = [name for name in layers if name in context.config.loss.active_style_layers]

    def measure() -> dict[str, Statistics]:
        return style_statistics(
            context.extract,
            paintings,
            layers=active,
            grid_of=lambda painting: context.measure_grid(painting.height, painting.width, size),
        )

    if context.kept is None:
        return measure()
    key = (context.kept_key, layers, tuple(active), planned.height, planned.width, size)
    return context.kept.statistics(key, measure)


def paint_level(
    context: RunContext,
    planned: LevelPlan,
    count: int,
    held: list[Canvas],
    content: Canvas,
    paintings: Sequence[tuple[Canvas, float]],
    checkpoints: CheckpointStore,
    *,
    begun: Progress | None,
    memory: OptimizerCanvases,
) -> Canvas:
    """The rounds of one level, in tiles as planned or, where memory runs out, in smaller ones.

    Args:
        held: the canvas to start from, which is taken out, so that nobody keeps it when there is a newer one.
        begun: where the level stands, if some of its rounds are done; `held` and `memory` are then from there.
    """
    canvas = held.pop()
    config, extract, emit = context.config, context.extract, context.emit
    objective, size = objective_of(context, planned, content, paintings, checkpoints)
    level = split_coarse(planned, context.grid(planned.height, planned.width, size), config)
    number = 0
    if begun is not None:
        number, size = begun.round + 1, begun.size
        level = replace(level, rounds=begun.rounds, steps=begun.steps)
    tiles = len(context.grid(level.height, level.width, size).tiles)
    emit(
        events.LevelStarted(
            index=level.index,
            count=count,
            width=level.width,
            height=level.height,
            rounds=level.rounds,
            steps=level.steps,
            tiles=tiles,
        )
    )
    if not level.rounds:
        checkpoints.save_canvas(Progress(level.index, -1, 0, level.steps, size, True), canvas, memory)
    while number < level.rounds:
        known = checkpoints.geometry(level.index, number)
        if known is not None:
            size, level = known["size"], replace(level, rounds=known["rounds"], steps=known["steps"])
        shifted = config.tiles.shift and number % 2 == 1
        grid = context.grid(level.height, level.width, size, shifted=shifted)
        began = time.monotonic()
        geometry = {
            "size": size, "rounds": level.rounds, "steps": level.steps, "overlap": context.overlap,
            "stride": context.stride, "rows": list(grid.row_cuts), "columns": list(grid.column_cuts),
        }  # fmt: skip
        store = DiskRoundStore(checkpoints, level.index, number, geometry, extract.device)
        try:
            with torch.enable_grad():
                painted = unless_memory_runs_out(
                    partial(
                        refine_round,
                        Round(
                            canvas=canvas, content_canvas=content, objective=objective, grid=grid,
                            measure_grid=context.measure_grid(level.height, level.width, size),
                            coupling=config.tiles.coupling, optimizer=config.optimizer, steps=level.steps,
                            optimizer_canvases=memory if number < level.rounds - 1 or memory.canvases else None,
                        ),
                        listener=RoundEvents(
                            emit, level, number=number, grid=grid, exact=config.tiles.coupling == "exact"
                        ),
                        store=store,
                    )
                )  # fmt: skip
        except Interrupted:
            store.save_latest()
            raise
        if painted is None:
            store.forget_latest()  # which holds on to the tile's tensors
            store.flush()
            release_memory()
            smaller = smaller_tiles(store.size, grid, context.stride)
            emit(events.TilesShrunk(level.index, number, smaller))
            if store.done:  # these stay, and with them the geometry
                store.cut(smaller)
                continue
            size = smaller
            if number == 0:
                level = split_coarse(level, context.grid(level.height, level.width, size), config)
            checkpoints.forget_round(level.index, number)
            continue
        canvas, loss, memory = painted.canvas, painted.loss, painted.optimizer_canvases or memory
        if not math.isfinite(loss):
            emit(
                events.Notice(
                    f"the loss of round {number + 1} of level {level.index + 1} is no finite number, so tiles were "
                    "left as they were; smaller weights under loss: may help"
                )
            )
        size = store.size
        last = number == level.rounds - 1
        progress = Progress(level.index, number, level.rounds, level.steps, size, last)
        finished = events.RoundFinished(
            level=level.index, round=number, rounds=level.rounds, loss=loss, seconds=time.monotonic() - began
        )
        checkpoints.save_canvas(progress, canvas, memory, partial(emit, finished))
        number += 1
    checkpoints.writer.settle()
    return canvas


def smaller_tiles(size: int, grid: Grid, stride: int) -> int:
    """Half the tile size, after memory ran out.

    Raises:
        ResourceError: tiles of that size would be nearly all overlap.
    """
    used = min(size, max(max(tile.owned.height, tile.owned.width) for tile in grid.tiles))
    half = used // 2 // stride * stride
    if half < max(SMALLEST_TILE, stride):
        raise out_of_memory(
            f"with tiles of {used} px, and tiles cannot be made smaller",
            remedies=("choose a smaller network (--model vgg19-slim)", "run on another device"),
        )
    return half


def first_canvas(context: RunContext, content: Canvas, paintings: Sequence[tuple[Canvas, StyleImage]]) -> Canvas:
    """The start of the coarsest level, as `init` says."""
    init: Init = context.config.init
    rng = np.random.default_rng(context.config.runtime.seed)
    height, width = content.height, content.width
    canvas = context.place(height, width)
    shape = canvas.pixels.shape
    if init.kind == "uniform":
        canvas.pixels[:] = rng.random(shape, np.float32)
        return canvas
    noise = rng.standard_normal(shape, np.float32) * np.float32(0.2) + np.float32(0.5) if _noisy(init) else None
    if init.kind == "noise":
        assert noise is not None
        canvas.pixels[:] = noise
    else:
        canvas.pixels[:] = _start_pixels(context, init, content, paintings)
        if noise is not None:
            canvas.pixels[:] = (1 - init.noise) * canvas.pixels + init.noise * noise
    canvas.clip()
    return canvas


def _noisy(init: Init) -> bool:
    return init.kind == "noise" or init.noise > 0


def _start_pixels(
    context: RunContext, init: Init, content: Canvas, paintings: Sequence[tuple[Canvas, StyleImage]]
) -> np.ndarray:
    """The pixels of a start from an image, filling the canvas."""
    if init.kind == "content":
        return content.pixels
    if init.kind == "style":
        source = paintings[0][0].pixels
    else:
        assert init.file is not None
        source = reading.read_picture(init.file, max_megapixels=context.config.images.max_megapixels).pixels
    # Fill the canvas without distortion: the largest centred part of the same shape.
    rows, columns = source.shape[:2]
    part = min(columns / content.width, rows / content.height)
    across, down = content.width * part, content.height * part
    box = ((columns - across) / 2, (rows - down) / 2, across, down)
    return resize.resize_pixels(source, content.width, content.height, box=box)


def enlarged_canvas(context: RunContext, canvas: Canvas, photograph: Canvas, content: Canvas) -> Canvas:
    """The start of a finer level: the last one enlarged, with a share of the photograph's own fine detail."""
    result = resized(canvas, content.height, content.width, context)
    share = context.config.levels.detail
    if share:
        coarse = resized(photograph, canvas.height, canvas.width, context)
        smooth = resized(coarse, content.height, content.width, context)
        for top in range(0, content.height, 256):
            rows = slice(top, top + 256)
            result.pixels[rows] += np.float32(share) * (content.pixels[rows] - smooth.pixels[rows])
    result.clip()
    return result


class RoundEvents(RoundListener):
    """A round as events."""

    def __init__(self, emit: OnEvent, level: Level, *, number: int, grid: Grid, exact: bool) -> None:
        self.emit, self.level, self.number, self.grid, self.exact = emit, level, number, grid, exact
        self.tiles = 1 if exact else len(grid.tiles)

    def _work(self, tile: int) -> float:
        area = self.grid.image.area if self.exact else self.grid.tiles[tile].owned.area
        return float(area * self.level.steps)

    def round_started(self, style_loss: float | None) -> None:
        """See `RoundListener`."""
        self.emit(
            events.RoundStarted(
                level=self.level.index, round=self.number, rounds=self.level.rounds, tiles=self.tiles,
                style_loss=style_loss, row_borders=self.grid.row_cuts[1:-1], column_borders=self.grid.column_cuts[1:-1],
            )
        )  # fmt: skip

    def step_finished(self, tile: int, step: int, *, loss: float) -> None:
        """See `RoundListener`."""
        level = self.level
        self.emit(
            events.StepFinished(
                level=level.index, round=self.number, tile=tile, step=step, steps=level.steps, loss=loss
            )
        )

    def tile_finished(self, tile: int, *, loss: float, seconds: float) -> None:
        """See `RoundListener`."""
        self.emit(
            events.TileFinished(
                level=self.level.index, round=self.number, tile=tile, tiles=self.tiles, loss=loss, seconds=seconds,
                pixel_evaluations=self._work(tile),
            )
        )  # fmt: skip

    def tile_restored(self, tile: int, *, loss: float) -> None:
        """See `RoundListener`."""
        self.emit(
            events.TileRestored(
                level=self.level.index, round=self.number, tile=tile, tiles=self.tiles, loss=loss,
                pixel_evaluations=self._work(tile),
            )
        )  # fmt: skip
