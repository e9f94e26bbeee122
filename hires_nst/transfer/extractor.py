"""The network, with where and how precisely it is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import KW_ONLY, dataclass, replace

import torch
from torch import Tensor

from hires_nst.backbones.description import PIXELS
from hires_nst.backbones.network import Network, Padding
from hires_nst.backbones.weights import load_network
from hires_nst.config import Config
from hires_nst.events import OnEvent, ignore
from hires_nst.transfer.allocator import keep_freed_memory
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.device import choose_device, precision_of
from hires_nst.transfer.tiles import Rect
from hires_nst.transfer.weights import LayerWeights, PixelWeights


@dataclass(frozen=True)
class Extractor:
    """A network together with where and how precisely it is evaluated.

    Attributes:
        network: the frozen network, already on `device`.
        dtype: of images, losses and gradients: float32, or float64 where equality is tested. Activations have the
            network's precision, which may be lower.
        cuda_graphs: whether steps may be recorded and repeated, see `captured`.
        check_stop: called before each evaluation, and in it before each layer; it may raise to end the run there.
    """

    network: Network
    _: KW_ONLY
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - immutable
    dtype: torch.dtype = torch.float32
    cuda_graphs: bool = False
    check_stop: Callable[[], None] = lambda: None

    def __call__(self, image: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
        """Activations of (1, 3, h, w), by layer, `pixels` the image itself; without layers nothing is evaluated."""
        self.check_stop()
        deeper = [layer for layer in layers if layer != PIXELS]
        features: dict[str, Tensor] = self.network(image, deeper, check_stop=self.check_stop) if deeper else {}
        return {**features, PIXELS: image} if len(deeper) < len(layers) else features

    def padded(self, padding: Padding) -> Extractor:
        """The same with another padding."""
        return replace(self, network=self.network.padded(padding))

    def read(self, canvas: Canvas, rect: Rect) -> Tensor:
        """A window of a canvas, on the device and in the type of this extractor."""
        return canvas.read(rect, device=self.device, dtype=self.dtype)

    def weights(self, weights: PixelWeights, counted: Rect, *, layers: Collection[str]) -> dict[str, LayerWeights]:
        """The weights of the counted positions of layers, for the activations of this."""
        strides = {layer: self.network.backbone.stride(layer) for layer in layers}
        return weights.of_layers(counted, strides=strides, device=self.device, dtype=self.dtype)

    def owned(self, feature: Tensor, layer: str, *, counted: Rect, window: Rect) -> Tensor:
        """The part of a window's activations that lies at the counted pixels' positions."""
        if counted == window:
            return feature
        stride = self.network.backbone.stride(layer)
        # A window's top left lies on the stride grid, so its activations begin at its own first position.
        rows, columns = counted.positions(stride).relative_to(window.positions(stride)).slices()
        return feature[:, :, rows, columns]


def network_of(config: Config, device: torch.device, *, on_event: OnEvent = ignore) -> Network:
    """The configured network with its weights, on a device and in its precision, for images without a working border.

    Raises:
        WeightsError: see `load_network`.
    """
    model, backbone = config.model, config.backbone
    pooling = backbone.pooling if model.pooling == "auto" else model.pooling
    padding = padding_of(config, bordered=False)
    network = load_network(backbone, pooling=pooling, padding=padding, file=model.weights, on_event=on_event)
    return network.in_precision(precision_of(config.runtime.precision, device)).to(device)


def padding_of(config: Config, *, bordered: bool) -> Padding:
    """What surrounds an image with a working border, or one without."""
    padding = config.model.padding
    if padding != "auto":
        return padding
    return "zeros" if bordered else "replicate"


def load_extractor(config: Config, *, on_event: OnEvent = ignore) -> Extractor:
    """The network of a configuration, on its device and in its precision, for images without a working border.

    Raises:
        ConfigError: the device does not exist. WeightsError: see `load_network`.
    """
    keep_freed_memory()
    device = choose_device(config.runtime.device)
    return Extractor(network_of(config, device, on_event=on_event), device=device)
