"""L-BFGS on the pixels of an image, with a preconditioner and a curvature pair from the call before."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hires_nst.transfer.convergence import STEPS
from hires_nst.transfer.optimizers import Minimisation, Minimum, OptimizerState, Snapshot, state_tensors
from hires_nst.transfer.parametrization import Parametrization, Variables, preconditioner

FIRST_CHANGE = 0.0075
"""Mean absolute change of a pixel in the first step, where the curvature is unknown.

torch makes that step 1 / |g|_1 long, which is next to nothing for an image and wastes an evaluation.
"""

RESTART_CHANGE = 0.0003
"""The same where the last call's change shows no positive curvature: the image is close to where it will end."""

LEAST_CURVATURE = 1e-4
"""Cosine between the last call's change and the change of the gradient, below which the pair is not used."""

GRADIENT_SCALE = 1000.0
"""Sum of absolute gradients that the loss is scaled to: torch drops curvature pairs whose product is below 1e-10."""

_LISTS = ("old_dirs", "old_stps", "ro")
"""The lists in the state of torch's L-BFGS, with an element for each pair of its history."""


def lbfgs(task: Minimisation) -> Minimum:
    """L-BFGS (Liu and Nocedal 1989) in preconditioned variables; at least one step.

    The change of the image since the start of the last call, and that of the gradient, are as good a curvature pair as
    one from two steps: where calls are rounds, it shows the curvature of the whole image's objective along the joint
    step of all tiles.
    """
    start = task.start.detach()
    value, gradient = task.gradient(start.clone().requires_grad_())
    tensors = {"start": start, "gradient": gradient.nan_to_num()}

    def minimum(image: Tensor, *, loss: float, steps: int) -> Minimum:
        state = None if task.state is None else OptimizerState(tensors, task.total_steps(steps))
        return Minimum(image=image, loss=loss, state=state, steps=steps)

    parametrization = Parametrization(start.shape[-2], start.shape[-1], task.optimizer.pixels)
    variables = Variables(start, preconditioner(gradient, task.mask), parametrization)
    size = float(variables.gradient(gradient).abs().sum())
    if not bool(torch.isfinite(value)) or size == 0.0:
        task.on_step(1, float(value))
        return minimum(start, loss=float(value), steps=1)
    descent = _Descent(task, variables, first=(value, gradient), size=size)
    del value, gradient
    if task.snapshot is not None:
        descent.restore(task.snapshot)
    image = descent.run()
    return minimum(image, loss=descent.loss, steps=descent.done)


