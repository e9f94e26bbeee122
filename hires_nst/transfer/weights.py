"""How much each pixel of an image counts: in its moments, its content loss and its total variation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.tiles import Rect

STRIP_ROWS = 256


@dataclass(frozen=True)
class LayerWeights:
    """The weights of a layer's positions, (1, 1, h, w) in [0, 1], and their sum."""

    values: Tensor
    total: float


@dataclass(frozen=True)
class WindowWeights:
    """The weights of a window's pixels, (1, 1, h, w), and of the counted positions, by layer."""

    pixels: Tensor
    layers: Mapping[str, LayerWeights]


@dataclass(frozen=True, eq=False)
class PixelWeights:
    """Weights in [0, 1] of an image's pixels, such as its alpha channel. They must not change.

    A position of a layer weighs the mean of the pixels in its cell of stride x stride. Tiles begin on the stride grid,
    so this is the same in tiles.

    Attributes:
        canvas: of one channel.
    """

    canvas: Canvas
    _totals: dict[int, float] = field(default_factory=dict)

    def total(self, stride: int = 1) -> float:
        """The sum over a layer's positions in the whole image; of the pixels for a stride of 1."""
        if stride not in self._totals:
            self._totals[stride] = self.within(self.canvas.image, stride)
        return self._totals[stride]

    def within(self, rect: Rect, stride: int = 1) -> float:
        """The sum over a layer's positions in a rectangle on the stride grid, see `Rect.positions`."""
        cells = rect.positions(stride)
        bottom, right = cells.bottom * stride, cells.right * stride
        total = 0.0
        for top in range(rect.top, bottom, STRIP_ROWS):
            rows = slice(top, min(top + STRIP_ROWS, bottom))
            total += float(self.canvas.pixels[rows, rect.left : right].sum(dtype=np.float64))
        return total / stride**2

    def of_window(
        self, window: Rect, *, counted: Rect, strides: Mapping[str, int], device: torch.device, dtype: torch.dtype
    ) -> WindowWeights:
        """The weights of a window's pixels, and of the counted positions of the layers with these strides."""
        cpu, rows, columns = torch.device("cpu"), *counted.relative_to(window).slices()
        pixels = self.canvas.read(window, device=cpu, dtype=torch.float64)
        layers = {}
        for layer, stride in strides.items():
            values = F.avg_pool2d(pixels[:, :, rows, columns], stride)
            layers[layer] = LayerWeights(values.to(device, dtype), float(values.sum()))
        return WindowWeights(pixels.to(device, dtype), layers)


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
    def nbytes(self) -> int:
        """Bytes of both."""
        return self.canvas.pixels.nbytes + (0 if self.weights is None else self.weights.canvas.pixels.nbytes)
