"""The description of VGG networks, from which everything follows by arithmetic. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from hires_nst.backbones.description import Backbone, Layer, Pooling, Stored


@dataclass(frozen=True)
class ConvLayer:
    """A 3 x 3 convolution of stride 1 followed by a rectifier, named as in the papers (`conv4_2`)."""

    name: str
    in_channels: int
    out_channels: int


@dataclass(frozen=True)
class PoolLayer:
    """A 2 x 2 pooling of stride 2; an odd last row or column is dropped."""


@dataclass(frozen=True, kw_only=True)
class VGGBackbone(Backbone):
    """A VGG network (Simonyan and Zisserman 2014), the fastest kind: see `vgg.VGG`.

    Attributes:
        blocks: output channels of each convolution; a 2 x 2 pooling stands between two blocks.
        batch_norm: whether its file has a batch norm after each convolution; they are folded into these.
        channel_order: of the images that its file's first convolution takes; it is turned to `rgb`.
    """

    blocks: tuple[tuple[int, ...], ...]
    batch_norm: bool = False
    channel_order: Literal["rgb", "bgr"] = "rgb"
    poolings: tuple[Pooling, ...] = ("max", "average", "l2")

    @cached_property
    def steps(self) -> tuple[ConvLayer | PoolLayer, ...]:
        """Convolutions and poolings in the order of evaluation."""
        steps: list[ConvLayer | PoolLayer] = []
        channels = 3
        for block, widths in enumerate(self.blocks, start=1):
            if block > 1:
                steps.append(PoolLayer())
            for index, width in enumerate(widths, start=1):
                steps.append(ConvLayer(f"conv{block}_{index}", channels, width))
                channels = width
        return tuple(steps)

    @cached_property
    def convolutions(self) -> tuple[ConvLayer, ...]:
        """The convolutions in the order of evaluation."""
        return tuple(step for step in self.steps if isinstance(step, ConvLayer))

    @cached_property
    def layers(self) -> Mapping[str, Layer]:
        """The convolutions with their geometry: each adds its own input stride to the radius, poolings nothing.

        A pooling stays inside the cell of its position.
        """
        layers: dict[str, Layer] = {}
        radius, stride = 0, 1
        for step in self.steps:
            if isinstance(step, PoolLayer):
                stride *= 2
                continue
            radius += stride
            layers[step.name] = Layer(name=step.name, channels=step.out_channels, stride=stride, radius=radius)
        return layers

    @property
    def parameters(self) -> int:
        """Weights and biases of the convolutions."""
        return sum((9 * conv.in_channels + 1) * conv.out_channels for conv in self.convolutions)

    def multiply_adds(self) -> float:
        """Multiply-adds per pixel of a full forward pass."""
        return sum(
            9.0 * conv.in_channels * conv.out_channels / self.stride(conv.name) ** 2 for conv in self.convolutions
        )

    def stored(self, layers: Collection[str]) -> Stored:
        """The convolutions' padded inputs (though the weights are frozen), and the rectified activations."""
        values, indices, largest, stride, channels = 0.0, 0.0, 0.0, 1, 3
        needed = set(layers)
        for step in self.steps:
            if not needed:
                break
            if isinstance(step, ConvLayer):
                values += (channels + step.out_channels) / stride**2
                channels = step.out_channels
                largest = max(largest, channels / stride**2)
                needed.discard(step.name)
            else:
                stride *= 2
                indices += channels / stride**2
        return Stored(values, indices, largest)
