"""Files on the disk: atomic writes, checksums, and the operating system's errors in plain words."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from hires_nst.errors import DiskFull, OutputError

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


def atomic_write(
    path: Path,
    write: Callable[[BinaryIO], None],
    *,
    overwrite: bool,
    name: str | None = None,
    done: Callable[[Path], None] = lambda file: None,
) -> None:
    """Make the file `path` with what `write` puts into the binary file it is given: all of it or nothing.

    The bytes go to a temporary file in the same folder, whose name starts with a dot, and from there to the disk; then
    it takes the place of `path`. On any exception, KeyboardInterrupt included, the temporary file is removed and
    whatever was at `path` stays as it was. The temporary file is called `name`, or at random; `done` is told of it when
    it is complete.

    Raises OutputError when `path` exists and not `overwrite`, or the file cannot be written; ResourceError when the
    disk is full; and whatever else `write` raises.
    """
    temporary = path.parent / f".{name or secrets.token_hex(8)}.part"
    with plain_os_errors(path):
        check_free(path, overwrite)
        try:
            with temporary.open("xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            done(temporary)
            check_free(path, overwrite)  # it may have come in the meantime
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


@contextmanager
def plain_os_errors(path: Path, *, other: str = "choose another folder or name") -> Iterator[None]:
    """What the system refuses in the block becomes one sentence about `path`, with the `other` thing to do.

    Raises:
        OutputError: it may not or cannot be written. DiskFull: the disk is full.
    """
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise DiskFull(f"no space left on the disk of {path}; free some or choose another folder", path) from error
        if isinstance(error, PermissionError):
            message = f"{path} may not be written; change the permissions of its folder, or {other}"
            raise OutputError(message) from error
        reason = error.strerror or str(error)
        raise OutputError(f"{path} cannot be written ({reason}); {other}") from error


def check_free(path: Path, overwrite: bool) -> None:
    """Raise OutputError where `path` exists and may not be overwritten."""
    if not overwrite and path.exists():
        raise OutputError(f"{path} exists already; give --overwrite to replace it or choose another name")


def sync_folder(folder: Path) -> None:
    """Bring the new name to the disk; where folders cannot be opened or synchronised the system sees to it itself."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def is_disk_full(error: OSError) -> bool:
    """Whether the system refused to write for want of room."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
