"""A frozen network that maps an image to named activations: what all kinds of networks have in common."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from hires_nst.backbones.description import Backbone

Padding = Literal["replicate", "zeros", "reflect"]
Own = TypeVar("Own", bound="Network")


class Network(nn.Module):
    """A network for an image in sRGB.

    The weights are frozen: gradients flow to the image only. Layers deeper than the deepest requested one are not
    evaluated. From the first layer to the last, activations have one type (`precision`) and channels last in memory.

    Args:
        operations: the modules with the weights, by name; they are used as they are, and frozen.
        padding: what surrounds the image. Networks were trained with zeros, which show as a dark rim in the gradients
            at the edge of an image without a working border; `replicate` shows none, and takes a copy of each layer's
            input.
    """

    backbone: Backbone
    operations: nn.ModuleDict

    def __init__(self, backbone: Backbone, operations: nn.ModuleDict, *, padding: Padding) -> None:
        super().__init__()
        self.backbone = backbone
        self.padding: Padding = padding
        self.mean = nn.Buffer(torch.tensor(backbone.mean).view(1, 3, 1, 1))
        self.std = nn.Buffer(torch.tensor(backbone.std).view(1, 3, 1, 1))
        self.operations = operations
        self.requires_grad_(False)
        self.eval()
        self.to(memory_format=torch.channels_last)

    @property
    def precision(self) -> torch.dtype:
        """The type of the weights and of the activations."""
        return next(self.operations.parameters()).dtype

    def padded(self: Own, padding: Padding) -> Own:
        """The same network, with the same weights in memory, with another padding."""
        result = copy.copy(self)
        result.padding = padding
        return result

    def in_precision(self: Own, precision: torch.dtype) -> Own:
        """The same network with weights and activations of another type, which the image is brought to; a copy."""
        if precision == self.precision:
            return self
        result = copy.deepcopy(self)
        result.operations.to(precision)
        return result

    def forward(
        self, image: Tensor, layers: Collection[str], *, check_stop: Callable[[], None] = lambda: None
    ) -> dict[str, Tensor]:
        """Activations of layers.

        Args:
            image: (1, 3, H, W), sRGB in [0, 1].
            layers: each one of `backbone.layer_names`.
            check_stop: called before each convolution, and before its backward pass if there is one; what it raises
                ends the evaluation.

        Returns:
            Layer name to (1, C, H // stride, W // stride), in the network's precision, channels last in memory.

        Raises:
            ValueError: a layer that this network does not have, or an image smaller than the deepest layer's stride.
        """
        wanted = set(layers)
        if unknown := wanted - set(self.backbone.layer_names):
            raise ValueError(f"{self.backbone.name} has no layer {sorted(unknown)[0]}")
        if wanted and min(image.shape[-2:]) < self.backbone.stride_of(wanted):
            raise ValueError(f"an image of {tuple(image.shape[-2:])} is too small for {sorted(wanted)[-1]}")
        x = (image - self.mean) / self.std
        x = x.to(self.precision, memory_format=torch.channels_last)
        return self.features(x, wanted, check_stop=check_stop)

    def features(self, x: Tensor, wanted: Collection[str], *, check_stop: Callable[[], None]) -> dict[str, Tensor]:
        """Activations of layers for a preprocessed image, see `forward`; each kind of network has its own."""
        raise NotImplementedError
