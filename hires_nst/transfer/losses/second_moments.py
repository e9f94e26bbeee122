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


def gram_gatys(image: Statistics, style: Statistics) -> Tensor:
    """|R - R_s|^2 / (4 C^2), which is |G - A|^2 / (4 C^2 n^2) for Gram matrices G and A of C channels at n positions.

    That is E_l of Gatys, Ecker, Bethge 2015 (equation 4), with the sums of all positions G = F F^T; beta w_l there are
    `style_weight` and the layer's weight here, beta / alpha is 1e3 or 1e4, and w_l = 1/5. It is exact where image and
    style have the same n, as in the paper. Deviation: otherwise each Gram matrix is divided by its own n.
    """
    return total((image.second - style.second).square()) / (4 * len(style.second) ** 2)


def gram_gatys_normalised(image: Statistics, style: Statistics) -> Tensor:
    """`gram_gatys` of features divided by `filters`: that of the normalised network of Gatys, Ecker, Bethge 2016.

    The equations of 2016 are those of 2015. What differs is the network, see `normalised_filters`. beta / alpha is 200
    to 2000.
    """
    scale = style["filters"]
    difference = (image.second - style.second) / torch.outer(scale, scale)
    return total(difference.square()) / (4 * len(scale) ** 2)


def gram_johnson(image: Statistics, style: Statistics) -> Tensor:
    """|R - R_s|^2 / C^2: the squared Frobenius norm of G - G_s, with G = F F^T / (C n).

    Johnson, Alahi, Fei-Fei 2016 (Perceptual Losses for Real-Time Style Transfer and Super-Resolution, equations 3 and
    4), where the sizes may differ too. Their weights of the terms are those here.
    """
    return total((image.second - style.second).square()) / len(style.second) ** 2


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
