"""JPEG, WebP, BMP and GIF files, and images in memory, through Pillow."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile

from hires_nst.imageio.colour import DAMAGED_PROFILE, ColourSpace, Notes, from_exif
from hires_nst.imageio.decoders.bmp_colour import bmp_colours
from hires_nst.imageio.decoders.salvage import without_damaged_metadata
from hires_nst.imageio.exif import orientation_of, parse_exif
from hires_nst.imageio.picture import Floats, Raster

_PILLOW_LIMIT = threading.Lock()
_SALVAGED = "salvaged"


@contextmanager
def open_pillow(file: BinaryIO) -> Iterator[PillowDecoder]:
    """The header of a JPEG, WebP, BMP or GIF file."""
    with open_image(file, ["JPEG", "WEBP", "BMP", "GIF"]) as image:
        yield PillowDecoder(image, Path(getattr(file, "name", "")).name)


def open_image(file: BinaryIO, formats: list[str]) -> Image.Image:
    """The header of a file in one of Pillow's `formats`, without Pillow's own limit of pixels: the reader has one.

    Damaged metadata that stop Pillow are left out; `image.info` says so.
    """
    with _PILLOW_LIMIT:  # the limit is a global of Pillow, read while a file is opened
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(file, formats=formats)
        except (OSError, SyntaxError):
            file.seek(0)
            if (salvaged := without_damaged_metadata(file.read())) is None:
                raise
            image = Image.open(BytesIO(salvaged), formats=formats)
            image.info[_SALVAGED] = True
            return image
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@dataclass(frozen=True)
class PillowDecoder:
    """The first frame of an open JPEG, WebP, BMP or GIF file."""

    image: Image.Image
    file_name: str

    @property
    def size(self) -> tuple[int, int]:
        """Stored width and height, before the orientation is applied."""
        return self.image.size

    @property
    def orientation(self) -> int:
        """The EXIF orientation, 1 when there is none or it is damaged."""
        return orientation_of(self._exif)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the header tells about what is left out or assumed."""
        notes: tuple[str, ...] = ()
        frames = getattr(self.image, "n_frames", 1)
        if frames > 1 and self.image.format != "MPO":  # the further pictures of an MPO file are previews and depth maps
            notes = (f"the file holds {frames} frames; the first one was used",)
        if _SALVAGED in self.image.info:
            notes += ("damaged metadata of the file were ignored",)
        return notes + self._colours[2]

    @property
    def _exif(self) -> Image.Exif:
        return parse_exif(self.image.info.get("exif"))

    def decode(self) -> Raster:
        """Read the pixels; raises whatever Pillow and imagecodecs do over a damaged file."""
        orientation, notes = self.orientation, self.notes
        profile, space, _ = self._colours
        samples, alpha = image_samples(self.image)
        if self.image.format == "BMP" and alpha is not None and not alpha.any():
            alpha = None  # as in browsers: many programs leave these bits empty
        return Raster(samples=samples, alpha=alpha, profile=profile, space=space, orientation=orientation, notes=notes)

    @cached_property
    def _colours(self) -> tuple[bytes | None, ColourSpace | None, Notes]:
        """The embedded profile, and the colour space named otherwise, with notes."""
        if isinstance(self.image, BmpImageFile) and self.image.fp:
            return bmp_colours(self.image.fp)
        profile = self.image.info.get("icc_profile")
        space, notes = from_exif(self._exif, file_name=self.file_name)
        if profile:
            return profile, space, ()
        if any(data.startswith(b"ICC_PROFILE") for _, data in getattr(self.image, "applist", ())):
            notes = (DAMAGED_PROFILE, *notes)  # parts of it are missing
        return None, space, notes


def image_samples(image: Image.Image) -> tuple[Floats, Floats | None]:
    """The samples of an 8-bit image, (H, W, 1 grey | 3 RGB | 4 CMYK) in [0, 1], and its alpha channel if it has one."""
    grey = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        mode = "LA" if grey else "RGBA"
    else:
        mode = "CMYK" if image.mode == "CMYK" else "L" if grey else "RGB"
    samples = np.asarray(image.convert(mode), np.float32)
    samples /= 255
    return (samples, None) if mode == "CMYK" else split_alpha(samples)


def split_alpha(samples: Floats) -> tuple[Floats, Floats | None]:
    """(H, W[, 1 | 2 | 3 | 4]) as (H, W, 1 grey | 3 RGB), and the last of 2 or 4 channels, which is alpha."""
    samples = samples[..., None] if samples.ndim == 2 else samples
    if samples.shape[2] in (2, 4):
        return samples[..., :-1], samples[..., -1]
    return samples, None
