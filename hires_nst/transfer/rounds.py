"""A round of refinement: what its tiles share and return, and the interfaces for progress and storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from hires_nst.config import Coupling, Optimizer
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.moments import Statistics
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.optimizers import OptimizerState, Snapshot, TakeSnapshot
from hires_nst.transfer.tiles import Grid, Tile


@dataclass(frozen=True)
class OptimizerCanvases:
    """What the optimiser carries from round to round; it is image-shaped, so it is cut and blended like the image.

    Attributes:
        canvases: the tensors of `OptimizerState` for the whole image, with gradients as those of the untiled objective;
            none before the first round.
        steps: taken so far.
    """

    canvases: Mapping[str, Canvas] = field(default_factory=dict)
    steps: int = 0

    def read(self, read: Callable[[Canvas], Tensor]) -> OptimizerState:
        """The state of a part of the image, which `read` takes from a canvas."""
        return OptimizerState({name: read(canvas) for name, canvas in self.canvases.items()}, self.steps)


@dataclass(frozen=True, kw_only=True)
class Round:
    """What all tiles of a round share.

    Attributes:
        canvas: the image at the start of the round; not changed.
        content_canvas: the content image at the same size.
        objective: of the whole image.
        measure_grid: tiles for the evaluations that need no graph; they may be larger.
        coupling: between the tiles, see `refine`.
        steps: of each tile, at most.
        tolerance: see `Minimisation`.
        optimizer_canvases: from the previous round, empty before the first; None neither uses nor returns them.
    """

    canvas: Canvas
    content_canvas: Canvas
    objective: Objective
    grid: Grid
    measure_grid: Grid
    coupling: Coupling
    optimizer: Optimizer
    steps: int
    tolerance: float = 0.0
    optimizer_canvases: OptimizerCanvases | None = None


@dataclass(frozen=True, kw_only=True)
class RoundResult:
    """The result of a round.

    Attributes:
        loss: the mean of the tiles' last losses, weighted by owned area.
        optimizer_canvases: for the next round; None where none are carried over.
        steps: the most that a tile took.
    """

    canvas: Canvas
    loss: float
    optimizer_canvases: OptimizerCanvases | None
    steps: int


@dataclass(frozen=True, kw_only=True)
class TileResult:
    """The result of a tile.

    Attributes:
        image: (1, 3, h, w), the new pixels of its window.
        loss: the tile's objective at its last evaluation.
        state: the optimiser's after it, without `start`, with gradients as those of the untiled objective; None where
            none is carried over.
        steps: taken.
    """

    image: Tensor
    loss: float
    state: OptimizerState | None
    steps: int


class RoundListener:
    """Receives the progress of a round; this one ignores it."""

    def round_started(self, style_loss: float | None) -> None:
        """The round starts; with the style loss of the whole image if it was measured."""

    def step_finished(self, tile: int, step: int, *, loss: float) -> None:
        """A tile has taken a step, counted from 1; with the loss before the step."""

    def tile_finished(self, tile: int, *, loss: float, seconds: float, steps: int) -> None:
        """A tile is finished after `steps`, and stored."""

    def tile_restored(self, tile: int, *, loss: float, steps: int) -> None:
        """A tile was already stored, and was loaded."""


class RoundStore:
    """Where a round stores its progress. This one stores nothing; see `run.round_store.DiskRoundStore`.

    Any of its methods may raise `Interrupted`, like the extractor's `check_stop`.
    """

    def load_statistics(self) -> dict[str, Statistics] | None:
        """The statistics of the whole image at the start of the round, if they are stored."""
        return None

    def save_statistics(self, statistics: dict[str, Statistics]) -> None:
        """Store the statistics."""

    def load_tile(self, tile: Tile) -> TileResult | None:
        """The result of a tile, if it is stored."""
        return None

    def save_tile(self, tile: Tile, result: TileResult, *, on_saved: Callable[[], None]) -> None:
        """Store the result of a tile, which stays unchanged, and call `on_saved` once it is stored, now or later."""
        on_saved()

    def flush(self) -> None:
        """Wait until all tiles are stored."""

    def parts_of(self, tile: Tile) -> Grid | None:
        """The cut of a tile's window, where memory does not suffice for all of it at once."""
        return None

    def load_snapshot(self, tile: Tile) -> Snapshot | None:
        """The step to resume from inside a tile."""
        return None

    def save_snapshot(self, tile: Tile, take: TakeSnapshot) -> None:
        """A step inside a tile is complete; a snapshot may be taken and stored."""
