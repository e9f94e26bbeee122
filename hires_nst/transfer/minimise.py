"""Run the optimiser that the settings name."""

from __future__ import annotations

import torch

from hires_nst.transfer.adam import adam
from hires_nst.transfer.lbfgs import lbfgs
from hires_nst.transfer.optimizers import Minimisation, Minimum


def minimise(task: Minimisation) -> Minimum:
    """Take the steps of a minimisation."""
    if task.steps < 1:
        return Minimum(task.start.detach(), float("nan"), task.state)
    return lbfgs(task) if task.optimizer.name == "lbfgs" else adam(task)


def import_optimizers() -> None:
    """Have torch import what the first step of an optimiser needs: seconds, which then do not count as that step's."""
    parameter = torch.zeros(1, requires_grad=True)
    parameter.grad = torch.ones(1)
    torch.optim.LBFGS([parameter], max_iter=1).step(lambda: torch.zeros(()))  # type: ignore[no-untyped-call]
