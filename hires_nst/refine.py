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
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from hires_nst.canvas import Canvas
from hires_nst.config import Coupling, Optimizer
from hires_nst.moments import Statistics
from hires_nst.objective import Objective
from hires_nst.optimizers import FIRST_CHANGE, RESTART_CHANGE, AdamState, OnState, Snapshot, minimise
from hires_nst.tiles import Grid, Tile


@dataclass
class AdamCanvases:
    """Adam's state of the whole image between rounds: it is image-shaped, and so is cut and blended like the image."""

    mean: Canvas
    square: Canvas
    steps: int = 0


@dataclass(frozen=True)
class TileResult:
    """What became of a tile.

    Attributes:
        image: (1, 3, h, w), the new pixels of its window.
        loss: the tile's objective at its last evaluation.
        state: Adam's, if it is kept.
    """

    image: Tensor
    loss: float
    state: AdamState | None


@dataclass(frozen=True)
class Listener:
    """Callbacks of a round, all optional."""

    started: Callable[[float | None], None] = lambda style_loss: None
    step: Callable[[int, int, float], None] = lambda tile, step, loss: None
    tile: Callable[[int, float, float], None] = lambda tile, loss, seconds: None
    restored: Callable[[int, float, float], None] = lambda tile, loss, seconds: None


class Keeper:
    """What a round remembers beyond its process. This one keeps nothing; see `checkpoint.RoundFolder`.

    Any of its methods may raise `Interrupted`; so may whatever the extractor calls before an evaluation.
    """

    def statistics(self) -> dict[str, Statistics] | None:
        """The whole image's at the start of the round, if they are known."""
        return None

    def keep_statistics(self, start: dict[str, Statistics]) -> None:
        """They were measured."""

    def tile(self, tile: Tile) -> TileResult | None:
        """A tile's result, if it is known."""
        return None

    def keep_tile(self, tile: Tile, result: TileResult) -> None:
        """A tile is finished."""

    def parts(self, tile: Tile) -> Grid | None:
        """The cut of a tile's window, where memory does not suffice for all of it at once."""
        return None

    def snapshot(self, tile: Tile) -> Snapshot | None:
        """Where to go on inside a tile."""
        return None

    def keep_snapshot(self, tile: Tile, step: int, take: Callable[[], Snapshot]) -> None:
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
    adam: AdamCanvases | None = None,
    fresh: bool = True,
    order: Iterable[int] | None = None,
    listener: Listener = Listener(),
    keeper: Keeper = Keeper(),  # noqa: B008 - it has no state
) -> tuple[Canvas, float]:
    """One round: every tile from the same canvas, blended with the feather weights in the order of the tiles' indices.

    A tile's result depends on the canvas, the global statistics and the tile alone, so the new canvas is the same to
    the bit for any `order`.

    Args:
        canvas: the image at the start of the round; not changed.
        content: the photograph at the same size.
        grid: the tiles.
        measure_grid: tiles for the evaluations that need no graph; they may be larger.
        adam: Adam's state, updated in place; None restarts it.
        fresh: whether this is a level's first round, in which L-BFGS may begin with a longer step.
        order: tile indices in the order in which to work on them.
        keeper: has what is known of this round already, and takes what becomes known.

    Returns:
        The new canvas, and the mean of the tiles' last losses weighted by owned area.
    """
    if coupling == "exact":
        return _exact_round(canvas, content, objective, grid, optimizer, steps, adam, fresh, listener, keeper)
    start: dict[str, Statistics] | None = None
    if coupling == "balanced" and len(grid.tiles) > 1 and objective.style:
        start = keeper.statistics()
        if start is None:
            start = objective.statistics(objective.measure(canvas, None, measure_grid).moments)
            keeper.keep_statistics(start)
    listener.started(None if start is None else float(objective.style_value(start)))
    blend = _Blend(canvas, grid, adam)
    losses = [0.0] * len(grid.tiles)
    for index in range(len(grid.tiles)) if order is None else order:
        tile, began = grid.tiles[index], time.monotonic()
        result, new = keeper.tile(tile), False
        parts = None if result is not None else keeper.parts(tile)
        if parts is not None:
            new = True
            result = refine_in_parts(
                canvas, content, objective, tile, parts, start=start, optimizer=optimizer, steps=steps, adam=adam,
                fresh=fresh,
            )  # fmt: skip
            keeper.keep_tile(tile, result)
        elif result is None:
            new = True
            result = refine_tile(
                canvas, content, objective, tile, start=start, optimizer=optimizer, steps=steps, adam=adam,
                fresh=fresh, on_step=partial(listener.step, index), on_state=partial(keeper.keep_snapshot, tile),
                snapshot=keeper.snapshot(tile),
            )  # fmt: skip
            keeper.keep_tile(tile, result)
        losses[index] = result.loss * tile.owned.area / grid.image.area
        (listener.tile if new else listener.restored)(index, result.loss, time.monotonic() - began)
        blend.take(tile, result)
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
    adam: AdamCanvases | None = None,
    fresh: bool = True,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    on_state: OnState = lambda step, take: None,
    snapshot: Snapshot | None = None,
) -> TileResult:
    """Optimise one tile's window.

    Args:
        start: the whole image's statistics at the start of the round (`balanced`), or None for the window's own.
        fresh: whether this is a level's first round.
        on_state, snapshot: see `minimise`.
    """
    image = objective.extract.read(canvas, tile.window)
    gradient = tile_gradient(objective, tile, objective.extract.read(content, tile.window), start)
    state = None
    if adam is not None:
        read = objective.extract.read
        state = AdamState(read(adam.mean, tile.window), read(adam.square, tile.window), adam.steps)
    last = [float("nan")]

    def told(step: int, value: float) -> None:
        last[0] = value
        on_step(step, value)

    first_change = FIRST_CHANGE if fresh else RESTART_CHANGE
    result = minimise(
        image, gradient, optimizer=optimizer, steps=steps, state=state, first_change=first_change, on_step=told,
        on_state=on_state, snapshot=snapshot,
    )  # fmt: skip
    return TileResult(result, last[0], state)


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
    adam: AdamCanvases | None = None,
    fresh: bool = True,
) -> TileResult:
    """A tile's window as a small image in tiles of its own: for when memory suffices for those only.

    To the other tiles it is a tile like any other, so what is finished of the round stays as it is.

    Args:
        parts: the cut of the window, counted from its corner.
        start, optimizer, steps, adam, fresh: see `refine_tile`.
    """

    def cut(whole: Canvas) -> Canvas:
        return Canvas(np.array(whole.pixels[tile.window.slices()]))

    state = None if adam is None else AdamCanvases(cut(adam.mean), cut(adam.square), adam.steps)
    blend, loss = _Blend(cut(canvas), parts, state), 0.0
    for part in parts.tiles:
        owned, window = (rect.moved(tile.window.top, tile.window.left) for rect in (part.owned, part.window))
        result = refine_tile(
            canvas, content, objective, Tile(part.index, part.row, part.column, owned, window), start=start,
            optimizer=optimizer, steps=steps, adam=adam, fresh=fresh,
        )  # fmt: skip
        blend.take(part, result)
        loss += result.loss * owned.area / tile.window.area
    after, cpu, dtype = blend.finish(steps), torch.device("cpu"), objective.extract.dtype
    image = after.read(after.image, device=cpu, dtype=dtype)
    if state is None:
        return TileResult(image, loss, None)
    mean, square = (moved.read(moved.image, device=cpu, dtype=dtype) for moved in (state.mean, state.square))
    return TileResult(image, loss, AdamState(mean, square, state.steps))


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

    def __init__(self, canvas: Canvas, grid: Grid, adam: AdamCanvases | None) -> None:
        self.before, self.after = canvas, canvas.copy()
        self.grid, self.adam = grid, adam
        self.moved = None if adam is None else (adam.mean.copy(), adam.square.copy())
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
        pairs = [(self.before, self.after, result.image)]
        if self.adam is not None and self.moved is not None and result.state is not None:
            pairs.append((self.adam.mean, self.moved[0], result.state.mean))
            pairs.append((self.adam.square, self.moved[1], result.state.square))
        for before, after, image in pairs:
            change = image.cpu() - before.read(tile.window, device=torch.device("cpu"), dtype=image.dtype)
            after.add(tile.window, change, weight)

    def finish(self, steps: int) -> Canvas:
        """The next canvas, after all tiles."""
        assert not self.waiting and self.next == len(self.grid.tiles)
        self.after.clip()
        if self.adam is not None and self.moved is not None:
            self.adam.mean, self.adam.square = self.moved
            self.adam.square.pixels.clip(0, None, out=self.adam.square.pixels)
            self.adam.steps += steps
        return self.after


