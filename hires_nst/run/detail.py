"""The fine detail of the photograph with which a level starts: a canvas that was enlarged has none of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hires_nst.config import Painting
from hires_nst.imageio.detail import Resampled, add_difference, mean_square, original, smoothed
from hires_nst.imageio.picture import Floats
from hires_nst.run.canvases import enlarged, style_image
from hires_nst.run.content import ContentImage
from hires_nst.run.context import RunContext
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.levels import Level
from hires_nst.transfer.weights import WeightedImage

PART = 1 / 3
"""Of the frequencies that a level adds, the lower part that is taken: the highest would stay as noise in calm parts."""


def add_detail(
    canvas: Canvas,
    level: Level,
    *,
    lower: Level,
    content: ContentImage,
    level_content: WeightedImage,
    styles: Sequence[tuple[WeightedImage, Painting]],
    context: RunContext,
) -> None:
    """Add the photograph's frequencies that the level `lower` has not to the start of a level, in place.

    The share is `levels.detail`. `auto` makes it that at which the photograph's detail is no stronger than the
    paintings', at most 1, by the root mean square of the frequencies that the level adds, hidden pixels included; 0
    without a painting or a content loss.

    Args:
        level_content: the content image of the level.
        styles: the style images at their own sizes.
    """
    wanted = context.config.levels.detail
    if wanted == 0 or (wanted == "auto" and not (styles and context.config.loss_at(level.index).active_content_layers)):
        return
    factor, check_stop = lower.width / level.width, context.check_stop

    def new_image(rows: int, columns: int) -> Floats:
        return context.place(rows, columns).pixels

    def without_new(pixels: Floats) -> Resampled:
        return smoothed(pixels, factor, new_image=new_image, check_stop=check_stop)

    fine = level_content.canvas.pixels
    smooth = enlarged(content.pixels_at(lower, context), lower=lower, level=level)
    if wanted == "auto":
        own, strength = mean_square(original(fine), smooth, check_stop=check_stop), 0.0
        for image, painting in styles:
            scales = painting.style.scales(context.long_edge)
            for scale in scales:  # rotated or mirrored, it has the same strength
                pixels = style_image(image, scale, level=level, context=context).canvas.pixels
                found = mean_square(original(pixels), without_new(pixels), check_stop=check_stop)
                strength += painting.weight / len(scales) * found
        strength /= sum(painting.weight for _, painting in styles)
        share = min(1.0, math.sqrt(strength / own)) if own > 0 else 0.0
    else:
        share = wanted
    part = smoothed(fine, factor + PART * (1 - factor), new_image=new_image, check_stop=check_stop)
    add_difference(canvas.pixels, share, fine=part, smooth=smooth, check_stop=check_stop)
