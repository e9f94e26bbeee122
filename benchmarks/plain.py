"""The field's losses written plainly on whole pictures, to check and to judge by: nothing of the program's own losses.

Features are (1, C, h, w); what is computed from their statistics is in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

STYLE_LAYERS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
CONTENT_LAYER = "conv4_2"


@dataclass(frozen=True, eq=False)
class Gaussian:
    """The mean (C,) and the covariance (C, C) of features, in float64."""

    mean: Tensor
    covariance: Tensor

    @staticmethod
    def of(features: Tensor) -> Gaussian:
        """The statistics of (1, C, h, w), differentiable; summed in the features' own precision, around the mean."""
        flat = features[0].flatten(1)
        mean = flat.mean(1)
        centred = flat - mean[:, None]
        return Gaussian(mean.double(), (centred @ centred.T / flat.shape[1]).double())

    @property
    def second(self) -> Tensor:
        """The second moment, (C, C): the Gram matrix divided by the number of positions."""
        return self.covariance + torch.outer(self.mean, self.mean)

    @property
    def deviation(self) -> Tensor:
        """The channels' standard deviations, (C,)."""
        return self.covariance.diagonal().clamp_min(1e-12).sqrt()


def relative(value: Tensor, target: Tensor) -> Tensor:
    """|value - target|^2 / |target|^2; a target of zeros counts as one of norm 1e-6."""
    return (value - target).square().sum() / target.square().sum().clamp_min(1e-12)


def mean_covariance(image: Gaussian, style: Gaussian) -> Tensor:
    """|mean - mean_s|^2 / |mean_s|^2 + |cov - cov_s|^2 / |cov_s|^2, with no bound for paintings of little texture."""
    return relative(image.mean, style.mean) + relative(image.covariance, style.covariance)


def gram(image: Gaussian, style: Gaussian) -> Tensor:
    """The mean of squared differences of the second moments."""
    difference = image.second - style.second
    return difference.square().mean()


def gram_mean_std(image: Gaussian, style: Gaussian) -> Tensor:
    """1e3 / C^2 Gram + 1e4 means + 1e4 standard deviations, each a mean of squares (Galerne et al. 2024)."""
    means = (image.mean - style.mean).square().mean()
    deviations = (image.deviation - style.deviation).square().mean()
    return 1e3 / len(image.mean) ** 2 * gram(image, style) + 1e4 * (means + deviations)


def wasserstein(image: Gaussian, style: Gaussian, *, ridge: float = 0.0) -> Tensor:
    """The squared 2-Wasserstein distance of two Gaussians, divided by the number of channels C.

    (|m - m_s|^2 + tr S + tr S_s - 2 tr (S_s^1/2 S S_s^1/2)^1/2) / C (Olkin, Pukelsheim 1982). The trace of the last
    root is the sum of the roots of the matrix's eigenvalues, whose gradient exists where eigenvalues coincide too.

    Args:
        ridge: added to the diagonals of both covariances.
    """
    eye = ridge * torch.eye(len(image.mean), dtype=torch.float64, device=image.mean.device)
    first, second = image.covariance + eye, style.covariance + eye
    root = square_root(second.detach())
    mixed = torch.linalg.eigvalsh(root @ first @ root).clamp_min(1e-16).sqrt().sum()
    shift = (image.mean - style.mean).square().sum()
    distance: Tensor = shift + first.trace() + second.trace() - 2 * mixed
    return distance / len(image.mean)


def square_root(matrix: Tensor) -> Tensor:
    """The root of a symmetric matrix (C, C) without negative eigenvalues but for rounding."""
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    return root


def content(features: Tensor, target: Tensor) -> Tensor:
    """The mean of squared differences."""
    return (features - target).square().mean()


def variation(image: Tensor) -> Tensor:
    """Squared differences to neighbours, by a stencil of nine points, of (1, 3, h, w) continued by replication.

    Means over the differences along each axis count a third, those along each diagonal a twelfth; the sum is doubled.
    """
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    right, lower = padded[..., 1:-1, 2:], padded[..., 2:, 1:-1]
    falling = padded[..., 1:, 1:] - padded[..., :-1, :-1]
    rising = padded[..., 1:, :-1] - padded[..., :-1, 1:]
    axes = (right - image).square().mean() + (lower - image).square().mean()
    diagonals = falling.square().mean() + rising.square().mean()
    return 2 * (axes / 3 + diagonals / 12)
