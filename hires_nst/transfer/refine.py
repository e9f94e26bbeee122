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
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import torch
from torch import Tensor

from hires_nst.transfer.canvas import Canvas, Sample
from hires_nst.transfer.kept import Activations
from hires_nst.transfer.minimise import minimise
from hires_nst.transfer.moments import Moments, Statistics
from hires_nst.transfer.objective import LayerTargets, Objective, WholeImage
from hires_nst.transfer.optimizers import Gradient, Minimisation, OptimizerState, Snapshot, TakeSnapshot
from hires_nst.transfer.rounds import OptimizerCanvases, Round, RoundListener, RoundResult, RoundStore, TileResult
from hires_nst.transfer.tiles import Grid, Tile


def refine_round(
    current: Round,
    *,
    order: Iterable[int] | None = None,
    listener: RoundListener = RoundListener(),  # noqa: B008 - it has no state
    store: RoundStore = RoundStore(),  # noqa: B008 - it has no state
) -> RoundResult:
    """One round: every tile from the same canvas, blended with the feather weights in the order of the tiles' indices.

    A tile's result depends on the canvas, the global statistics and the tile alone, so the new canvas is the same to
    the bit for any `order`.

    Args:
        order: tile indices in the order in which to work on them.
        store: of the round's progress, from which what is finished is loaded.
    """
    if current.coupling == "exact":
        return _refine_exactly(current, listener=listener, store=store)
    grid, objective = current.grid, current.objective
    start: WholeImage | None = None
    if current.coupling == "balanced" and len(grid.tiles) > 1 and objective.style:
        statistics = store.load_statistics()
        if statistics is None:
            moments = objective.measure(current.canvas, None, grid=current.measure_grid).moments
            statistics = objective.statistics(moments)
            store.save_statistics(statistics)
        start = objective.whole_image(statistics)
    is_known = start is not None and not start.transports  # a matching's loss would take a second pass
    listener.round_started(float(objective.style_value(start.statistics)) if start and is_known else None)
    blend = Blend(current.canvas, grid, sample_of=current.sample_of)
    losses, most = [0.0] * len(grid.tiles), 0
    for index in range(len(grid.tiles)) if order is None else order:
        tile = grid.tiles[index]
        result = store.load_tile(tile)
        if result is not None:
            listener.tile_restored(index, loss=result.loss, steps=result.steps)
        else:
            began = time.monotonic()
            result = _refine_new_tile(current, tile, start=start, listener=listener, store=store)
            seconds = time.monotonic() - began
            finished = partial(listener.tile_finished, index, loss=result.loss, seconds=seconds, steps=result.steps)
            store.save_tile(tile, result, on_saved=finished)
        most = max(most, result.steps)
        losses[index] = result.loss * objective.area_of(tile.owned) / objective.area
        blend.add(tile, result)
    store.flush()
    step, canvases = blend.finish()
    return _result(current, step, canvases=canvases, loss=sum(losses), steps=most)


def _result(current: Round, step: Canvas, *, canvases: Mapping[str, Canvas], loss: float, steps: int) -> RoundResult:
    """The result of a round that changes the image by `step`; the canvases are the optimiser's but for its `step`."""
    canvas, before = current.canvas if current.in_place else current.canvas.copy(), current.optimizer_canvases
    canvas.add_clipped(step)
    if "gradient" in canvases:
        canvases = {"step": step, **canvases}
    after = None if before is None else OptimizerCanvases(canvases, before.steps + steps)
    return RoundResult(canvas=canvas, step=step, loss=loss, optimizer_canvases=after, steps=steps)


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
    canvases = {}
    for name, tensor in _carried(found.state).items():
        canvases[name] = canvas.blank(current.sample_of(name))
        canvases[name].write(canvas.image, tensor)
    step = canvas.blank(current.sample_of("step"))
    step.write(canvas.image, found.image - start)
    listener.tile_finished(0, loss=found.loss, seconds=time.monotonic() - began, steps=found.steps)
    store.flush()
    return _result(current, step, canvases=canvases, loss=found.loss, steps=found.steps)


