"""The 2-Wasserstein distance of Gaussians with the first two moments of a layer's features, by frozen targets."""

from __future__ import annotations

import torch
from torch import Tensor

from hires_nst.transfer.device import alike
from hires_nst.transfer.losses.style_loss import Matching
from hires_nst.transfer.moments import Statistics
from hires_nst.transfer.reductions import product

RANK = 1e-12
"""Eigenvalues of cov_s^1/2 cov cov_s^1/2 count as at least this many times the largest one of cov_s, squared."""


def gaussian_transport(image: Statistics, style: Statistics) -> Statistics:
    """The optimal map T(f) = mean_s + A (f - mean) between the Gaussians of image and style: `mean` and `map` = A.

    A = S_s^1/2 (S_s^1/2 S S_s^1/2)^-1/2 S_s^1/2 with the covariances S and S_s, symmetric (Peyre, Cuturi 2019,
    Computational Optimal Transport, remark 2.31). The mean of |f - T(f)|^2 is
    W2^2 = |mean - mean_s|^2 + tr(S + S_s - 2 (S_s^1/2 S S_s^1/2)^1/2).

    Regularisation: roots are taken of eigenvalues in float64, those of S_s at least 0, those of the inner matrix at
    least `RANK`. Where S has no variance along a direction of S_s, no map gives it one: there A amplifies what is left,
    at most 1e6-fold, and the value lacks the part of tr S_s along that direction. The map of an image whose statistics
    are not finite is NaN.
    """
    if not bool(image.second.isfinite().all()):  # of which there are no eigenvalues
        return Statistics({"mean": image.mean, "map": torch.full_like(image.second, float("nan"))})
    root, largest = _root(style.covariance)
    values, vectors = torch.linalg.eigh(root @ image.covariance @ root)
    inverse = (vectors / values.clamp_min(RANK * largest**2 + 1e-30).sqrt()) @ vectors.T
    return Statistics({"mean": image.mean, "map": root @ inverse @ root})


def _root(covariance: Tensor) -> tuple[Tensor, float]:
    """The symmetric root of a covariance, and its largest eigenvalue."""
    values, vectors = torch.linalg.eigh(covariance)
    values = values.clamp_min(0)
    return (vectors * values.sqrt()) @ vectors.T, float(values[-1])


def gaussian_targets(features: Tensor, transport: Statistics, *, style: Statistics) -> Tensor:
    """T(f), (C, n) in float32 at least, of (1, C, h, w)."""
    flat = _flat(features.detach())
    mean, target, matrix = (alike(t, flat) for t in (transport.mean, style.mean, transport["map"]))
    return target[:, None] + product(matrix, flat - mean[:, None])


def squared_errors(features: Tensor, targets: Tensor, *, transport: Statistics, style: Statistics) -> Tensor:
    """|f - t|^2 / tr R_s, whose mean is W2^2 / tr R_s; tr R_s, the style's mean |f|^2, is what W2^2 is for a blank.

    Deviation: implementations without tiles differentiate the closed form of W2^2; this has the same value and the
    same gradient where the targets were taken.
    """
    return (_flat(features) - targets).square().sum(0) / float(style.second.trace().clamp_min(1e-12))


def _flat(features: Tensor) -> Tensor:
    return features[0].flatten(1).to(torch.promote_types(features.dtype, torch.float32))


WASSERSTEIN = Matching(transport=gaussian_transport, targets=gaussian_targets, errors=squared_errors, on_device=False)
"""W2^2 / tr R_s."""
