"""Additive moments of features: sums with counts, over any partition of the positions, finalised exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial, reduce
from math import comb
from operator import add
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hires_nst.transfer.device import exact, sums_half_precision
from hires_nst.transfer.reductions import transposed_product
from hires_nst.transfer.weights import BLOCK, LayerWeights

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
        sums: in float64, see `device.exact`.
    """

    count: float
    sums: Mapping[str, Tensor]

    @staticmethod
    def of(features: Tensor, weights: LayerWeights | None = None) -> Moments:
        """The first two moments of (1, C, h, w) features, differentiable: `mean`, s = F m, and `second`, F diag(m) F^T.

        The sums over positions are those of the features minus about their mean, in float32 at least; what the mean
        adds is put back in float64. A covariance, which is a difference of the result's, then has errors of its own
        size only: sums of the features themselves would need float64, which takes twice the time and the memory.
        Features of half precision are summed as they are where the device can: their own rounding is far larger than
        that of their sums.
        """
        flat = features.permute(0, 2, 3, 1).flatten(0, 2)
        spans = None if weights is None else (features.shape[3], weights.spans)
        weight = None if weights is None else weights.values.reshape(-1, 1).to(_sum_type(flat.dtype))
        count = len(flat) if weights is None else weights.total
        shift = _about_the_mean(flat, weight)
        total, product = _Sums.apply(flat, weight, shift, spans)
        rest, shift = exact(total), exact(shift)
        mixed = torch.outer(shift, rest)
        outer = exact(product) + mixed + mixed.T + count * torch.outer(shift, shift)
        return Moments(count, {"mean": rest + count * shift, "second": outer})

    @staticmethod
    def by_channel(features: Tensor, weights: LayerWeights | None = None, *, order: int) -> Moments:
        """`powers` (K, C): the sums of f, f^2, ..., f^K by channel, K = `order`; differentiable.

        As in `of`, powers of the features minus their mean are summed; the binomial theorem gives those of the features
        in float64.
        """
        flat, count, weight, shift = _around_the_mean(features, weights)
        centred = flat - shift[:, None]
        shift = exact(shift)
        sums = [torch.full_like(shift, count)]
        power = centred if weight is None else centred * weight
        for k in range(1, order + 1):
            power = power if k == 1 else power * centred
            sums.append(exact(power.sum(1)))
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

    def to(self, device: torch.device) -> Moments:
        """The same sums on another device."""
        return Moments(self.count, {name: tensor.to(device) for name, tensor in self.sums.items()})

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


def _sum_type(dtype: torch.dtype) -> torch.dtype:
    """The type that features of another are summed in."""
    return torch.promote_types(dtype, torch.float32)


def _about_the_mean(flat: Tensor, weight: Tensor | None) -> Tensor:
    """(C,): about the mean of (n, C) features with weights (n, 1), from a part of them; without a graph."""
    dtype = _sum_type(flat.dtype)
    if _is_summed_as_it_is(flat):
        return torch.zeros(flat.shape[1], dtype=dtype, device=flat.device)
    step = max(1, len(flat) // BLOCK)
    sample = flat.detach()[::step].to(dtype)
    if weight is None:
        return sample.mean(0)
    part = weight[::step]
    return (sample * part).sum(0) / part.sum().clamp_min(LEAST_COUNT)


def _is_summed_as_it_is(flat: Tensor) -> bool:
    """Whether a device multiplies features of half precision with sums in float32."""
    return flat.element_size() < 4 and sums_half_precision(flat.device)


class _Sums(torch.autograd.Function):
    """Sums of m c and of m c c^T over positions, with c = f - shift, features f (n, C), and weights m (n, 1) or None.

    In blocks of positions, so that what is brought to float32 stays in the processor's caches; nothing but the features
    is kept for the gradient, m (c (G + G^T) + g) for cotangents g (C,) and G (C, C) of the two sums. `spans` are the
    width of the rows of positions, and `LayerWeights.spans`: other positions weigh nothing, and are left out.
    """

    @staticmethod
    def forward(
        ctx: Any, flat: Tensor, weight: Tensor | None, shift: Tensor, spans: Spans | None
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(flat, weight, shift)
        ctx.spans = spans
        if _is_summed_as_it_is(flat):
            weighted = flat if weight is None else flat * weight.to(flat.dtype)
            return weighted.sum(0, dtype=shift.dtype), torch.mm(weighted.T, flat, out_dtype=shift.dtype)
        total, product = torch.zeros_like(shift), shift.new_zeros(len(shift), len(shift))
        for part, block in _blocks(flat, spans):
            centred = block.reshape(-1, len(shift)).to(shift.dtype) - shift
            weighted = centred if weight is None else centred * part(weight).reshape(-1, 1)
            total += weighted.sum(0)
            product += transposed_product(weighted, centred)
        return total, product

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, total: Tensor, product: Tensor) -> tuple[Tensor, None, None, None]:
        flat, weight, shift = ctx.saved_tensors
        both = product + product.T
        if _is_summed_as_it_is(flat):
            result = torch.addmm(total.to(flat.dtype), flat, both.to(flat.dtype))
            return result if weight is None else result.mul_(weight.to(flat.dtype)), None, None, None
        result = torch.empty_like(flat) if ctx.spans is None else torch.zeros_like(flat)
        for part, block in _blocks(flat, ctx.spans):
            found = torch.addmm(total, block.reshape(-1, len(shift)).to(shift.dtype) - shift, both)
            found = found if weight is None else found.mul_(part(weight).reshape(-1, 1))
            part(result).copy_(found.view(block.shape))
        return result, None, None, None


Spans = tuple[int, tuple[tuple[slice, slice], ...]]


def _blocks(flat: Tensor, spans: Spans | None) -> Iterator[tuple[Callable[[Tensor], Tensor], Tensor]]:
    """Blocks of (n, C): each as a function that gives that part of any (n, K), and as the part of `flat`."""
    parts: list[Callable[[Tensor], Tensor]]
    if spans is None:
        parts = [partial(_rows, rows=slice(begin, begin + BLOCK)) for begin in range(0, len(flat), BLOCK)]
    else:
        parts = [partial(_rectangle, width=spans[0], rows=rows, columns=columns) for rows, columns in spans[1]]
    return ((part, part(flat)) for part in parts)


def _rows(flat: Tensor, *, rows: slice) -> Tensor:
    return flat[rows]


def _rectangle(flat: Tensor, *, width: int, rows: slice, columns: slice) -> Tensor:
    return flat.view(-1, width, flat.shape[1])[rows, columns]


def _around_the_mean(features: Tensor, weights: LayerWeights | None) -> tuple[Tensor, float, Tensor | None, Tensor]:
    """(1, C, h, w) as (C, n) in float32 at least; with n, the weights (n,) and the mean (C,), which has no graph."""
    flat = features[0].flatten(1)
    flat = flat.to(_sum_type(flat.dtype))
    if weights is None:
        return flat, flat.shape[1], None, flat.detach().mean(1)
    weight = weights.values.flatten().to(flat.dtype)
    return flat, weights.total, weight, flat.detach() @ weight / max(weights.total, LEAST_COUNT)
