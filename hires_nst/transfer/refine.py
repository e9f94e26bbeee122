"""A round of refinement: global moments, tiles, blend.

Let G be the statistics of the whole image at the start of the round, T(x) a tile's share in them (its sums over its
window, divided by the whole image's counts), T0 the same at the start, and r the image's area over the window's. A tile
minimises the untiled objective at the virtual statistics

    balanced      G + r (T(x) - T0)     the whole image's, as if everyone moved as this tile does
    independent   r T(x)                the window's own

with content error and total variation times r too. At the start of a round the gradient of `balanced` is the untiled
gradient times r: the gradient-corrected local model of DANE (Shamir, Srebro, Zhang 2014). With one tile both are the
untiled objective. `exact` evaluates the untiled gradient itself in tiles and optimises the whole canvas.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor

from hires_nst.config import Coupling, Optimizer
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.moments import Statistics
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.optimizers import GRADIENT_POWERS, OnState, OptimizerState, Snapshot, minimise
from hires_nst.transfer.tiles import Grid, Tile


@dataclass
class OptimizerCanvases:
    """What the optimiser takes from round to round. It is image-shaped, and so is cut and blended like the image.

    Attributes:
        canvases: the tensors of `optimizers.OptimizerState` for the whole image, with gradients as those of the untiled
            objective; none before the first round.
        steps: taken so far.
    """

    canvases: dict[str, Canvas] = field(default_factory=dict)
    steps: int = 0


@dataclass(frozen=True)
class TileResult:
    """What became of a tile.

    Attributes:
        image: (1, 3, h, w), the new pixels of its window.
        loss: the tile's objective at its last evaluation.
        state: of the optimiser, for `OptimizerCanvases`: without `start`, which is the canvas, and with gradients as
            those of the untiled objective. None where it is not kept.
    """

    image: Tensor
    loss: float
    state: OptimizerState | None


@dataclass(frozen=True)
class Listener:
    """Callbacks of a round, all optional."""

    started: Callable[[float | None], None] = lambda style_loss: None
    step: Callable[[int, int, float], None] = lambda tile, step, loss: None
    tile: Callable[[int, float, float], None] = lambda tile, loss, seconds: None
    restored: Callable[[int, float, float], None] = lambda tile, loss, seconds: None


class RoundStore:
    """What a round remembers beyond its process. This one keeps nothing; see `checkpoint.DiskRoundStore`.

    Any of its methods may raise `Interrupted`; so may whatever the extractor calls before an evaluation.
    """

    def statistics(self) -> dict[str, Statistics] | None:
        """The whole image's at the start of the round, if they are known."""
        return None

    def save_statistics(self, start: dict[str, Statistics]) -> None:
        """They were measured."""

    def tile(self, tile: Tile) -> TileResult | None:
        """A tile's result, if it is known."""
        return None

    def save_tile(self, tile: Tile, result: TileResult, told: Callable[[], None]) -> None:
        """A tile is finished: keep it, unchanged as it stays, and call `told` when that is done, soon or late."""
        told()

    def settle(self) -> None:
        """Wait until all tiles are kept and told."""

    def parts(self, tile: Tile) -> Grid | None:
        """The cut of a tile's window, where memory does not suffice for all of it at once."""
        return None

    def snapshot(self, tile: Tile) -> Snapshot | None:
        """Where to go on inside a tile."""
        return None

    def save_snapshot(self, tile: Tile, step: int, take: Callable[[], Snapshot]) -> None:
        """A step inside a tile is complete; `take` tells where it stands until the next one is."""


