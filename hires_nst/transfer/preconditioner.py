"""The diagonal scaling that L-BFGS works in."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

RADIUS = 4
"""Pixels around each over which the gradient's root mean square is taken."""

POWER = 0.75
"""Exponent of the scaling; 0 is plain L-BFGS."""

FLOOR = 0.5
"""Added to the relative gradient, so that the faint grid of the poolings is not amplified in the calmest regions."""


def preconditioner(gradient: Tensor) -> Tensor:
    """The scaling S that follows from the first gradient: (1, 3, h, w) to positive (1, 1, h, w).

    Calm regions have small gradients and edges large ones; plain L-BFGS, whose first guess of the Hessian is a multiple
    of the identity, leaves the calm ones behind in the few steps of a round. Here pixels are written as x0 + S z with
    S = r^-p, r the root mean square of the gradient in a small neighbourhood relative to its mean over the image: in x
    the first guess of the inverse Hessian becomes S^2. (Adam's scaling by |g| is what makes it start so well.)
    """
    power = F.pad(gradient.square().mean(1, keepdim=True), (RADIUS,) * 4, mode="replicate")
    local = F.avg_pool2d(power, 2 * RADIUS + 1, stride=1).sqrt()
    return (local / local.mean().clamp_min(1e-30) + FLOOR).pow(-POWER)
