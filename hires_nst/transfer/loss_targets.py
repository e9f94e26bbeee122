"""What the losses compare an image with: the data of the style images, and the norms of the content layers."""

from __future__ import annotations

from collections.abc import Callable

from hires_nst.config import Loss
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.extractor import Extractor
from hires_nst.transfer.moments import Statistics
from hires_nst.transfer.style import Styles, normalised_filters, style_layers_of, style_statistics, with_filters
from hires_nst.transfer.sums import Norm, content_norms
from hires_nst.transfer.tiles import Grid
from hires_nst.transfer.weights import WeightedImage


def loss_targets(
    extract: Extractor,
    styles: Styles,
    *,
    content: WeightedImage,
    loss: Loss,
    grid_of: Callable[[Canvas], Grid],
    extract_content: Extractor | None = None,
) -> tuple[dict[str, Statistics], dict[str, Norm]]:
    """`Objective.style` and `Objective.content_norms` of an image without regions.

    Args:
        grid_of: cuts an image into tiles.
        extract_content: the network for the content image's norms, if it is not that for the style images.
    """
    names = extract.network.backbone.layer_names
    style_layers = style_layers_of(loss, names)
    content_layers = [name for name in names if name in loss.active_content_layers]
    style = style_statistics(extract, styles, layers=style_layers, loss=loss.style, grid_of=grid_of)
    filters = normalised_filters(extract, content, styles=styles, loss=loss, grid_of=grid_of)
    norms = content_norms(
        extract_content or extract, content, layers=content_layers, grid=grid_of(content.canvas),
        normalization=loss.normalization, filters=filters,
    )  # fmt: skip
    return with_filters(style, filters), norms
