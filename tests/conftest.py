"""What several tests share: tiny random networks and images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import settings

from hires_nst.backbones.description import Pooling, Weights
from hires_nst.backbones.network import Padding
from hires_nst.backbones.vgg import VGG
from hires_nst.backbones.vgg_layers import VGGBackbone
from hires_nst.transfer.canvas import Canvas

settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("repeatable")

TINY = VGGBackbone(
    name="tiny",
    blocks=((4, 4), (5,), (5,), (6, 6), (4,)),
    mean=(0.4, 0.5, 0.6),
    std=(0.2, 0.3, 0.25),
    description="a random network with the strides of VGG",
    licence="none",
    source="the tests",
    weights=Weights(provider="bundled", file="tiny.safetensors", sha256="", url="", size=0),
    content_scale=1.5,
)


def tiny_network(
    *, pooling: Pooling = "max", padding: Padding = "replicate", dtype: torch.dtype = torch.float64
) -> VGG:
    """A network of random weights whose activations neither vanish nor explode."""
    generator = torch.Generator().manual_seed(1)
    weights = {}
    for conv in TINY.convolutions:
        shape = (conv.out_channels, conv.in_channels, 3, 3)
        weights[f"{conv.name}.weight"] = torch.randn(shape, generator=generator) * (2 / (9 * conv.in_channels)) ** 0.5
        weights[f"{conv.name}.bias"] = torch.rand(conv.out_channels, generator=generator) * 0.2
    return VGG(TINY, weights, pooling=pooling, padding=padding).to(dtype)


def random_canvas(height: int, width: int, seed: int = 0) -> Canvas:
    """Smooth coloured noise, so that no two places look alike."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand((1, 3, max(2, height // 6), max(2, width // 6)), generator=generator)
    image = torch.nn.functional.interpolate(small, size=(height, width), mode="bilinear", align_corners=True)
    image = 0.8 * image + 0.2 * torch.rand((1, 3, height, width), generator=generator)
    return Canvas.of(np.ascontiguousarray(image[0].permute(1, 2, 0).numpy(), np.float32))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
