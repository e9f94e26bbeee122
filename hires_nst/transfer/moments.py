"""Additive moments of features: sums with counts, over any partition of the positions, finalised exactly once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hires_nst.transfer.weights import LayerWeights

LEAST_COUNT = 1e-12
"""Stands for a sum of weights that are all 0."""


@dataclass(frozen=True)
class Statistics:
    """Finalised moments of C channels, in float64: a covariance is a difference of nearly equal numbers.

    Attributes:
        mean: (C,), s / n.
        second: (C, C), P / n, the Gram matrix of Gatys et al. divided by the number of positions.
    """

    mean: Tensor
    second: Tensor

    @property
    def covariance(self) -> Tensor:
        """(C, C), second - mean mean^T: the Gram matrix of the centred features."""
        return self.second - torch.outer(self.mean, self.mean)

    def __add__(self, other: Statistics) -> Statistics:
        return Statistics(self.mean + other.mean, self.second + other.second)

    def __sub__(self, other: Statistics) -> Statistics:
        return Statistics(self.mean - other.mean, self.second - other.second)

    def __mul__(self, factor: float) -> Statistics:
        return Statistics(self.mean * factor, self.second * factor)

    def detach(self) -> Statistics:
        """The same values, cut off from the graph."""
        return Statistics(self.mean.detach(), self.second.detach())

    def to(self, device: torch.device) -> Statistics:
        """The same values on another device."""
        return Statistics(self.mean.to(device), self.second.to(device))


@dataclass(frozen=True)
class Moments:
    """Sums over positions: n = sum m, s = F m and P = F diag(m) F^T, for features F of C channels and weights m.

    Without weights m is 1 everywhere, and n the number of positions. Moments of disjoint sets of positions add to the
    moments of their union. (Gatys, Ecker, Bethge, Hertzmann, Shechtman 2017, Controlling Perceptual Factors in Neural
    Style Transfer, section 4: m is the square of their guidance channel, whose squares they scale to a sum of 1.)

    Attributes:
        count: n.
        total: s, (C,), in float64.
        outer: P, (C, C), in float64.
    """

    count: float
    total: Tensor
    outer: Tensor

    @staticmethod
    def of(features: Tensor, weights: LayerWeights | None = None) -> Moments:
        """The moments of (1, C, h, w) features, differentiable, in float64.

        The sums over positions are those of the features minus their mean, in float32 at least; what the mean adds is
        put back in float64. A covariance, which is a difference of the result's, then has errors of its own size only:
        sums of the features themselves would need float64, which takes twice the time and the memory.
        """
        flat = features[0].flatten(1)
        flat = flat.to(torch.promote_types(flat.dtype, torch.float32))
        count: float = flat.shape[1]
        if weights is None:
            shift = flat.detach().mean(1)
            centred = flat - shift[:, None]
            rest = centred.sum(1).double()
        else:
            count, weight = weights.total, weights.values.flatten().to(flat.dtype)
            shift, root = flat.detach() @ weight / max(count, LEAST_COUNT), weight.sqrt()
            centred = (flat - shift[:, None]) * root
            rest = (centred @ root).double()
        shift = shift.double()
        mixed = torch.outer(shift, rest)
        outer = (centred @ centred.T).double() + mixed + mixed.T + count * torch.outer(shift, shift)
        return Moments(count, rest + count * shift, outer)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, self.total + other.total, self.outer + other.outer)

    def finalise(self, count: float | None = None) -> Statistics:
        """Mean and second moment, differentiable: the sums divided by their own count, or by `count`.

        Raises:
            ValueError: there are no positions.
        """
        divisor = self.count if count is None else count
        if divisor <= 0:
            raise ValueError("moments of no positions have no mean")
        return Statistics(self.total / divisor, self.outer / divisor)
