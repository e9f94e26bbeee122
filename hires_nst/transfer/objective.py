"""The objective of a level: its value and gradient for an image of any size, in tiles, without approximation.

Every term is a function of sums over positions. `ObjectiveTerms` holds these sums for any part of an image; the
terms of the tiles of a grid add to the terms of the image. The targets of a matching (see `Matching`) follow from the
statistics of the whole image, which have to be summed before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add

import torch
from torch import Tensor

from hires_nst.config import Loss
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.device import exact, statistics_device
from hires_nst.transfer.extractor import Extractor
from hires_nst.transfer.kept import Activations, KeptActivations
from hires_nst.transfer.losses import style_loss_of
from hires_nst.transfer.losses.image_terms import colours, content_sum, variation_sum
from hires_nst.transfer.losses.style_loss import StyleLoss
from hires_nst.transfer.moments import Moments, Statistics
from hires_nst.transfer.reductions import total
from hires_nst.transfer.sums import Norm, visible_tiles
from hires_nst.transfer.tiles import Grid, Rect, Tile
from hires_nst.transfer.weights import LayerWeights, PixelWeights, WindowWeights


@dataclass(frozen=True)
class WholeImage:
    """The statistics of a whole image by style layer, and the maps of a matching, which follow from them."""

    statistics: Mapping[str, Statistics]
    transports: Mapping[str, Statistics]


@dataclass(frozen=True)
class LayerTargets:
    """The targets of the features of a layer at the counted positions, see `Matching`."""

    targets: Tensor
    transport: Statistics


Match = Callable[[Mapping[str, Tensor], Mapping[str, Moments]], Mapping[str, LayerTargets]]
"""(features at the counted positions, their sums), by style layer, to the targets of these features."""


def unmatched(features: Mapping[str, Tensor], moments: Mapping[str, Moments]) -> Mapping[str, LayerTargets]:
    """No targets: what a matching adds to the style loss is left out."""
    return {}


@dataclass(frozen=True, kw_only=True)
class ObjectiveTerms:
    """Sums over the positions of a part of an image.

    Attributes:
        moments: of each style layer, what its loss needs, in float64.
        matching_loss: sum of the layers' errors to their targets, each weighted and divided by the whole image's
            positions: the share in the style loss that is not a function of `moments`.
        content_loss: sum of the layers' content losses, each weighted and divided by its norm.
        variation: sum of squared differences of neighbouring pixels, and of their colours, each times its weight.
    """

    moments: Mapping[str, Moments]
    matching_loss: Tensor
    content_loss: Tensor
    variation: Tensor

    def __add__(self, other: ObjectiveTerms) -> ObjectiveTerms:
        return ObjectiveTerms(
            moments={layer: moments + other.moments[layer] for layer, moments in self.moments.items()},
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


@dataclass(frozen=True)
class TermWeights:
    """How much a window's pixels and positions count in the terms of an objective; None where all count alike.

    Attributes:
        style: in the moments.
        content: in the content loss and the total variation.
    """

    style: WindowWeights | None = None
    content: WindowWeights | None = None

    def to(self, device: torch.device) -> TermWeights:
        """The same on another device."""
        if self.style is None and self.content is None:
            return self
        style = None if self.style is None else self.style.to(device)
        both = self.content is self.style
        content = style if both else None if self.content is None else self.content.to(device)
        return TermWeights(style, content)


@dataclass(frozen=True, kw_only=True)
class Objective:
    """style_weight * sum of style losses + content_weight * sum of content losses + total variation, on an image.

    The content weight is that of the configuration, times the network's own `content_scale` unless the losses are
    normalised as in a paper. In the border, the image's
    moments count less and less towards the edge, and everything else in full.

    Attributes:
        style: data of the style images, by layer, see `StyleLoss`.
        content_norms: what the squared error of each content layer is divided by, see `content_norms`.
        height, width: of the image with its border.
        weights: how much each pixel counts, in every term; None where all count alike.
        border: pixels on each side that surround the picture and do not belong to it.
        kept: the content image's activations, which do not change; None keeps none.
    """

    extract: Extractor
    loss: Loss
    style: Mapping[str, Statistics]
    content_norms: Mapping[str, Norm]
    height: int
    width: int
    weights: PixelWeights | None = None
    border: int = 0
    kept: KeptActivations | None = None

    @cached_property
    def style_weights(self) -> PixelWeights | None:
        """How much each pixel counts in the moments."""
        if not self.border:
            return self.weights
        alpha = None if self.weights is None else self.weights.alpha
        return PixelWeights(self.height, self.width, alpha=alpha, border=self.border)

    @property
    def layers(self) -> set[str]:
        """Every layer in use."""
        return set(self.style) | set(self.content_norms)

    @property
    def style_loss(self) -> StyleLoss:
        """Of one layer."""
        return style_loss_of(self.loss)

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

    def positions(self, layer: str) -> float:
        """The positions of `layer` in the whole image, by their weight in the moments."""
        stride = self.extract.network.backbone.stride(layer)
        if self.style_weights is not None:
            return self.style_weights.total(stride)
        return (self.height // stride) * (self.width // stride)

    def window_weights(self, window: Rect, *, counted: Rect) -> TermWeights:
        """The weights of a window for `terms`."""

        def read(weights: PixelWeights | None, layers: Collection[str]) -> WindowWeights | None:
            if weights is None or weights.is_full(window):
                return None
            return self.extract.weights(weights, window, counted=counted, layers=layers)

        if self.style_weights is self.weights:
            both = read(self.weights, self.layers)
            return TermWeights(both, both)
        return TermWeights(read(self.style_weights, self.style), read(self.weights, self.content_norms))

    def terms(
        self,
        image: Tensor,
        content_features: Activations,
        *,
        counted: Rect,
        window: Rect,
        weights: TermWeights,
        match: Match = unmatched,
    ) -> ObjectiveTerms:
        """The sums over the counted pixels' positions.

        Args:
            image: (1, 3, h, w), the pixels of `window`; differentiable.
            content_features: the content image's activations of the same window, by content layer.
            counted: what to sum over; a part of `window`.
            weights: see `window_weights`.
            match: gives the targets.
        """
        features = self.extract(image, self.layers)
        own = {layer: self.extract.owned(f, layer, counted=counted, window=window) for layer, f in features.items()}
        content_loss = torch.zeros((), dtype=image.dtype, device=image.device)
        for layer, target in content_features.items():
            norm = self.content_norms[layer]
            weight = self.loss.content_layers[layer] / (norm if isinstance(norm, float) else 1)
            target = self.extract.owned(target, layer, counted=counted, window=window)
            values = None if weights.content is None else weights.content.layers[layer].values
            norms = None if isinstance(norm, float) else norm
            content_loss = content_loss + weight * content_sum(own[layer], target, weights=values, norms=norms)
        values = None if weights.content is None else weights.content.pixels
        variation = self._variation(image, counted=counted.relative_to(window), weights=values)
        own_weights: Mapping[str, LayerWeights] = {} if weights.style is None else weights.style.layers
        moments = {
            layer: self.style_loss.sums(own[layer], own_weights.get(layer), style=style)
            for layer, style in self.style.items()
        }
        matching_loss = torch.zeros((), dtype=image.dtype, device=image.device)
        for layer, found in match(own, moments).items():
            matching_loss = matching_loss + self._matching_sum(layer, own[layer], found=found, weights=own_weights)
        return ObjectiveTerms(
            moments=moments, matching_loss=matching_loss, content_loss=content_loss, variation=variation
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

    def _matching_sum(
        self, layer: str, features: Tensor, *, found: LayerTargets, weights: Mapping[str, LayerWeights]
    ) -> Tensor:
        """A layer's share in `ObjectiveTerms.matching_loss`."""
        matching = self.style_loss.matching
        assert matching is not None
        errors = matching.errors(features, found.targets, transport=found.transport, style=self.style[layer])
        if layer in weights:
            errors = errors * weights[layer].values.flatten()
        return self.loss.style_layers[layer] / self.positions(layer) * total(errors)

    def whole_image(self, statistics: Mapping[str, Statistics]) -> WholeImage:
        """The statistics of the whole image with the maps of a matching."""
        matching = self.style_loss.matching
        if matching is None:
            return WholeImage(statistics, {})
        with torch.no_grad():
            transports = {layer: matching.transport(statistics[layer].detach(), s) for layer, s in self.style.items()}
        return WholeImage(statistics, transports)

    def targets(
        self, features: Mapping[str, Tensor], transports: Mapping[str, Statistics]
    ) -> Mapping[str, LayerTargets]:
        """The targets of features under the maps of `whole_image`, without a graph; none without a matching."""
        matching = self.style_loss.matching
        if matching is None:
            return {}
        with torch.no_grad():
            return {
                layer: LayerTargets(matching.targets(features[layer], transport, style=self.style[layer]), transport)
                for layer, transport in transports.items()
            }

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

    def statistics(self, moments: Mapping[str, Moments], scale: float = 1.0) -> dict[str, Statistics]:
        """`scale` times the share of these sums in the whole image's statistics, which is all of it for all sums."""
        return {layer: m.finalise(self.positions(layer) / scale) for layer, m in moments.items()}

    def style_value(self, statistics: Mapping[str, Statistics]) -> Tensor:
        """The weighted sum of the layers' style losses, without `style_weight` and without what a matching adds."""
        function = self.style_loss.value
        if function is None or not self.style:
            return torch.zeros((), dtype=torch.float64, device=statistics_device(self.extract.device))
        weights = self.loss.style_layers
        return torch.stack([weights[layer] * function(statistics[layer], s) for layer, s in self.style.items()]).sum()

    def value(self, statistics: Mapping[str, Statistics], terms: ObjectiveTerms, *, ratio: float = 1.0) -> Tensor:
        """The objective for the statistics of the whole image, and `ratio` times the sums in terms; differentiable."""
        sums = self.loss.style_weight * terms.matching_loss + self.content_weight * terms.content_loss
        total = exact((sums + terms.variation / self.area) * ratio)
        return total + self.loss.style_weight * self.style_value(statistics)

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

        def match(features: Mapping[str, Tensor], moments: Mapping[str, Moments]) -> Mapping[str, LayerTargets]:
            return self.targets(features, transports or {})

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
        """The style and the content loss of the whole image, without their weights; a matching takes two passes."""
        terms = self.measure(canvas, content_canvas, grid=grid)
        whole = self.whole_image(self.statistics(terms.moments))
        style = float(self.style_value(whole.statistics))
        if whole.transports:
            style += float(self.measure(canvas, None, grid=grid, transports=whole.transports).matching_loss)
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

        def match(features: Mapping[str, Tensor], moments: Mapping[str, Moments]) -> Mapping[str, LayerTargets]:
            return self.targets(features, whole.transports)

        result = torch.zeros((1, 3, self.height, self.width), dtype=self.extract.dtype)
        for tile in visible_tiles(grid, self.weights):
            window = self.haloed(tile, grid)
            content_features = self.content_features(content_canvas, window)
            x = self.extract.read(canvas, window).requires_grad_()
            weights = self.window_weights(window, counted=tile.owned)
            terms = self.terms(x, content_features, counted=tile.owned, window=window, weights=weights, match=match)
            local = self.loss.style_weight * terms.matching_loss + self.content_weight * terms.content_loss
            local = exact(local + terms.variation / self.area)
            value = value + local.detach().cpu()
            shares = self.statistics(terms.moments)
            for layer, cotangent in cotangents.items():
                for name, tensor in cotangent.tensors.items():
                    local = local + (tensor * shares[layer][name]).sum()
            (g,) = torch.autograd.grad(local, x)
            rows, columns = window.slices()
            result[:, :, rows, columns] += g.cpu()
        return value, result

    def _cotangents(self, statistics: Mapping[str, Statistics]) -> tuple[Tensor, dict[str, Statistics]]:
        """The style loss without what a matching adds, weighted, and its gradient for the statistics; both detached."""
        leaves = {layer: s.detach() for layer, s in statistics.items()}
        tensors = [tensor.requires_grad_() for s in leaves.values() for tensor in s.tensors.values()]
        energy = self.loss.style_weight * self.style_value(leaves)
        if not energy.requires_grad:
            return energy, {}
        gradients = iter(torch.autograd.grad(energy, tensors, materialize_grads=True))
        found = {layer: Statistics({name: next(gradients) for name in s.tensors}) for layer, s in leaves.items()}
        return energy.detach(), found

    def haloed(self, tile: Tile, grid: Grid) -> Rect:
        """A tile's own pixels and those around them that their positions depend on."""
        return tile.owned.grown(self.halo, grid.image)
