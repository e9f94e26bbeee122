"""The style images: their least size, and their size at a level."""

from __future__ import annotations

from hires_nst.config import Config, StyleImage
from hires_nst.errors import InputError


def check_painting(style: StyleImage, size: tuple[int, int], config: Config) -> None:
    """Refuse a painting of `size` (width, height) that the deepest layer has no position on.

    Raises:
        InputError: it is too small.
    """
    least = config.minimum_side
    if min(size) < least:
        raise InputError(
            f"the style {style.image} is {size[0]} x {size[1]} px, but {config.model.name} needs {least} px on each "
            "side; give a larger one"
        )


def painting_size(own: tuple[int, int], style: StyleImage, height: int, width: int, config: Config) -> tuple[int, int]:
    """Height and width of a painting at a level of that height and width, from its `own`.

    Its long edge is `style.scale` times the level's. It is never enlarged beyond its own pixels, nor made smaller on a
    side than the deepest layer needs.
    """
    least = config.minimum_side
    factor = min(1.0, max(style.scale * max(height, width) / max(own), least / min(own)))
    return max(least, round(own[0] * factor)), max(least, round(own[1] * factor))
