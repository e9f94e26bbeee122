"""The VGG feature extractor: a frozen convolutional network that maps an image to named activations."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hires_nst.backbones.registry import Backbone, ConvLayer, Pooling
from hires_nst.errors import WeightsError

Padding = Literal["replicate", "zeros", "reflect"]

POOLING_SCALE: Mapping[str, float] = {"max": 1.0, "average": 2.0, "l2": 0.78}
"""Factors that keep the activations' scale when max pooling is replaced (K. Crowson, style-transfer-pytorch, 2021)."""

_CELL = 4
"""Values that a pooling makes one of."""


class VGG(nn.Module):
    """Rectified activations of a VGG network (Simonyan and Zisserman 2014), for an image in sRGB.

    The weights are frozen: gradients flow to the image only. Layers deeper than the deepest requested one are not
    evaluated. From the first layer to the last, activations have one type (`precision`) and channels last in memory.

    Args:
        weights: `convN_M.weight` of shape (out, in, 3, 3) and `convN_M.bias` of shape (out,) for every convolution.
        pooling: `max` as in VGG, `average` as Gatys et al. recommend, or `l2`; the latter two are multiplied by a
            constant so that the activations keep the scale that the following convolutions were trained for.
        padding: what surrounds the image. VGG was trained with zeros, which show as a dark rim in the gradients at the
            edge of an image without a working border; `replicate` shows none, and takes a copy of each layer's input.

    Raises:
        WeightsError: a weight is missing or has the wrong shape.
    """

    def __init__(
        self,
        backbone: Backbone,
        weights: Mapping[str, Tensor],
        *,
        pooling: Pooling,
        padding: Padding = "replicate",
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling: Pooling = pooling
        self.padding: Padding = padding
        self.mean = nn.Buffer(torch.tensor(backbone.mean).view(1, 3, 1, 1))
        self.std = nn.Buffer(torch.tensor(backbone.std).view(1, 3, 1, 1))
        self.convolutions = nn.ModuleDict()
        for conv in backbone.convolutions:
            module = nn.Conv2d(conv.in_channels, conv.out_channels, 3)
            try:
                module.load_state_dict({part: weights[f"{conv.name}.{part}"] for part in ("weight", "bias")})
            except (KeyError, RuntimeError):
                raise WeightsError(
                    f"the weights given for {backbone.name} lack {conv.name}, or have it in another shape: they are "
                    f"another network's; give those of {backbone.name}"
                ) from None
            self.convolutions[conv.name] = module
        self.requires_grad_(False)
        self.eval()
        self.to(memory_format=torch.channels_last)

    @property
    def precision(self) -> torch.dtype:
        """The type of the convolutions' weights and of the activations."""
        return next(self.convolutions.parameters()).dtype

    def padded(self, padding: Padding) -> VGG:
        """The same network, with the same weights in memory, with another padding."""
        result = copy.copy(self)
        result.padding = padding
        return result

    def in_precision(self, precision: torch.dtype) -> VGG:
        """The same network with weights and activations of another type, which the image is brought to; a copy."""
        if precision == self.precision:
            return self
        result = copy.deepcopy(self)
        result.convolutions.to(precision)
        return result

    def forward(
        self, image: Tensor, layers: Collection[str], *, check_stop: Callable[[], None] = lambda: None
    ) -> dict[str, Tensor]:
        """Activations after the rectifier.

        Args:
            image: (1, 3, H, W), sRGB in [0, 1].
            layers: names such as `conv4_2`, each one of `backbone.layer_names`.
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
        features: dict[str, Tensor] = {}
        for step in self.backbone.steps:
            if wanted <= features.keys():
                break
            if isinstance(step, ConvLayer):
                check_stop()
                x = self._convolved(x, step.name).relu_()
                if x.requires_grad:
                    x.register_hook(lambda _: check_stop())  # type: ignore[no-untyped-call]
                if step.name in wanted:
                    features[step.name] = x
            else:
                x = pooled(x, self.pooling)
        return features

    def _convolved(self, x: Tensor, name: str) -> Tensor:
        """The sums of a convolution over `x`, padded: with zeros by the convolution itself, which saves a copy."""
        module = self.convolutions[name]
        weight, bias = cast(Tensor, module.weight), cast(Tensor, module.bias)
        if self.padding == "zeros":
            return F.conv2d(x, weight, bias, padding=1)
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode=self.padding), weight, bias)


def pooled(x: Tensor, pooling: Pooling) -> Tensor:
    """2 x 2 pooling of (B, C, H, W), times its `POOLING_SCALE`; an odd last row or column is dropped.

    Raises:
        ValueError: there is no such pooling.
    """
    if pooling == "max":
        return F.max_pool2d(x, 2)
    if pooling == "average":
        return F.avg_pool2d(x, 2, divisor_override=int(_CELL / POOLING_SCALE["average"]))  # one pass does both
    if pooling == "l2":
        # The derivative of a root at 0 is infinite; a tiny term under the root keeps dead units' gradients at 0.
        mean_square = F.avg_pool2d(x.square(), 2)
        return (_CELL * mean_square + 1e-12).sqrt() * POOLING_SCALE["l2"]
    raise ValueError(f"there is no pooling {pooling!r}")
