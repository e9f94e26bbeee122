"""The formats of pictures, by the suffixes of their files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from types import MappingProxyType

WRITTEN: Mapping[str, str] = MappingProxyType(
    {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}
)
"""What a picture may be written as; suffixes in lower case."""

READ = frozenset({*WRITTEN, ".webp"})
"""Suffixes of the files that a folder's pictures have. A file that is named is read whatever its suffix."""

FORMATS = "PNG, JPEG, TIFF or WebP"
"""What is read, in words."""


def written_format(path: PurePath) -> str | None:
    """The format that a file's suffix asks for; None for one that is not written."""
    return WRITTEN.get(path.suffix.lower())
