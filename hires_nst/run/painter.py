"""The levels of a run from coarse to fine, each refined in rounds, with checkpoints in between."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch

from hires_nst import events
from hires_nst.config import Painting
from hires_nst.errors import Interrupted, out_of_memory
from hires_nst.imageio.transparency import fill_hidden
from hires_nst.run.canvases import (
    enlarged_canvas,
    first_canvas,
    level_of_file,
    small_style,
    style_images,
)
from hires_nst.run.checkpoint import CheckpointStore, ObjectiveData, Progress
from hires_nst.run.content import ContentImage
from hires_nst.run.context import RunContext, canvases_device
from hires_nst.run.detail import add_detail
from hires_nst.run.level_objective import level_objective, measured_objective
from hires_nst.run.masks import style_groups
from hires_nst.run.plan import painted, split_coarse
from hires_nst.run.regions import LevelRegions, protect
from hires_nst.run.round_events import RoundEvents
from hires_nst.run.round_store import DiskRoundStore
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.convergence import ROUNDS, gains_less, step_tolerance
from hires_nst.transfer.device import release_memory, statistics_device, unless_memory_runs_out
from hires_nst.transfer.levels import Level, LevelPlan
from hires_nst.transfer.memory import SMALLEST_TILE
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.refine import refine_round
from hires_nst.transfer.rounds import OptimizerCanvases, Round, RoundResult
from hires_nst.transfer.tiles import Grid
from hires_nst.transfer.weights import WeightedImage


@dataclass
class CanvasState:
    """The image as far as it is painted, with the optimiser's state.

    Only this object refers to its canvases, so that an older one is freed as soon as there is a newer one.
    """

    canvas: Canvas | None = None
    optimizer_canvases: OptimizerCanvases = field(default_factory=OptimizerCanvases)

    def move(self, device: torch.device) -> None:
        """Bring all canvases to a device."""
        if self.canvas is not None:
            self.canvas = self.canvas.to(device)
        canvases = {name: canvas.to(device) for name, canvas in self.optimizer_canvases.canvases.items()}
        self.optimizer_canvases = OptimizerCanvases(canvases, self.optimizer_canvases.steps)


def paint(
    context: RunContext,
    plans: Sequence[LevelPlan],
    *,
    content: ContentImage,
    styles: Sequence[tuple[WeightedImage, Painting]],
    checkpoints: CheckpointStore,
) -> Canvas:
    """Paint all levels, coarse to fine, from where the checkpoints stand; the result has the last level's border.

    `styles` are the style images at their own sizes. The content image is released at the last level.
    """
    state = CanvasState()
    progress = _resumed(state, plans, context=context, checkpoints=checkpoints)
    levels = painted(plans)
    small = small_style([image.size for image, _ in styles], [painting for _, painting in styles], levels=levels)
    for plan in levels:
        if progress is not None and progress.is_past(plan.index):
            continue
        began = time.monotonic()
        reached = progress if progress is not None and progress.level == plan.index else None
        level_content = content.at(plan, context)
        if reached is None:
            lower = plans[plan.index - 1] if plan.index else None
            state.canvas = start_canvas(
                state.canvas, plan, lower=lower, content=content, level_content=level_content, styles=styles,
                context=context,
            )  # fmt: skip
        if plan is plans[-1]:
            content.release()
        if small is not None and small[0] == plan.index:
            context.emit(small[1])
        place = canvases_device(context, plan)
        regions = content.regions_at(plan, level_content.weights, context=context)
        if reached is None and regions.protected is not None and state.canvas is not None:
            protect(state.canvas, level_content.canvas, protected=regions.protected)
        regions = LevelRegions(regions.regions, regions.content)
        level_content = WeightedImage(level_content.canvas.to(place), level_content.weights)
        state.move(place)
        scaled = [
            [one for number in group.styles for one in style_images(*styles[number], level=plan, context=context)]
            for group in style_groups(context.config)
        ]
        evaluations = LevelPainter(
            context=context, plan=plan, levels=len(plans), content=level_content, regions=regions, styles=scaled,
            checkpoints=checkpoints, state=state,
        ).paint(reached)  # fmt: skip
        state.optimizer_canvases = OptimizerCanvases()
        state.move(torch.device("cpu"))
        release_memory()  # blocks of one level's sizes seldom serve the next
        context.emit(
            events.LevelFinished(
                index=plan.index, count=len(plans), seconds=time.monotonic() - began, evaluations=evaluations
            )
        )  # fmt: skip
    assert state.canvas is not None
    return state.canvas


def start_canvas(
    before: Canvas | None,
    level: Level,
    *,
    lower: Level | None,
    content: ContentImage,
    level_content: WeightedImage,
    styles: Sequence[tuple[WeightedImage, Painting]],
    context: RunContext,
) -> Canvas:
    """The start of a level: the canvas of the lower one, enlarged, with fine detail, or as `init` says.

    Hidden pixels take the colours around them. `level_content` is the content image of the level.
    """
    if before is None or lower is None:
        canvas = first_canvas(level_content.canvas, styles, level=level, context=context)
        lower = level_of_file(level, context)
    else:
        canvas = enlarged_canvas(before, lower=lower, level=level, context=context)
    if lower is not None:
        add_detail(
            canvas, level, lower=lower, content=content, level_content=level_content, styles=styles, context=context
        )
    if level_content.weights is not None:
        fill_hidden(canvas.pixels, level_content.weights.read(canvas.image).astype(np.float32, copy=False))
    return canvas


def _resumed(
    state: CanvasState, plans: Sequence[LevelPlan], *, context: RunContext, checkpoints: CheckpointStore
) -> Progress | None:
    """Load the newest canvas into `state`; where it stands, if there is one."""
    progress = None
    loaded = checkpoints.load_canvas({plan.index: plan.canvas_size for plan in plans}, context.place)
    if loaded is not None:
        progress, state.canvas, state.optimizer_canvases = loaded
    if checkpoints.is_resumed:
        level, number = (painted(plans)[0].index, 0) if progress is None else (progress.level, progress.round + 1)
        if progress is not None and progress.finished:
            level, number = progress.level + 1, 0
        context.emit(events.RunResumed(str(checkpoints.directory.path), level, number))
    return progress


@dataclass(kw_only=True)
class LevelPainter:
    """The rounds of one level, in tiles as planned or, where memory runs out, in smaller ones.

    Attributes:
        levels: of the run.
        content: the content image at the size of the level.
        regions: of the level.
        styles: of each region, its style images at the size that goes with the level, and their weights.
        state: its canvas is the start of the level, and is replaced with every round.
    """

    context: RunContext
    plan: LevelPlan
    levels: int
    content: WeightedImage
    regions: LevelRegions
    styles: Sequence[Sequence[tuple[WeightedImage, float]]]
    checkpoints: CheckpointStore
    state: CanvasState

    def __post_init__(self) -> None:
        self.level: Level = self.plan
        self.size = self.plan.tile_size
        self.losses: list[float] = []
        self.content_factor: float | None = None

    def paint(self, reached: Progress | None) -> int | None:
        """Paint all rounds, or those after `reached`, whose canvas is then in `state`.

        Returns:
            The evaluations of each pixel where `levels.tolerance` made them fewer than planned; else None.
        """
        self.content_factor = None if reached is None else reached.content_factor
        objective = self._objective()
        number = 0
        if reached is None:
            self.level = split_coarse(self.plan, self._grid(), config=self.context.config)
        else:
            number, self.size, self.losses = reached.round + 1, reached.size, [*reached.losses]
            self.level = replace(self.plan, rounds=reached.rounds, steps=reached.steps)
        level = self.level
        self.context.emit(
            events.LevelStarted(
                index=level.index, count=self.levels, width=level.width, height=level.height, rounds=level.rounds,
                steps=level.steps, tiles=len(self._grid().tiles),
            )
        )  # fmt: skip
        if not level.rounds:
            assert self.state.canvas is not None
            self.state.canvas.quantise()
            self._save(-1)
        evaluations = 0
        try:
            while number < self.level.rounds and not self._is_converged():
                steps = self._paint_round(number, objective)
                if steps is not None:
                    number += 1
                    evaluations = steps + (number - 1) * self.level.steps
        except Interrupted:
            self.checkpoints.save_unsaved()
            raise
        self.checkpoints.writer.flush()
        return evaluations if 0 < evaluations < self.level.evaluations else None

    def _is_converged(self) -> bool:
        """Whether the level ends before its last round."""
        return gains_less(self.losses, self.context.config.levels.tolerance, over=ROUNDS)

    def _grid(self, *, shifted: bool = False) -> Grid:
        return self.context.grid(*self.plan.canvas_size, size=self.size, shifted=shifted)

    def _paint_round(self, number: int, objective: Objective) -> int | None:
        """Paint a round, and return its steps; None if memory ran out, and smaller tiles are needed."""
        began = time.monotonic()
        context = self.context
        stored = self.checkpoints.read_json(self.checkpoints.directory.round(self.level.index, number) / "round.json")
        if stored is not None:
            self.size = stored["size"]
            self.level = replace(self.level, rounds=stored["rounds"], steps=stored["steps"])
        grid = self._grid(shifted=context.config.tiles.shift and number % 2 == 1)
        geometry = {
            "size": self.size, "rounds": self.level.rounds, "steps": self.level.steps, "overlap": context.overlap,
            "stride": context.config.stride, "rows": list(grid.row_cuts), "columns": list(grid.column_cuts),
        }  # fmt: skip
        store = DiskRoundStore(
            self.checkpoints,
            level=self.level.index,
            number=number,
            geometry=geometry,
            device=statistics_device(context.extract.device),
        )
        try:
            result = self._refined(number, objective, grid=grid, store=store)
        except Interrupted:
            store.save_latest()
            raise
        finally:
            store.drop_latest()  # which refers to tensors and canvases
        if result is None:
            self._shrink_tiles(number, grid=grid, store=store)
            return None
        self.state.canvas = result.canvas
        self.state.optimizer_canvases = result.optimizer_canvases or self.state.optimizer_canvases
        if not math.isfinite(result.loss):
            context.emit(
                events.Notice(
                    f"the loss of round {number + 1} of level {self.level.index + 1} is NaN or infinite, so tiles were "
                    "left as they were; smaller weights under loss: may help"
                )
            )
        self.size = store.size
        self.losses = [*self.losses, result.loss][-ROUNDS - 1 :]
        finished = events.RoundFinished(
            level=self.level.index, round=number, rounds=self.level.rounds, loss=result.loss,
            seconds=time.monotonic() - began,
        )  # fmt: skip
        self._save(number, finished, result=result, tiles=store.tile_files(grid))
        return result.steps

    def _refined(self, number: int, objective: Objective, *, grid: Grid, store: DiskRoundStore) -> RoundResult | None:
        """The round; None where memory ran out."""
        level, config, state = self.level, self.context.config, self.state
        assert state.canvas is not None
        # A level of one round, as the coarsest, ends inside it.
        tolerance = step_tolerance(config.levels.tolerance, steps=config.levels.steps) if level.rounds == 1 else 0.0
        is_last = number == level.rounds - 1
        carried = None if is_last and not state.optimizer_canvases.canvases else state.optimizer_canvases
        exact = config.tiles.coupling == "exact"
        with torch.enable_grad():
            return unless_memory_runs_out(
                partial(
                    refine_round,
                    Round(
                        canvas=state.canvas, content_canvas=self.content.canvas, objective=objective, grid=grid,
                        measure_grid=self.context.measure_grid(*level.canvas_size, size=self.size),
                        coupling=config.tiles.coupling, optimizer=config.optimizer.at_level(level.index),
                        steps=level.steps, tolerance=tolerance, optimizer_canvases=carried, half=True, in_place=True,
                    ),
                    listener=RoundEvents(
                        emit=self.context.emit, level=level, number=number, grid=grid, exact=exact,
                        between_tiles=self.context.trim,
                    ),
                    store=store, executor=self.context.executor,
                )
            )  # fmt: skip

    def _shrink_tiles(self, number: int, *, grid: Grid, store: DiskRoundStore) -> None:
        """After memory ran out: cut the remaining tiles; with none finished, start the round over with smaller ones."""
        store.write_tiles()
        self.checkpoints.writer.flush()
        release_memory()
        smaller = smaller_tiles(store.size, grid, stride=self.context.config.stride)
        self.context.emit(events.TilesShrunk(self.level.index, number, smaller))
        if store.done:  # finished tiles stay, and with them the geometry
            store.cut(smaller)
            return
        self.size = smaller
        if number == 0:
            self.level = split_coarse(self.level, self._grid(), config=self.context.config)
        shutil.rmtree(store.folder, ignore_errors=True)

    def _save(
        self,
        number: int,
        finished: events.RoundFinished | None = None,
        *,
        result: RoundResult | None = None,
        tiles: Sequence[str] = (),
    ) -> None:
        """Write the canvas of a round, then emit its event."""
        level, state = self.level, self.state
        assert state.canvas is not None
        progress = Progress(
            level=level.index, round=number, rounds=level.rounds, steps=level.steps, size=self.size,
            finished=number == level.rounds - 1 or self._is_converged(), losses=tuple(self.losses),
            content_factor=self.content_factor or 1.0,
        )  # fmt: skip
        self.checkpoints.save_canvas(
            progress, state.canvas, result=result, tiles=tiles,
            on_saved=lambda: None if finished is None else self.context.emit(finished),
        )  # fmt: skip

    def _objective(self) -> Objective:
        """The level's objective, with the statistics of the run directory if there are any; sets the tile size."""
        context, plan = self.context, self.plan
        stored = self.checkpoints.load_objective(plan.index)
        while stored is None:
            measured = unless_memory_runs_out(self._measured)
            context.trim()
            if measured is None:
                release_memory()
                self.size = smaller_tiles(self.size, self._grid(), stride=context.config.stride)
                context.emit(events.TilesShrunk(plan.index, 0, self.size))
            else:
                stored = measured
                self.checkpoints.save_objective(plan.index, stored)
        self.size, self.content_factor = stored.tile_size, stored.content_factor
        return level_objective(stored, level=plan, content=self.content, regions=self.regions, context=context)

    def _measured(self) -> ObjectiveData:
        """See `measured_objective`."""
        assert self.state.canvas is not None
        return measured_objective(
            self.plan, start=self.state.canvas, content=self.content, styles=self.styles, regions=self.regions,
            size=self.size, known_factor=self.content_factor, context=self.context,
        )  # fmt: skip


def smaller_tiles(size: int, grid: Grid, *, stride: int) -> int:
    """Half the tile size, after memory ran out; ResourceError where such tiles would be nearly all overlap."""
    used = min(size, max(max(tile.owned.height, tile.owned.width) for tile in grid.tiles))
    half = used // 2 // stride * stride
    if half < max(SMALLEST_TILE, stride):
        raise out_of_memory(
            f"with tiles of {used} px, and tiles cannot be made smaller",
            remedies=("choose a smaller network (--model vgg19-slim)", "run on another device"),
        )
    return half
