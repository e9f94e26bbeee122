"""What a style loss is: a function of additive sums, a matching with frozen targets, or both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from hires_nst.transfer.moments import Moments, Statistics
from hires_nst.transfer.reductions import total
from hires_nst.transfer.weights import LayerWeights

FLAT = 0.05
"""The least |cov_s| / |mean_s|^2 that a style's covariance is measured by. With the bundled network, most layers of
paintings have 0.06 to 1, and those of flat and smoothly graded images less than 0.01."""


class Sums(Protocol):
    """The sums that a loss needs of the features of a layer, at any part of the positions."""

    def __call__(self, features: Tensor, weights: LayerWeights | None, *, style: Statistics) -> Moments:
        """Sums over the positions of (1, C, h, w), with weights; `style` has at least the constants of `calibrate`."""


class Targets(Protocol):
    """Where each feature should go."""

    def __call__(self, features: Tensor, transport: Statistics, *, style: Statistics) -> Tensor:
        """(1, C, h, w) features to targets at the same positions, in what form `Errors` takes; without a graph."""


class Errors(Protocol):
    """How far each feature is from its target."""

    def __call__(self, features: Tensor, targets: Tensor, *, transport: Statistics, style: Statistics) -> Tensor:
        """Of (1, C, h, w) features: (h * w,), at least 0; differentiable with respect to the features alone."""


@dataclass(frozen=True, kw_only=True)
class Matching:
    """A loss that is the mean over positions of an error to targets, which follow from the statistics of the image.

    Targets are constants: they are frozen where a tile begins, from the features there and the whole image's
    statistics. Then the sum over positions is additive, and for an optimal transport its value and gradient at that
    point are the loss's own (the envelope theorem: a small change of an optimal map changes its cost to second order
    only).

    Attributes:
        transport: (statistics of the image, data of the style) to what `targets` needs, without a graph.
        targets, errors: of the features of any part of the image.
        on_device: whether `transport` reads no number back from a GPU.
    """

    transport: Callable[[Statistics, Statistics], Statistics]
    targets: Targets
    errors: Errors
    on_device: bool = True


@dataclass(frozen=True, kw_only=True)
class StyleLoss:
    """A style loss of one layer: `value` of the image's statistics, plus the mean of `matching`'s errors.

    The data of a style are the finalised sums of the style image, the constants, and the bank, in one `Statistics`.

    Attributes:
        sums: what is summed over the positions of an image.
        value: (statistics of the image, data of the style) to a differentiable scalar; None for 0.
        matching: None for none.
        calibrate: the first two moments of the style to constants that `sums` needs; None for none.
        bank: the most of the style's features that are stored in its data as `bank`, (N, C), evenly spread.
    """

    sums: Sums
    value: Callable[[Statistics, Statistics], Tensor] | None = None
    matching: Matching | None = None
    calibrate: Callable[[Statistics], Statistics] | None = None
    bank: int = 0


def moments(features: Tensor, weights: LayerWeights | None, *, style: Statistics) -> Moments:
    """`mean` and `second`, see `Moments.of`."""
    return Moments.of(features, weights)


def relative(value: Tensor, target: Tensor) -> Tensor:
    """|value - target|^2 / |target|^2; a target of zeros counts as one of norm 1e-6."""
    return total((value - target).square()) / total(target.square()).clamp_min(1e-12)
