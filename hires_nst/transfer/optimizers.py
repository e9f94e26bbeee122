"""The optimisers of a tile: L-BFGS and Adam of torch, on pixels in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hires_nst.config import Optimizer
from hires_nst.transfer.parametrization import Parametrization

FIRST_CHANGE = 0.005
"""Mean absolute change of a pixel in L-BFGS' first step, where nothing is known of the curvature.

torch makes that step 1 / |g|_1 long, which is next to nothing for an image and wastes an evaluation.
"""

RESTART_CHANGE = 0.0003
"""The same where the last round's change tells no positive curvature: the image is close to where it will end."""

LEAST_CURVATURE = 1e-4
"""Cosine between the last round's change and the change of the gradient, below which the pair is not used."""

PRECONDITIONER_RADIUS = 4
"""Pixels around each over which the gradient's root mean square is taken; see `preconditioner`."""

PRECONDITIONER_POWER = 0.75
"""Exponent of the preconditioner; 0 is plain L-BFGS."""

PRECONDITIONER_FLOOR = 0.5
"""Added to the relative gradient, so that the faint grid of the poolings is not amplified in the calmest regions."""

GRADIENT_SCALE = 1000.0
"""Sum of absolute gradients that the loss is scaled to: torch drops curvature pairs whose product is below 1e-10."""

Gradient = Callable[[Tensor], tuple[Tensor, Tensor]]
"""(1, 3, h, w) to the objective's value there (scalar) and its gradient (1, 3, h, w)."""


GRADIENT_POWERS = {"start": 0, "gradient": 1, "mean": 1, "square": 2}
"""The tensors of `OptimizerState`, and the power of the objective's scale that each goes with."""


@dataclass
class OptimizerState:
    """What an optimiser takes from one call of `minimise` to the next.

    Attributes:
        tensors: (1, 3, h, w) each; none before the first call. Adam: `mean` and `square`, its running means of the
            gradient and of its square. L-BFGS: `start` and `gradient`, the image that the last call began with and the
            gradient there.
        steps: taken so far.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    steps: int = 0


@dataclass(frozen=True)
class Snapshot:
    """An optimisation between two steps: what has to be known to go on to the same bits.

    Attributes:
        step: the steps done.
        tensors: the optimiser's own, no copies: the next step changes them. List elements are named `key.index`.
        numbers: the optimiser's.
    """

    step: int
    tensors: dict[str, Tensor]
    numbers: dict[str, float]


OnState = Callable[[int, Callable[[], Snapshot]], None]
"""Told the steps done and how to take a snapshot, which may be done until the next step is complete."""

_LISTS = ("old_dirs", "old_stps", "ro")
"""What torch's L-BFGS keeps one of for each pair of its history."""

_SCRATCH = ("al",)
"""What it writes before it reads."""


def minimise(
    start: Tensor,
    gradient: Gradient,
    *,
    optimizer: Optimizer,
    steps: int,
    state: OptimizerState | None = None,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    on_state: OnState = lambda step, take: None,
    snapshot: Snapshot | None = None,
) -> Tensor:
    """Take `steps` steps, one evaluation of the gradient each, from `start`.

    Args:
        start: (1, 3, h, w) in [0, 1]; not changed.
        state: of an earlier call, read and updated in place; None starts afresh.
        on_step: told the step's number from 1 and the value before it.
        on_state: called after each step but the last.
        snapshot: to go on from, taken with the same arguments; the gradient at `start` is evaluated once more.

    Returns:
        (1, 3, h, w) in [0, 1], detached. Where a value is not finite the steps end, at the last image that was good.
    """
    if steps < 1:
        return start.detach()
    if optimizer.name == "lbfgs":
        return _lbfgs(start.detach(), gradient, optimizer, steps, state, on_step, on_state, snapshot)
    return _adam(start.detach(), gradient, optimizer, steps, state, on_step, on_state, snapshot)


def make_ready() -> None:
    """Have torch import what the first step of an optimiser needs: seconds, which are then not that step's."""
    parameter = torch.zeros(1, requires_grad=True)
    parameter.grad = torch.ones(1)
    torch.optim.LBFGS([parameter], max_iter=1).step(lambda: torch.zeros(()))  # type: ignore[no-untyped-call]


