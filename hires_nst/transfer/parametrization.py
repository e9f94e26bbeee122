"""The variables in which L-BFGS optimises the pixels: x = x0 + S P z, S a diagonal preconditioner, P a linear map.

Both are preconditioners only: the canvas holds pixels. Where P is the sum of a Laplacian pyramid, P P^T gives the
gradient more of the low frequencies, like the spectrum of natural images (Olah, Mordvintsev, Schubert 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hires_nst.config import PixelVariables
from hires_nst.transfer.reductions import in_one_thread, total

LEVELS = 5
"""Of the pyramid; each is half as large as the one before."""

RADIUS = 4
"""Pixels around each over which the preconditioner takes the root mean square of the gradient."""

POWER = 0.75
"""Exponent of the preconditioner; 0 is plain L-BFGS."""

FLOOR = 0.5
"""Added to the relative gradient, so that the faint grid of the poolings is not amplified in the calmest regions."""


@dataclass(frozen=True)
class Parametrization:
    """The linear map P from a vector z to a change of an image (1, 3, h, w); its first h * w * 3 entries are pixels."""

    height: int
    width: int
    pixels: PixelVariables

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of each level, the largest first."""
        count = LEVELS if self.pixels == "laplacian" else 1
        return [(max(1, self.height >> k), max(1, self.width >> k)) for k in range(count)]

    @property
    def length(self) -> int:
        """Entries of z."""
        return sum(3 * height * width for height, width in self.sizes)

    def change(self, z: Tensor) -> Tensor:
        """P z: the sum of all levels, enlarged bilinearly to the first one's size; differentiable."""
        parts = torch.split(z, [3 * math.prod(size) for size in self.sizes])
        levels = [part.view(1, 3, *size) for part, size in zip(parts, self.sizes, strict=True)]
        result: Tensor = levels[0]
        size = (self.height, self.width)
        with in_one_thread():
            for level in levels[1:]:
                result = result + F.interpolate(level, size=size, mode="bilinear", align_corners=False)
        return result

    def transpose(self, gradient: Tensor) -> Tensor:
        """P^T of a gradient with respect to the image, (1, 3, h, w): that with respect to z."""
        if self.pixels != "laplacian":
            return gradient.flatten()
        z = gradient.new_zeros(self.length).requires_grad_()
        with torch.enable_grad(), in_one_thread():
            # The gradient of a product: with a gradient as its argument, `grad` imports sympy, 0.7 s of a run's start.
            (result,) = torch.autograd.grad((self.change(z) * gradient).sum(), z)
        return result

    def lift(self, change: Tensor) -> Tensor:
        """A vector z with P z = `change`: all of it in the first level."""
        return F.pad(change.flatten(), (0, self.length - change.numel()))


@dataclass(frozen=True)
class Variables:
    """The vector z in place of the pixels x = start + S P z; `scaling` is S, `parametrization` P."""

    start: Tensor
    scaling: Tensor
    parametrization: Parametrization

    def change(self, z: Tensor) -> Tensor:
        """S P z."""
        return self.scaling * self.parametrization.change(z)

    def gradient(self, gradient: Tensor, factor: float = 1.0) -> Tensor:
        """`factor` times the gradient with respect to z, from that with respect to the pixels."""
        return self.parametrization.transpose(gradient * self.scaling * factor)

    def lift(self, change: Tensor) -> Tensor:
        """A vector z that stands for a change of the pixels."""
        return self.parametrization.lift(change / self.scaling)


def preconditioner(gradient: Tensor, mask: Tensor | None = None) -> Tensor:
    """The scaling S that follows from the first gradient: (1, 3, h, w) to positive (1, 1, h, w).

    With a mask (1, 1, h, w), the mean is that of its pixels.

    Calm regions have small gradients and edges large ones; plain L-BFGS, whose first guess of the Hessian is a multiple
    of the identity, leaves the calm ones behind in the few steps of a round. Here S = (r + 1/2)^-p, r the root mean
    square of the gradient in a small neighbourhood relative to its mean over the image: in x the first guess of the
    inverse Hessian becomes S^2. (Adam's scaling by |g| is what makes it start so well.)
    """
    power = F.pad(gradient.square().mean(1, keepdim=True), (RADIUS,) * 4, mode="replicate")
    side = 2 * RADIUS + 1
    local = F.avg_pool2d(F.avg_pool2d(power, (side, 1), stride=1), (1, side), stride=1).sqrt()
    counted = local if mask is None else local[mask]
    mean = total(counted) / counted.numel()
    return (local / mean.clamp_min(1e-30) + FLOOR).pow(-POWER)
