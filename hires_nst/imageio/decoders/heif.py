"""HEIC and AVIF files, with all their bits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from hires_nst.imageio.colour import ColourSpace, from_code_points
from hires_nst.imageio.decoders.pillow import image_samples, open_image, split_alpha
from hires_nst.imageio.exif import orientation_of, parse_exif
from hires_nst.imageio.picture import Raster
from hires_nst.imageio.transparency import unpremultiplied

_LIKE_SRGB = frozenset({1, 6, 14, 15})
"""Transfer functions of video. Encoders write them for pictures in sRGB, and browsers show them so."""
_SRGB = 13
_META_BYTES = 1 << 20
_CODE_POINTS = re.compile(rb"colrnclx(.{4})", re.DOTALL)
_AV1_CONFIGURATION = re.compile(rb"av1C\x81.(.)", re.DOTALL)


@contextmanager
def open_heif(file: BinaryIO) -> Iterator[HeifDecoder]:
    """The header of a HEIC file; pillow-heif must be installed. Raises UnsupportedColour."""
    import pillow_heif

    heif = pillow_heif.open_heif(file, convert_hdr_to_8bit=False)
    nclx = heif.info.get("nclx_profile")
    yield HeifDecoder(heif, _space(nclx["color_primaries"], nclx["transfer_characteristics"]) if nclx else None)


@contextmanager
def open_avif(file: BinaryIO) -> Iterator[AvifDecoder]:
    """The header of an AVIF file; Pillow must read it. Raises UnsupportedColour."""
    file.seek(0)
    data = file.read()
    file.seek(0)
    match = _CODE_POINTS.search(data[:_META_BYTES])
    points = [int.from_bytes(match[1][start : start + 2], "big") for start in (0, 2)] if match else []
    space = _space(*points) if points else None
    with open_image(file, ["AVIF"]) as image:
        yield AvifDecoder(image=image, data=data, space=space)


@dataclass(frozen=True)
class HeifDecoder:
    """The main picture of a HEIC file."""

    heif: Any
    space: ColourSpace | None
    orientation: int = 1  # libheif applies the rotation of the file; that of Exif is a copy (ISO/IEC 23008-12)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, upright."""
        width, height = self.heif.size
        return width, height

    @property
    def notes(self) -> tuple[str, ...]:
        """What the header tells about what is left out or assumed."""
        count = len(self.heif)
        return (f"the file holds {count} pictures; the main one was used",) if count > 1 else ()

    def decode(self) -> Raster:
        """Read the pixels; raises whatever pillow-heif does over a damaged file."""
        image = self.heif[self.heif.primary_index]
        data = np.asarray(image)
        depth = image.info["bit_depth"] if data.dtype == np.uint16 else 8
        peak = ((1 << depth) - 1) << (16 - depth if depth > 8 else 0)  # the bits lie at the top of 16
        samples, alpha = split_alpha(np.asarray(np.divide(data, peak, dtype=np.float32)))
        if alpha is not None and image.premultiplied_alpha:
            samples = unpremultiplied(samples, alpha)
        return Raster(
            samples=samples,
            alpha=alpha,
            profile=image.info.get("icc_profile"),
            space=self.space,
            notes=self.notes,
        )


@dataclass(frozen=True, kw_only=True)
class AvifDecoder:
    """The first frame of an AVIF file."""

    image: Image.Image
    data: bytes
    space: ColourSpace | None

    @property
    def size(self) -> tuple[int, int]:
        """Stored width and height, before the orientation is applied."""
        return self.image.size

    @property
    def orientation(self) -> int:
        """That of the rotation boxes: Pillow writes it into the Exif data, whatever they said."""
        return orientation_of(parse_exif(self.image.info.get("exif")))

    @property
    def notes(self) -> tuple[str, ...]:
        """What the header tells about what is left out or assumed."""
        frames = getattr(self.image, "n_frames", 1)
        return (f"the file holds {frames} frames; the first one was used",) if frames > 1 else ()

    def decode(self) -> Raster:
        """Read the pixels; raises whatever Pillow and imagecodecs do over a damaged file."""
        depth = _av1_depth(self.data[:_META_BYTES])
        if depth == 8:
            samples, alpha = image_samples(self.image)
        else:
            import imagecodecs  # Pillow would drop the low bits

            deep = np.asarray(imagecodecs.avif_decode(self.data, index=0))
            samples, alpha = split_alpha(np.asarray(np.divide(deep, (1 << depth) - 1, dtype=np.float32)))
        return Raster(
            samples=samples,
            alpha=alpha,
            profile=self.image.info.get("icc_profile"),
            space=self.space,
            orientation=self.orientation,
            notes=self.notes,
        )


def _av1_depth(head: bytes) -> int:
    """The bits of a sample, by the first configuration box (AV1-ISOBMFF, 2.3)."""
    match = _AV1_CONFIGURATION.search(head)
    flags = match[1][0] if match else 0
    return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10


def _space(primaries: int, transfer: int) -> ColourSpace | None:
    return from_code_points(primaries, _SRGB if transfer in _LIKE_SRGB else transfer, source="nclx")
