"""The losses of the objective. A style loss that is added to `STYLE_LOSSES` works in tiles."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hires_nst.backbones.description import PIXELS
from hires_nst.config import Loss, Normalization
from hires_nst.transfer.losses.channel_moments import (
    central_moments,
    channel_scale,
    gram_mean_std,
    mean_std,
    squashed_powers,
    two_powers,
)
from hires_nst.transfer.losses.neighbours import BANK, NEIGHBOURS, mean_loss, means
from hires_nst.transfer.losses.palette import PALETTE
from hires_nst.transfer.losses.second_moments import (
    gram,
    gram_gatys,
    gram_gatys_normalised,
    gram_johnson,
    mean_covariance,
)
from hires_nst.transfer.losses.sliced import SLICED, histogram_range, histograms
from hires_nst.transfer.losses.style_loss import StyleLoss, moments
from hires_nst.transfer.losses.wasserstein import WASSERSTEIN

STYLE_LOSSES: Mapping[str, StyleLoss] = MappingProxyType(
    {
        "mean-covariance": StyleLoss(sums=moments, value=mean_covariance),
        "gram": StyleLoss(sums=moments, value=gram),
        "mean-std": StyleLoss(sums=two_powers, value=mean_std),
        "gram+mean-std": StyleLoss(sums=moments, value=gram_mean_std),
        "central-moments": StyleLoss(sums=squashed_powers, value=central_moments, calibrate=channel_scale),
        "wasserstein": StyleLoss(sums=moments, matching=WASSERSTEIN),
        "sliced": StyleLoss(sums=histograms, matching=SLICED, calibrate=histogram_range),
        "neighbours": StyleLoss(sums=means, value=mean_loss, matching=NEIGHBOURS, bank=BANK),
    }
)
"""Style losses by their names in the configuration; read-only."""

GRAM_LOSSES: Mapping[Normalization, StyleLoss] = MappingProxyType(
    {
        "relative": STYLE_LOSSES["gram"],
        "gatys2015": StyleLoss(sums=moments, value=gram_gatys),
        "gatys2016": StyleLoss(sums=moments, value=gram_gatys_normalised),
        "johnson2016": StyleLoss(sums=moments, value=gram_johnson),
    }
)
"""`gram` by its normalization; the data of a style are the same for all of them. Read-only."""


def style_loss_of(loss: Loss, layer: str) -> StyleLoss:
    """The style loss of a layer, or of the pixels."""
    if layer == PIXELS:
        return PALETTE
    return GRAM_LOSSES[loss.normalization] if loss.style == "gram" else STYLE_LOSSES[loss.style]