def _carried(state: OptimizerState | None) -> dict[str, Tensor]:
    """The tensors of an optimiser's state but for `step`, which is the change of the image; none without a state."""
    return {} if state is None else {name: tensor for name, tensor in state.tensors.items() if name != "step"}


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
    objective, before = current.objective, current.optimizer_canvases
    read = partial(objective.extract.read, rect=tile.window)
    pixels = read(current.canvas)
    if not objective.sees(tile.window):  # it does not change
        return _tile_result(current, torch.zeros_like(pixels), loss=0.0, state=None, steps=0)
    ratio = objective.area / objective.area_of(tile.window)
    content_features = objective.content_features(current.content_canvas, tile.window)
    found = minimise(
        Minimisation(
            start=pixels, mask=objective.changeable(tile.window, objective.extract.device),
            gradient=tile_gradient(objective, tile, content_features=content_features, start=start),
            optimizer=current.optimizer, steps=current.steps, tolerance=current.tolerance,
            state=None if before is None else before.read(read).scaled(ratio),
            on_step=on_step, on_snapshot=on_snapshot, snapshot=snapshot,
        )
    )  # fmt: skip
    state = None if found.state is None else found.state.scaled(1 / ratio)
    return _tile_result(current, found.image - pixels, loss=found.loss, state=state, steps=found.steps)


def _tile_result(current: Round, step: Tensor, *, loss: float, state: OptimizerState | None, steps: int) -> TileResult:
    """The result of a tile, in the types in which it is carried."""

    def carried(name: str, tensor: Tensor) -> Tensor:
        sample = current.sample_of(name)
        return tensor if sample == "float32" else tensor.to(getattr(torch, sample))

    if state is not None:
        tensors = {name: carried(name, tensor) for name, tensor in _carried(state).items()}
        state = OptimizerState(tensors, state.steps)
    return TileResult(step=carried("step", step), loss=loss, state=state, steps=steps)


def refine_in_parts(current: Round, tile: Tile, *, parts: Grid, start: WholeImage | None) -> TileResult:
    """Optimise a tile's window as a small image in tiles of its own, where there is too little memory for the whole.

    Its result is that of a tile like any other, so the round's finished tiles stay valid.

    Args:
        parts: the cut of the window, counted from its corner.
        start: see `refine_tile`.
    """
    blend = Blend(Canvas.empty(parts.height, parts.width), parts)
    loss, most = 0.0, 0
    for part in parts.tiles:
        owned, window = (rect.moved(tile.window.top, tile.window.left) for rect in (part.owned, part.window))
        moved = Tile(index=part.index, row=part.row, column=part.column, owned=owned, window=window)
        result = refine_tile(current, moved, start=start)
        blend.add(part, result)
        most = max(most, result.steps)
        loss += result.loss * current.objective.area_of(owned) / current.objective.area_of(tile.window)
    read = partial(Canvas.read, rect=parts.image, device=torch.device("cpu"), dtype=current.objective.extract.dtype)
    step, canvases = blend.finish()
    state = None
    if current.optimizer_canvases is not None:
        state = OptimizerCanvases(canvases, current.optimizer_canvases.steps + most).read(read)
    return _tile_result(current, read(step), loss=loss, state=state, steps=most)


def tile_gradient(
    objective: Objective, tile: Tile, *, content_features: Activations, start: WholeImage | None
) -> Gradient:
    """The value and gradient of a tile's own objective, as a function of its window's pixels.

    Args:
        content_features: the content image's activations of the window.
        start: the whole image at the start of the round, or None for the window by itself. The first evaluation gives
            T0, and the frozen targets of a matching; by itself, a window has new ones at each evaluation.
    """
    weights = objective.window_weights(tile.window, counted=tile.window)
    ratio = objective.area / objective.area_of(tile.window)
    offset: dict[str, Statistics] | None = None
    targets: Mapping[str, LayerTargets] | None = None

    def match(features: Mapping[str, Tensor], moments: Mapping[str, Moments]) -> Mapping[str, LayerTargets]:
        nonlocal targets
        if start is None:
            own = objective.whole_image({layer: m.finalise() for layer, m in moments.items()})
            return objective.targets(features, own.transports)
        if targets is None:
            targets = objective.targets(features, start.transports)
        return targets

    def gradient(x: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal offset
        terms = objective.terms(
            x, content_features, counted=tile.window, window=tile.window, weights=weights, match=match
        )
        if start is None:
            share = {layer: moments.finalise() for layer, moments in terms.moments.items()}
        else:
            share = objective.statistics(terms.moments, ratio)
            if offset is None:
                offset = {layer: start.statistics[layer] - share[layer].detach() for layer in share}
            share = {layer: offset[layer] + share[layer] for layer in share}
        value = objective.value(share, terms, ratio=ratio)
        (result,) = torch.autograd.grad(value, x)
        return value.detach(), result

    return gradient


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
