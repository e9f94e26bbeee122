"""A round of refinement: global moments, tiles, blend.

Let G be the statistics of the whole image at the start of the round, T(x) a tile's share in them (its sums over its
window, divided by the whole image's counts), T0 the same at the start, and r the image's area over the window's, where
pixels have weights by weight. A tile minimises the untiled objective at the virtual statistics

    balanced      G + r (T(x) - T0)     the whole image's, as if every tile changed as this one does
    independent   r T(x)                the window's own

with content loss and total variation times r too. A matching has targets that follow from G and from the features at
the start of the round, and its error at the window's positions counts r times as well. At the start of a round the
gradient of `balanced` is the untiled gradient times r: the gradient-corrected local model of DANE (Shamir, Srebro,
Zhang 2014). With one tile both are the untiled objective. `exact` evaluates the untiled gradient itself in tiles and
optimises the whole canvas.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import partial, reduce

import torch
from torch import Tensor

from hires_nst.backbones.description import PIXELS
from hires_nst.transfer.canvas import Canvas, Sample
from hires_nst.transfer.kept import Activations
from hires_nst.transfer.minimise import minimise
from hires_nst.transfer.moments import Moments
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.optimizers import Gradient, Minimisation, Snapshot, TakeSnapshot
from hires_nst.transfer.regions import layer_of
from hires_nst.transfer.rounds import (
    OptimizerCanvases,
    Round,
    RoundListener,
    RoundResult,
    RoundStore,
    TileResult,
    tile_result,
)
from hires_nst.transfer.sums import visible_tiles
from hires_nst.transfer.tasks import (
    Executor,
    PartsTask,
    Task,
    TileTask,
    Unchanged,
    measure_task,
    on_host,
    tile_task,
    window_gradient,
)
from hires_nst.transfer.terms import WholeImage, sum_of_moments
from hires_nst.transfer.tiles import Grid, Tile


def refine_round(
    current: Round,
    *,
    order: Iterable[int] | None = None,
    listener: RoundListener = RoundListener(),  # noqa: B008 - it has no state
    store: RoundStore = RoundStore(),  # noqa: B008 - it has no state
    executor: Executor | None = None,
) -> RoundResult:
    """One round: every tile from the same canvas, blended with the feather weights in the order of the tiles' indices.

    A tile's result depends on the canvas, the global statistics and the tile alone, so the new canvas is the same to
    the bit for any `order`, and for any `executor` with devices of the same kind.

    Args:
        order: tile indices in the order in which to work on them.
        store: of the round's progress, from which what is finished is loaded.
        executor: does the tiles of a round that has several, unless the coupling is `exact`; None does them here, one
            after the other.
    """
    if current.coupling == "exact":
        return _refine_exactly(current, listener=listener, store=store)
    grid, objective = current.grid, current.objective
    executor = executor if len(grid.tiles) > 1 else None
    start: WholeImage | None = None
    if current.coupling == "balanced" and len(grid.tiles) > 1 and objective.style:
        statistics = store.load_statistics()
        if statistics is None:
            statistics = objective.statistics(_measured(current, executor))
            store.save_statistics(statistics)
        start = objective.whole_image(statistics)
    # A matching's loss would take a second pass; without that of the colours, the loss is the layers' alone.
    is_known = start is not None and all(layer_of(term) == PIXELS for term in start.transports)
    listener.round_started(float(objective.style_value(start.statistics)) if start and is_known else None)
    results = _Results(current)

    def unfinished() -> Iterator[Tile]:
        for index in range(len(grid.tiles)) if order is None else order:
            tile = grid.tiles[index]
            result = store.load_tile(tile)
            if result is None:
                yield tile
            else:
                listener.tile_restored(index, loss=result.loss, steps=result.steps)
                results.add(tile, result)

    for tile, result, seconds in _refined(
        current, unfinished(), start=start, listener=listener, store=store, executor=executor
    ):
        finished = partial(listener.tile_finished, tile.index, loss=result.loss, seconds=seconds, steps=result.steps)
        store.save_tile(tile, result, on_saved=finished)
        results.add(tile, result)
    store.flush()
    return results.finish()


class _Results:
    """The tiles of a round, as they are finished."""

    def __init__(self, current: Round) -> None:
        self._round, self._blend = current, Blend(current.canvas, current.grid, sample_of=current.sample_of)
        self._losses, self._steps = [0.0] * len(current.grid.tiles), [0] * len(current.grid.tiles)

    def add(self, tile: Tile, result: TileResult) -> None:
        """Add a tile."""
        objective = self._round.objective
        self._steps[tile.index] = result.steps
        self._losses[tile.index] = result.loss * objective.area_of(tile.owned) / objective.area
        self._blend.add(tile, result)

    def finish(self) -> RoundResult:
        """The result of the round, after all tiles."""
        step, canvases = self._blend.finish()
        return _result(self._round, step, canvases=canvases, loss=sum(self._losses), steps=max(self._steps))


def _result(current: Round, step: Canvas, *, canvases: Mapping[str, Canvas], loss: float, steps: int) -> RoundResult:
    """The result of a round that changes the image by `step`; the canvases are the optimiser's but for its `step`."""
    canvas, before = current.canvas if current.in_place else current.canvas.copy(), current.optimizer_canvases
    canvas.add_clipped(step)
    if current.half:
        canvas.quantise()
    if "gradient" in canvases:
        canvases = {"step": step, **canvases}
    after = None if before is None else OptimizerCanvases(canvases, before.steps + steps)
    return RoundResult(canvas=canvas, step=step, loss=loss, optimizer_canvases=after, steps=steps)


