"""The formats of the pictures that are written, by the suffixes of their files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from types import MappingProxyType

WRITTEN: Mapping[str, str] = MappingProxyType(
    {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WebP"}
)
"""Suffixes in lower case to the formats that are written."""

SUFFIXES = ", ".join(WRITTEN)
"""The suffixes that are written, for messages."""

WITHOUT_ALPHA = frozenset({"JPEG"})
"""The formats that cannot be transparent."""

FORMATS = "JPEG, PNG, TIFF, WebP, HEIC, AVIF, JPEG XL, JPEG 2000, BMP, GIF, PPM or camera raw"
"""The formats that are read, for messages."""


def written_format(path: PurePath) -> str | None:
    """The format of a file's suffix; None for one that is not written."""
    return WRITTEN.get(path.suffix.lower())
