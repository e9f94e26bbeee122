"""L-BFGS on the pixels of an image, with a preconditioner and a curvature pair from the call before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from hires_nst.transfer.convergence import STEPS
from hires_nst.transfer.optimizers import Minimisation, Minimum, OptimizerState, Snapshot
from hires_nst.transfer.parametrization import Parametrization, Variables, preconditioner
from hires_nst.transfer.reductions import inner, total

FIRST_CHANGE = 0.0075
"""Mean absolute change of a pixel in the first step, where the curvature is unknown.

torch makes that step 1 / |g|_1 long, which is next to nothing for an image and wastes an evaluation.
"""

RESTART_CHANGE = 0.0003
"""The same where the last call's change shows no positive curvature: the image is close to where it will end."""

LEAST_CURVATURE = 1e-4
"""Cosine between the last call's change and the change of the gradient, below which the pair is not used."""

GRADIENT_SCALE = 1000.0
"""Sum of absolute gradients that the loss is scaled to, so that products of changes are far from float32's limits."""

LEAST_PRODUCT = 1e-10
"""Of a step and the change of the scaled gradient along it, below which the pair is not used."""


def lbfgs(task: Minimisation) -> Minimum:
    """L-BFGS (Liu and Nocedal 1989) in preconditioned variables; at least one step.

    The change of the image since the start of the last call, and that of the gradient, are as good a curvature pair as
    one from two steps: where calls are rounds, it shows the curvature of the whole image's objective along the joint
    step of all tiles.
    """
    start = task.start.detach()
    value, gradient = task.gradient(start.clone().requires_grad_())
    first = gradient.nan_to_num()

    def minimum(image: Tensor, *, loss: float, steps: int) -> Minimum:
        tensors = {"step": image - start, "gradient": first}
        state = None if task.state is None else OptimizerState(tensors, task.total_steps(steps))
        return Minimum(image=image, loss=loss, state=state, steps=steps)

    parametrization = Parametrization(start.shape[-2], start.shape[-1], task.optimizer.pixels)
    variables = Variables(start, preconditioner(gradient, task.mask), parametrization)
    size = float(total(variables.gradient(gradient).abs()))
    if not bool(torch.isfinite(value)) or size == 0.0:
        task.on_step(1, float(value))
        return minimum(start, loss=float(value), steps=1)
    descent = _Descent(task, variables, first=(value, gradient), size=size)
    del value, gradient
    if task.snapshot is not None:
        descent.restore(task.snapshot)
    image = descent.run()
    return minimum(image, loss=descent.loss, steps=descent.done)


class _Pairs:
    """The memory of L-BFGS: the last steps s, and the changes y of the gradient along them, oldest first.

    All numbers stay on the device. A pair without curvature has an `inverse` of 0 in place of 1 / (s y), and so no
    effect.

    Args:
        most: pairs that are kept.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.steps: list[Tensor] = []
        self.changes: list[Tensor] = []
        self.inverses: list[Tensor] = []
        self.scale: Tensor | None = None
        """First guess of the inverse Hessian: s y / (y y) of the last pair."""

    def add(self, step: Tensor, change: Tensor) -> None:
        """Take a pair in place of the oldest."""
        product = inner(step, change)
        is_curved = product > LEAST_PRODUCT
        before = torch.ones_like(product) if self.scale is None else self.scale
        self.scale = torch.where(is_curved, product / inner(change, change), before)
        inverse = torch.where(is_curved, 1 / product, 0)
        for entries, entry in ((self.steps, step), (self.changes, change), (self.inverses, inverse)):
            entries.append(entry)
            del entries[: -self.most]

    def direction(self, gradient: Tensor) -> Tensor:
        """Minus the inverse Hessian, as far as it is known, times a gradient: the two loops of Nocedal 1980."""
        result = gradient.neg()
        if self.scale is None:
            return result
        pairs, shares = list(zip(self.steps, self.changes, self.inverses, strict=True)), []
        for step, change, inverse in reversed(pairs):
            shares.append(inverse * inner(step, result))
            result.addcmul_(change, shares[-1], value=-1)
        result.mul_(self.scale)
        for (step, change, inverse), share in zip(pairs, reversed(shares), strict=True):
            result.addcmul_(step, share - inverse * inner(change, result))
        return result

    def tensors(self) -> dict[str, Tensor]:
        """All of it, by name."""
        lists = {"steps": self.steps, "changes": self.changes, "inverses": self.inverses}
        found = {f"{name}.{index}": entry for name, entries in lists.items() for index, entry in enumerate(entries)}
        return found if self.scale is None else {**found, "scale": self.scale}

    def restore(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Take over what `tensors` gave, as copies."""
        if "scale" not in tensors:
            return
        count = sum(name.startswith("steps.") for name in tensors)
        for name, entries in (("steps", self.steps), ("changes", self.changes), ("inverses", self.inverses)):
            entries[:] = [tensors[f"{name}.{index}"].to(device, copy=True) for index in range(count)]
        self.scale = tensors["scale"].to(device, copy=True)