def _measured(current: Round, executor: Executor | None) -> Mapping[str, Moments]:
    """The sums of the whole image at the start of a round, added in the order of the tiles."""
    objective, grid = current.objective, current.measure_grid
    if executor is None:
        return objective.measure(current.canvas, None, grid=grid).moments
    sent = on_host(current)
    found: dict[int, Mapping[str, Moments]] = {
        part.tile.index: part.result
        for part in executor.run(
            objective, visible_tiles(grid, objective.weights), make=lambda tile, keeps: measure_task(sent, tile)
        )
    }
    parts = [{term: m.to(objective.extract.device) for term, m in found[index].items()} for index in sorted(found)]
    return reduce(sum_of_moments, parts)


def _refined(
    current: Round,
    tiles: Iterator[Tile],
    *,
    start: WholeImage | None,
    listener: RoundListener,
    store: RoundStore,
    executor: Executor | None,
) -> Iterator[tuple[Tile, TileResult, float]]:
    """Optimise tiles that are not stored: the results in any order, and the seconds that each took."""
    if executor is None:
        for tile in tiles:
            began = time.monotonic()
            result = _refine_new_tile(current, tile, start=start, listener=listener, store=store)
            yield tile, result, time.monotonic() - began
        return
    sent = on_host(current)

    def make(tile: Tile, keeps: Callable[[Hashable], bool]) -> Task:
        parts = store.parts_of(tile) if current.objective.sees(tile.window) else None
        if parts is None:
            return _task(sent, tile, keeps=keeps)
        return PartsTask(tuple(_task(sent, _moved(tile, part), keeps=keeps) for part in parts.tiles))

    for found in executor.run(
        current.objective, tiles, make=make, start=start,
        on_step=lambda tile, step, loss: listener.step_finished(tile.index, step, loss=loss),
    ):  # fmt: skip
        result = found.result
        if not isinstance(result, TileResult):
            parts = store.parts_of(found.tile)
            assert parts is not None
            result = _joined(current, found.tile, parts=parts, results=iter(result))
        yield found.tile, result, found.seconds


def _task(current: Round, tile: Tile, *, keeps: Callable[[Hashable], bool]) -> TileTask | Unchanged:
    """The task of a tile's window, if anything in it counts."""
    if current.objective.sees(tile.window):
        return tile_task(current, tile, keeps=keeps)
    step = torch.zeros_like(current.objective.extract.read(current.canvas, tile.window))
    return Unchanged(tile_result(step, loss=0.0, state=None, steps=0, half=current.half))


def _refine_exactly(current: Round, *, listener: RoundListener, store: RoundStore) -> RoundResult:
    """Take the steps of a round with the untiled gradient; the whole canvas is one variable; see `refine_round`."""
    began, canvas, objective = time.monotonic(), current.canvas, current.objective
    listener.round_started(None)
    work, whole = canvas.copy(), Tile(index=0, row=0, column=0, owned=canvas.image, window=canvas.image)
    read = partial(Canvas.read, rect=canvas.image, device=torch.device("cpu"), dtype=objective.extract.dtype)

    def gradient(x: Tensor) -> tuple[Tensor, Tensor]:
        work.write(work.image, x)
        return objective.gradient(work, current.content_canvas, grid=current.grid)

    before, start = current.optimizer_canvases, read(canvas)
    found = minimise(
        Minimisation(
            start=start, mask=objective.changeable(canvas.image, torch.device("cpu")), gradient=gradient,
            optimizer=current.optimizer, steps=current.steps, tolerance=current.tolerance,
            state=None if before is None else before.read(read),
            on_step=lambda step, loss: listener.step_finished(0, step, loss=loss),
            on_snapshot=partial(store.save_snapshot, whole), snapshot=store.load_snapshot(whole),
        )
    )  # fmt: skip
    carried = {} if found.state is None else {n: t for n, t in found.state.tensors.items() if n != "step"}
    canvases = {}
    for name, tensor in carried.items():
        canvases[name] = canvas.blank(current.sample_of(name))
        canvases[name].write(canvas.image, tensor)
    step = canvas.blank(current.sample_of("step"))
    step.write(canvas.image, found.image - start)
    listener.tile_finished(0, loss=found.loss, seconds=time.monotonic() - began, steps=found.steps)
    store.flush()
    return _result(current, step, canvases=canvases, loss=found.loss, steps=found.steps)


