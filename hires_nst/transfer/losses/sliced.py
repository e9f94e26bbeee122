"""The sliced 2-Wasserstein distance between the features of image and style, by histograms and frozen targets."""

from __future__ import annotations

import torch
from torch import Tensor

from hires_nst.transfer.device import alike, statistics_device
from hires_nst.transfer.losses.style_loss import FLAT, Matching
from hires_nst.transfer.moments import Moments, Statistics
from hires_nst.transfer.reductions import product
from hires_nst.transfer.weights import LayerWeights

NODES = 257
"""Of a histogram. A value is shared between the two nodes next to it, so that sums change smoothly with it."""

RANGE = 6.0
"""Standard deviations of the style to each side of its mean that a histogram covers; values beyond count at its end."""

BLOCK = 1 << 20
"""Projections that are summed at once: 33 MB of nodes' indices and shares."""

UNITS = 2.0**53
"""Of a whole distribution, in which its parts are added up: sums of whole numbers have no order."""


def directions(channels: int, *, seed: int | None = None) -> Tensor:
    """(C, C) in float64: rows are directions of length 1, a random rotation of the axes; `seed` is C if not given."""
    generator = torch.Generator().manual_seed(channels if seed is None else seed)
    q, r = torch.linalg.qr(torch.randn((channels, channels), generator=generator, dtype=torch.float64))
    signs: Tensor = r.diagonal().sign()
    axes: Tensor = q * signs
    return axes


def histogram_range(moments: Statistics) -> Statistics:
    """What the histograms need: `directions`, and of each `start` and `width`, of the values and of a node's cell.

    Along each direction the range is the style's mean and 6 standard deviations to each side, these at least as large
    as that of a nearly flat style: |mean|^2 / C times 0.05.
    """
    axes = directions(len(moments.mean)).to(moments.mean.device)
    middle = axes @ moments.mean
    variance = ((axes @ moments.covariance) * axes).sum(1)
    least = FLAT * moments.mean.square().mean()
    reach = RANGE * variance.clamp_min(least).clamp_min(1e-12).sqrt()
    norm = moments.second.trace().clamp_min(1e-12)
    return Statistics(
        {"directions": axes, "start": middle - reach, "width": 2 * reach / (NODES - 1), "norm": norm[None]}
    )


def histograms(features: Tensor, weights: LayerWeights | None, *, style: Statistics) -> Moments:
    """`histogram` (C, 257): how many values <f, d> lie at each node, for (1, C, h, w); without a graph."""
    values = _projections(features.detach(), style)
    values = values.to(statistics_device(values.device))
    channels, positions = values.shape
    weight = None if weights is None else alike(weights.values.flatten(), values)
    result = torch.zeros(channels * NODES, dtype=torch.float64, device=values.device)
    first = torch.arange(channels, device=values.device)[:, None] * NODES
    step = max(1, BLOCK // channels)
    for begin in range(0, positions, step):
        block = slice(begin, begin + step)
        cells = _cells(values[:, block], style).nan_to_num()
        below = cells.floor().clamp(0, NODES - 2)
        upper = cells - below
        share = torch.ones_like(upper) if weight is None else weight[block].expand_as(upper)
        for node, part in ((below, (1 - upper) * share), (below + 1, upper * share)):
            index = (first + node.long()).flatten()
            result.index_add_(0, index, part.flatten().double())
    return Moments(positions if weights is None else weights.total, {"histogram": result.view(channels, NODES)})


def sliced_transport(image: Statistics, style: Statistics) -> Statistics:
    """The optimal map between the two distributions along each direction, on the cells of the nodes.

    It is T = Q_s(F(v)), with F the image's cumulative distribution and Q_s the style's quantiles; within the cell of a
    node, which is as wide as the distance of nodes and has the node in its middle, both are linear. `lower` and `upper`
    (C, 257) are T at a cell's ends, in nodes; where the style has a gap they are its two sides.
    """
    ours, theirs = map(_cumulative, (image, style))
    edges = torch.arange(NODES + 1, dtype=torch.float64, device=ours.device) - 0.5
    lower = _quantiles(ours[:, :-1].contiguous(), theirs, edges=edges, after_gap=True)
    upper = _quantiles(ours[:, 1:].contiguous(), theirs, edges=edges, after_gap=False)
    return Statistics({"lower": lower, "upper": torch.maximum(lower, upper)})


def _cumulative(statistics: Statistics) -> Tensor:
    """(C, 258): the shares below each edge of the cells, from 0 to 1."""
    histogram = statistics["histogram"].clamp_min(0)
    whole = histogram.sum(1, keepdim=True).clamp_min(1e-30)
    shares = (histogram / whole * UNITS).round().long().cumsum(1).double()
    shares = shares / shares[:, -1:].clamp_min(1)
    return torch.cat((torch.zeros_like(shares[:, :1]), shares), 1).clamp(0, 1)


def _quantiles(shares: Tensor, cumulative: Tensor, *, edges: Tensor, after_gap: bool) -> Tensor:
    """Where the cumulative shares (C, 258) at `edges` reach `shares` (C, 257): at the end of a gap, or at its start."""
    # The cell in which a share is reached begins below it and does not end below it.
    right = torch.searchsorted(cumulative, shares, right=after_gap).clamp(1, NODES)
    low, high = cumulative.gather(1, right - 1), cumulative.gather(1, right)
    return edges[right - 1] + ((shares - low) / (high - low).clamp_min(1e-30)).clamp(0, 1)


def sliced_targets(features: Tensor, transport: Statistics, *, style: Statistics) -> Tensor:
    """T(<f, d>), (C, n), of (1, C, h, w)."""
    values = _projections(features.detach(), style)
    cells = _cells(values, style)
    node = cells.nan_to_num().round().long()
    lower, upper = (alike(transport[name], values).gather(1, node) for name in ("lower", "upper"))
    return _values(lower + (upper - lower) * (cells - node + 0.5), style)


def squared_errors(features: Tensor, targets: Tensor, *, transport: Statistics, style: Statistics) -> Tensor:
    """The sum over directions of (<f, d> - t)^2, divided by the style's mean |f|^2, whose mean is the loss.

    Heitz, Vanhoey, Chambon, Belcour 2021 (A Sliced Wasserstein Loss for Neural Texture Synthesis), equation 3.
    Deviations: there are C fixed directions, a random rotation of the axes, where the paper draws others at each step;
    the distributions are histograms, which add over tiles and suit images of different sizes, where the paper sorts.
    """
    return (_projections(features, style) - targets).square().sum(0) / alike(style["norm"], targets)


def _projections(features: Tensor, style: Statistics) -> Tensor:
    """<f, d> (C, n) in float32 at least, of (1, C, h, w)."""
    flat = features[0].flatten(1)
    flat = flat.to(torch.promote_types(flat.dtype, torch.float32))
    return product(alike(style["directions"], flat), flat)


def _cells(values: Tensor, style: Statistics) -> Tensor:
    """Values (C, n) in nodes from the first, those beyond the range at its ends."""
    start, width = (alike(style[name], values)[:, None] for name in ("start", "width"))
    return ((values - start) / width).clamp(0, NODES - 1)


def _values(cells: Tensor, style: Statistics) -> Tensor:
    """The opposite of `_cells`."""
    start, width = (alike(style[name], cells)[:, None] for name in ("start", "width"))
    return start + width * cells


SLICED = Matching(transport=sliced_transport, targets=sliced_targets, errors=squared_errors)
"""The sliced Wasserstein distance, summed over directions."""
