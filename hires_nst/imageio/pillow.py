"""PNG, JPEG and WebP files, and images in memory, through Pillow."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image

from hires_nst.imageio.picture import ORIENTATION_TAG, Floats, Raster, valid_orientation

_PILLOW_LIMIT = threading.Lock()


@contextmanager
def open_pillow(file: BinaryIO) -> Iterator[PillowDecoder]:
    """The header of a PNG, JPEG or WebP file, without Pillow's own limit of pixels: the reader has one."""
    with _PILLOW_LIMIT:  # the limit is a global of Pillow, read while a file is opened
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(file, formats=("PNG", "JPEG", "WEBP"))
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    with image:
        yield PillowDecoder(file, image)


@dataclass(frozen=True)
class PillowDecoder:
    """The first frame of an open PNG, JPEG or WebP file."""

    file: BinaryIO
    image: Image.Image

    @property
    def size(self) -> tuple[int, int]:
        """Stored width and height, before the orientation is applied."""
        return self.image.size

    @property
    def orientation(self) -> int:
        """The EXIF orientation, 1 when there is none or it is damaged; the pixels are not decoded."""
        try:
            if self.image.format == "PNG" and "exif" not in self.image.info:
                self.image.info["exif"] = _png_exif(self.file)
            # Not image.getexif(): for a PNG without EXIF in front of the pixels it decodes them all to look behind.
            return valid_orientation(Image.Image.getexif(self.image).get(ORIENTATION_TAG))
        except Exception:  # whatever Pillow raises over damaged EXIF
            return 1

    def decode(self) -> Raster:
        """Read the pixels; raises whatever Pillow and imagecodecs do over a damaged file."""
        orientation, image = self.orientation, self.image
        notes: tuple[str, ...] = ()
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":  # the further pictures of an MPO file are previews and depth maps
            notes = (f"the file holds {frames} frames; the first one was used",)
        if image.format == "PNG" and _png_bit_depth(self.file) == 16:
            samples, alpha = split_alpha(_decode_deep_png(self.file))
        else:
            samples, alpha = image_samples(image)
        profile = image.info.get("icc_profile")
        return Raster(samples=samples, alpha=alpha, profile=profile, orientation=orientation, notes=notes)


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


def _png_exif(file: BinaryIO) -> bytes | None:
    """The content of the eXIf chunk of a PNG file, found from chunk to chunk."""
    position = file.tell()
    file.seek(8)
    found = None
    while found is None and len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"eXIf":
            found = file.read(length)
        file.seek(length + 4, 1)
    file.seek(position)
    return found


def _png_bit_depth(file: BinaryIO) -> int:
    position = file.tell()
    file.seek(24)
    depth = file.read(1)[0]
    file.seek(position)
    return depth


def _decode_deep_png(file: BinaryIO) -> Floats:
    """A PNG file of 16 bits a sample, float32 (H, W[, C]): Pillow would drop the low bits."""
    import imagecodecs

    file.seek(0)
    return np.asarray(np.divide(imagecodecs.png_decode(file.read()), 65535, dtype=np.float32))
