"""Nearest-neighbour feature matching: the cosine distance of each feature to the nearest one of the style."""

from __future__ import annotations

import torch
from torch import Tensor

from hires_nst.transfer.device import alike
from hires_nst.transfer.losses.style_loss import Matching, relative
from hires_nst.transfer.moments import Moments, Statistics
from hires_nst.transfer.weights import LayerWeights

BANK = 4096
"""The most features of the style that are compared with; 4,096 evenly spread ones of 512 channels take 8 MB."""

BLOCK = 2048
"""Features that are compared with the bank at once: 32 MB of cosines in float32."""

LEAST_NORM = 1e-3
"""Added to the norms of centred features, relative to the root mean square of the style's features."""


def means(features: Tensor, weights: LayerWeights | None, *, style: Statistics) -> Moments:
    """`powers` (1, C): the mean, which the features are centred by."""
    return Moments.by_channel(features, weights, order=1)


def mean_loss(image: Statistics, style: Statistics) -> Tensor:
    """|mean - mean_s|^2 / |mean_s|^2."""
    return relative(image["powers"], style["powers"])


def centring(image: Statistics, style: Statistics) -> Statistics:
    """`mean` (C,) of the image, and `bank` (N, C): directions of the style's features minus the style's mean."""
    return Statistics({"mean": image["powers"][0], "bank": _directions(style["bank"] - style["powers"][0], style)})


def nearest(features: Tensor, transport: Statistics, *, style: Statistics) -> Tensor:
    """The direction (n, C) of the bank that has the largest cosine to each feature of (1, C, h, w) minus the mean."""
    centred = _centred(features.detach(), transport)
    bank = alike(transport["bank"], centred)
    blocks = [centred[begin : begin + BLOCK] for begin in range(0, len(centred), BLOCK)]
    return torch.cat([bank[(block @ bank.T).max(1).indices] for block in blocks]) if blocks else centred


def cosine_distances(features: Tensor, targets: Tensor, *, transport: Statistics, style: Statistics) -> Tensor:
    """1 - <u, b> with the directions u of the centred features and b of their neighbours.

    Kolkin, Kucera, Paris, Sykora, Shechtman, Shakhnarovich 2022 (Neural Neighbor Style Transfer), section 3: features
    are centred by the means of the image and the style. Deviations: each layer is matched by itself, not the
    concatenation of several; there are at most 4,096 features of the style, upright and not rotated; the image's mean
    has no gradient here; norms are those of the vector with one more entry of 1e-3 of the style's root mean square.
    Since centring takes the palette out, `mean_loss` is added, in place of the paper's matching of colours.
    """
    return 1 - (_directions(_centred(features, transport), style) * targets).sum(1)


def _centred(features: Tensor, transport: Statistics) -> Tensor:
    flat = features[0].flatten(1).T
    flat = flat.to(torch.promote_types(flat.dtype, torch.float32))
    return flat - alike(transport.mean, flat)


def _directions(centred: Tensor, style: Statistics) -> Tensor:
    """Rows of length 1, nearly; of a flat style all are short."""
    least = alike(LEAST_NORM**2 * style["bank"].square().sum(1).mean(), centred)
    return centred / (centred.square().sum(1, keepdim=True) + least + 1e-30).sqrt()


NEIGHBOURS = Matching(transport=centring, targets=nearest, errors=cosine_distances)
"""The mean cosine distance to the nearest neighbours."""