def preconditioner(pull: Tensor) -> Tensor:
    """The diagonal scaling that L-BFGS works in, from the first gradient: (1, 3, h, w) to positive (1, 1, h, w).

    Calm regions have small gradients and edges large ones; plain L-BFGS, whose first guess of the Hessian is a multiple
    of the identity, leaves the calm ones behind in the few steps of a round. Here pixels are written as x0 + S z with
    S = r^-p, r the root mean square of the gradient in a small neighbourhood relative to its mean over the image: in x
    the first guess of the inverse Hessian becomes S^2. (Adam's scaling by |g| is what makes it start so well.)
    """
    size = 2 * PRECONDITIONER_RADIUS + 1
    power = F.pad(pull.square().mean(1, keepdim=True), (PRECONDITIONER_RADIUS,) * 4, mode="replicate")
    local = F.avg_pool2d(power, size, stride=1).sqrt()
    return (local / local.mean().clamp_min(1e-30) + PRECONDITIONER_FLOOR).pow(-PRECONDITIONER_POWER)


def _lbfgs(
    start: Tensor,
    gradient: Gradient,
    optimizer: Optimizer,
    steps: int,
    state: OptimizerState | None,
    on_step: Callable[[int, float], None],
    on_state: OnState,
    snapshot: Snapshot | None,
) -> Tensor:
    """L-BFGS with a preconditioner, which begins with the pair of the last call, if there is one.

    The change of the image since the start of the last call, and that of the gradient, are as good a pair as one from
    two steps: where calls are rounds, it tells the curvature of the whole image's objective along the way that all
    tiles went together.

    The objective is evaluated at the pixels clamped to [0, 1], and what would push a clamped pixel further out counts
    as no gradient. The variable itself is not clamped: that would falsify the differences of which the curvature is
    made.
    """
    value, pull = gradient(start.clone().requires_grad_())
    scaling = preconditioner(pull)
    variables = Parametrization(start.shape[-2], start.shape[-1], optimizer.pixels)
    first = variables.pull_back(pull * scaling)
    size = float(first.abs().sum())
    before = {} if state is None else state.tensors
    if state is not None:
        state.tensors, state.steps = {"start": start, "gradient": pull.nan_to_num()}, state.steps + steps
    if not bool(torch.isfinite(value)) or size == 0.0:
        on_step(1, float(value))
        return start
    loss_scale = GRADIENT_SCALE / size
    z = start.new_zeros(variables.length).requires_grad_()
    method = torch.optim.LBFGS(
        [z], lr=optimizer.rate, max_iter=1, history_size=optimizer.history, tolerance_grad=0, tolerance_change=0
    )
    old = variables.pull_back(before["gradient"] * scaling) if before else first
    last = variables.lift((start - before["start"]) / scaling) if before else torch.zeros_like(first)
    if _curved(last, first - old):
        method.state[z] = _after(last, old * loss_scale)
    else:
        # torch's first step is lr * g / |g|_1 in z; this makes its mean absolute value in pixels `change`.
        change = RESTART_CHANGE if before else FIRST_CHANGE
        moved = float((scaling * variables.change(first)).abs().sum())
        method.param_groups[0]["lr"] = optimizer.rate * change * start.numel() * size / moved
    pending = [(value, pull)]
    good, now = start, start
    values: list[float] = []
    done = 0
    if snapshot is not None:
        done, pending = snapshot.step, []
        with torch.no_grad():
            z.copy_(snapshot.tensors["z"])
        good, now = start.clone().copy_(snapshot.tensors["good"]), start + scaling * variables.change(z.detach())
        method.state[z] = _restored(snapshot, start.device)
        method.param_groups[0]["lr"] = optimizer.rate

    def taken(step: int) -> Snapshot:
        tensors, numbers = _kept(method.state[z])
        return Snapshot(step, {"z": z.detach(), "good": good, **tensors}, numbers)

    def closure() -> Tensor:
        value, pull = pending.pop() if pending else gradient(now.clamp(0, 1).requires_grad_())
        outward = ((now < 0) & (pull > 0)) | ((now > 1) & (pull < 0))
        z.grad = variables.pull_back((pull * scaling * loss_scale).masked_fill(outward, 0))
        values.append(float(value))
        return value * loss_scale

    for step in range(done + 1, steps + 1):
        method.step(closure)  # type: ignore[no-untyped-call]
        on_step(step, values[-1])
        if not math.isfinite(values[-1]):
            return good.clamp(0, 1)
        good, now = now, start + scaling * variables.change(z.detach())
        method.param_groups[0]["lr"] = optimizer.rate
        if step < steps:
            on_state(step, partial(taken, step))
    return (now if bool(now.isfinite().all()) else good).clamp(0, 1)


