"""HEIC and AVIF files, with all their bits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np

from hires_nst.imageio.colour import ColourSpace, from_code_points
from hires_nst.imageio.picture import Raster
from hires_nst.imageio.pillow import PillowDecoder, open_image, split_alpha

_LIKE_SRGB = frozenset({1, 6, 14, 15})
"""Transfer functions of video. Encoders write them for pictures in sRGB, and browsers show them so."""
_SRGB = 13
_META_BYTES = 1 << 20
_CODE_POINTS = re.compile(rb"colrnclx(.{4})", re.DOTALL)
_AV1_CONFIGURATION = re.compile(rb"av1C\x81.(.)", re.DOTALL)


@contextmanager
def open_heif(file: BinaryIO) -> Iterator[HeifDecoder]:
    """The header of a HEIC file; pillow-heif must be installed."""
    import pillow_heif

    yield HeifDecoder(pillow_heif.open_heif(file, convert_hdr_to_8bit=False))


@contextmanager
def open_avif(file: BinaryIO) -> Iterator[AvifDecoder]:
    """The header of an AVIF file; Pillow must read it."""
    file.seek(0)
    data = file.read()
    file.seek(0)
    with open_image(file, ["AVIF"]) as image:
        yield AvifDecoder(image, "", data)


@dataclass(frozen=True)
class HeifDecoder:
    """The main picture of a HEIC file."""

    heif: Any
    orientation: int = 1  # libheif applies the rotation of the file; that of Exif is a copy (ISO/IEC 23008-12)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, upright."""
        width, height = self.heif.size
        return width, height

    def decode(self) -> Raster:
        """Read the pixels; raises whatever pillow-heif does over a damaged file."""
        image = self.heif[self.heif.primary_index]
        data = np.asarray(image)
        depth = image.info["bit_depth"] if data.dtype == np.uint16 else 8
        peak = ((1 << depth) - 1) << (16 - depth if depth > 8 else 0)  # the bits lie at the top of 16
        samples, alpha = split_alpha(np.asarray(np.divide(data, peak, dtype=np.float32)))
        if alpha is not None and image.premultiplied_alpha:
            samples = np.minimum(samples / np.maximum(alpha, 1e-6)[..., None], 1)
        space, count = None, len(self.heif)
        if nclx := image.info.get("nclx_profile"):
            space = _space(nclx["color_primaries"], nclx["transfer_characteristics"])
        return Raster(
            samples=samples,
            alpha=alpha,
            profile=image.info.get("icc_profile"),
            space=space,
            notes=(f"the file holds {count} pictures; the main one was used",) if count > 1 else (),
        )


@dataclass(frozen=True)
class AvifDecoder(PillowDecoder):
    """The first frame of an AVIF file. Its Exif orientation is that of its rotation boxes: Pillow sees to that."""

    data: bytes = b""

    def decode(self) -> Raster:
        """Read the pixels; raises whatever Pillow and imagecodecs do over a damaged file."""
        raster = super().decode()
        if match := _CODE_POINTS.search(self.data[:_META_BYTES]):
            raster = replace(raster, space=_space(*(int.from_bytes(match[1][i : i + 2], "big") for i in (0, 2))))
        depth = _av1_depth(self.data[:_META_BYTES])
        if depth == 8:
            return raster
        import imagecodecs  # Pillow would drop the low bits

        deep = np.asarray(imagecodecs.avif_decode(self.data, index=0))
        samples, alpha = split_alpha(np.asarray(np.divide(deep, (1 << depth) - 1, dtype=np.float32)))
        return replace(raster, samples=samples, alpha=alpha)


def _av1_depth(head: bytes) -> int:
    """The bits of a sample, by the first configuration box (AV1-ISOBMFF, 2.3)."""
    match = _AV1_CONFIGURATION.search(head)
    flags = match[1][0] if match else 0
    return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10


def _space(primaries: int, transfer: int) -> ColourSpace | None:
    return from_code_points(primaries, _SRGB if transfer in _LIKE_SRGB else transfer, source="nclx")
