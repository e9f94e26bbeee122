"""The networks that the program supports, as frozen descriptions.

A description is data: the layers and what follows from them (strides, receptive fields), the preprocessing, where the
weights come from, and under which licence. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Literal

from hires_nst.errors import ConfigError, nearest

Provider = Literal["bundled", "torchvision"]
Pooling = Literal["max", "average", "l2"]


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
class Weights:
    """Where a network's weights come from.

    Attributes:
        provider: `bundled` (inside this package) or `torchvision` (downloaded into torch's hub cache).
        file: the file's name, inside the package or in the cache.
        sha256: hexadecimal digest of the file; for torchvision its published first characters.
        url: where the file is downloaded from; empty when bundled.
        size: in bytes.
    """

    provider: Provider
    file: str
    sha256: str
    url: str
    size: int

    def matches(self, digest: str) -> bool:
        """Whether a file's SHA-256 in hexadecimal begins as the published one."""
        return digest.startswith(self.sha256.lower())


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A network that turns an sRGB image in [0, 1] into named activations.

    Attributes:
        name: as the configuration spells it.
        blocks: output channels of each convolution; a 2 x 2 pooling stands between two blocks.
        mean, std: per-channel preprocessing, `(rgb - mean) / std`.
        description: one line for users.
        licence, source: of the weights.
        pooling: what it was trained with.
        content_scale: factor of the content loss, so that the same configuration gives comparable pictures with each
            network: some have features that depend less on the content image. See tools/evaluate_slim.py.
    """

    name: str
    blocks: tuple[tuple[int, ...], ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    description: str
    licence: str
    source: str
    weights: Weights
    pooling: Pooling = "max"
    content_scale: float = 1.0

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

    @property
    def is_bundled(self) -> bool:
        """Whether the weights come with the program; others are downloaded once."""
        return self.weights.provider == "bundled"

    @cached_property
    def layer_names(self) -> tuple[str, ...]:
        """The layers whose activations can be extracted, shallow to deep."""
        return tuple(conv.name for conv in self.convolutions)

    def channels(self, layer: str) -> int:
        """The number of channels of `layer`."""
        return next(conv.out_channels for conv in self.convolutions if conv.name == self.check_layer(layer))

    def stride(self, layer: str) -> int:
        """Pixels between neighbouring positions of `layer`; 1, 2, 4, 8 or 16."""
        return 1 << (int(self.check_layer(layer)[4]) - 1)

    def stride_of(self, layers: Collection[str]) -> int:
        """The deepest stride among `layers`; 1 when there are none."""
        return max((self.stride(layer) for layer in layers), default=1)

    def radius(self, layer: str) -> int:
        """Receptive-field radius in pixels.

        A position of `layer` with stride s covers the s pixels [p s, p s + s). The activation there depends on pixels
        at most `radius` beyond that cell: each convolution adds its own input stride, poolings stay inside the cell.
        For VGG-19: conv4_1 30, conv4_2 38, conv5_1 70.
        """
        self.check_layer(layer)
        radius, stride = 0, 1
        for step in self.steps:
            if isinstance(step, PoolLayer):
                stride *= 2
                continue
            radius += stride
            if step.name == layer:
                break
        return radius

    def radius_of(self, layers: Collection[str]) -> int:
        """The largest receptive-field radius among `layers`; 0 when there are none."""
        return max((self.radius(layer) for layer in layers), default=0)

    def halo_of(self, layers: Collection[str]) -> int:
        """`radius_of(layers)` rounded up to the deepest stride, so that a haloed tile stays on the stride grid.

        For VGG-19: conv4_1 32, conv4_2 40, conv5_1 80.
        """
        stride = self.stride_of(layers)
        return -(-self.radius_of(layers) // stride) * stride

    @property
    def parameters(self) -> int:
        """Weights and biases of the convolutions."""
        return sum((9 * conv.in_channels + 1) * conv.out_channels for conv in self.convolutions)

    def multiply_adds(self) -> float:
        """Multiply-adds per pixel of a full forward pass."""
        return sum(
            9.0 * conv.in_channels * conv.out_channels / self.stride(conv.name) ** 2 for conv in self.convolutions
        )

    def check_layer(self, layer: str) -> str:
        """`layer` itself.

        Raises:
            ConfigError: this network has no such layer.
        """
        if layer not in self.layer_names:
            raise ConfigError(f"{self.name} has no layer {layer!r}{nearest(layer, self.layer_names)}")
        return layer


SLIM_BLOCKS = ((16, 16), (48, 48), (96, 64, 64, 64), (128, 128, 128, 128), (128,))


def _torchvision(number: int, deep: int, *, sha256: str, size: int, title: str) -> Backbone:
    """torchvision's VGG-`number`, of whose blocks the last three have `deep` convolutions."""
    file = f"vgg{number}-{sha256}.pth"
    return Backbone(
        name=f"vgg{number}",
        blocks=((64, 64), (128, 128), (256,) * deep, (512,) * deep, (512,) * deep),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        description=f"{title}, trained on ImageNet by torchvision",
        licence="BSD-3-Clause",
        source=f"torchvision VGG{number}_Weights.IMAGENET1K_V1; Simonyan and Zisserman 2014",
        weights=Weights(
            provider="torchvision",
            file=file,
            sha256=sha256,
            url=f"https://download.pytorch.org/models/{file}",
            size=size,
        ),
    )


_KNOWN = (
    Backbone(
        name="vgg19-slim",
        blocks=SLIM_BLOCKS,
        mean=(0.45, 0.45, 0.45),
        std=(0.225, 0.225, 0.225),
        description="bundled: VGG-19 up to conv5_1 with about a quarter of the channels, distilled by this project",
        licence="MIT",
        source="hires-nst, tools/train_slim.py; see the model card beside the file",
        weights=Weights(
            provider="bundled",
            file="vgg19-slim.safetensors",
            sha256="bad3ad32cc6ef384b42e75fe247a517c2acf7711af81739a9b41a4d3589d0af7",
            url="",
            size=1_733_088,
        ),
        pooling="average",
        content_scale=2.0,
    ),
    _torchvision(19, 4, sha256="dcbb9e9d", size=574_673_361, title="VGG-19, the papers' network"),
    _torchvision(16, 3, sha256="397923af", size=553_433_881, title="VGG-16"),
)

BACKBONES: Mapping[str, Backbone] = MappingProxyType({backbone.name: backbone for backbone in _KNOWN})
"""Every network by name; read-only."""


def find_backbone(name: str) -> Backbone:
    """The network of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in BACKBONES:
        raise ConfigError(f"there is no network {name!r}{nearest(name, BACKBONES)}")
    return BACKBONES[name]
