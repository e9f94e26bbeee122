"""How much each pixel of an image counts: in its moments, its content loss and its total variation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.tiles import Rect

STRIP_ROWS = 256


BLOCK = 1 << 13
"""Positions whose features are summed at once, and brought to the type of the sums: 2 MB for 64 channels."""


@dataclass(frozen=True)
class LayerWeights:
    """The weights of a layer's positions.

    Attributes:
        values: (1, 1, h, w), in [0, 1].
        total: their sum.
        spans: rows and columns, in blocks of about `BLOCK` positions, outside which all weights are 0.
    """

    values: Tensor
    total: float
    spans: tuple[tuple[slice, slice], ...]

    @staticmethod
    def of(values: Tensor) -> LayerWeights:
        """The weights of positions on the CPU, of any floating type."""
        height, width = values.shape[-2:]
        counts = values[0, 0].numpy() > 0
        rows, spans = max(1, BLOCK // max(1, width)), []
        for top in range(0, height, rows):
            columns = np.flatnonzero(counts[top : top + rows].any(0))
            if len(columns):
                spans.append((slice(top, min(top + rows, height)), slice(int(columns[0]), int(columns[-1]) + 1)))
        return LayerWeights(values, float(values.sum()), tuple(spans))

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> LayerWeights:
        """The same on another device, or of another type."""
        return replace(self, values=self.values.to(dtype or self.values.dtype).to(device))


def on_device(weights: Mapping[str, LayerWeights], device: torch.device) -> dict[str, LayerWeights]:
    """The weights of layers on another device; those of layers of one stride stay one object."""
    moved = {id(own): own.to(device) for own in weights.values()}
    return {layer: moved[id(own)] for layer, own in weights.items()}


@dataclass(frozen=True, eq=False)
class PixelWeights:
    """Weights in [0, 1] of an image's pixels: an alpha channel, a border with a ramp, or their product.

    They must not change. A position of a layer weighs the mean of the pixels in its cell of stride x stride. Tiles
    begin on the stride grid, so this is the same in tiles.

    Attributes:
        height, width: of the image.
        alpha: a canvas of one channel; None where it is 1 everywhere.
        border: pixels at each side over which the weights rise from 0 at the edge to 1, as the square of the distance.
    """

    height: int
    width: int
    _: KW_ONLY
    alpha: Canvas | None = None
    border: int = 0
    _totals: dict[int, float] = field(default_factory=dict)

    @staticmethod
    def of(alpha: Canvas) -> PixelWeights:
        """The weights of an image with this alpha channel."""
        return PixelWeights(alpha.height, alpha.width, alpha=alpha)

    @property
    def image(self) -> Rect:
        """The whole image."""
        return Rect(0, 0, self.height, self.width)

    def read(self, rect: Rect) -> NDArray[np.floating]:
        """The weights in a rectangle, (h, w); the alpha channel itself where there is no border."""
        alpha = None if self.alpha is None else self.alpha.pixels[rect.slices()][..., 0]
        if alpha is not None and not self.border:
            return alpha
        rows, columns = self._ramps(rect)
        return np.outer(rows, columns) * (1 if alpha is None else alpha)

    def is_full(self, rect: Rect) -> bool:
        """Whether all weights in a rectangle are known to be 1 without a look at the alpha channel."""
        picture = Rect(self.border, self.border, self.height - self.border, self.width - self.border)
        return self.alpha is None and rect.grown(0, picture) == rect

    def total(self, stride: int = 1) -> float:
        """The sum over a layer's positions in the whole image; of the pixels for a stride of 1."""
        if stride not in self._totals:
            self._totals[stride] = self.within(self.image, stride)
        return self._totals[stride]

    def within(self, rect: Rect, stride: int = 1) -> float:
        """The sum over a layer's positions in a rectangle on the stride grid, see `Rect.positions`."""
        cells = rect.positions(stride)
        whole = Rect(rect.top, rect.left, cells.bottom * stride, cells.right * stride)
        if self.alpha is None:
            rows, columns = self._ramps(whole)
            return float(rows.sum() * columns.sum()) / stride**2
        total = 0.0
        for top in range(whole.top, whole.bottom, STRIP_ROWS):
            strip = Rect(top, whole.left, min(top + STRIP_ROWS, whole.bottom), whole.right)
            total += float(self.read(strip).sum(dtype=np.float64))
        return total / stride**2

    def of_layers(
        self, counted: Rect, *, strides: Mapping[str, int], device: torch.device, dtype: torch.dtype
    ) -> dict[str, LayerWeights]:
        """The weights of the positions in a rectangle of the layers with these strides; one object for each stride."""
        pixels = None
        if self.alpha is not None:
            pixels = torch.from_numpy(self.read(counted).astype(np.float64))[None, None]

        def of(stride: int) -> LayerWeights:
            cells = self._border_cells(counted, stride) if pixels is None else F.avg_pool2d(pixels, stride)
            return LayerWeights.of(cells).to(device, dtype)

        found = {stride: of(stride) for stride in {*strides.values()}}
        return {layer: found[stride] for layer, stride in strides.items()}

    def _border_cells(self, rect: Rect, stride: int) -> Tensor:
        """The means of the border's weights over a rectangle's whole cells, (1, 1, h, w), float64."""
        rows, columns = (ramp[: len(ramp) // stride * stride].reshape(-1, stride).mean(1) for ramp in self._ramps(rect))
        return torch.from_numpy(np.outer(rows, columns))[None, None]

    def _ramps(self, rect: Rect) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The border's weights of the rectangle's rows and of its columns."""
        rows, columns = np.arange(rect.top, rect.bottom), np.arange(rect.left, rect.right)
        return _ramp(rows, self.height, border=self.border), _ramp(columns, self.width, border=self.border)


def _ramp(index: NDArray[np.int64], length: int, *, border: int) -> NDArray[np.float64]:
    """The weights of these lines of `length`."""
    if not border:
        return np.ones(len(index))
    nearest = np.minimum(index, length - 1 - index) + 0.5
    return np.minimum(nearest / border, 1) ** 2


@dataclass(frozen=True)
class WeightedImage:
    """An image and how much its pixels count; without weights all count alike."""

    canvas: Canvas
    weights: PixelWeights | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.canvas.height, self.canvas.width

    @property
    def alpha(self) -> NDArray[np.floating] | None:
        """The alpha channel, (H, W); None where all is opaque."""
        alpha = None if self.weights is None else self.weights.alpha
        return None if alpha is None else alpha.pixels[..., 0]