def _refine_new_tile(
    current: Round, tile: Tile, *, start: WholeImage | None, listener: RoundListener, store: RoundStore
) -> TileResult:
    """Optimise a tile that is not stored, whole or in parts."""
    parts = store.parts_of(tile) if current.objective.sees(tile.window) else None
    if parts is not None:
        return refine_in_parts(current, tile, parts=parts, start=start)
    return refine_tile(
        current, tile, start=start, on_step=lambda step, loss: listener.step_finished(tile.index, step, loss=loss),
        on_snapshot=partial(store.save_snapshot, tile), snapshot=store.load_snapshot(tile),
    )  # fmt: skip


def refine_tile(
    current: Round,
    tile: Tile,
    *,
    start: WholeImage | None,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    on_snapshot: Callable[[TakeSnapshot], None] = lambda take: None,
    snapshot: Snapshot | None = None,
) -> TileResult:
    """Optimise one tile's window.

    Args:
        start: the whole image at the start of the round (`balanced`), or None for the window by itself.
        on_step, on_snapshot, snapshot: see `Minimisation`.
    """
    task = _task(current, tile, keeps=current.objective.keeps)
    if isinstance(task, Unchanged):
        return task.result
    return task.do(current.objective, start=start, on_step=on_step, on_snapshot=on_snapshot, snapshot=snapshot)


def refine_in_parts(current: Round, tile: Tile, *, parts: Grid, start: WholeImage | None) -> TileResult:
    """Optimise a tile's window as a small image in tiles of its own, where there is too little memory for the whole.

    Its result is that of a tile like any other, so the round's finished tiles stay valid.

    Args:
        parts: the cut of the window, counted from its corner.
        start: see `refine_tile`.
    """
    results = (refine_tile(current, _moved(tile, part), start=start) for part in parts.tiles)
    return _joined(current, tile, parts=parts, results=results)


def _joined(current: Round, tile: Tile, *, parts: Grid, results: Iterator[TileResult]) -> TileResult:
    """The result of a tile from those of its parts, in their order; see `refine_in_parts`."""
    blend = Blend(Canvas.empty(parts.height, parts.width), parts)
    loss, most = 0.0, 0
    for part, result in zip(parts.tiles, results, strict=True):
        blend.add(part, result)
        most = max(most, result.steps)
        area = current.objective.area_of(_moved(tile, part).owned)
        loss += result.loss * area / current.objective.area_of(tile.window)
    read = partial(Canvas.read, rect=parts.image, device=torch.device("cpu"), dtype=current.objective.extract.dtype)
    step, canvases = blend.finish()
    state = None
    if current.optimizer_canvases is not None:
        state = OptimizerCanvases(canvases, current.optimizer_canvases.steps + most).read(read)
    return tile_result(read(step), loss=loss, state=state, steps=most, half=current.half)


def _moved(tile: Tile, part: Tile) -> Tile:
    """A part of a tile's window, at its place in the image."""
    owned, window = (rect.moved(tile.window.top, tile.window.left) for rect in (part.owned, part.window))
    return Tile(index=part.index, row=part.row, column=part.column, owned=owned, window=window)


def tile_gradient(
    objective: Objective, tile: Tile, *, content_features: Activations, start: WholeImage | None
) -> Gradient:
    """The value and gradient of a tile's own objective; see `window_gradient`."""
    return window_gradient(
        objective, tile.window, weights=objective.window_weights(tile.window, counted=tile.window),
        ratio=objective.area / objective.area_of(tile.window), content_features=content_features, start=start,
    )  # fmt: skip


class Blend:
    """Tiles' changes added up, always in the order of their indices; a result that arrives early waits.

    Changes are blended, not pixels, so that tiles that change nothing leave the canvas the same to the bit.

    Args:
        canvas: of the size and in the place of those that are made.
        sample_of: the type of `step`, and of the optimiser's canvases by name.
    """

    def __init__(
        self, canvas: Canvas, grid: Grid, *, sample_of: Callable[[str], Sample] = lambda name: "float32"
    ) -> None:
        self.grid, self._like, self._sample_of = grid, canvas, sample_of
        self.step = canvas.blank(sample_of("step"))
        self.state_canvases: dict[str, Canvas] = {}
        self._waiting: dict[int, TileResult] = {}
        self._next = 0

    def add(self, tile: Tile, result: TileResult) -> None:
        """Add the result of a tile, as soon as all before it are added."""
        self._waiting[tile.index] = result
        while self._next in self._waiting:
            self._add(self.grid.tiles[self._next], self._waiting.pop(self._next))
            self._next += 1

    def _add(self, tile: Tile, result: TileResult) -> None:
        weight = self.grid.feather(tile)
        self.step.add(tile.window, result.step, weight=weight)
        if result.state is None:
            return
        for name, tensor in result.state.tensors.items():
            if name not in self.state_canvases:
                self.state_canvases[name] = self._like.blank(self._sample_of(name))
            self.state_canvases[name].add(tile.window, tensor, weight=weight)

    def finish(self) -> tuple[Canvas, dict[str, Canvas]]:
        """The change of the canvas, and the canvases of the optimiser's tensors; after all tiles."""
        assert not self._waiting and self._next == len(self.grid.tiles)
        return self.step, self.state_canvases
