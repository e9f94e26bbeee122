"""Losses on the first two moments of a layer's features: Gram matrices, and means with covariances."""

from __future__ import annotations

import torch
from torch import Tensor

from hires_nst.transfer.losses.style_loss import FLAT, relative
from hires_nst.transfer.moments import Statistics
from hires_nst.transfer.reductions import total


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
    difference = total((image.covariance - style.covariance).square())
    bound = (FLAT * style.mean.square().sum()).square()
    norm = torch.maximum(total(style.covariance.square()), bound).clamp_min(1e-12)
    return relative(image.mean, style.mean) + difference / norm
