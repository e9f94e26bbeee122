"""The objective of a level: its value and gradient for an image of any size, in tiles, without approximation.

Every term is a function of sums over positions. `ObjectiveTerms` holds these sums for any part of an image; the
terms of the tiles of a grid add to the terms of the image. The targets of a matching (see `Matching`) follow from the
statistics of the whole image, which have to be summed before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add

import torch
from torch import Tensor

from hires_nst.backbones.description import PIXELS
from hires_nst.config import Loss
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.device import exact, statistics_device
from hires_nst.transfer.extractor import Extractor
from hires_nst.transfer.kept import Activations, KeptActivations
from hires_nst.transfer.losses import style_loss_of
from hires_nst.transfer.losses.image_terms import colours, content_sum, desaturated, variation_sum
from hires_nst.transfer.losses.style_loss import StyleLoss
from hires_nst.transfer.moments import Moments, Statistics
from hires_nst.transfer.reductions import total
from hires_nst.transfer.regions import Region, RegionWindow, layer_of, region_of
from hires_nst.transfer.sums import Norm, visible_tiles
from hires_nst.transfer.terms import (
    LayerTargets,
    Match,
    ObjectiveTerms,
    TermWeights,
    WholeImage,
    gradient_of,
    unmatched,
)
from hires_nst.transfer.tiles import Grid, Rect, Tile
from hires_nst.transfer.weights import LayerWeights, PixelWeights

LEAST_POSITIONS = 4
"""Of a layer in a region, by weight; below this the layer does not count there."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    """style_weight * sum of style losses + content_weight * sum of content losses + total variation, on an image.

    The pixels' distribution is one of the style losses, with the weight of the palette. The content weight is that of
    the configuration, times the network's own `content_scale` unless the losses are normalised as in a paper. In the
    border, the image's moments count less and less towards the edge, and everything else in full.

    Attributes:
        style: data of the style images, by style term, see `StyleLoss` and `regions`.
        content_norms: what the squared error of each content layer is divided by, see `content_norms`.
        height, width: of the image with its border.
        weights: how much each pixel counts, in every term; None where all count alike.
        border: pixels on each side that surround the picture and do not belong to it.
        regions: the parts of the image with styles of their own.
        content_weights: how much each pixel counts in the content loss; None for `weights`.
        kept: the content image's activations, which do not change; None keeps none.
        desaturation: the share of its colours that the image loses before anything else, see `desaturated`.
    """

    extract: Extractor
    loss: Loss
    style: Mapping[str, Statistics]
    content_norms: Mapping[str, Norm]
    height: int
    width: int
    weights: PixelWeights | None = None
    border: int = 0
    regions: tuple[Region, ...] = (Region(),)
    content_weights: PixelWeights | None = None
    kept: KeptActivations | None = None
    desaturation: float = 0.0

    @cached_property
    def style_weights(self) -> tuple[PixelWeights | None, ...]:
        """How much each pixel counts in the moments of each region."""

        def of(region: Region) -> PixelWeights | None:
            weights = self.weights if region.weights is None else region.weights
            if not self.border:
                return weights
            alpha = None if weights is None else weights.alpha
            return PixelWeights(self.height, self.width, alpha=alpha, border=self.border)

        return tuple(map(of, self.regions))

    @cached_property
    def style_layers(self) -> frozenset[str]:
        """The layers of the style terms."""
        return frozenset(map(layer_of, self.style))

    @property
    def layers(self) -> frozenset[str]:
        """Every layer in use."""
        return self.style_layers.union(self.content_norms)

    def style_loss(self, term: str) -> StyleLoss:
        """Of a style term."""
        return style_loss_of(self.loss, layer_of(term))

    @property
    def maps_on_device(self) -> bool:
        """Whether the maps of `whole_image` are made without reading a number back from the device."""
        matchings = [self.style_loss(term).matching for term in self.style]
        return all(matching is None or matching.on_device for matching in matchings)

    @property
    def content_weight(self) -> float:
        """Of the content error."""
        scale = self.extract.network.backbone.content_scale if self.loss.normalization == "relative" else 1.0
        return self.loss.content_weight * scale

    @property
    def halo(self) -> int:
        """Pixels of real image that a tile needs around it for its own positions to be exact."""
        halo = self.extract.network.backbone.halo_of(self.layers)
        return max(halo, self.stride if self.loss.tv_weight or self.loss.colour_tv_weight else 0)

    @property
    def stride(self) -> int:
        """The deepest stride in use."""
        return self.extract.network.backbone.stride_of(self.layers)

    @property
    def area(self) -> float:
        """The pixels of the image, by weight."""
        return self.height * self.width if self.weights is None else self.weights.total()

    def area_of(self, rect: Rect) -> float:
        """The pixels in a rectangle, by weight."""
        return rect.area if self.weights is None else self.weights.within(rect)

    def sees(self, rect: Rect) -> bool:
        """Whether every layer has a position in the rectangle that counts."""
        return self.weights is None or self.weights.within(rect, self.stride) > 0

    def changeable(self, rect: Rect, device: torch.device) -> Tensor | None:
        """The pixels in a rectangle that count, (1, 1, h, w), bool; None where all do."""
        if self.weights is None:
            return None
        return torch.from_numpy(self.weights.read(rect) > 0)[None, None].to(device)

    def positions(self, term: str) -> float:
        """The positions of a style term in the whole image, by their weight in the moments."""
        stride = self.extract.network.backbone.stride(layer_of(term))
        weights = self.style_weights[region_of(term)]
        if weights is not None:
            return weights.total(stride)
        return (self.height // stride) * (self.width // stride)

    def is_too_small(self, term: str) -> bool:
        """Whether a region has too few positions of a layer for its statistics to say anything."""
        return self.regions[region_of(term)].weights is not None and self.positions(term) < LEAST_POSITIONS

    def region_ratio(self, region: Region, window: Rect) -> float:
        """See `RegionWindow`."""
        if region.weights is None:
            return self.area / area if (area := self.area_of(window)) else 0.0
        return region.weights.total() / area if (area := region.weights.within(window)) else 0.0

    def window_weights(self, window: Rect, *, counted: Rect) -> TermWeights:
        """The weights of a window for `terms`."""

        def read(weights: PixelWeights | None, layers: Collection[str]) -> dict[str, LayerWeights] | None:
            if weights is None or weights.is_full(window):
                return None
            return self.extract.weights(weights, counted, layers=layers)

        regions = tuple(
            RegionWindow(read(weights, self.style_layers), self.region_ratio(region, window))
            for region, weights in zip(self.regions, self.style_weights, strict=True)
        )
        variation, has_variation = None, self.loss.tv_weight or self.loss.colour_tv_weight
        if has_variation and self.weights is not None and not self.weights.is_full(window):
            pixels = torch.from_numpy(self.weights.read(window))[None, None]
            variation = pixels.to(self.extract.dtype).to(self.extract.device)
        return TermWeights(regions, read(self.content_weights or self.weights, self.content_norms), variation)

    def terms(
        self,
        image: Tensor,
        content_features: Activations,
        *,
        counted: Rect,
        window: Rect,
        weights: TermWeights,
        match: Match = unmatched,
        frozen: bool = False,
    ) -> ObjectiveTerms:
        """The sums over the counted pixels' positions.

        Args:
            image: (1, 3, h, w), the pixels of `window`; differentiable.
            content_features: the content image's activations of the same window, by content layer.
            counted: what to sum over; a part of `window`.
            weights: see `window_weights`.
            match: gives the targets.
            frozen: whether the targets are known, so that the sums of losses that are nothing but a matching are not
                needed, and are left out.
        """
        image = desaturated(image, self.desaturation)
        features = self.extract(image, self.layers)
        own = {layer: self.extract.owned(f, layer, counted=counted, window=window) for layer, f in features.items()}
        content_loss = torch.zeros((), dtype=image.dtype, device=image.device)
        for layer, target in content_features.items():
            norm = self.content_norms[layer]
            weight = self.loss.content_layers[layer] / (norm if isinstance(norm, float) else 1)
            target = self.extract.owned(target, layer, counted=counted, window=window)
            values = None if weights.content is None else weights.content[layer].values
            norms = None if isinstance(norm, float) else norm
            content_loss = content_loss + weight * content_sum(own[layer], target, weights=values, norms=norms)
        variation = self._variation(image, counted=counted.relative_to(window), weights=weights.variation)
        moments: dict[str, Moments | None] = {}
        for term, style in self.style.items():
            layer_weights = weights.of_region(region_of(term), layer := layer_of(term))
            if layer_weights is None or layer_weights.total > 0:
                loss = self.style_loss(term)
                needed = loss.value is not None or not frozen
                moments[term] = loss.sums(own[layer], layer_weights, style=style) if needed else None
        matching_loss = torch.zeros((), dtype=image.dtype, device=image.device)
        for term, found in match(own, moments).items():
            matching_loss = matching_loss + self._matching_sum(term, own[layer_of(term)], found=found, weights=weights)
        summed = {term: found for term, found in moments.items() if found is not None}
        return ObjectiveTerms(
            moments=summed, matching_loss=matching_loss, content_loss=content_loss, variation=variation
        )

    def _variation(self, image: Tensor, *, counted: Rect, weights: Tensor | None) -> Tensor:
        """See `ObjectiveTerms.variation`."""
        total = torch.zeros((), dtype=image.dtype, device=image.device)
        rows, columns = counted.slices()
        if self.loss.tv_weight:
            variation = variation_sum(image, owned_rows=rows, owned_columns=columns, weights=weights)
            total = total + self.loss.tv_weight * variation
        if self.loss.colour_tv_weight:
            variation = variation_sum(colours(image), owned_rows=rows, owned_columns=columns, weights=weights)
            total = total + self.loss.colour_tv_weight * variation
        return total

    def _matching_sum(self, term: str, features: Tensor, *, found: LayerTargets, weights: TermWeights) -> Tensor:
        """A style term's share in `ObjectiveTerms.matching_loss`."""
        matching = self.style_loss(term).matching
        assert matching is not None
        errors = matching.errors(features, found.targets, transport=found.transport, style=self.style[term])
        layer_weights = weights.of_region(region_of(term), layer_of(term))
        if layer_weights is not None:
            errors = errors * layer_weights.values.flatten()
        return self._weight(term) / self.positions(term) * total(errors)

    def _weight(self, term: str) -> float:
        """Of a style term in the style loss."""
        layer = layer_of(term)
        weight = self.loss.active_palette_weight if layer == PIXELS else self.loss.style_layers[layer]
        return weight * self.regions[region_of(term)].share

    def whole_image(self, statistics: Mapping[str, Statistics]) -> WholeImage:
        """The statistics of the whole image with the maps of a matching."""
        transports = {}
        for term, found in statistics.items():
            matching = self.style_loss(term).matching
            if matching is not None:
                with torch.no_grad():
                    transports[term] = matching.transport(found.detach(), self.style[term])
        return WholeImage(statistics, transports)

    def targets(
        self, features: Mapping[str, Tensor], transports: Mapping[str, Statistics], *, terms: Collection[str]
    ) -> Mapping[str, LayerTargets]:
        """The targets of features under the maps of `whole_image`, without a graph; none without a matching.

        Args:
            terms: the style terms that have positions there.
        """

        def of(term: str, transport: Statistics) -> LayerTargets:
            matching = self.style_loss(term).matching
            assert matching is not None
            found = matching.targets(features[layer_of(term)], transport, style=self.style[term])
            return LayerTargets(found, transport)

        with torch.no_grad():
            return {term: of(term, transport) for term, transport in transports.items() if term in terms}

    def content_features(self, canvas: Canvas, window: Rect) -> Activations:
        """The content image's activations of a window, without a graph; `canvas` must not change."""
        return self.content_activations((id(canvas), window), lambda: self.extract.read(canvas, window))

    def content_activations(self, key: Hashable, read: Callable[[], Tensor]) -> Activations:
        """The activations that are kept under a key, or else those of the pixels that `read` gives."""

        def make() -> Activations:
            with torch.no_grad():
                return self.extract(read(), set(self.content_norms))

        return make() if self.kept is None else self.kept.get(key, make)

    def keeps(self, key: Hashable) -> bool:
        """Whether the content image's activations of a key are kept."""
        return self.kept is not None and key in self.kept

    def statistics(
        self, moments: Mapping[str, Moments], scales: Sequence[float] | None = None
    ) -> dict[str, Statistics]:
        """The share of these sums in the whole image's statistics, which is all of it for all sums.

        Args:
            scales: factors of the shares by region; 1 when not given.
        """

        def scale(term: str) -> float:
            return 1.0 if scales is None else scales[region_of(term)]

        return {term: m.finalise(self.positions(term) / scale(term)) for term, m in moments.items()}

    def style_value(self, statistics: Mapping[str, Statistics], emphasis: Sequence[float] | None = None) -> Tensor:
        """The weighted sum of the style terms' losses, without `style_weight` and without what a matching adds.

        Args:
            statistics: of the style terms that count.
            emphasis: factors by region; 1 when not given.
        """
        found = []
        for term, style in self.style.items():
            function = self.style_loss(term).value
            if function is not None and term in statistics:
                weight = self._weight(term) * (1.0 if emphasis is None else emphasis[region_of(term)])
                found.append(weight * function(statistics[term], style))
        if not found:
            return torch.zeros((), dtype=torch.float64, device=statistics_device(self.extract.device))
        return torch.stack(found).sum()

    def value(
        self,
        statistics: Mapping[str, Statistics],
        terms: ObjectiveTerms,
        *,
        ratio: float = 1.0,
        emphasis: Sequence[float] | None = None,
    ) -> Tensor:
        """The objective for the statistics of the whole image, and `ratio` times the sums in terms; differentiable.

        `emphasis` is that of `style_value`.
        """
        sums = self.loss.style_weight * terms.matching_loss + self.content_weight * terms.content_loss
        total = exact((sums + terms.variation / self.area) * ratio)
        return total + self.loss.style_weight * self.style_value(statistics, emphasis)

    def measure(
        self,
        canvas: Canvas,
        content_canvas: Canvas | None,
        *,
        grid: Grid,
        transports: Mapping[str, Statistics] | None = None,
    ) -> ObjectiveTerms:
        """The terms of the whole image, tile by tile, without a graph; sums in float64.

        Args:
            content_canvas: the content image at the same size; None leaves the content loss out.
            transports: of `whole_image`; without them, what a matching adds is left out.
        """

        def match(features: Mapping[str, Tensor], moments: Mapping[str, Moments | None]) -> Mapping[str, LayerTargets]:
            return self.targets(features, transports or {}, terms=moments)

        def of_tile(tile: Tile) -> ObjectiveTerms:
            window = self.haloed(tile, grid)
            with torch.no_grad():
                features = self.content_features(content_canvas, window) if content_canvas else {}
                image = self.extract.read(canvas, window)
                weights = self.window_weights(window, counted=tile.owned)
                return self.terms(
                    image, features, counted=tile.owned, window=window, weights=weights, match=match
                ).double()

        return reduce(add, map(of_tile, visible_tiles(grid, self.weights)))

    def losses(self, canvas: Canvas, content_canvas: Canvas, *, grid: Grid) -> tuple[float, float]:
        """The style and the content loss of the layers in the whole image, without their weights or the palette.

        A matching takes two passes.
        """
        terms = self.measure(canvas, content_canvas, grid=grid)
        whole = self.whole_image(self.statistics(terms.moments))
        style = float(self.style_value(whole.statistics))
        if transports := {term: t for term, t in whole.transports.items() if layer_of(term) != PIXELS}:
            style += float(self.measure(canvas, None, grid=grid, transports=transports).matching_loss)
        return style, float(terms.content_loss)

    def gradient(self, canvas: Canvas, content_canvas: Canvas, *, grid: Grid) -> tuple[Tensor, Tensor]:
        """The exact value and gradient of the untiled objective, at any size (the `exact` coupling).

        Pass 1 sums the moments over all tiles; autograd through the losses gives the cotangents of these sums, and a
        matching its maps. Pass 2 runs each tile again and adds the gradient of its whole haloed window. A halo of one
        receptive-field radius is enough because contributions are added beyond the owned rectangle.

        Returns:
            The value (scalar), and the gradient (1, 3, H, W) on the CPU.
        """
        value = torch.zeros((), dtype=torch.float64)
        whole = WholeImage({}, {})
        cotangents: dict[str, Statistics] = {}
        if self.style:
            whole = self.whole_image(self.statistics(self.measure(canvas, None, grid=grid).moments))
            energy, cotangents = self._cotangents(whole.statistics)
            value = exact(energy).cpu()

        def match(features: Mapping[str, Tensor], moments: Mapping[str, Moments | None]) -> Mapping[str, LayerTargets]:
            return self.targets(features, whole.transports, terms=moments)

        result = torch.zeros((1, 3, self.height, self.width), dtype=self.extract.dtype)
        for tile in visible_tiles(grid, self.weights):
            window = self.haloed(tile, grid)
            content_features = self.content_features(content_canvas, window)
            x = self.extract.read(canvas, window).requires_grad_()
            weights = self.window_weights(window, counted=tile.owned)
            terms = self.terms(
                x, content_features, counted=tile.owned, window=window, weights=weights, match=match, frozen=True
            )
            local = self.loss.style_weight * terms.matching_loss + self.content_weight * terms.content_loss
            local = exact(local + terms.variation / self.area)
            value = value + local.detach().cpu()
            shares = self.statistics(terms.moments)
            for term, share in shares.items():
                for name, tensor in cotangents[term].tensors.items() if term in cotangents else ():
                    local = local + (tensor * share[name]).sum()
            rows, columns = window.slices()
            result[:, :, rows, columns] += gradient_of(local, x).cpu()
        return value, result

    def _cotangents(self, statistics: Mapping[str, Statistics]) -> tuple[Tensor, dict[str, Statistics]]:
        """The style loss without what a matching adds, weighted, and its gradient for the statistics; both detached."""
        leaves = {term: s.detach() for term, s in statistics.items()}
        tensors = [tensor.requires_grad_() for s in leaves.values() for tensor in s.tensors.values()]
        energy = self.loss.style_weight * self.style_value(leaves)
        if not energy.requires_grad:
            return energy, {}
        gradients = iter(torch.autograd.grad(energy, tensors, materialize_grads=True))
        found = {term: Statistics({name: next(gradients) for name in s.tensors}) for term, s in leaves.items()}
        return energy.detach(), found

    def haloed(self, tile: Tile, grid: Grid) -> Rect:
        """A tile's own pixels and those around them that their positions depend on."""
        return tile.owned.grown(self.halo, grid.image)
