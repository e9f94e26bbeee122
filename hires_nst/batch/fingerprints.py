"""Marks of files: whether a file is still the one that it was."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hires_nst.files import digest_of


@dataclass(frozen=True)
class FileFingerprint:
    """A file as it was: bytes, time of its last change in nanoseconds, SHA-256 in hexadecimal."""

    size: int
    modified: int
    digest: str


def mark(path: Path) -> FileFingerprint:
    """The mark of a file, which is read to its end.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        state = os.fstat(file.fileno())
        return FileFingerprint(state.st_size, state.st_mtime_ns, digest_of(file))


def unchanged(path: Path, before: FileFingerprint) -> bool:
    """Whether the file has the content that it had; it is read only when its time of change is another one.

    Raises:
        OSError: it cannot be read.
    """
    state = path.stat()
    if state.st_size != before.size:
        return False
    return state.st_mtime_ns == before.modified or mark(path).digest == before.digest
