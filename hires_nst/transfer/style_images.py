"""The style images: their least size, and their size at a level."""

from __future__ import annotations

from hires_nst.config import Config
from hires_nst.errors import InputError


def check_side(name: str, size: tuple[int, int], *, config: Config) -> None:
    """Refuse an image on which the deepest layer in use has no position.

    Args:
        name: what the error calls the image.
        size: width and height.

    Raises:
        InputError: it is too small.
    """
    least = config.minimum_side
    if min(size) < least:
        raise InputError(
            f"{name} is {size[0]} x {size[1]} px, but {config.model.name} needs {least} px on each side; give a larger "
            "one"
        )


def style_size(own: tuple[int, int], level: tuple[int, int], *, scale: float, config: Config) -> tuple[int, int]:
    """Height and width of a style image at a level, from its `own` and the level's.

    Its long edge is `scale` times the level's. It is never enlarged beyond its own pixels, nor made smaller on a side
    than the deepest layer needs.
    """
    least = config.minimum_side
    factor = min(1.0, max(scale * max(level) / max(own), least / min(own)))
    return max(least, round(own[0] * factor)), max(least, round(own[1] * factor))