def _curved(step: Tensor, turn: Tensor) -> bool:
    """Whether a step and what it did to the gradient tell a positive curvature."""
    return float((step * turn).sum()) > LEAST_CURVATURE * float(step.norm() * turn.norm())


def _after(step: Tensor, gradient: Tensor) -> dict[str, Any]:
    """The state of torch's L-BFGS after one step, whose gradient at its start is given."""
    return {
        "func_evals": 1, "n_iter": 1, "d": step, "t": 1.0, "old_dirs": [], "old_stps": [], "ro": [], "H_diag": 1.0,
        "prev_flat_grad": gradient, "prev_loss": 0.0,
    }  # fmt: skip


def _adam(
    start: Tensor,
    gradient: Gradient,
    optimizer: Optimizer,
    steps: int,
    state: OptimizerState | None,
    on_step: Callable[[int, float], None],
    on_state: OnState,
    snapshot: Snapshot | None,
) -> Tensor:
    """Adam (Kingma and Ba 2015), with the pixels clamped after each step."""
    x = start.clone().requires_grad_()
    method = torch.optim.Adam([x], lr=optimizer.rate)
    if state is not None and state.tensors:
        method.state[x] = {
            "step": torch.tensor(float(state.steps)),
            "exp_avg": state.tensors["mean"].clone(),
            "exp_avg_sq": state.tensors["square"].clone(),
        }
    done = 0
    if snapshot is not None:
        done, kept = snapshot.step, snapshot.tensors
        gradient(x)  # the first evaluation is part of what the objective is: see `tile_gradient`
        with torch.no_grad():
            x.copy_(kept["x"])
        method.state[x] = {
            "step": kept["step"].clone(),
            **{key: torch.empty_like(x).copy_(kept[key]).detach() for key in ("exp_avg", "exp_avg_sq")},
        }

    def taken(step: int) -> Snapshot:
        return Snapshot(step, {"x": x.detach(), **_kept(method.state[x])[0]}, {})

    for step in range(done + 1, steps + 1):
        value, x.grad = gradient(x)
        if not bool(torch.isfinite(value)):
            on_step(step, float(value))
            break
        method.step()
        with torch.no_grad():
            x.clamp_(0, 1)
        on_step(step, float(value))
        if step < steps:
            on_state(step, partial(taken, step))
    if state is not None and x in method.state:
        kept = method.state[x]
        state.tensors, state.steps = {"mean": kept["exp_avg"], "square": kept["exp_avg_sq"]}, state.steps + steps
    return x.detach()


def _kept(state: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, float]]:
    """The state that a torch optimiser has of one parameter, lists element by element."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, float] = {}
    for key, value in state.items():
        if key in _SCRATCH:
            continue
        entries = {f"{key}.{i}": v for i, v in enumerate(value)} if isinstance(value, list) else {key: value}
        for name, entry in entries.items():
            if isinstance(entry, Tensor):
                tensors[name] = entry.detach()
            else:
                numbers[name] = entry
    return tensors, numbers


def _restored(snapshot: Snapshot, device: torch.device) -> dict[str, Any]:
    """The state of torch's L-BFGS in a snapshot."""
    state: dict[str, Any] = {**{key: [] for key in _LISTS}, **snapshot.numbers}
    for name, tensor in snapshot.tensors.items():  # lists in the order of their elements, as they were taken
        key, _, index = name.partition(".")
        if key in _LISTS:
            assert int(index) == len(state[key])
            state[key].append(tensor.to(device, copy=True))
        elif key not in ("z", "good"):
            state[key] = tensor.to(device, copy=True)
    return state
