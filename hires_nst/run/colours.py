"""The colours of a run, as `colors.mode` says: what is recoloured before it is painted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hires_nst.config import Painting
from hires_nst.imageio.oklab import grey
from hires_nst.imageio.picture import Floats
from hires_nst.imageio.recolour import (
    ColourMoments,
    Pointwise,
    colour_map,
    colour_moments,
    mean_moments,
    recolour,
    unchanged,
)
from hires_nst.run.content import ContentImage
from hires_nst.run.context import RunContext
from hires_nst.transfer.weights import WeightedImage


def recolour_inputs(
    content: ContentImage, styles: Sequence[tuple[WeightedImage, Painting]], *, context: RunContext
) -> RunContext:
    """Recolour the style images or the content image at their own sizes, in place.

    The moments of the content image are those of the part that is painted. Transparent pixels count by their alpha.
    For `luminance` all images become grey, and the style images' lightness gets the content image's mean and deviation.

    Returns:
        The context, with what the style images depend on in its `style_key`.
    """
    colors, check_stop = context.config.colors, context.check_stop
    if colors.effective in ("painting", "photo"):
        return context
    seen = grey if colors.effective == "luminance" else unchanged

    def moments(pixels: Floats, alpha: Floats | None) -> ColourMoments:
        return colour_moments(pixels, alpha, of=seen, check_stop=check_stop)

    def change(pixels: Floats, function: Pointwise) -> None:
        recolour(pixels, function, strength=colors.strength, check_stop=check_stop)

    photograph = moments(*content.painted)
    paintings = [moments(image.canvas.pixels, image.alpha) for image, _ in styles]
    if colors.effective == "pre-match":
        together = mean_moments(paintings, [style.weight for _, style in styles])
        change(content.writeable(), colour_map(photograph, together))
        return context
    for (image, _), painting in zip(styles, paintings, strict=True):
        change(image.canvas.pixels, _through(seen, colour_map(painting, photograph)))
    if colors.effective == "luminance":
        change(content.writeable(), grey)
    return replace(context, style_key=(context.style_key, colors, photograph.key))


def _through(seen: Pointwise, change: Pointwise) -> Pointwise:
    """A change of what is seen of pixels."""
    return lambda pixels: seen(change(seen(pixels)))
