"""What a description of a network consists of. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from hires_nst.errors import ConfigError, nearest

PIXELS = "pixels"
"""The image itself, as if it were a layer of each network; its own `layer_names` do not have it."""

Provider = Literal["bundled", "torchvision", "file", "python"]
Pooling = Literal["max", "average", "l2"]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Where a network's weights come from.

    Attributes:
        provider: `bundled` (inside this package), `torchvision` (downloaded into torch's hub cache), `file` (imported
            into that cache from a file that the user has), or `python` (in a module that was registered).
        file: the file's name, inside the package or in the cache.
        sha256: hexadecimal digest of the file; for torchvision its published first characters; empty where none is
            published; of a registered module, that of its operations and weights.
        url: where the file is downloaded from; empty when it is not.
        size: in bytes; 0 when it is not known.
    """

    provider: Provider
    file: str
    sha256: str
    url: str
    size: int

    def matches(self, digest: str) -> bool:
        """Whether a file's SHA-256 in hexadecimal begins as the published one, if there is one."""
        return digest.startswith(self.sha256.lower())


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer whose activations can be extracted.

    A position p of a layer with stride s covers the pixels [p s, p s + s), along each axis; what is left of the image
    beyond the last whole cell has no position. The activation there depends on pixels at most `radius` beyond the cell.
    """

    name: str
    channels: int
    stride: int
    radius: int


PIXELS_LAYER = Layer(name=PIXELS, channels=3, stride=1, radius=0)


@dataclass(frozen=True)
class Stored:
    """What an evaluation stores for its gradient, for each pixel of the image.

    Attributes:
        values: numbers in the network's precision.
        indices: numbers of 64 bits, of max pooling.
        largest: numbers of the largest activation.
    """

    values: float
    indices: float
    largest: float


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A network that turns an sRGB image in [0, 1] into named activations; each kind of network is a subclass.

    Attributes:
        name: as the configuration spells it.
        mean, std: per-channel preprocessing, `(rgb - mean) / std`.
        description: one line for users.
        licence, source: of the weights.
        pooling: what it was trained with.
        poolings: the ones that it can be evaluated with.
        content_scale: factor of the content loss, so that the same configuration gives comparable pictures with each
            network: some have features that depend less on the content image. See tools/evaluate_slim.py.
        style_layers, content_layers: those of the losses where the configuration names none; empty for the schema's
            own, which are the names of VGG.
        looked_at: whether pictures that it made have been looked at; others are tested with random weights only.
    """

    name: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    description: str
    licence: str
    source: str
    weights: Weights
    pooling: Pooling = "max"
    poolings: tuple[Pooling, ...] = ("max",)
    content_scale: float = 1.0
    style_layers: tuple[str, ...] = ()
    content_layers: tuple[str, ...] = ()
    looked_at: bool = False

    @cached_property
    def layers(self) -> Mapping[str, Layer]:
        """The layers by name, in the order of evaluation."""
        raise NotImplementedError

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The layers whose activations can be extracted, shallow to deep."""
        return tuple(self.layers)

    @property
    def parameters(self) -> int:
        """Weights and biases of the convolutions."""
        raise NotImplementedError

    def multiply_adds(self) -> float:
        """Multiply-adds per pixel of a full forward pass."""
        raise NotImplementedError

    def stored(self, layers: Collection[str]) -> Stored:
        """What an evaluation of these layers stores for its gradient."""
        raise NotImplementedError

    @property
    def is_bundled(self) -> bool:
        """Whether the weights come with the program."""
        return self.weights.provider == "bundled"

    def channels(self, layer: str) -> int:
        """The number of channels of `layer`."""
        return self._layer(layer).channels

    def stride(self, layer: str) -> int:
        """Pixels between neighbouring positions of `layer`."""
        return self._layer(layer).stride

    def stride_of(self, layers: Collection[str]) -> int:
        """The deepest stride among `layers`; 1 when there are none."""
        return max((self.stride(layer) for layer in layers), default=1)

    def radius(self, layer: str) -> int:
        """Receptive-field radius in pixels, see `Layer`; for VGG-19: conv4_1 30, conv4_2 38, conv5_1 70."""
        return self._layer(layer).radius

    def radius_of(self, layers: Collection[str]) -> int:
        """The largest receptive-field radius among `layers`; 0 when there are none."""
        return max((self.radius(layer) for layer in layers), default=0)

    def halo_of(self, layers: Collection[str]) -> int:
        """`radius_of(layers)` rounded up to the deepest stride, so that a haloed tile stays on the stride grid.

        For VGG-19: conv4_1 32, conv4_2 40, conv5_1 80.
        """
        stride = self.stride_of(layers)
        return -(-self.radius_of(layers) // stride) * stride

    def _layer(self, name: str) -> Layer:
        return PIXELS_LAYER if name == PIXELS else self.layers[self.check_layer(name)]

    def check_layer(self, layer: str) -> str:
        """`layer` itself.

        Raises:
            ConfigError: this network has no such layer.
        """
        if layer not in self.layer_names:
            raise ConfigError(f"{self.name} has no layer {layer!r}{nearest(layer, self.layer_names)}")
        return layer
