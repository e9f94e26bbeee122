"""A round of refinement: what its tiles share and return, and the interfaces for progress and storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor

from hires_nst.config import Coupling, Optimizer
from hires_nst.transfer.canvas import Canvas, Sample
from hires_nst.transfer.moments import Statistics
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.optimizers import OptimizerState, Snapshot, TakeSnapshot
from hires_nst.transfer.tiles import Grid, Tile

HALF_SAMPLES: Mapping[str, Sample] = MappingProxyType({"step": "float16", "gradient": "bfloat16"})
"""The types of what `Round.half` carries in half precision: a gradient has any scale, and needs float32's range."""


def sample_of(name: str, half: bool) -> Sample:
    """The type in which `step`, or a tensor of the optimiser's, is carried with or without half precision."""
    return HALF_SAMPLES.get(name, "float32") if half else "float32"


@dataclass(frozen=True)
class OptimizerCanvases:
    """What the optimiser carries from round to round; it is image-shaped, so it is cut and blended like the image.

    Attributes:
        canvases: the tensors of `OptimizerState` for the whole image, with gradients as those of the untiled objective;
            none before the first round. L-BFGS's `step` is the change of the image in the last round.
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
        canvas: the image at the start of the round; not changed unless `in_place`.
        content_canvas: the content image at the same size.
        objective: of the whole image.
        measure_grid: tiles for the evaluations that need no graph; they may be larger.
        coupling: between the tiles, see `refine`.
        steps: of each tile, at most.
        tolerance: see `Minimisation`.
        optimizer_canvases: from the previous round, empty before the first; None neither uses nor returns them.
        half: whether what is small beside the image goes in half precision: the tiles' changes in float16, and L-BFGS's
            gradient in bfloat16. Adam's means add up small numbers, and stay in float32. The image after the round is
            then rounded to 16 bits, in which checkpoints hold it, see `Canvas.quantise`.
        in_place: whether the canvas becomes the result, once all tiles are done.
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
    half: bool = False
    in_place: bool = False

    def sample_of(self, name: str) -> Sample:
        """The type in which `step`, or a tensor of the optimiser's, is carried."""
        return sample_of(name, self.half)


@dataclass(frozen=True, kw_only=True)
class RoundResult:
    """The result of a round.

    Attributes:
        step: the change of the image, before it was clipped.
        loss: the mean of the tiles' last losses, weighted by owned area.
        optimizer_canvases: for the next round; None where none are carried over.
        steps: the most that a tile took.
    """

    canvas: Canvas
    step: Canvas
    loss: float
    optimizer_canvases: OptimizerCanvases | None
    steps: int


@dataclass(frozen=True, kw_only=True)
class TileResult:
    """The result of a tile.

    Attributes:
        step: (1, 3, h, w), the change of the pixels of its window, of the type of `Round.sample_of`.
        loss: the tile's objective at its last evaluation.
        state: the optimiser's after it, without `step`, with gradients as those of the untiled objective, of the types
            of `Round.sample_of`; None where none is carried over.
        steps: taken.
    """

    step: Tensor
    loss: float
    state: OptimizerState | None
    steps: int


def tile_result(step: Tensor, *, loss: float, state: OptimizerState | None, steps: int, half: bool) -> TileResult:
    """The result of a tile, in the types in which a round carries it, see `Round.half`."""

    def carried(name: str, tensor: Tensor) -> Tensor:
        sample = sample_of(name, half)
        return tensor if sample == "float32" else tensor.to(getattr(torch, sample))

    if state is not None:
        state = OptimizerState(
            {name: carried(name, t) for name, t in state.tensors.items() if name != "step"}, state.steps
        )
    return TileResult(step=carried("step", step), loss=loss, state=state, steps=steps)


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
