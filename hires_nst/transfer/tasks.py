"""The work of a round as tasks: pure data, with all that a task depends on besides the objective.

The same code does a task here and in another process, so that the result is the same to the bit. What travels are
windows and statistics: a process elsewhere needs the network, once a level the objective (`SentObjective`), and once a
round the statistics of its start.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from hires_nst.backbones.network import Padding
from hires_nst.config import Loss, Optimizer
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.captured import captured
from hires_nst.transfer.extractor import Extractor
from hires_nst.transfer.kept import Activations, KeptActivations
from hires_nst.transfer.minimise import minimise
from hires_nst.transfer.moments import Moments, Statistics
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.optimizers import Gradient, Minimisation, OptimizerState, Snapshot, TakeSnapshot
from hires_nst.transfer.regions import Region
from hires_nst.transfer.rounds import Round, TileResult, tile_result
from hires_nst.transfer.sums import Norm
from hires_nst.transfer.terms import LayerTargets, TermWeights, WholeImage, gradient_of
from hires_nst.transfer.tiles import Rect, Tile

OnStep = Callable[[int, float], None]
"""A step's number, from 1, and the loss before it."""


def no_step(step: int, loss: float) -> None:
    """Ignore a step."""


class Task(Protocol):
    """A piece of work of a round."""

    def do(self, objective: Objective, *, start: WholeImage | None, on_step: OnStep = no_step) -> Any:
        """Its result: a `TileResult`, a tuple of them, or sums. `start` is the whole image at the round's start."""


MakeTask = Callable[[Tile, Callable[[Hashable], bool]], Task]
"""(a tile, whether the content image's activations of a key are kept where its task is done) to the task."""


@dataclass(frozen=True)
class Finished:
    """A task's tile, its result, and the seconds that it took."""

    tile: Tile
    result: Any
    seconds: float


class Executor(Protocol):
    """Does the tasks of a round elsewhere: in other processes, on other devices or machines."""

    def run(
        self,
        objective: Objective,
        tiles: Iterable[Tile],
        *,
        make: MakeTask,
        start: WholeImage | None = None,
        on_step: Callable[[Tile, int, float], None] = lambda tile, step, loss: None,
    ) -> Iterator[Finished]:
        """Do a task for each tile, in any order; results are on the CPU.

        Args:
            objective: of the level; its `extract.check_stop` is called all the time, and may raise.
            tiles: taken one after the other, shortly before they are needed.
            make: makes the task of a tile when it is sent, maybe in another thread.
            start: of the round.
            on_step: called with each step of a tile, as far as it is known.

        Raises:
            torch.OutOfMemoryError: a task's memory ran out; by then all others under way are finished.
            HiresNstError: nobody is left to do it.
        """


@dataclass(frozen=True, kw_only=True)
class TileTask:
    """The optimisation of a window.

    Attributes:
        window: its place in the image.
        image: (1, 3, h, w), its pixels at the start of the round; this and others in the types of their canvases.
        content: those of the content image; None where the objective keeps their activations.
        content_key: of these activations.
        weights: how much its pixels and positions count.
        mask: the pixels that may change, (1, 1, h, w), bool; None for all.
        ratio: the image's area over the window's.
        optimizer, steps, tolerance: see `Minimisation`.
        state: the optimiser's, with gradients as those of the untiled objective; None neither uses nor returns one.
        half: see `Round.half`.
    """

    window: Rect
    image: Tensor
    content: Tensor | None
    content_key: Hashable
    weights: TermWeights
    mask: Tensor | None
    ratio: float
    optimizer: Optimizer
    steps: int
    tolerance: float
    state: OptimizerState | None
    half: bool

    def do(
        self,
        objective: Objective,
        *,
        start: WholeImage | None,
        on_step: OnStep = no_step,
        on_snapshot: Callable[[TakeSnapshot], None] = lambda take: None,
        snapshot: Snapshot | None = None,
    ) -> TileResult:
        """Optimise the window on the device of the objective.

        Args:
            start: the whole image at the start of the round (`balanced`), or None for the window by itself.
            on_step, on_snapshot, snapshot: see `Minimisation`.
        """
        device, dtype, content = objective.extract.device, objective.extract.dtype, self.content
        pixels = self.image.to(device, dtype)

        def read() -> Tensor:
            assert content is not None, "the activations are not kept"
            return content.to(device, dtype)

        gradient = window_gradient(
            objective, self.window, weights=self.weights.to(device), ratio=self.ratio, start=start,
            content_features=objective.content_activations(self.content_key, read),
        )  # fmt: skip
        if objective.extract.cuda_graphs and (start is not None or objective.maps_on_device):
            gradient = captured(gradient, steps=self.steps)
        found = minimise(
            Minimisation(
                start=pixels, mask=None if self.mask is None else self.mask.to(device),
                gradient=gradient, optimizer=self.optimizer, steps=self.steps, tolerance=self.tolerance,
                state=None if self.state is None else self.state.to(device, dtype).scaled(self.ratio),
                on_step=on_step, on_snapshot=on_snapshot, snapshot=snapshot,
            )
        )  # fmt: skip
        state = None if found.state is None else found.state.scaled(1 / self.ratio)
        return tile_result(found.image - pixels, loss=found.loss, state=state, steps=found.steps, half=self.half)


