"""The optimisers of a tile: L-BFGS and Adam of torch, on pixels in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hires_nst.config import Optimizer
from hires_nst.pixels import change, coefficients, pull_back

FIRST_CHANGE = 0.005
"""Mean absolute change of a pixel in L-BFGS' first step, in the first round of a level.

torch makes the first step 1 / |g|_1 long, next to nothing for an image, which wastes an evaluation after every restart.
"""

RESTART_CHANGE = 0.0003
"""The same in later rounds, which start close to where they end: a longer step would first have to be undone."""

WHITENING_RADIUS = 4
"""Pixels around each over which the gradient's root mean square is taken; see `whitening`."""

WHITENING_POWER = 0.75
"""Exponent of the whitening; 0 is plain L-BFGS."""

WHITENING_FLOOR = 0.5
"""Added to the relative gradient, so that the faint grid of the poolings is not amplified in the calmest regions."""

GRADIENT_SCALE = 1000.0
"""Sum of absolute gradients that the loss is scaled to: torch drops curvature pairs whose product is below 1e-10."""

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
    first_change: float = FIRST_CHANGE,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> Tensor:
    """Take `steps` steps, one evaluation of the gradient each, from `start`.

    Args:
        start: (1, 3, h, w) in [0, 1]; not changed.
        state: Adam's, read at the start and updated in place; None starts afresh. L-BFGS keeps nothing.
        first_change: mean absolute change of a pixel in the first step of L-BFGS.
        on_step: told the step's number from 1 and the value before it.

    Returns:
        (1, 3, h, w) in [0, 1], detached. Where a value is not finite the steps end, at the last image that was good.
    """
    if steps < 1:
        return start.detach()
    if optimizer.name == "lbfgs":
        return _lbfgs(start.detach(), gradient, optimizer, steps, first_change, on_step)
    return _adam(start.detach(), gradient, optimizer, steps, state, on_step)


def whitening(pull: Tensor) -> Tensor:
    """The diagonal scaling that L-BFGS works in, from the first gradient: (1, 3, h, w) to positive (1, 1, h, w).

    Calm regions have small gradients and edges large ones; plain L-BFGS, whose first guess of the Hessian is a multiple
    of the identity, leaves the calm ones behind in the few steps of a round. Here pixels are written as x0 + S z with
    S = r^-p, r the root mean square of the gradient in a small neighbourhood relative to its mean over the image: in x
    the first guess of the inverse Hessian becomes S^2. (Adam's scaling by |g| is what makes it start so well.)
    """
    size = 2 * WHITENING_RADIUS + 1
    power = F.pad(pull.square().mean(1, keepdim=True), (WHITENING_RADIUS,) * 4, mode="replicate")
    local = F.avg_pool2d(power, size, stride=1).sqrt()
    return (local / local.mean().clamp_min(1e-30) + WHITENING_FLOOR).pow(-WHITENING_POWER)


def _lbfgs(
    start: Tensor,
    gradient: Gradient,
    optimizer: Optimizer,
    steps: int,
    first_change: float,
    on_step: Callable[[int, float], None],
) -> Tensor:
    """L-BFGS with a whitened first guess of the Hessian.

    The objective is evaluated at the pixels clamped to [0, 1], and what would push a clamped pixel further out counts
    as no gradient. The variable itself is not clamped: that would falsify the differences of which the curvature is
    made.
    """
    value, pull = gradient(start.clone().requires_grad_())
    scaling = whitening(pull)
    z = coefficients(start, optimizer.pixels)

    def image() -> Tensor:
        return start + scaling * change(z)

    first = pull_back(image(), z, pull)
    size = sum(float(g.abs().sum()) for g in first)
    if not bool(torch.isfinite(value)) or size == 0.0:
        on_step(1, float(value))
        return start
    loss_scale = GRADIENT_SCALE / size
    # torch's first step is lr * g / |g|_1 in z; this lr makes its mean absolute value in pixels `first_change`.
    first_rate = optimizer.rate * first_change * start.numel() * size / float((scaling * change(first)).abs().sum())
    method = torch.optim.LBFGS(
        z, lr=optimizer.rate, max_iter=1, history_size=optimizer.history, tolerance_grad=0, tolerance_change=0
    )
    method.param_groups[0]["lr"] = first_rate
    pending = [(value, pull)]
    good, now = start, start
    values: list[float] = []

    def closure() -> Tensor:
        value, pull = pending.pop() if pending else gradient(now.clamp(0, 1).requires_grad_())
        outward = ((now < 0) & (pull > 0)) | ((now > 1) & (pull < 0))
        for level, g in zip(z, pull_back(image(), z, pull.masked_fill(outward, 0) * loss_scale), strict=True):
            level.grad = g
        values.append(float(value))
        return value * loss_scale

    for step in range(1, steps + 1):
        method.step(closure)  # type: ignore[no-untyped-call]
        on_step(step, values[-1])
        if not math.isfinite(values[-1]):
            return good.clamp(0, 1)
        good, now = now, image().detach()
        method.param_groups[0]["lr"] = optimizer.rate
    return (now if bool(now.isfinite().all()) else good).clamp(0, 1)


def _adam(
    start: Tensor,
    gradient: Gradient,
    optimizer: Optimizer,
    steps: int,
    state: AdamState | None,
    on_step: Callable[[int, float], None],
) -> Tensor:
    """Adam (Kingma and Ba 2015), with the pixels clamped after each step."""
    x = start.clone().requires_grad_()
    method = torch.optim.Adam([x], lr=optimizer.rate)
    if state is not None and state.steps:
        method.state[x] = {
            "step": torch.tensor(float(state.steps)),
            "exp_avg": state.mean.clone(),
            "exp_avg_sq": state.square.clone(),
        }
    for step in range(1, steps + 1):
        value, x.grad = gradient(x)
        if not bool(torch.isfinite(value)):
            on_step(step, float(value))
            break
        method.step()
        with torch.no_grad():
            x.clamp_(0, 1)
        on_step(step, float(value))
    if state is not None and x in method.state:
        kept = method.state[x]
        state.mean, state.square, state.steps = kept["exp_avg"], kept["exp_avg_sq"], state.steps + steps
    return x.detach()
