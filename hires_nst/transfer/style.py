"""The data of the style images that a style loss compares with, measured in tiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from hires_nst.backbones.description import PIXELS
from hires_nst.config import Loss, StyleLossName
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.device import statistics_device
from hires_nst.transfer.extractor import Extractor
from hires_nst.transfer.losses import STYLE_LOSSES
from hires_nst.transfer.losses.palette import PALETTE
from hires_nst.transfer.losses.style_loss import FLAT, StyleLoss
from hires_nst.transfer.moments import Moments, Statistics
from hires_nst.transfer.regions import layer_of
from hires_nst.transfer.sums import LayerSums, accumulate, first_moments, visible_tiles
from hires_nst.transfer.tiles import Grid, Rect
from hires_nst.transfer.weights import LayerWeights, WeightedImage

Styles = Sequence[tuple[WeightedImage, float]]
"""(image, weight) of each style image; only the weights' ratios matter."""


def style_statistics(
    extract: Extractor,
    styles: Styles,
    *,
    layers: Sequence[str],
    grid_of: Callable[[Canvas], Grid],
    loss: StyleLossName,
) -> dict[str, Statistics]:
    """The data of the style images for a loss, by layer: the weighted mean of their statistics, constants, and a bank.

    Args:
        layers: of the network, or `pixels`, which have a loss of their own.
        grid_of: cuts a style image into tiles.
    """
    network = [layer for layer in layers if layer != PIXELS]
    found = _statistics(extract, styles, layers=network, grid_of=grid_of, style_loss=STYLE_LOSSES[loss])
    if PIXELS not in layers:
        return found
    return {**_statistics(extract, styles, layers=[PIXELS], grid_of=grid_of, style_loss=PALETTE), **found}


def style_layers_of(loss: Loss, layers: Sequence[str]) -> list[str]:
    """What the style losses compare, of the layers in their order: `pixels`, where the palette counts, and layers."""
    first = [PIXELS] if loss.active_palette_weight else []
    return first + [layer for layer in layers if layer in loss.active_style_layers]


def _statistics(
    extract: Extractor,
    styles: Styles,
    *,
    layers: Sequence[str],
    grid_of: Callable[[Canvas], Grid],
    style_loss: StyleLoss,
) -> dict[str, Statistics]:
    constants = {layer: Statistics({}) for layer in layers}
    if style_loss.calibrate is not None:
        found = _mean(extract, styles, layers=layers, grid_of=grid_of, sums_of=first_moments)
        constants = {layer: style_loss.calibrate(statistics) for layer, statistics in found.items()}

    def sums_of(features: Tensor, weights: LayerWeights | None, *, layer: str) -> Moments:
        return style_loss.sums(features, weights, style=constants[layer])

    found = _mean(extract, styles, layers=layers, grid_of=grid_of, sums_of=sums_of)
    result = {layer: statistics | constants[layer] for layer, statistics in found.items()}
    if style_loss.bank:
        banks = feature_bank(extract, styles, layers=layers, grid_of=grid_of, most=style_loss.bank)
        result = {layer: statistics | Statistics({"bank": banks[layer]}) for layer, statistics in result.items()}
    return result


def _mean(
    extract: Extractor,
    styles: Styles,
    *,
    layers: Sequence[str],
    grid_of: Callable[[Canvas], Grid],
    sums_of: LayerSums,
) -> dict[str, Statistics]:
    """The weighted mean of the style images' finalised sums."""
    whole = sum(weight for _, weight in styles)
    result: dict[str, Statistics] = {}
    for image, weight in styles:
        grid = grid_of(image.canvas)
        sums = accumulate(extract, image.canvas, layers=layers, grid=grid, weights=image.weights, sums_of=sums_of)
        for layer, moments in sums.items():
            share = moments.finalise() * (weight / whole)
            result[layer] = result[layer] + share if layer in result else share
    return result


