"""The variables that stand for the pixels while they are optimised: a preconditioner, for the canvas holds pixels.

A change of the image is P z. Where P is the sum of a Laplacian pyramid, P P^T gives the gradient more of the low
frequencies, as the spectrum of pictures has it (Olah, Mordvintsev, Schubert 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hires_nst.config import PixelVariables

LEVELS = 5
"""Of the pyramid; each is half as large as the one before."""


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
        for level in levels[1:]:
            size = (self.height, self.width)
            result = result + F.interpolate(level, size=size, mode="bilinear", align_corners=False)
        return result

    def transpose(self, gradient: Tensor) -> Tensor:
        """P^T of a gradient with respect to the image, (1, 3, h, w): that with respect to z."""
        if self.pixels == "plain":
            return gradient.flatten()
        z = gradient.new_zeros(self.length).requires_grad_()
        with torch.enable_grad():
            (result,) = torch.autograd.grad(self.change(z), z, gradient)
        return result

    def lift(self, change: Tensor) -> Tensor:
        """A vector z with P z = `change`: all of it in the first level."""
        return F.pad(change.flatten(), (0, self.length - change.numel()))