def refine_round(
    canvas: Canvas,
    content: Canvas,
    objective: Objective,
    grid: Grid,
    *,
    measure_grid: Grid,
    coupling: Coupling,
    optimizer: Optimizer,
    steps: int,
    memory: OptimizerCanvases | None = None,
    order: Iterable[int] | None = None,
    listener: Listener = Listener(),
    store: RoundStore = RoundStore(),  # noqa: B008 - it has no state
) -> tuple[Canvas, float]:
    """One round: every tile from the same canvas, blended with the feather weights in the order of the tiles' indices.

    A tile's result depends on the canvas, the global statistics and the tile alone, so the new canvas is the same to
    the bit for any `order`.

    Args:
        canvas: the image at the start of the round; not changed.
        content: the photograph at the same size.
        grid: the tiles.
        measure_grid: tiles for the evaluations that need no graph; they may be larger.
        memory: the optimiser's, updated in place; None starts it afresh and keeps nothing.
        order: tile indices in the order in which to work on them.
        store: has what is known of this round already, and takes what becomes known.

    Returns:
        The new canvas, and the mean of the tiles' last losses weighted by owned area.
    """
    if coupling == "exact":
        return _exact_round(canvas, content, objective, grid, optimizer, steps, memory, listener, store)
    start: dict[str, Statistics] | None = None
    if coupling == "balanced" and len(grid.tiles) > 1 and objective.style:
        start = store.statistics()
        if start is None:
            start = objective.statistics(objective.measure(canvas, None, measure_grid).moments)
            store.save_statistics(start)
    listener.started(None if start is None else float(objective.style_value(start)))
    blend = _Blend(canvas, grid, memory)
    losses = [0.0] * len(grid.tiles)
    for index in range(len(grid.tiles)) if order is None else order:
        tile, began = grid.tiles[index], time.monotonic()
        result = store.tile(tile)
        new = result is None
        parts = store.parts(tile) if new else None
        if parts is not None:
            result = refine_in_parts(
                canvas, content, objective, tile, parts, start=start, optimizer=optimizer, steps=steps, memory=memory,
            )  # fmt: skip
        elif result is None:
            result = refine_tile(
                canvas, content, objective, tile, start=start, optimizer=optimizer, steps=steps, memory=memory,
                on_step=partial(listener.step, index), on_state=partial(store.save_snapshot, tile),
                snapshot=store.snapshot(tile),
            )  # fmt: skip
        seconds = time.monotonic() - began
        if new:
            store.save_tile(tile, result, partial(listener.tile, index, result.loss, seconds))
        else:
            listener.restored(index, result.loss, seconds)
        losses[index] = result.loss * tile.owned.area / grid.image.area
        blend.take(tile, result)
    store.settle()
    return blend.finish(steps), sum(losses)


def refine_tile(
    canvas: Canvas,
    content: Canvas,
    objective: Objective,
    tile: Tile,
    *,
    start: dict[str, Statistics] | None,
    optimizer: Optimizer,
    steps: int,
    memory: OptimizerCanvases | None = None,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    on_state: OnState = lambda step, take: None,
    snapshot: Snapshot | None = None,
) -> TileResult:
    """Optimise one tile's window.

    Args:
        start: the whole image's statistics at the start of the round (`balanced`), or None for the window's own.
        memory: see `refine_round`; not changed.
        on_state, snapshot: see `minimise`.
    """
    image = objective.extract.read(canvas, tile.window)
    gradient = tile_gradient(objective, tile, objective.extract.read(content, tile.window), start)
    ratio = objective.height * objective.width / tile.window.area
    state = None
    if memory is not None:
        state = OptimizerState(
            {name: objective.extract.read(c, tile.window) for name, c in memory.canvases.items()}, memory.steps
        )
        _scale(state, ratio)
    last = [float("nan")]

    def told(step: int, value: float) -> None:
        last[0] = value
        on_step(step, value)

    result = minimise(
        image, gradient, optimizer=optimizer, steps=steps, state=state, on_step=told,
        on_state=on_state, snapshot=snapshot,
    )  # fmt: skip
    if state is not None:
        state.tensors.pop("start", None)
        _scale(state, 1 / ratio)
    return TileResult(result, last[0], state)


def _scale(state: OptimizerState, factor: float) -> None:
    """Make the state that of `factor` times the objective."""
    state.tensors = {name: tensor * factor ** GRADIENT_POWERS[name] for name, tensor in state.tensors.items()}


def refine_in_parts(
    canvas: Canvas,
    content: Canvas,
    objective: Objective,
    tile: Tile,
    parts: Grid,
    *,
    start: dict[str, Statistics] | None,
    optimizer: Optimizer,
    steps: int,
    memory: OptimizerCanvases | None = None,
) -> TileResult:
    """A tile's window as a small image in tiles of its own: for when memory suffices for those only.

    To the other tiles it is a tile like any other, so what is finished of the round stays as it is.

    Args:
        parts: the cut of the window, counted from its corner.
        start, optimizer, steps, memory: see `refine_tile`.
    """

    def cut(whole: Canvas) -> Canvas:
        return Canvas(np.array(whole.pixels[tile.window.slices()]))

    own = None if memory is None else OptimizerCanvases(steps=memory.steps)
    blend, loss = _Blend(cut(canvas), parts, own), 0.0
    for part in parts.tiles:
        owned, window = (rect.moved(tile.window.top, tile.window.left) for rect in (part.owned, part.window))
        result = refine_tile(
            canvas, content, objective, Tile(part.index, part.row, part.column, owned, window), start=start,
            optimizer=optimizer, steps=steps, memory=memory,
        )  # fmt: skip
        blend.take(part, result)
        loss += result.loss * owned.area / tile.window.area
    read = partial(Canvas.read, rect=parts.image, device=torch.device("cpu"), dtype=objective.extract.dtype)
    image, state = read(blend.finish(steps)), None
    if own is not None:
        kept = {name: read(whole) for name, whole in own.canvases.items() if name != "start"}
        state = OptimizerState(kept, own.steps)
    return TileResult(image, loss, state)


