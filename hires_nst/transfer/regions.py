"""Regions: parts of an image that have styles of their own (Gatys, Ecker, Bethge, Hertzmann, Shechtman 2017).

The style loss is the sum of the regions' losses by their shares. Each compares the moments over a region, in which a
position counts by the region's weight, with those of its own style images; they add over tiles like any others.

A *style term* is a layer in a region. It is named like its layer, and after the first region with the number of the
region: `conv1_1`, `conv1_1@1`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from hires_nst.transfer.weights import LayerWeights, PixelWeights, on_device


@dataclass(frozen=True, eq=False)
class Region:
    """A part of an image with a style of its own.

    Attributes:
        weights: how much each pixel belongs to it; None where it is the whole image.
        share: factor of its style losses.
    """

    weights: PixelWeights | None = None
    share: float = 1.0


@dataclass(frozen=True)
class RegionWindow:
    """A region in a window.

    Attributes:
        weights: of the window's positions in the region's moments, by layer; None where all of them count alike.
        ratio: the region's area in the image over that in the window; 0 where none of it is in the window.
    """

    weights: Mapping[str, LayerWeights] | None
    ratio: float

    def to(self, device: torch.device) -> RegionWindow:
        """The same on another device."""
        return self if self.weights is None else RegionWindow(on_device(self.weights, device), self.ratio)


def term_name(layer: str, region: int) -> str:
    """The style term of a layer in a region."""
    return f"{layer}@{region}" if region else layer


def layer_of(term: str) -> str:
    """The layer of a style term."""
    return term.partition("@")[0]


def region_of(term: str) -> int:
    """The number of a style term's region."""
    return int(term.partition("@")[2] or 0)