def _exact_round(
    canvas: Canvas,
    content: Canvas,
    objective: Objective,
    grid: Grid,
    optimizer: Optimizer,
    steps: int,
    adam: AdamCanvases | None,
    fresh: bool,
    listener: Listener,
    keeper: Keeper,
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
    if adam is not None:
        state = AdamState(
            adam.mean.read(work.image, device=cpu, dtype=dtype), adam.square.read(work.image, device=cpu, dtype=dtype),
            adam.steps,
        )  # fmt: skip
    last = [float("nan")]

    def told(step: int, value: float) -> None:
        last[0] = value
        listener.step(0, step, value)

    start = canvas.read(canvas.image, device=cpu, dtype=dtype)
    first_change = FIRST_CHANGE if fresh else RESTART_CHANGE
    result = minimise(
        start, gradient, optimizer=optimizer, steps=steps, state=state, first_change=first_change, on_step=told,
        on_state=partial(keeper.keep_snapshot, whole), snapshot=keeper.snapshot(whole),
    )  # fmt: skip
    if adam is not None and state is not None:
        adam.mean.write(work.image, state.mean)
        adam.square.write(work.image, state.square)
        adam.steps = state.steps
    work.write(work.image, result)
    work.clip()
    listener.tile(0, last[0], time.monotonic() - began)
    return work, last[0]
