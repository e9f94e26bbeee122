"""The VGG feature extractor, whose operations are those of its description."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from hires_nst.backbones.description import Pooling
from hires_nst.backbones.network import Network, Padding
from hires_nst.backbones.vgg_layers import ConvLayer, VGGBackbone
from hires_nst.errors import WeightsError

POOLING_SCALE: Mapping[str, float] = {"max": 1.0, "average": 2.0, "l2": 0.78}
"""Factors that keep the activations' scale when max pooling is replaced (K. Crowson, style-transfer-pytorch, 2021)."""

_CELL = 4
"""Values that a pooling makes one of."""


class VGG(Network):
    """Rectified activations of a VGG network (Simonyan and Zisserman 2014); layers have names such as `conv4_2`.

    Args:
        weights: `convN_M.weight` of shape (out, in, 3, 3) and `convN_M.bias` of shape (out,) for every convolution.
        pooling: `max` as in VGG, `average` as Gatys et al. recommend, or `l2`; the latter two are multiplied by a
            constant so that the activations keep the scale that the following convolutions were trained for.
        padding: see `Network`.

    Raises:
        WeightsError: a weight is missing or has the wrong shape.
    """

    backbone: VGGBackbone

    def __init__(
        self,
        backbone: VGGBackbone,
        weights: Mapping[str, Tensor],
        *,
        pooling: Pooling,
        padding: Padding = "replicate",
    ) -> None:
        convolutions = nn.ModuleDict()
        for conv in backbone.convolutions:
            module = nn.Conv2d(conv.in_channels, conv.out_channels, 3)
            try:
                module.load_state_dict({part: weights[f"{conv.name}.{part}"] for part in ("weight", "bias")})
            except (KeyError, RuntimeError):
                raise WeightsError(
                    f"the weights given for {backbone.name} lack {conv.name}, or have it in another shape: they are "
                    f"another network's; give those of {backbone.name}"
                ) from None
            convolutions[conv.name] = module
        super().__init__(backbone, convolutions, padding=padding)
        self.pooling: Pooling = pooling

    def features(self, x: Tensor, wanted: Collection[str], *, check_stop: Callable[[], None]) -> dict[str, Tensor]:
        """Activations after the rectifier, see `Network.forward`."""
        features: dict[str, Tensor] = {}
        for step in self.backbone.steps:
            if len(features) == len(wanted):
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
        module = self.operations[name]
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