def tile_task(current: Round, tile: Tile, *, keeps: Callable[[Hashable], bool]) -> TileTask:
    """The task of a tile's window, on the device of the round's objective; see `MakeTask`."""
    objective, window, before = current.objective, tile.window, current.optimizer_canvases
    key = id(current.content_canvas), tile.window

    def read(canvas: Canvas, window: Rect) -> Tensor:
        return canvas.read(window, device=objective.extract.device, dtype=canvas.samples.dtype)

    return TileTask(
        window=window, image=read(current.canvas, window),
        content=None if keeps(key) else read(current.content_canvas, window), content_key=key,
        weights=objective.window_weights(window, counted=window),
        mask=objective.changeable(window, objective.extract.device),
        ratio=objective.area / objective.area_of(window),
        optimizer=current.optimizer, steps=current.steps, tolerance=current.tolerance,
        state=None if before is None else before.read(lambda canvas: read(canvas, window)), half=current.half,
    )  # fmt: skip


@dataclass(frozen=True)
class Unchanged:
    """A window in which nothing counts, so that nothing changes."""

    result: TileResult

    def do(self, objective: Objective, *, start: WholeImage | None, on_step: OnStep = no_step) -> TileResult:
        """Its result."""
        return self.result


@dataclass(frozen=True)
class PartsTask:
    """The windows of a tile's parts, one after the other; their results are not blended yet."""

    parts: tuple[TileTask | Unchanged, ...]

    def do(
        self, objective: Objective, *, start: WholeImage | None, on_step: OnStep = no_step
    ) -> tuple[TileResult, ...]:
        """The results of the parts."""
        return tuple(part.do(objective, start=start) for part in self.parts)


@dataclass(frozen=True, kw_only=True)
class MeasureTask:
    """The sums of a tile's own positions for the statistics of the whole image.

    Attributes:
        counted: the pixels to sum over.
        window, image: those and the halo around them, (1, 3, h, w).
        weights: of the window's pixels and of the counted positions.
    """

    counted: Rect
    window: Rect
    image: Tensor
    weights: TermWeights

    def do(self, objective: Objective, *, start: WholeImage | None, on_step: OnStep = no_step) -> Mapping[str, Moments]:
        """The sums by style term, in float64."""
        device = objective.extract.device
        with torch.no_grad():
            return objective.terms(
                self.image.to(device), {}, counted=self.counted, window=self.window, weights=self.weights.to(device)
            ).moments


def measure_task(current: Round, tile: Tile) -> MeasureTask:
    """The task of a tile of the round's `measure_grid`."""
    objective = current.objective
    window = objective.haloed(tile, current.measure_grid)
    return MeasureTask(
        counted=tile.owned, window=window, image=objective.extract.read(current.canvas, window),
        weights=objective.window_weights(window, counted=tile.owned),
    )  # fmt: skip