class _Descent:
    """L-BFGS on the variables z of an image, with one evaluation for each step, whose length is the rate.

    The objective is evaluated at the pixels clamped to [0, 1], and what would push a clamped pixel further out counts
    as no gradient. The variable itself is not clamped: that would falsify the differences of which the curvature is
    made. Inside a step no number is read back from the device; between steps the loss is.

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
        self.z = variables.start.new_zeros(variables.parametrization.length)
        self.pairs = _Pairs(task.optimizer.history)
        self.before: tuple[Tensor, Tensor] | None = None
        """The last step and the gradient at its start."""
        self.length = self._begin(variables.gradient(first[1]))

    def _begin(self, first: Tensor) -> Tensor:
        """Use the pair of the last call if it shows a positive curvature; the length of the first step."""
        variables, before = self.variables, self.task.state.tensors if self.task.state is not None else {}
        if before:
            old = variables.gradient(before["gradient"])
            step = variables.lift(before["step"])
            if _is_curved(step, first - old):
                self.before = (step, old * self.loss_scale)
                return self._rate()
        change = RESTART_CHANGE if before else FIRST_CHANGE
        moved = total(variables.change(first).abs()) * self.loss_scale
        return self._rate() * change * self.task.free / moved

    def _rate(self) -> Tensor:
        return self.z.new_full((), self.task.optimizer.rate)

    def restore(self, snapshot: Snapshot) -> None:
        """Continue after the step of a snapshot."""
        tensors, device = snapshot.tensors, self.z.device
        self.done, self.losses, self._first = snapshot.step, [*snapshot.losses], None
        self.z.copy_(tensors["z"])
        self.good = self.variables.start.clone().copy_(tensors["good"])
        self.before = tensors["step"].to(device, copy=True), tensors["gradient"].to(device, copy=True)
        self.pairs.restore(tensors, device)
        self.length = self._rate()
        self._update_image()

    @property
    def loss(self) -> float:
        """At the last evaluation; NaN before the first."""
        return self.losses[-1] if self.losses else math.nan

    def run(self) -> Tensor:
        """Take the remaining steps, and return the last image whose value was finite."""
        for number in range(self.done + 1, self.task.steps + 1):
            self.losses.append(float(self._step()))
            self.done = number
            self.task.on_step(number, self.loss)
            if not math.isfinite(self.loss):
                return self.good.clamp(0, 1)
            self.good = self.image
            self._update_image()
            self.length = self._rate()
            if self.task.has_converged(self.losses):
                break
            if number < self.task.steps:
                assert self.before is not None
                losses = tuple(self.losses[-STEPS:])
                # Not a bound method: it may be stored for long, and the task holds canvases.
                take = partial(
                    _snapshot, number, z=self.z, good=self.good, before=self.before, pairs=self.pairs, losses=losses
                )
                self.task.on_snapshot(take)
        return (self.image if bool(self.image.isfinite().all()) else self.good).clamp(0, 1)

    def _step(self) -> Tensor:
        """Move z, and return the value before."""
        value, gradient = self._evaluated()
        if self.before is not None:
            step, old = self.before
            self.pairs.add(step, gradient - old)
        step = self.pairs.direction(gradient)
        step.mul_(torch.where(inner(step, gradient) < 0, self.length, 0))
        self.z.add_(step)
        self.before = step, gradient
        return value

    def _update_image(self) -> None:
        self.image = self.variables.start + self.variables.change(self.z)

    def _evaluated(self) -> tuple[Tensor, Tensor]:
        """The value at the current image, and its scaled gradient with respect to z."""
        image = self.image
        value, gradient = self._first or self.task.gradient(image.clamp(0, 1).requires_grad_())
        self._first = None
        outward = ((image < 0) & (gradient > 0)) | ((image > 1) & (gradient < 0))
        return value, self.variables.gradient(gradient.masked_fill_(outward, 0), self.loss_scale)


def _snapshot(
    number: int, *, z: Tensor, good: Tensor, before: tuple[Tensor, Tensor], pairs: _Pairs, losses: tuple[float, ...]
) -> Snapshot:
    step, gradient = before
    tensors = {"z": z, "good": good, "step": step, "gradient": gradient, **pairs.tensors()}
    return Snapshot(step=number, tensors=tensors, losses=losses)


def _is_curved(step: Tensor, change: Tensor) -> bool:
    """Whether a step and the change of the gradient along it show a positive curvature."""
    lengths = float((inner(step, step) * inner(change, change)).sqrt())
    return float(inner(step, change)) > LEAST_CURVATURE * lengths