def normalised_filters(
    extract: Extractor,
    content: WeightedImage,
    *,
    styles: Styles,
    loss: Loss,
    grid_of: Callable[[Canvas], Grid],
) -> dict[str, Statistics]:
    """`filters` (C,) by layer: what features are divided by so that the mean of each over images and positions is 1.

    It is part of the data of a style; empty unless `loss.normalization` is `gatys2016`.

    So Gatys, Ecker, Bethge 2016 scale the filters of their network (section 2), which changes nothing else of a network
    of rectifiers, and can therefore be done afterwards. Deviation: their images are those of ImageNet; these are the
    content image and the style images, of which the former counts as much as all of the latter. What is silent in both
    has at least 0.05 of the layer's mean.

    Args:
        grid_of: cuts an image into tiles.
    """
    if loss.normalization != "gatys2016":
        return {}
    layers = list({**loss.active_style_layers, **loss.active_content_layers})
    images = [(content, sum(weight for _, weight in styles) or 1.0), *styles]
    found = _mean(extract, images, layers=layers, grid_of=grid_of, sums_of=first_moments)
    means = {layer: statistics.mean for layer, statistics in found.items()}
    return {
        layer: Statistics({"filters": mean.clamp_min(FLAT * float(mean.mean())).clamp_min(1e-12)})
        for layer, mean in means.items()
    }


def with_filters(style: Mapping[str, Statistics], filters: Mapping[str, Statistics]) -> dict[str, Statistics]:
    """The data of a style, by style term, with what `normalised_filters` gives by layer."""
    return {term: data | filters[layer_of(term)] if filters else data for term, data in style.items()}


def feature_bank(
    extract: Extractor, styles: Styles, *, layers: Sequence[str], grid_of: Callable[[Canvas], Grid], most: int
) -> dict[str, Tensor]:
    """At most so many features (N, C) of each layer, in float32: of each style image its share by weight.

    They lie on a grid over the image, whatever its tiles. Positions that weigh nothing are left out, unless all do.
    """
    whole = sum(weight for _, weight in styles)
    found: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    weights: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    for image, weight in styles:
        share = max(1, int(most * weight / whole))
        grid, halo = grid_of(image.canvas), extract.network.backbone.halo_of(layers)
        for tile in visible_tiles(grid, image.weights):
            window = tile.owned.grown(halo, grid.image)
            with torch.no_grad():
                features = extract(extract.read(image.canvas, window), layers)
            own: Mapping[str, LayerWeights] = {}
            if image.weights is not None:
                own = extract.weights(image.weights, tile.owned, layers=layers)
            for layer, feature in features.items():
                stride = extract.network.backbone.stride(layer)
                places = crossings(grid.image.positions(stride), tile.owned.positions(stride), most=share)
                rows, columns = (torch.tensor(indices, dtype=torch.long) for indices in places)
                owned = extract.owned(feature, layer, counted=tile.owned, window=window)
                found[layer].append(owned[0][:, rows][:, :, columns].flatten(1).T.float())
                values = own[layer].values if layer in own else torch.ones_like(owned[:, :1])
                weights[layer].append(values[0, 0][rows][:, columns].flatten())
    home = statistics_device(extract.device)
    return {layer: _visible(torch.cat(parts), torch.cat(weights[layer])).to(home) for layer, parts in found.items()}


def _visible(features: Tensor, weights: Tensor) -> Tensor:
    return features[weights > 0] if bool((weights > 0).any()) else features


def crossings(image: Rect, part: Rect, *, most: int) -> tuple[list[int], list[int]]:
    """Rows and columns, in a part of an image, of positions evenly spread over the image, at most so many of these."""
    columns = max(1, min(image.width, most, round((most * image.width / image.height) ** 0.5)))
    rows = max(1, min(image.height, most // columns))
    columns = max(1, min(image.width, most // rows))
    of_image = (
        [(2 * k + 1) * size // (2 * count) for k in range(count)]
        for size, count in ((image.height, rows), (image.width, columns))
    )
    spans = ((part.top, part.bottom), (part.left, part.right))
    found = [
        [k - begin for k in indices if begin <= k < end] for indices, (begin, end) in zip(of_image, spans, strict=True)
    ]
    return found[0], found[1]
