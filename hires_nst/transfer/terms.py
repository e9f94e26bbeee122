"""What an objective is made of: sums over the positions of any part of an image, and how much positions count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hires_nst.transfer.device import exact
from hires_nst.transfer.moments import Moments, Statistics
from hires_nst.transfer.regions import RegionWindow
from hires_nst.transfer.weights import LayerWeights, on_device


@dataclass(frozen=True)
class WholeImage:
    """The statistics of a whole image by style term, and the maps of a matching, which follow from them."""

    statistics: Mapping[str, Statistics]
    transports: Mapping[str, Statistics]


@dataclass(frozen=True)
class LayerTargets:
    """The targets of the features of a layer at the counted positions, see `Matching`."""

    targets: Tensor
    transport: Statistics


Match = Callable[[Mapping[str, Tensor], Mapping[str, Moments | None]], Mapping[str, LayerTargets]]
"""(features at the counted positions by layer, their sums by the style terms with positions there, None where they are
left out) to the targets by style term."""


def unmatched(features: Mapping[str, Tensor], moments: Mapping[str, Moments | None]) -> Mapping[str, LayerTargets]:
    """No targets: what a matching adds to the style loss is left out."""
    return {}


@dataclass(frozen=True, kw_only=True)
class ObjectiveTerms:
    """Sums over the positions of a part of an image.

    Attributes:
        moments: of each style term with positions in this part, what its loss needs, in float64.
        matching_loss: sum of the style terms' errors to their targets, each weighted and divided by the whole image's
            positions: the share in the style loss that is not a function of `moments`.
        content_loss: sum of the layers' content losses, each weighted and divided by the content image's own norm.
        variation: sum of squared differences of neighbouring pixels, and of their colours, each times its weight.
    """

    moments: Mapping[str, Moments]
    matching_loss: Tensor
    content_loss: Tensor
    variation: Tensor

    def __add__(self, other: ObjectiveTerms) -> ObjectiveTerms:
        return ObjectiveTerms(
            moments=sum_of_moments(self.moments, other.moments),
            matching_loss=self.matching_loss + other.matching_loss,
            content_loss=self.content_loss + other.content_loss,
            variation=self.variation + other.variation,
        )

    def double(self) -> ObjectiveTerms:
        """The same in float64, in which many tiles are added."""
        return ObjectiveTerms(
            moments=self.moments, matching_loss=exact(self.matching_loss), content_loss=exact(self.content_loss),
            variation=exact(self.variation),
        )  # fmt: skip


def sum_of_moments(ours: Mapping[str, Moments], theirs: Mapping[str, Moments]) -> Mapping[str, Moments]:
    """The sums of two parts of an image; a style term may have positions in one of them only."""
    both = {term: moments + theirs[term] if term in theirs else moments for term, moments in ours.items()}
    return {**both, **{term: moments for term, moments in theirs.items() if term not in ours}}


@dataclass(frozen=True)
class TermWeights:
    """How much a window's pixels and positions count in the terms of an objective; None where all count alike.

    Attributes:
        regions: in the moments of each region.
        content: the positions of each layer in the content loss.
        variation: the pixels in the total variation, (1, 1, h, w).
    """

    regions: tuple[RegionWindow, ...]
    content: Mapping[str, LayerWeights] | None = None
    variation: Tensor | None = None

    def to(self, device: torch.device) -> TermWeights:
        """The same on another device."""
        content = None if self.content is None else on_device(self.content, device)
        variation = None if self.variation is None else self.variation.to(device)
        return TermWeights(tuple(region.to(device) for region in self.regions), content, variation)

    def of_region(self, region: int, layer: str) -> LayerWeights | None:
        """Those of a layer's positions in a region; None where all count alike."""
        weights = self.regions[region].weights
        return None if weights is None else weights[layer]

    def emphasis(self, ratio: float) -> list[float]:
        """By region: `ratio`, the whole image's area over the window's, over the region's own; 1 where it has none."""
        return [ratio / region.ratio if region.ratio else 1.0 for region in self.regions]


def gradient_of(value: Tensor, x: Tensor) -> Tensor:
    """The gradient of a scalar; zeros where it does not depend on `x`, as where a window is in no region."""
    if not value.requires_grad:
        return torch.zeros_like(x)
    (result,) = torch.autograd.grad(value, x, materialize_grads=True)
    return result
