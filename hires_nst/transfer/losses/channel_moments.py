"""Losses on moments of each channel by itself: means and standard deviations, and central moments up to the fifth."""

from __future__ import annotations

import torch
from torch import Tensor

from hires_nst.transfer.device import alike
from hires_nst.transfer.losses.style_loss import FLAT, relative
from hires_nst.transfer.moments import Moments, Statistics, central
from hires_nst.transfer.weights import LayerWeights

ORDER = 5
"""The highest central moment that counts (Zellinger et al. 2017 found the loss hardly sensitive to it from 3 on)."""

LEAST_VARIANCE = 1e-8
"""Relative to the mean square over the style's channels: below this a standard deviation has no gradient, which would
be infinite at 0. Virtual statistics can have variances below 0."""


def two_powers(features: Tensor, weights: LayerWeights | None, *, style: Statistics) -> Moments:
    """`powers` (2, C), see `Moments.by_channel`."""
    return Moments.by_channel(features, weights, order=2)


def mean_std(image: Statistics, style: Statistics) -> Tensor:
    """(|mean - mean_s|^2 + |std - std_s|^2) / (|mean_s|^2 + |std_s|^2), by channel (Huang, Belongie 2017, equation 13).

    Deviation: the paper takes norms, not their squares, and does not divide. The squares are those of Li, Wang, Liu,
    Hou 2017 (Demystifying Neural Style Transfer, equation 12); the common norm leaves the two terms their ratio.
    """
    return _mean_std(image["powers"], style["powers"])


def gram_mean_std(image: Statistics, style: Statistics) -> Tensor:
    """`gram` + `mean_std`: the style loss of Galerne, Raad, Lezama, Morel 2024 (Scaling Painting Style Transfer).

    Deviation: the paper's weights are 1e3 / C^2 for the mean squared error of Gram matrices, and 1e4 each for those of
    means and standard deviations, and go with the scale of the features of one network, which differs between networks.
    Means and standard deviations keep their ratio of 1; the Gram matrices, relative to their own norm, count as much as
    both together.
    """
    powers = [torch.stack((s.mean, s.second.diagonal())) for s in (image, style)]
    return relative(image.second, style.second) + _mean_std(*powers)


def _mean_std(image: Tensor, style: Tensor) -> Tensor:
    norm = style[1].sum().clamp_min(1e-12)
    least = (LEAST_VARIANCE * norm / style.shape[1]).detach()
    deviations = [(square - mean.square()).clamp_min(least).sqrt() for mean, square in (image, style)]
    distance: Tensor = (image[0] - style[0]).square().sum() + (deviations[0] - deviations[1]).square().sum()
    return distance / norm


def channel_scale(moments: Statistics) -> Statistics:
    """`scale` (C,): the root mean square of each of the style's channels, at least a hundredth of the layer's."""
    squares = moments.second.diagonal()
    return Statistics({"scale": squares.clamp_min(1e-4 * squares.mean()).clamp_min(1e-12).sqrt()})


def squashed_powers(features: Tensor, weights: LayerWeights | None, *, style: Statistics) -> Moments:
    """`powers` (5, C) of tanh(f / (2 s)), with the scale s of each channel, see `central_moments`."""
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    halves = features / alike(2 * style["scale"], features)[None, :, None, None]
    return Moments.by_channel(halves.tanh(), weights, order=ORDER)


def central_moments(image: Statistics, style: Statistics) -> Tensor:
    """The mean over k = 1 ... 5 of |c_k - c_ks|^2 / max(|c_ks|, b_k)^2 by channel: the central moment discrepancy.

    c_1 is the mean, c_k the k-th central moment, of features in a bounded range (Zellinger, Grubinger, Lughofer,
    Natschlaeger, Saminger-Platz 2017; Kalischek, Wegner, Schindler 2021, equation 9). As in the latter, the features
    go through the sigmoid function; here with the scale of the style's channel, and as tanh(f / 2s) = 2 sigmoid(f / s)
    - 1, which only maps 1/2, the value of rectified zeros, to 0.

    Deviation: the papers add the norms themselves, with weights. Squares have a gradient of 0 at the goal, and divided
    by the style's own, high moments, which are small numbers, count as much as low ones. The bound b_k = 0.05 |c_1s|_2
    a^(k-1), with a the mean absolute value in c_1s, is for flat paintings, as in `mean_covariance`.
    """
    ours, theirs = central(image["powers"]), central(style["powers"])
    typical = theirs[0].abs().mean()
    bounds = [FLAT * theirs[0].norm() * typical ** (k - 1) for k in range(1, ORDER + 1)]
    norms = torch.maximum(theirs.norm(dim=1), torch.stack(bounds)).clamp_min(1e-6)
    return ((ours - theirs).square().sum(1) / norms.square()).mean()
