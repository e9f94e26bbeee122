"""The distance between the distributions of the colours of image and style: the sliced one, for pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from hires_nst.transfer.device import alike
from hires_nst.transfer.losses.sliced import BLOCK, NODES, directions, histograms, sliced_targets, sliced_transport
from hires_nst.transfer.losses.style_loss import Matching, StyleLoss
from hires_nst.transfer.moments import Statistics
from hires_nst.transfer.reductions import product

ROTATIONS = 2
"""Of the axes, along which distributions are compared: 3 directions each."""


def colour_range(moments: Statistics) -> Statistics:
    """What `histograms` needs for colours, sRGB in [0, 1], the same for every style; see `sliced.histogram_range`."""
    axes = torch.cat([directions(3, seed=3 + rotation) for rotation in range(ROTATIONS)]).to(moments.mean.device)
    start, end = axes.clamp_max(0).sum(1), axes.clamp_min(0).sum(1)
    return Statistics({"directions": axes, "start": start, "width": (end - start) / (NODES - 1)})


def colour_targets(features: Tensor, transport: Statistics, *, style: Statistics) -> Tensor:
    """(4, n) of the pixels (1, 3, h, w): the colour nearest to a pixel's targets on all directions, and the rest.

    The directions d are orthonormal axes, some times over. For them 3 times the mean of (<p, d> - t)^2 is |p - q|^2 + r
    for every p, with q 3 times the mean of t d, and r its value at p = q.
    """

    def of(part: Tensor) -> Tensor:
        found = sliced_targets(part, transport, style=style)
        nearest = product(alike(style["directions"], found).T, found) / ROTATIONS
        rest = (found.square().sum(0) / ROTATIONS - nearest.square().sum(0)).clamp_min(0)
        return torch.cat((nearest, rest[None]))

    pixels, step = features.flatten(2)[..., None], BLOCK // (3 * ROTATIONS)
    return torch.cat([of(pixels[:, :, begin : begin + step]) for begin in range(0, pixels.shape[2], step)], dim=1)


def colour_errors(features: Tensor, targets: Tensor, *, transport: Statistics, style: Statistics) -> Tensor:
    """(n,): 3 times the mean over the directions of (<p, d> - t)^2, whose mean over the pixels is the loss.

    The sliced 2-Wasserstein distance of the sets of colours (Rabin, Peyre, Delon, Bernot 2011: Wasserstein barycenter
    and its application to texture mixing), times 3, so that a shift of all colours counts by its squared length.
    Deviations: those of `sliced.squared_errors`, with 6 directions.
    """
    return (features[0].flatten(1) - targets[:3]).square().sum(0) + targets[3]


PALETTE = StyleLoss(
    sums=histograms,
    matching=Matching(transport=sliced_transport, targets=colour_targets, errors=colour_errors),
    calibrate=colour_range,
)
"""The loss of `pixels`, whatever that of the layers is."""