class _Descent:
    """torch's L-BFGS on the variables of an image.

    The objective is evaluated at the pixels clamped to [0, 1], and what would push a clamped pixel further out counts
    as no gradient. The variable itself is not clamped: that would falsify the differences of which the curvature is
    made.

    Args:
        first: value and gradient at the start.
        size: sum of the absolute gradient with respect to z there.
    """

    def __init__(self, task: Minimisation, variables: Variables, *, first: tuple[Tensor, Tensor], size: float) -> None:
        self.task, self.variables = task, variables
        self.loss_scale = GRADIENT_SCALE / size
        self.losses: list[float] = []
        self.done = 0
        self.good = self.image = variables.start
        self._first: tuple[Tensor, Tensor] | None = first
        self.z = variables.start.new_zeros(variables.parametrization.length).requires_grad_()
        self.method = torch.optim.LBFGS(
            [self.z], lr=task.optimizer.rate, max_iter=1, history_size=task.optimizer.history, tolerance_grad=0,
            tolerance_change=0,
        )  # fmt: skip
        self._begin(variables.gradient(first[1]), size)

    def _begin(self, first: Tensor, size: float) -> None:
        """Use the pair of the last call if it shows a positive curvature; else set the length of the first step."""
        variables, before = self.variables, self.task.state.tensors if self.task.state is not None else {}
        if before:
            old = variables.gradient(before["gradient"])
            step = variables.lift(variables.start - before["start"])
            if _is_curved(step, first - old):
                self.method.state[self.z] = _state_after(step, old * self.loss_scale)
                return
        # torch's first step is lr * g / |g|_1 in z; this makes its mean absolute value in pixels `change`.
        change = RESTART_CHANGE if before else FIRST_CHANGE
        moved = float(variables.change(first).abs().sum())
        self._set_rate(self.task.optimizer.rate * change * self.task.free * size / moved)

    def _set_rate(self, rate: float) -> None:
        self.method.param_groups[0]["lr"] = rate

    def restore(self, snapshot: Snapshot) -> None:
        """Continue after the step of a snapshot."""
        self.done, self.losses, self._first = snapshot.step, [*snapshot.losses], None
        with torch.no_grad():
            self.z.copy_(snapshot.tensors["z"])
        self.good = self.variables.start.clone().copy_(snapshot.tensors["good"])
        self._update_image()
        self.method.state[self.z] = _restored_state(snapshot, self.z.device)
        self._set_rate(self.task.optimizer.rate)

    @property
    def loss(self) -> float:
        """At the last evaluation; NaN before the first."""
        return self.losses[-1] if self.losses else math.nan

    def run(self) -> Tensor:
        """Take the remaining steps, and return the last image whose value was finite."""
        for step in range(self.done + 1, self.task.steps + 1):
            self.method.step(self._evaluate)  # type: ignore[no-untyped-call]
            self.done = step
            self.task.on_step(step, self.loss)
            if not math.isfinite(self.loss):
                return self.good.clamp(0, 1)
            self.good = self.image
            self._update_image()
            self._set_rate(self.task.optimizer.rate)
            if self.task.has_converged(self.losses):
                break
            if step < self.task.steps:
                losses = tuple(self.losses[-STEPS:])
                # Not a bound method: it may be stored for long, and the task holds canvases.
                take = partial(_snapshot, step, z=self.z, good=self.good, method=self.method, losses=losses)
                self.task.on_snapshot(take)
        return (self.image if bool(self.image.isfinite().all()) else self.good).clamp(0, 1)

    def _update_image(self) -> None:
        self.image = self.variables.start + self.variables.change(self.z.detach())

    def _evaluate(self) -> Tensor:
        """The scaled value at the current image; its gradient goes to z."""
        image = self.image
        value, gradient = self._first or self.task.gradient(image.clamp(0, 1).requires_grad_())
        self._first = None
        outward = ((image < 0) & (gradient > 0)) | ((image > 1) & (gradient < 0))
        self.z.grad = self.variables.gradient(gradient.masked_fill(outward, 0), self.loss_scale)
        self.losses.append(float(value))
        return value * self.loss_scale


def _snapshot(step: int, *, z: Tensor, good: Tensor, method: torch.optim.LBFGS, losses: tuple[float, ...]) -> Snapshot:
    state = {key: value for key, value in method.state[z].items() if key != "al"}  # written before it is read
    tensors, numbers = state_tensors(state)
    return Snapshot(step=step, tensors={"z": z.detach(), "good": good, **tensors}, numbers=numbers, losses=losses)


def _is_curved(step: Tensor, change: Tensor) -> bool:
    """Whether a step and the change of the gradient along it show a positive curvature."""
    return float((step * change).sum()) > LEAST_CURVATURE * float(step.norm() * change.norm())


def _state_after(step: Tensor, gradient: Tensor) -> dict[str, Any]:
    """The state of torch's L-BFGS after one step, whose gradient at its start is given."""
    return {
        "func_evals": 1, "n_iter": 1, "d": step, "t": 1.0, "old_dirs": [], "old_stps": [], "ro": [], "H_diag": 1.0,
        "prev_flat_grad": gradient, "prev_loss": 0.0,
    }  # fmt: skip


def _restored_state(snapshot: Snapshot, device: torch.device) -> dict[str, Any]:
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
