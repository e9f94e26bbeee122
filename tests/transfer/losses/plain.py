"""Style losses of whole feature maps, written down plainly, and random features."""

from __future__ import annotations

import torch
from torch import Tensor

from hires_nst.transfer.losses.style_loss import StyleLoss
from hires_nst.transfer.moments import Moments, Statistics
from hires_nst.transfer.weights import LayerWeights


def features(positions: int = 50, seed: int = 0) -> Tensor:
    """(1, 4, 5, positions / 5), uniform in [0, 1]."""
    return torch.rand((1, 4, 5, positions // 5), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def correlated(positions: int = 400, seed: int = 0, channels: int = 5) -> Tensor:
    """(1, channels, 20, positions / 20), rectified Gaussians with a covariance of full rank."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn((channels, channels), generator=generator, dtype=torch.float64)
    noise = torch.randn((channels, positions), generator=generator, dtype=torch.float64)
    return (mixing @ noise + 0.5).relu().view(1, channels, 20, -1)


def style_data(loss: StyleLoss, style: Tensor) -> Statistics:
    """The data of a style whose features all go into the bank."""
    constants = Statistics({})
    if loss.calibrate is not None:
        constants = loss.calibrate(Moments.of(style).finalise())
    data = loss.sums(style, None, style=constants).finalise() | constants
    return data | Statistics({"bank": style[0].flatten(1).T}) if loss.bank else data


def value_of(
    loss: StyleLoss, image: Tensor, style: Statistics, *, weights: Tensor | None = None, frozen: Tensor | None = None
) -> Tensor:
    """The loss of a feature map; targets follow from `frozen`, which has the image's own value by default."""
    of_image = None if weights is None else LayerWeights.of(weights)
    value = torch.zeros((), dtype=torch.float64)
    if loss.value is not None:
        value = value + loss.value(loss.sums(image, of_image, style=style).finalise(), style)
    if loss.matching is not None:
        start = (image if frozen is None else frozen).detach()
        transport = loss.matching.transport(loss.sums(start, of_image, style=style).finalise(), style)
        targets = loss.matching.targets(start, transport, style=style)
        errors = loss.matching.errors(image, targets, transport=transport, style=style)
        weight = torch.ones_like(errors) if weights is None else weights.flatten()
        value = value + (errors * weight).sum() / weight.sum()
    return value
