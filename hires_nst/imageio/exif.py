"""Exif data: whatever is damaged in them counts as absent."""

from __future__ import annotations

from typing import Any, BinaryIO

from PIL import Image

ORIENTATION_TAG = 0x0112
_EXIF_DIRECTORY, _INTEROPERABILITY_DIRECTORY = 0x8769, 0xA005


def parse_exif(data: bytes | None) -> Image.Exif:
    """The Exif of a file, with or without the "Exif" in front; an empty one if there is none or it is damaged."""
    exif = Image.Exif()
    try:
        exif.load(data)  # type: ignore[arg-type] # None too
        dict(exif)  # decodes the values
    except Exception:  # whatever Pillow raises over damaged Exif
        return Image.Exif()
    return exif


def exif_of(image: Image.Image) -> Image.Exif:
    """The Exif of a Pillow image; an empty one if it is damaged."""
    try:
        return image.getexif()
    except Exception:  # as in parse_exif
        return Image.Exif()


def read_exif(file: BinaryIO, offset: int, *, endian: str, bigtiff: bool) -> Image.Exif:
    """The Exif of the TIFF directory at `offset` of a file; an empty one if it is damaged."""
    exif = Image.Exif()
    exif.endian, exif.bigtiff = endian, bigtiff
    try:
        exif.load_from_fp(file, offset)
    except Exception:  # as in parse_exif
        return Image.Exif()
    return exif


def valid_orientation(tag: object) -> int:
    """The EXIF orientation 1 to 8 that a tag gives; 1 when it gives none."""
    return tag if isinstance(tag, int) and 1 <= tag <= 8 else 1


def orientation_of(exif: Image.Exif) -> int:
    """The orientation, 1 to 8."""
    return valid_orientation(exif.get(ORIENTATION_TAG))


def photo_tags(exif: Image.Exif) -> dict[int, Any]:
    """The tags of the Exif directory, such as ColorSpace (0xA001)."""
    return _directory(exif, _EXIF_DIRECTORY)


def interoperability(exif: Image.Exif) -> str:
    """The interoperability index, such as R98 (sRGB) or R03 (Adobe RGB); empty if there is none."""
    index = _directory(exif, _INTEROPERABILITY_DIRECTORY).get(1, "")
    return index.decode("latin-1").rstrip("\0 ") if isinstance(index, bytes) else str(index).rstrip("\0 ")


def _directory(exif: Image.Exif, tag: int) -> dict[int, Any]:
    try:
        return dict(exif.get_ifd(tag))
    except Exception:  # as in parse_exif
        return {}
