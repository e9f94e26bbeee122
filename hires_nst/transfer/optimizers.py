"""The interface of the optimisers: a minimisation, its result, the state between calls, and snapshots between steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hires_nst.config import Optimizer
from hires_nst.transfer.convergence import STEPS, gains_less

Gradient = Callable[[Tensor], tuple[Tensor, Tensor]]
"""(1, 3, h, w) to the objective's value there (scalar) and its gradient (1, 3, h, w)."""

GRADIENT_POWERS: Mapping[str, int] = {"step": 0, "gradient": 1, "mean": 1, "square": 2}
"""The tensors of `OptimizerState`, and the power of the objective's scale that each goes with."""


@dataclass(frozen=True)
class OptimizerState:
    """What an optimiser carries from one call to the next.

    Attributes:
        tensors: (1, 3, h, w) each; none before the first call. Adam: `mean` and `square`, its running means of the
            gradient and of its square. L-BFGS: `step` and `gradient`, the change of the image in the last call and the
            gradient at its start.
        steps: taken so far.
    """

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    steps: int = 0

    def to(self, device: torch.device, dtype: torch.dtype) -> OptimizerState:
        """The same on another device, in another type."""
        return OptimizerState({name: tensor.to(device, dtype) for name, tensor in self.tensors.items()}, self.steps)

    def scaled(self, factor: float) -> OptimizerState:
        """The state for `factor` times the objective."""
        tensors = {name: tensor * factor ** GRADIENT_POWERS[name] for name, tensor in self.tensors.items()}
        return OptimizerState(tensors, self.steps)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """An optimisation between two steps: all that is needed to resume it to the same bits.

    Attributes:
        step: the steps done.
        tensors: the optimiser's own, not copies: the next step changes them. List elements are named `key.index`.
        losses: the values of the last steps, by which the tolerance judges.
    """

    step: int
    tensors: dict[str, Tensor]
    losses: tuple[float, ...] = ()


TakeSnapshot = Callable[[], Snapshot]
"""Takes a snapshot; until the next step is complete it is the one of the step before."""


@dataclass(frozen=True, kw_only=True)
class Minimisation:
    """A minimisation over the pixels of an image, one evaluation of the gradient for each step.

    Attributes:
        start: (1, 3, h, w) in [0, 1]; not changed.
        mask: (1, 1, h, w), the pixels that may change; None for all.
        state: of the previous call, empty before the first; None neither uses nor returns one.
        tolerance: a relative gain of a step; the steps end where they gain less, see `convergence`; 0 for never.
        on_step: called after each step with its number from 1 and the value before it.
        on_snapshot: called after each step but the last, with a function that takes a snapshot.
        snapshot: to resume from, taken with the same arguments; the gradient at `start` is evaluated once more.
    """

    start: Tensor
    gradient: Gradient
    optimizer: Optimizer
    steps: int
    mask: Tensor | None = None
    state: OptimizerState | None = None
    tolerance: float = 0.0
    on_step: Callable[[int, float], None] = lambda step, loss: None
    on_snapshot: Callable[[TakeSnapshot], None] = lambda take: None
    snapshot: Snapshot | None = None

    @property
    def free(self) -> int:
        """The values that may change."""
        return self.start.numel() if self.mask is None else int(self.mask.sum()) * self.start.shape[1]

    def total_steps(self, taken: int) -> int:
        """The steps taken, with those of earlier calls."""
        return taken + (0 if self.state is None else self.state.steps)

    def has_converged(self, losses: Sequence[float]) -> bool:
        """Whether the steps end, given the values before each of the steps so far."""
        return gains_less(losses, self.tolerance, over=STEPS)


@dataclass(frozen=True, kw_only=True)
class Minimum:
    """The result of a minimisation.

    Attributes:
        image: (1, 3, h, w) in [0, 1], detached. Where a value is NaN or infinite the steps end, and this is the last
            image before that.
        loss: the value at the last evaluation; NaN without any.
        state: for the next call; None unless the minimisation was given one.
        steps: taken; fewer than asked for where they gained less than the tolerance.
    """

    image: Tensor
    loss: float
    state: OptimizerState | None
    steps: int
