"""Minimise a function of an image's pixels with the configured optimiser; Adam is here, L-BFGS in `lbfgs`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from hires_nst.transfer.convergence import STEPS
from hires_nst.transfer.lbfgs import lbfgs
from hires_nst.transfer.optimizers import Minimisation, Minimum, OptimizerState, Snapshot


def minimise(task: Minimisation) -> Minimum:
    """Take the steps of a minimisation."""
    if task.steps < 1:
        return Minimum(image=task.start.detach(), loss=float("nan"), state=task.state, steps=0)
    task = _masked(task)
    found = lbfgs(task) if task.optimizer.name == "lbfgs" else _adam(task)
    if task.mask is not None:
        found = replace(found, image=torch.where(task.mask, found.image, task.start))
    return found


def _masked(task: Minimisation) -> Minimisation:
    """The same where pixels outside the mask are those of the start, whatever the variables say, and have no gradient.

    Variables that move them and others, such as a pyramid's, stay free.
    """
    mask, start, inner = task.mask, task.start, task.gradient
    if mask is None:
        return task

    def gradient(x: Tensor) -> tuple[Tensor, Tensor]:
        value, result = inner(torch.where(mask, x.detach(), start).requires_grad_())
        return value, result * mask

    return replace(task, gradient=gradient)


def import_optimizers() -> None:
    """Make torch import the optimisers' modules, which takes seconds that would count as the first step's."""
    parameter = torch.zeros(1, requires_grad=True)
    parameter.grad = torch.ones(1)
    torch.optim.Adam([parameter]).step()


def _adam(task: Minimisation) -> Minimum:
    """Adam (Kingma and Ba 2015), with the pixels clamped to [0, 1] after each step; at least one step."""
    x = task.start.detach().clone().requires_grad_()
    method = torch.optim.Adam([x], lr=task.optimizer.rate)
    if task.state is not None and task.state.tensors:
        method.state[x] = {
            "step": torch.tensor(float(task.state.steps)),
            "exp_avg": task.state.tensors["mean"].clone(),
            "exp_avg_sq": task.state.tensors["square"].clone(),
        }
    done, losses = 0, list[float]()
    if task.snapshot is not None:
        done, tensors, losses = task.snapshot.step, task.snapshot.tensors, [*task.snapshot.losses]
        task.gradient(x)  # the first evaluation is part of what the objective is: see `window_gradient`
        with torch.no_grad():
            x.copy_(tensors["x"])
        method.state[x] = {
            "step": tensors["step"].clone(),
            **{key: torch.empty_like(x).copy_(tensors[key]).detach() for key in ("exp_avg", "exp_avg_sq")},
        }

    def snapshot(step: int) -> Snapshot:
        tensors = {"x": x.detach(), **{name: tensor.detach() for name, tensor in method.state[x].items()}}
        return Snapshot(step=step, tensors=tensors, losses=tuple(losses[-STEPS:]))

    for step in range(done + 1, task.steps + 1):
        value, x.grad = task.gradient(x)
        done = step
        losses.append(float(value))
        if not bool(torch.isfinite(value)):
            task.on_step(step, losses[-1])
            break
        method.step()
        with torch.no_grad():
            x.clamp_(0, 1)
        task.on_step(step, losses[-1])
        if task.has_converged(losses):
            break
        if step < task.steps:
            task.on_snapshot(partial(snapshot, step))
    state = task.state
    if state is not None and x in method.state:
        means = method.state[x]
        state = OptimizerState({"mean": means["exp_avg"], "square": means["exp_avg_sq"]}, task.total_steps(done))
    return Minimum(image=x.detach(), loss=losses[-1], state=state, steps=done)
