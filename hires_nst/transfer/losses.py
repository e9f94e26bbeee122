"""Style losses on finalised moments, the content loss and total variation.

A style loss is a function of two `Statistics`; add one to `STYLE_LOSSES` and it works in tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from hires_nst.transfer.moments import Statistics

StyleLoss = Callable[[Statistics, Statistics], Tensor]
"""(moments of the image, moments of the style) to a scalar, 0 where they are equal and about 1 for a blank."""


FLAT = 0.05
"""The least |cov_s| / |mean_s|^2 that a style's covariance is measured by. With the bundled network, most layers of
paintings have 0.06 to 1, and those of flat and smoothly graded images less than 0.01."""


def gram(image: Statistics, style: Statistics) -> Tensor:
    """|R - R_s|^2 / |R_s|^2 with the second moments R (Gatys, Ecker, Bethge 2015, equation 4).

    Deviation: the paper multiplies the squared distance of the unnormalised Gram matrices by 1 / (4 C^2 n^2); here they
    are divided by their number of positions, so that sizes may differ, and the loss by the style's own squared norm.
    """
    return relative(image.second, style.second)


def mean_covariance(image: Statistics, style: Statistics) -> Tensor:
    """|mean - mean_s|^2 / |mean_s|^2 + |cov - cov_s|^2 / max(|cov_s|, 0.05 |mean_s|^2)^2.

    The second moment of rectified features is dominated by their mean: R = cov + mean mean^T. Taking the two apart
    lets the texture, which lives in the covariance, count as much as the palette. The bound is for flat paintings,
    whose covariance is near 0: divided by its own norm alone, it would outweigh the mean, and with it the colours.
    """
    difference = (image.covariance - style.covariance).square().sum()
    bound = (FLAT * style.mean.square().sum()).square()
    norm = torch.maximum(style.covariance.square().sum(), bound).clamp_min(1e-12)
    return relative(image.mean, style.mean) + difference / norm


STYLE_LOSSES: Mapping[str, StyleLoss] = MappingProxyType({"mean-covariance": mean_covariance, "gram": gram})
"""Style losses by their names in the configuration; read-only."""


def relative(value: Tensor, target: Tensor) -> Tensor:
    """|value - target|^2 / |target|^2; a target of zeros counts as one of norm 1e-6."""
    return (value - target).square().sum() / target.square().sum().clamp_min(1e-12)


def content_sum(features: Tensor, target: Tensor, *, weights: Tensor | None = None) -> Tensor:
    """|F - F_c|^2 summed over channels and positions (Gatys et al. 2015, equation 1, without the factor 1/2).

    Args:
        features, target: (1, C, h, w). Summed in float32 at least.
        weights: of the positions, (1, 1, h, w).
    """
    dtype = torch.promote_types(features.dtype, torch.float32)
    squares = (features.to(dtype) - target.to(dtype)).square()
    return squares.sum() if weights is None else (squares * weights).sum()


def variation_sum(image: Tensor, *, owned_rows: slice, owned_columns: slice, weights: Tensor | None = None) -> Tensor:
    """Squared differences to the right and the lower neighbour, summed over the pixels of `owned` (anisotropic TV-L2).

    Args:
        image: (1, 3, h, w) in [0, 1]; a pixel without a right (lower) neighbour in it has no such difference.
        owned_rows, owned_columns: the pixels whose differences count.
        weights: of the pixels, (1, 1, h, w); a difference weighs the smaller of its two.
    """
    top, left = owned_rows.start, owned_columns.start
    across = (owned_rows, slice(left, owned_columns.stop + 1))
    down = (slice(top, owned_rows.stop + 1), owned_columns)
    total = torch.zeros((), dtype=image.dtype, device=image.device)
    for (rows, columns), axis in ((across, 3), (down, 2)):
        squares = image[:, :, rows, columns].diff(dim=axis).square()
        if weights is not None:
            own, length = weights[:, :, rows, columns], squares.shape[axis]
            squares = squares * torch.minimum(own.narrow(axis, 0, length), own.narrow(axis, 1, length))
        total = total + squares.sum()
    return total
