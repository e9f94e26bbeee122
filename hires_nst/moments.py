"""Additive moments of features: sums with counts, over any partition of the positions, finalised exactly once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


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
    """Sums over positions: n, s = F 1 and P = F F^T, for features F of C channels at n positions.

    Moments of disjoint sets of positions add to the moments of their union.

    Attributes:
        count: n.
        total: s, (C,).
        outer: P, (C, C).
    """

    count: int
    total: Tensor
    outer: Tensor

    @staticmethod
    def of(features: Tensor) -> Moments:
        """The moments of (1, C, h, w) features, differentiable.

        Summed in float64 on the CPU, where it costs next to nothing, and in float32 at least elsewhere.
        """
        flat = features[0].flatten(1)
        flat = flat.double() if flat.device.type == "cpu" else flat.to(torch.promote_types(flat.dtype, torch.float32))
        return Moments(flat.shape[1], flat.sum(1), flat @ flat.T)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, self.total + other.total, self.outer + other.outer)

    def double(self) -> Moments:
        """The same sums in float64, in which many tiles are added."""
        return Moments(self.count, self.total.double(), self.outer.double())

    def finalise(self, count: float | None = None) -> Statistics:
        """Mean and second moment in float64, differentiable: the sums divided by their own count, or by `count`.

        Raises:
            ValueError: there are no positions.
        """
        divisor = self.count if count is None else count
        if divisor <= 0:
            raise ValueError("moments of no positions have no mean")
        return Statistics(self.total.double() / divisor, self.outer.double() / divisor)