def window_gradient(
    objective: Objective,
    window: Rect,
    *,
    weights: TermWeights,
    ratio: float,
    content_features: Activations,
    start: WholeImage | None,
) -> Gradient:
    """The value and gradient of a window's own objective, as a function of its pixels; see `refine`.

    Args:
        weights: of the window.
        ratio: the image's area over the window's.
        content_features: the content image's activations of the window.
        start: the whole image at the start of the round, or None for the window by itself. The first evaluation gives
            T0, and the frozen targets of a matching; by itself, a window has new ones at each evaluation.
    """
    emphasis = weights.emphasis(ratio)
    offset: dict[str, Statistics] | None = None
    targets: Mapping[str, LayerTargets] | None = None

    def match(features: Mapping[str, Tensor], moments: Mapping[str, Moments | None]) -> Mapping[str, LayerTargets]:
        nonlocal targets
        if start is None:
            own = objective.whole_image({term: m.finalise() for term, m in moments.items() if m is not None})
            return objective.targets(features, own.transports, terms=moments)
        if targets is None:
            targets = objective.targets(features, start.transports, terms=moments)
        return targets

    def gradient(x: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal offset
        terms = objective.terms(
            x, content_features, counted=window, window=window, weights=weights, match=match, frozen=start is not None
        )
        if start is None:
            share = {term: moments.finalise() for term, moments in terms.moments.items()}
        else:
            share = objective.statistics(terms.moments, [region.ratio for region in weights.regions])
            if offset is None:
                offset = {term: start.statistics[term] - share[term].detach() for term in share}
            share = {**start.statistics, **{term: offset[term] + share[term] for term in share}}
        value = objective.value(share, terms, ratio=ratio, emphasis=emphasis)
        return value.detach(), gradient_of(value, x)

    return gradient


@dataclass(frozen=True, kw_only=True)
class _TaskObjective(Objective):
    """An objective for tasks alone, which bring the weights of their windows along: it knows only the sums of all."""

    whole_area: float
    whole_positions: Mapping[str, float]

    @property
    def area(self) -> float:
        return self.whole_area

    def positions(self, term: str) -> float:
        return self.whole_positions[term]


@dataclass(frozen=True, kw_only=True)
class SentObjective:
    """What a process elsewhere needs of a level's objective, besides the network; no pixels.

    Attributes:
        area, positions: of the whole image, see `Objective`.
        shares: of the regions.
        desaturation: see `Objective`.
        padding: of the network.
    """

    loss: Loss
    style: Mapping[str, Statistics]
    content_norms: Mapping[str, Norm]
    height: int
    width: int
    area: float
    positions: Mapping[str, float]
    shares: tuple[float, ...]
    desaturation: float
    padding: Padding

    @staticmethod
    def of(objective: Objective) -> SentObjective:
        """That of an objective."""
        return SentObjective(
            loss=objective.loss, style=dict(objective.style), content_norms=dict(objective.content_norms),
            height=objective.height, width=objective.width, area=objective.area,
            positions={term: objective.positions(term) for term in objective.style},
            shares=tuple(region.share for region in objective.regions),
            desaturation=objective.desaturation, padding=objective.extract.network.padding,
        )  # fmt: skip

    def objective(self, extract: Extractor, kept: KeptActivations) -> Objective:
        """The objective in this process, for tasks."""
        return _TaskObjective(
            extract=extract.padded(self.padding), loss=self.loss, content_norms=self.content_norms, kept=kept,
            style={term: statistics.to(extract.device) for term, statistics in self.style.items()},
            regions=tuple(Region(share=share) for share in self.shares),
            height=self.height, width=self.width, whole_area=self.area, whole_positions=self.positions,
            desaturation=self.desaturation,
        )  # fmt: skip


def on_host(current: Round) -> Round:
    """The same round with its objective on the CPU, for making tasks that travel; its network is not to be used."""
    objective = current.objective
    return replace(
        current, objective=replace(objective, extract=replace(objective.extract, device=torch.device("cpu")))
    )
