"""The objective of a level: what is measured of the style images and the photograph, and in which regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from hires_nst import events
from hires_nst.backbones.description import PIXELS
from hires_nst.run.canvases import noise_canvas
from hires_nst.run.checkpoint import ObjectiveData
from hires_nst.run.context import RunContext
from hires_nst.run.masks import StyleGroup, style_groups
from hires_nst.run.regions import LevelRegions
from hires_nst.transfer.balance import content_factor
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.device import statistics_device
from hires_nst.transfer.kept import KEPT_SHARE, KeptActivations
from hires_nst.transfer.levels import Level
from hires_nst.transfer.moments import Statistics
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.regions import layer_of, region_of, term_name
from hires_nst.transfer.style import normalised_filters, style_layers_of, style_statistics, with_filters
from hires_nst.transfer.sums import content_norms
from hires_nst.transfer.tiles import Grid
from hires_nst.transfer.weights import WeightedImage


def measured_objective(
    level: Level,
    *,
    start: Canvas,
    content: WeightedImage,
    styles: Sequence[Sequence[tuple[WeightedImage, float]]],
    regions: LevelRegions,
    size: int,
    known_factor: float | None,
    context: RunContext,
) -> ObjectiveData:
    """The data of the style images, the norms of the content layers, and their factor at the start of the level.

    Args:
        start: the image at the start of the level.
        content, styles: at the sizes of the level; the styles of each region, with their weights.
        size: of the tiles in which the level is painted.
        known_factor: that of rounds which were painted before the data were lost.
    """
    loss, layers = context.config.loss_at(level.index), context.config.layers
    style_layers = style_layers_of(loss, layers)
    content_layers = [name for name in layers if name in loss.active_content_layers]
    key = (context.style_key, loss.style, layers, tuple(style_layers), level.height, level.width, size)

    def grid_of(image: Canvas) -> Grid:
        return context.measure_grid(image.height, image.width, size=size)

    def of_group(group: StyleGroup, own: Sequence[tuple[WeightedImage, float]]) -> dict[str, Statistics]:
        return context.cache.statistics(
            (key, group.styles),
            lambda: style_statistics(
                context.extract_whole, own, layers=style_layers, loss=loss.style, grid_of=grid_of
            ),
        )  # fmt: skip

    style = {
        term_name(layer, region): statistics
        for region, (group, own) in enumerate(zip(style_groups(context.config), styles, strict=True))
        for layer, statistics in of_group(group, own).items()
    }
    everything = [one for own in styles for one in own]
    filters = normalised_filters(context.extract_whole, content, styles=everything, loss=loss, grid_of=grid_of)
    norms = content_norms(
        context.extract, content, layers=content_layers, grid=grid_of(content.canvas),
        normalization=loss.normalization, filters=filters,
    )  # fmt: skip
    data = ObjectiveData(style=with_filters(style, filters), norms=norms, tile_size=size)
    if loss.balance == "none":
        return data
    if known_factor is None:
        known_factor = content_factor(
            level_objective(data, level=level, content=content, regions=regions, context=context), start,
            content=content.canvas, noise=partial(noise_canvas, level, context),
            grid=context.grid(*level.canvas_size, size=size, overlap=0),
        )  # fmt: skip
    return replace(data, content_factor=known_factor)


def level_objective(
    data: ObjectiveData, *, level: Level, content: WeightedImage, regions: LevelRegions, context: RunContext
) -> Objective:
    """The objective of a level, from what `measured_objective` gives.

    Layers that see too little of a region are left out there, with a notice.
    """
    height, width = level.canvas_size
    home = statistics_device(context.extract.device)
    objective = Objective(
        extract=context.extract if level.index and level.border else context.extract_whole,
        loss=context.config.loss_at(level.index).with_content(data.content_factor),
        style={term: statistics.to(home) for term, statistics in data.style.items()},
        content_norms=data.norms, height=height, width=width, weights=content.weights, border=level.border,
        regions=regions.regions, content_weights=regions.content,
        kept=KeptActivations(context.budget() // KEPT_SHARE), desaturation=context.config.colors.desaturation,
    )  # fmt: skip
    small = [term for term in objective.style if objective.is_too_small(term)]
    seen = {region_of(term) for term in objective.style if term not in small and layer_of(term) != PIXELS}
    small += [term for term in objective.style if region_of(term) not in seen and term not in small]
    if not small:
        return objective
    groups = style_groups(context.config)
    for region in sorted({region_of(term) for term in small}):
        paintings = " and ".join(context.config.paintings[number].image.name for number in groups[region].styles)
        layers = ", ".join(layer_of(t) for t in small if region_of(t) == region and layer_of(t) != PIXELS)
        so = "there it counts in the other layers only" if region in seen else "it is not painted there"
        context.emit(
            events.Notice(f"at level {level.index + 1} the region of {paintings} is too small for {layers}: {so}")
        )
    return replace(objective, style={term: s for term, s in objective.style.items() if term not in small})
