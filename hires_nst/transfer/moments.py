"""Additive moments of features: sums with counts, over any partition of the positions, finalised exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from math import comb
from operator import add

import torch
from torch import Tensor

from hires_nst.transfer.weights import LayerWeights

LEAST_COUNT = 1e-12
"""Stands for a sum of weights that are all 0."""


@dataclass(frozen=True)
class Statistics:
    """Finalised sums of a layer with C channels, by name, in float64: a covariance is a difference of nearly equals.

    Attributes:
        tensors: such as `mean` (C,), s / n, and `second` (C, C), P / n, the Gram matrix of Gatys et al. divided by the
            number of positions. Which there are follows from the loss.
    """

    tensors: Mapping[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    @property
    def mean(self) -> Tensor:
        """(C,)."""
        return self.tensors["mean"]

    @property
    def second(self) -> Tensor:
        """(C, C)."""
        return self.tensors["second"]

    @property
    def covariance(self) -> Tensor:
        """(C, C), second - mean mean^T: the Gram matrix of the centred features."""
        return self.second - torch.outer(self.mean, self.mean)

    def __add__(self, other: Statistics) -> Statistics:
        return Statistics({name: tensor + other[name] for name, tensor in self.tensors.items()})

    def __sub__(self, other: Statistics) -> Statistics:
        return Statistics({name: tensor - other[name] for name, tensor in self.tensors.items()})

    def __mul__(self, factor: float) -> Statistics:
        return self._each(lambda tensor: tensor * factor)

    def __or__(self, other: Statistics) -> Statistics:
        """Those of both."""
        return Statistics({**self.tensors, **other.tensors})

    def detach(self) -> Statistics:
        """The same values, cut off from the graph."""
        return self._each(Tensor.detach)

    def to(self, device: torch.device) -> Statistics:
        """The same values on another device."""
        return self._each(lambda tensor: tensor.to(device))

    def _each(self, function: Callable[[Tensor], Tensor]) -> Statistics:
        return Statistics({name: function(tensor) for name, tensor in self.tensors.items()})


@dataclass(frozen=True)
class Moments:
    """Sums over positions, by name: with a count n = sum m, such as s = F m for features F and weights m.

    Without weights m is 1 everywhere, and n the number of positions. Sums of disjoint sets of positions add to the
    sums of their union. (Gatys, Ecker, Bethge, Hertzmann, Shechtman 2017, Controlling Perceptual Factors in Neural
    Style Transfer, section 4: m is the square of their guidance channel, whose squares they scale to a sum of 1.)

    Attributes:
        count: n.
        sums: in float64.
    """

    count: float
    sums: Mapping[str, Tensor]

    @staticmethod
    def of(features: Tensor, weights: LayerWeights | None = None) -> Moments:
        """The first two moments of (1, C, h, w) features, differentiable: `mean`, s = F m, and `second`, F diag(m) F^T.

        The sums over positions are those of the features minus their mean, in float32 at least; what the mean adds is
        put back in float64. A covariance, which is a difference of the result's, then has errors of its own size only:
        sums of the features themselves would need float64, which takes twice the time and the memory.
        """
        flat, count, weight, shift = _around_the_mean(features, weights)
        if weight is None:
            centred = flat - shift[:, None]
            rest = centred.sum(1).double()
        else:
            root = weight.sqrt()
            centred = (flat - shift[:, None]) * root
            rest = (centred @ root).double()
        shift = shift.double()
        mixed = torch.outer(shift, rest)
        outer = (centred @ centred.T).double() + mixed + mixed.T + count * torch.outer(shift, shift)
        return Moments(count, {"mean": rest + count * shift, "second": outer})

    @staticmethod
    def by_channel(features: Tensor, weights: LayerWeights | None = None, *, order: int) -> Moments:
        """`powers` (K, C): the sums of f, f^2, ..., f^K by channel, K = `order`; differentiable.

        As in `of`, powers of the features minus their mean are summed; the binomial theorem gives those of the features
        in float64.
        """
        flat, count, weight, shift = _around_the_mean(features, weights)
        centred = flat - shift[:, None]
        sums = [torch.full_like(shift, count, dtype=torch.float64)]
        power = centred if weight is None else centred * weight
        for k in range(1, order + 1):
            power = power if k == 1 else power * centred
            sums.append(power.sum(1).double())
        shift = shift.double()
        raw = [_sum(comb(k, j) * shift ** (k - j) * sums[j] for j in range(k + 1)) for k in range(1, order + 1)]
        return Moments(count, {"powers": torch.stack(raw)})

    @property
    def total(self) -> Tensor:
        """s, (C,)."""
        return self.sums["mean"]

    @property
    def outer(self) -> Tensor:
        """P, (C, C)."""
        return self.sums["second"]

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, {name: total + other.sums[name] for name, total in self.sums.items()})

    def finalise(self, count: float | None = None) -> Statistics:
        """The sums divided by their own count, or by `count`: means over positions; differentiable.

        Raises:
            ValueError: there are no positions.
        """
        divisor = self.count if count is None else count
        if divisor <= 0:
            raise ValueError("moments of no positions have no mean")
        return Statistics({name: total / divisor for name, total in self.sums.items()})


def central(powers: Tensor) -> Tensor:
    """Raw moments (K, C), E f^k, to central ones (K, C): the mean, then E (f - mean)^k for k from 2; in float64."""
    mean, order = powers[0], len(powers)
    raw = [torch.ones_like(mean), *powers]
    rows = [mean]
    for k in range(2, order + 1):
        rows.append(_sum(comb(k, j) * (-mean) ** (k - j) * raw[j] for j in range(k + 1)))
    return torch.stack(rows)


def _sum(terms: Iterable[Tensor]) -> Tensor:
    """The sum of one tensor or more."""
    return reduce(add, terms)


def _around_the_mean(features: Tensor, weights: LayerWeights | None) -> tuple[Tensor, float, Tensor | None, Tensor]:
    """(1, C, h, w) as (C, n) in float32 at least; with n, the weights (n,) and the mean (C,), which has no graph."""
    flat = features[0].flatten(1)
    flat = flat.to(torch.promote_types(flat.dtype, torch.float32))
    if weights is None:
        return flat, flat.shape[1], None, flat.detach().mean(1)
    weight = weights.values.flatten().to(flat.dtype)
    return flat, weights.total, weight, flat.detach() @ weight / max(weights.total, LEAST_COUNT)
