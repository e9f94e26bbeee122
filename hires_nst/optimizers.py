"""The optimisers of a tile: L-BFGS and Adam of torch, on pixels that stay in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hires_nst.config import Optimizer

LOSS_SCALE = 1000.0
"""Factor on the loss for L-BFGS: torch drops pairs of the history whose inner product is below 1e-10."""

FIRST_CHANGE = 0.005
"""Mean absolute change of a pixel in the first step of L-BFGS.

torch makes the first step 1 / |g|_1 long, which moves a large image by next to nothing and wastes an evaluation after
every restart; the first learning rate undoes that.
"""

Gradient = Callable[[Tensor], tuple[Tensor, Tensor]]
"""(1, 3, h, w) to the objective's value there (scalar) and its gradient (1, 3, h, w)."""


@dataclass
class AdamState:
    """Adam's running means of the gradient and of its square, (1, 3, h, w) each, and the steps behind them."""

    mean: Tensor
    square: Tensor
    steps: int


def minimise(
    start: Tensor,
    gradient: Gradient,
    *,
    optimizer: Optimizer,
    steps: int,
    state: AdamState | None = None,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> Tensor:
    """Take `steps` steps, one evaluation of the gradient each, from `start`.

    After each step the pixels are clamped to [0, 1]. (L-BFGS then remembers the step before the clamp; its curvature
    pairs are slightly off where pixels sit at the bounds, which costs less than bounded steps would.)

    Args:
        start: (1, 3, h, w) in [0, 1]; not changed.
        state: Adam's, read at the start and updated in place; None starts afresh. L-BFGS keeps nothing.
        on_step: told the step's number from 1 and the value before it.

    Returns:
        (1, 3, h, w), detached.
    """
    x = start.detach().clone().requires_grad_()
    method: torch.optim.Optimizer
    if optimizer.name == "lbfgs":
        method = torch.optim.LBFGS(
            [x],
            lr=optimizer.rate,
            max_iter=1,
            history_size=optimizer.history,
            tolerance_grad=0,
            tolerance_change=0,
        )
        scale = LOSS_SCALE
    else:
        method = torch.optim.Adam([x], lr=optimizer.rate)
        if state is not None and state.steps:
            method.state[x] = {
                "step": torch.tensor(float(state.steps)),
                "exp_avg": state.mean.clone(),
                "exp_avg_sq": state.square.clone(),
            }
        scale = 1.0
    values: list[Tensor] = []

    def closure() -> Tensor:
        value, pull = gradient(x)
        x.grad = pull * scale
        values.append(value.detach())
        return values[-1] * scale

    for step in range(1, steps + 1):
        if optimizer.name == "lbfgs":
            method.param_groups[0]["lr"] = optimizer.rate * (FIRST_CHANGE * x.numel() if step == 1 else 1.0)
        method.step(closure)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            x.clamp_(0, 1)
        on_step(step, float(values[-1]))
    if state is not None and optimizer.name == "adam":
        kept = method.state[x]
        state.mean, state.square, state.steps = kept["exp_avg"], kept["exp_avg_sq"], state.steps + steps
    return x.detach()
