"""Sums over the positions of an image, tile by tile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import torch
from torch import Tensor

from hires_nst.config import Normalization
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.extractor import Extractor
from hires_nst.transfer.moments import Moments, Statistics
from hires_nst.transfer.tiles import Grid, Tile
from hires_nst.transfer.weights import LayerWeights, PixelWeights, WeightedImage

Norm = float | tuple[float, ...]
"""What a layer's squared error is divided by: one number for all channels, or one for each."""


def visible_tiles(grid: Grid, weights: PixelWeights | None) -> tuple[Tile, ...]:
    """The tiles of which any pixel counts."""
    return tuple(tile for tile in grid.tiles if weights is None or weights.within(tile.owned) > 0)


class LayerSums(Protocol):
    """What is summed over the positions of a layer."""

    def __call__(self, features: Tensor, weights: LayerWeights | None, *, layer: str) -> Moments:
        """The sums over (1, C, h, w) features."""


def first_moments(features: Tensor, weights: LayerWeights | None, *, layer: str) -> Moments:
    """`mean` and `second`, see `Moments.of`."""
    return Moments.of(features, weights)


def accumulate(
    extract: Extractor,
    canvas: Canvas,
    *,
    layers: Sequence[str],
    grid: Grid,
    weights: PixelWeights | None = None,
    sums_of: LayerSums = first_moments,
) -> dict[str, Moments]:
    """Sums over an image in tiles, by layer; in float64, see `device.exact`.

    Args:
        grid: of the image, its stride at least the deepest layer's.
        weights: of the image's pixels, at least one of them above 0.
        sums_of: what to sum.
    """
    halo = extract.network.backbone.halo_of(layers)
    sums: dict[str, Moments] = {}
    for tile in visible_tiles(grid, weights):
        window = tile.owned.grown(halo, grid.image)
        own: Mapping[str, LayerWeights] = {}
        if weights is not None:
            own = extract.weights(weights, tile.owned, layers=layers)
        with torch.no_grad():
            features = extract(extract.read(canvas, window), layers)
            for layer, feature in features.items():
                owned = extract.owned(feature, layer, counted=tile.owned, window=window)
                part = sums_of(owned, own.get(layer), layer=layer)
                sums[layer] = sums[layer] + part if layer in sums else part
    return sums


def content_norms(
    extract: Extractor,
    content: WeightedImage,
    *,
    layers: Sequence[str],
    grid: Grid,
    normalization: Normalization = "relative",
    filters: Mapping[str, Statistics] = MappingProxyType({}),
) -> dict[str, Norm]:
    """What the squared error |F - F_c|^2 of a layer, summed over channels and positions, is divided by, by layer.

    `relative`: |F_c|^2, the trace of the content image's moments. `gatys2015`: 2, for half of the sum (Gatys, Ecker,
    Bethge 2015, equation 1), which grows with the image, while the style loss does not. `gatys2016`: the same for the
    features divided by `filters`, see `normalised_filters`. `johnson2016`: C n, the number of features (Johnson, Alahi,
    Fei-Fei 2016, equation 2).

    Deviation from all three papers: features are those of the network as this program feeds it, with an input of about
    the deviation 1, where theirs has values up to 255. With features s times as large, the content loss of `gatys2015`
    and `johnson2016` is s^2 times, and the style loss s^4 times as large; `gatys2016` knows no such scale.
    """
    if normalization == "gatys2015":
        return dict.fromkeys(layers, 2.0)
    if normalization == "gatys2016":
        return {layer: tuple((2 * filters[layer]["filters"].square()).tolist()) for layer in layers}
    found = accumulate(extract, content.canvas, layers=layers, grid=grid, weights=content.weights)
    if normalization == "johnson2016":
        return {layer: float(len(m.total) * m.count) for layer, m in found.items()}
    return {layer: max(float(m.outer.trace()), 1e-12) for layer, m in found.items()}
