"""Pictures: reading, colour profiles, resizing, writing, and paper sizes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hires_nst.imageio.images import ImageInput


def image_list(images: ImageInput | Iterable[ImageInput]) -> list[ImageInput]:
    """One image or several as a list; NumPy and Pillow are not imported."""
    if isinstance(images, (str, os.PathLike)) or hasattr(type(images), "__array_interface__"):
        return [images]  # type: ignore[list-item]
    return list(images)  # type: ignore[arg-type]
