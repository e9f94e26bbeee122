"""The variables that stand for the pixels while they are optimised: a preconditioner, for the canvas holds pixels.

A change of the image is P z. Where P is the sum of a Laplacian pyramid, P P^T gives the gradient more of the low
frequencies, as the spectrum of pictures has it (Olah, Mordvintsev, Schubert 2017).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from hires_nst.config import Pixels

LEVELS = 5
"""Of the pyramid; each is half as large as the one before."""


def coefficients(like: Tensor, pixels: Pixels) -> list[Tensor]:
    """Zeros that require gradients: one tensor of the shape of `like` (1, 3, h, w), then the pyramid's smaller ones."""
    height, width = like.shape[-2:]
    shrinks = range(LEVELS if pixels == "laplacian" else 1)
    return [like.new_zeros(1, 3, max(1, height >> k), max(1, width >> k)).requires_grad_() for k in shrinks]


def change(levels: Sequence[Tensor]) -> Tensor:
    """P z: the sum of all levels, enlarged bilinearly to the first one's size; linear and differentiable."""
    result = levels[0]
    size = result.shape[-2:]
    for level in levels[1:]:
        result = result + F.interpolate(level, size=size, mode="bilinear", align_corners=False)
    return result


def pull_back(image: Tensor, levels: Sequence[Tensor], pull: Tensor) -> list[Tensor]:
    """The gradient with respect to the levels, where `image` was made of them and `pull` is the gradient there."""
    return [g.contiguous() for g in torch.autograd.grad(image, levels, pull)]
