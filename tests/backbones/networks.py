"""Tiny networks with the operations of ResNet and Inception, and others, with random weights."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from hires_nst.backbones import registry
from hires_nst.backbones.description import Weights
from hires_nst.backbones.network import Padding
from hires_nst.backbones.traced import TracedNetwork
from hires_nst.backbones.traced_layers import OwnBackbone
from hires_nst.backbones.tracing import trace

LAYERS = {
    "resnet": ("relu", "layer1.0", "layer2.0", "layer2.1", "layer3.0"),
    "inception": ("first", "second", "mixed", "reduced", "deep"),
    "others": ("stem", "block", "down"),
}


class Narrow(Bottleneck):  # type: ignore[misc]
    """A block of ResNet-50 with a quarter of the channels."""

    expansion = 1


class Inception(nn.Module):
    """Unpadded convolutions, branches that are joined, poolings of odd kernels, a row and a column, as functions."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Unit(3, 6, kernel_size=3, stride=2)
        self.second = Unit(6, 5, kernel_size=3)
        self.branch1, self.branch5 = Unit(5, 4, kernel_size=1), Unit(5, 3, kernel_size=5, padding=2)
        self.branch_pool = Unit(5, 2, kernel_size=1)
        self.mixed = nn.Identity()
        self.row = Unit(9, 4, kernel_size=(1, 7), padding=(0, 3))
        self.column = Unit(4, 4, kernel_size=(7, 1), padding=(3, 0))
        self.stride = Unit(4, 5, kernel_size=3, stride=2)
        self.reduced = nn.Identity()
        self.deep = Unit(14, 6, kernel_size=3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x))
        x = F.max_pool2d(x, kernel_size=3, stride=2)
        pooled = self.branch_pool(F.avg_pool2d(x, kernel_size=3, stride=1, padding=1))
        x = self.mixed(torch.cat([self.branch1(x), self.branch5(x), pooled], 1))
        x = torch.cat([self.stride(self.column(self.row(x))), F.max_pool2d(x, kernel_size=3, stride=2)], 1)
        return self.deep(self.reduced(x))  # type: ignore[no-any-return]


class Unit(nn.Module):
    """A convolution, a batch norm and a rectifier."""

    def __init__(self, inputs: int, outputs: int, **options: object) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, bias=False, **options)  # type: ignore[arg-type]
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Others(nn.Module):
    """A patch of 4 x 4, dilation, groups, an even kernel, norms that cannot be folded, other activation functions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 4, stride=4)
        self.norm, self.act = nn.BatchNorm2d(6), nn.SiLU(inplace=True)
        self.depthwise = nn.Conv2d(6, 6, 3, padding="same", dilation=2, groups=3)
        self.drop, self.block = nn.Dropout(0.5), nn.LeakyReLU(inplace=True)
        self.down = nn.Sequential(nn.AvgPool2d(3, 2, padding=1, count_include_pad=False), nn.Conv2d(6, 7, 2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.depthwise(self.act(self.norm(x)))
        return self.down(self.block(self.drop(y) + x + x))  # type: ignore[no-any-return]


def known_networks() -> Iterator[None]:
    """For a fixture: afterwards the networks are those of before."""
    before = dict(registry._networks)
    yield
    registry._networks.clear()
    registry._networks.update(before)


def module(kind: str, seed: int = 1) -> nn.Module:
    """A module of random weights, in float64, whose batch norms do something."""
    torch.manual_seed(seed)
    made: nn.Module = {
        "resnet": lambda: ResNet(Narrow, [1, 2, 1, 1], num_classes=2, width_per_group=4),
        "inception": Inception,
        "others": Others,
    }[kind]()
    for part in made.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.weight, part.running_var):
                assert tensor is not None
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (part.bias, part.running_mean):
                assert tensor is not None
                nn.init.uniform_(tensor, -0.3, 0.3)
    return made.double().eval()


def traced_network(kind: str, *, padding: Padding = "replicate", own: nn.Module | None = None) -> TracedNetwork:
    """The network of such a module."""
    layers = LAYERS[kind]
    traced = trace(own or module(kind), layers, name=kind)
    backbone = OwnBackbone(
        name=kind, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25), description="", licence="none", source="the tests",
        weights=Weights(provider="python", file="", sha256="0", url="", size=0), found=traced.graph, modules=None,
        style_layers=layers[:-1], content_layers=layers[-1:],
    )  # fmt: skip
    return TracedNetwork(backbone, traced.operations, padding=padding).double()