def tile_gradient(
    objective: Objective, tile: Tile, content: Tensor, start: dict[str, Statistics] | None
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The value and gradient of a tile's own objective, as a function of its window's pixels.

    Args:
        content: the photograph's pixels of the window, (1, 3, h, w).
        start: the whole image's statistics G, or None for the window's own. The first evaluation gives T0.
    """
    target = objective.content_features(content)
    ratio = objective.height * objective.width / tile.window.area
    offset: dict[str, Statistics] = {}

    def gradient(x: Tensor) -> tuple[Tensor, Tensor]:
        terms = objective.terms(x, target, tile.window, tile.window)
        if start is None:
            share = {layer: moments.finalise() for layer, moments in terms.moments.items()}
        else:
            share = objective.statistics(terms.moments, ratio)
            if not offset:
                offset.update({layer: start[layer] - share[layer].detach() for layer in share})
            share = {layer: offset[layer] + share[layer] for layer in share}
        value = objective.value(share, terms.content * ratio, terms.variation * ratio)
        (pull,) = torch.autograd.grad(value, x)
        return value.detach(), pull

    return gradient


class _Blend:
    """Tiles' changes added to a copy of the canvas, always in the order of their indices.

    Changes are blended, not pixels, so that tiles that change nothing leave the canvas as it is to the bit. A result
    that comes early waits until those before it are there.
    """

    def __init__(self, canvas: Canvas, grid: Grid, memory: OptimizerCanvases | None) -> None:
        self.before, self.after = canvas, canvas.copy()
        self.grid, self.memory = grid, memory
        self.kept: dict[str, Canvas] = {}
        self.waiting: dict[int, TileResult] = {}
        self.next = 0

    def take(self, tile: Tile, result: TileResult) -> None:
        """Take a tile's result in."""
        self.waiting[tile.index] = result
        while self.next in self.waiting:
            self._add(self.grid.tiles[self.next], self.waiting.pop(self.next))
            self.next += 1

    def _add(self, tile: Tile, result: TileResult) -> None:
        weight = self.grid.feather(tile)
        old = self.before.read(tile.window, device=torch.device("cpu"), dtype=result.image.dtype)
        self.after.add(tile.window, result.image.cpu() - old, weight)
        if result.state is None:
            return
        for name, tensor in result.state.tensors.items():
            if name not in self.kept:
                self.kept[name] = self.before.blank()
            self.kept[name].add(tile.window, tensor, weight)

    def finish(self, steps: int) -> Canvas:
        """The next canvas, after all tiles."""
        assert not self.waiting and self.next == len(self.grid.tiles)
        self.after.clip()
        if self.memory is not None:
            start = {"start": self.before} if "gradient" in self.kept else {}
            self.memory.canvases, self.memory.steps = {**start, **self.kept}, self.memory.steps + steps
        return self.after


def _exact_round(
    canvas: Canvas,
    content: Canvas,
    objective: Objective,
    grid: Grid,
    optimizer: Optimizer,
    steps: int,
    memory: OptimizerCanvases | None,
    listener: Listener,
    store: RoundStore,
) -> tuple[Canvas, float]:
    """A round of the reference: the whole canvas is one variable, its gradient evaluated in tiles."""
    began = time.monotonic()
    listener.started(None)
    work, whole = canvas.copy(), Tile(0, 0, 0, canvas.image, canvas.image)
    cpu = torch.device("cpu")
    dtype = objective.extract.dtype

    def gradient(x: Tensor) -> tuple[Tensor, Tensor]:
        work.write(work.image, x)
        return objective.gradient(work, content, grid)

    state = None
    if memory is not None:
        whole_canvas = partial(Canvas.read, rect=canvas.image, device=cpu, dtype=dtype)
        state = OptimizerState({name: whole_canvas(c) for name, c in memory.canvases.items()}, memory.steps)
    last = [float("nan")]

    def told(step: int, value: float) -> None:
        last[0] = value
        listener.step(0, step, value)

    start = canvas.read(canvas.image, device=cpu, dtype=dtype)
    result = minimise(
        start, gradient, optimizer=optimizer, steps=steps, state=state, on_step=told,
        on_state=partial(store.save_snapshot, whole), snapshot=store.snapshot(whole),
    )  # fmt: skip
    if memory is not None and state is not None:
        start_canvas = {"start": canvas} if state.tensors.pop("start", None) is not None else {}
        kept = {name: canvas.blank() for name in state.tensors}
        for name, tensor in state.tensors.items():
            kept[name].write(canvas.image, tensor)
        memory.canvases, memory.steps = {**start_canvas, **kept}, state.steps
    work.write(work.image, result)
    work.clip()
    listener.tile(0, last[0], time.monotonic() - began)
    return work, last[0]
