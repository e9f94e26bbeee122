"""Masks as files: grey pictures, or maps in which each colour marks a part. Imports NumPy only when one is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hires_nst.config import Config
from hires_nst.errors import InputError

if TYPE_CHECKING:
    from hires_nst.imageio.picture import Floats
    from hires_nst.imageio.transparency import Colour

SHAPE_TOLERANCE = 0.02
"""A mask may differ in its proportion from its picture by this share, which rounding makes of small ones."""

WHITE = 1 - 1e-3
"""From here on a mask is 1: rounding must not make white a little less."""

LIKE = 0.25
"""Distance in sRGB up to which a pixel has a colour of a map: a JPEG's may be off."""


def check_shape(mask: Path, mask_size: tuple[int, int], *, of: Path, size: tuple[int, int]) -> None:
    """Refuse (InputError) a mask of another shape than its picture; sizes are (width, height)."""
    ours, theirs = mask_size[0] / mask_size[1], size[0] / size[1]
    slack = 1 + SHAPE_TOLERANCE + 1 / min(*mask_size, *size)
    if max(ours / theirs, theirs / ours) > slack:
        raise InputError(
            f"the mask {mask} is {mask_size[0]} x {mask_size[1]} px and does not have the shape of {of}, which is "
            f"{size[0]} x {size[1]} px; make it over the whole picture, in any size"
        )


def read_mask(path: Path, *, colour: str | None, config: Config) -> Floats:
    """A mask, (h, w, 1) in [0, 1].

    Without a colour it is the brightness (luma) of the picture, times its alpha channel. With one, it is 1 where the
    picture has about that colour, and no other one that the configuration names for the same file is closer.

    Raises:
        InputError: it cannot be read, or it is 0 everywhere.
    """
    import numpy as np

    from hires_nst.imageio import reading
    from hires_nst.imageio.picture import luma
    from hires_nst.imageio.transparency import parse_colour

    picture = reading.read_picture(path, max_megapixels=config.images.max_megapixels)
    if colour is None:
        mask = np.clip(luma(picture.pixels)[..., 0], 0, 1)
        mask[mask > WHITE] = 1
    else:
        named = [(one.mask, one.mask_colour) for one in config.styles]
        named += [(one.own_mask, one.own_mask_colour) for one in config.styles]
        colours = {parse_colour(other) for file, other in named if file == path and other is not None}
        distance = _distance(picture.pixels, parse_colour(colour))
        nearest = np.minimum.reduce([distance, *(_distance(picture.pixels, other) for other in colours)])
        mask = ((distance <= LIKE) & (distance <= nearest)).astype(np.float32)
    if picture.alpha is not None:
        mask = mask * picture.alpha
    if not mask.any():
        what = "is black" if colour is None else f"has nothing of the colour {colour}"
        raise InputError(f"the mask {path} {what}, so it covers nothing; white marks what counts")
    return np.ascontiguousarray(mask[..., None], np.float32)


def _distance(pixels: Floats, colour: Colour) -> Floats:
    import numpy as np

    return np.asarray(np.sqrt(np.square(pixels - np.asarray(colour, np.float32)).sum(2)))


@dataclass(frozen=True, kw_only=True)
class StyleGroup:
    """The paintings of one region.

    Attributes:
        styles: their numbers in `Config.paintings`.
        mask, colour: of the photograph; None for what the masks of the others leave, or for all of it.
        weight: the mean of the weights of its styles.
    """

    styles: tuple[int, ...]
    mask: Path | None
    colour: str | None
    weight: float


def style_groups(config: Config) -> tuple[StyleGroup, ...]:
    """The paintings by region: those with the same mask are one, and those without a mask are one."""
    numbers: dict[tuple[Path | None, str | None], list[int]] = {}
    weights: dict[tuple[Path | None, str | None], list[float]] = {}
    for style in config.styles:
        weights.setdefault((style.mask, style.mask_colour), []).append(style.weight)
    for number, painting in enumerate(config.paintings):
        numbers.setdefault((painting.style.mask, painting.style.mask_colour), []).append(number)
    return tuple(
        StyleGroup(styles=tuple(group), mask=key[0], colour=key[1], weight=sum(weights[key]) / len(weights[key]))
        for key, group in numbers.items()
    )


def mask_canvases(config: Config) -> int:
    """The most canvases that the masks of a level are in."""
    groups, regions = style_groups(config), config.regions
    is_masked = any(group.mask for group in groups) or regions.protect is not None
    return len(groups) * is_masked + sum(mask is not None for mask in (regions.protect, regions.content))
