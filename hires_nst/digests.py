"""SHA-256 of files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

CHUNK = 1 << 22


def digest_of(file: BinaryIO) -> str:
    """The SHA-256, in hexadecimal, of what is left to read of an open file."""
    result = hashlib.sha256()
    while chunk := file.read(CHUNK):
        result.update(chunk)
    return result.hexdigest()


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return digest_of(file)
