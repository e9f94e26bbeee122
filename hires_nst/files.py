"""Files on the disk: atomic writes, fingerprints and checksums, and the system's errors in plain words."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from hires_nst.errors import DamagedFile, DiskFull, InputError, OutputError

CHUNK = 1 << 22

UNSETTLED = 2_000_000_000
"""Nanoseconds after a change in which another change may leave the time of change as it is."""

CHECKSUM_PLACEHOLDER = b"0" * 64
"""Stands for the SHA-256 of a file in the file itself while the checksum is computed."""

_URL = re.compile(r"(?:^|/)([a-z][a-z0-9+.-]+):/+([^/].*)", re.IGNORECASE)
"""A URL, also one that was taken for a path: relative to a folder, and with a single slash."""


@dataclass(frozen=True)
class FileFingerprint:
    """A file as it was: size in bytes, time of its last change in nanoseconds, SHA-256 in hexadecimal."""

    size: int
    modified: int
    sha256: str


def fingerprint(path: Path) -> FileFingerprint:
    """The fingerprint of a file, which is read to its end; OSError if it cannot be read."""
    result = hashlib.sha256()
    with path.open("rb") as file:
        state = os.fstat(file.fileno())
        while chunk := file.read(CHUNK):
            result.update(chunk)
    return FileFingerprint(state.st_size, state.st_mtime_ns, result.hexdigest())


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal; OSError if it cannot be read."""
    return fingerprint(path).sha256


def is_unchanged(path: Path, before: FileFingerprint) -> bool:
    """Whether a file has the content that it had; it is read only if its time of change differs."""
    state = path.stat()
    if state.st_size != before.size:
        return False
    return state.st_mtime_ns == before.modified or sha256_of(path) == before.sha256


class FileDigests:
    """SHA-256 of files, each of which is read once as long as its size and time of change stay the same.

    A file that was changed just now is read each time.
    """

    def __init__(self) -> None:
        self._fingerprints: dict[Path, FileFingerprint] = {}

    def fingerprint(self, path: Path) -> FileFingerprint:
        """The fingerprint of a file; OSError if it cannot be read."""
        path = path.resolve()
        state, stored = path.stat(), self._fingerprints.get(path)
        if stored is not None and (stored.size, stored.modified) == (state.st_size, state.st_mtime_ns):
            return stored
        found = fingerprint(path)
        if time.time_ns() - found.modified > UNSETTLED:
            self._fingerprints[path] = found
        return found

    def sha256(self, path: Path) -> str:
        """The SHA-256 of a file, in hexadecimal; InputError if it cannot be read."""
        try:
            return self.fingerprint(path).sha256
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); check the name and the permissions") from None


def url_of(path: Path | str) -> str | None:
    """The URL that was given as this path; None where it is no URL."""
    found = _URL.search(str(path))
    return None if found is None else "{}://{}".format(*found.groups())


def check_exists(path: Path, *, otherwise: str = "check the name and the folder") -> None:
    """Raise InputError unless there is a file or a folder at `path`; it may be a URL, or a link that leads nowhere."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        if (url := url_of(path)) is not None:
            if url.startswith("file:"):
                raise InputError(f"{path} is a URL; give the path alone: /{url[7:].lstrip('/')}") from None
            raise InputError(f"{url} is a URL; download it first, and give the name of the file") from None
        if path.is_symlink():
            target = path.readlink()
            raise InputError(f"{path} is a symbolic link to {target}, which does not exist; check the link") from None
        raise InputError(f"{path} does not exist; {otherwise}") from None
    except (OSError, ValueError) as error:  # a ValueError comes of a null character
        reason = getattr(error, "strerror", error)
        raise InputError(f"{path} cannot be read ({reason}); check the name and the permissions") from None


def natural(path: str) -> tuple[tuple[tuple[str | int, ...], ...], str]:
    """A key that sorts as people do: folder by folder, numbers by value, capitals beside small letters.

    Two different paths never have the same key.
    """
    return tuple(_pieces(part) for part in path.split("/")), path


def _pieces(text: str) -> tuple[str | int, ...]:
    """Text and numbers in turn, beginning and ending with text."""
    pieces = re.split("([0-9]+)", text)
    return tuple(int(piece) if position % 2 else piece.casefold() for position, piece in enumerate(pieces))


def behind_links(path: Path) -> Path:
    """The file or folder that is written to: `path`, or the target at the end of its symbolic links.

    The target need not exist. The folders above `path` may be links in any case.

    Raises:
        OutputError: the links go in a circle.
    """
    if not path.is_symlink():
        return path
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OutputError(f"{path} is a symbolic link that leads back to itself; remove it or choose another name")
    return target


def atomic_write(
    path: Path,
    write: Callable[[BinaryIO], object],
    *,
    overwrite: bool,
    name: str | None = None,
    done: Callable[[Path], None] = lambda file: None,
) -> None:
    """Make the file `path` with what `write` puts into the binary file it is given: all of it or nothing.

    The bytes go to a temporary file in the same folder, which is flushed to the disk and then takes the place of
    `path`. On any exception, KeyboardInterrupt included, the temporary file is removed and `path` stays as it was. A
    symbolic link stays: the file that it leads to is replaced, or made, in the same way.

    Args:
        name: of the temporary file, `.NAME.part`; random when not given.
        done: called with the temporary file when it is complete.

    Raises:
        OutputError: `path` exists and not `overwrite`. As `plain_os_errors`; as `write` and `done`.
    """
    with plain_os_errors(path):
        path = behind_links(path)
    temporary = path.parent / f".{name or secrets.token_hex(8)}.part"
    with plain_os_errors(path):
        try:
            with temporary.open("xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            done(temporary)
            check_free(path, overwrite)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


def write_bytes(path: Path, data: bytes, *, overwrite: bool = True) -> None:
    """Make a file of these bytes, or replace it; see `atomic_write`."""
    atomic_write(path, lambda file: file.write(data), overwrite=overwrite)


@contextmanager
def plain_os_errors(path: Path, *, other: str = "choose another folder or name") -> Iterator[None]:
    """Turn the system's errors in the block into one sentence about `path`; `other` says what to do instead.

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
        raise OutputError(f"{path} already exists; use --overwrite to replace it, or choose another name")


def sync_folder(folder: Path) -> None:
    """Flush a folder's names to the disk, on systems where a folder can be opened."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder with its parents, behind symbolic links, and flush their names to the disk.

    Raises:
        As `plain_os_errors` and `behind_links`.
    """
    if folder.is_dir():
        return
    folder = behind_links(folder)
    with plain_os_errors(folder):
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def is_disk_full(error: OSError) -> bool:
    """Whether the system refused to write because no space is left on the device."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def may_pass(error: OSError) -> bool:
    """Whether the system may do later what it refused now: a network or a disk that is not there for a while."""
    return error.errno in (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EMFILE, errno.ENFILE)


def write_checked(path: Path, head: bytes, *, pieces: Iterable[memoryview] = ()) -> str:
    """Write `head` and `pieces` in place of what is at `path`, and return the checksum.

    The checksum, the SHA-256 of the whole file with `CHECKSUM_PLACEHOLDER` in `head`, then replaces the placeholder.
    """
    checksum = hashlib.sha256(head)

    def write(file: BinaryIO) -> None:
        file.write(head)
        for piece in pieces:
            checksum.update(piece)
            file.write(piece)
        file.seek(0)
        file.write(head.replace(CHECKSUM_PLACEHOLDER, checksum.hexdigest().encode()))

    atomic_write(path, write, overwrite=True)
    return checksum.hexdigest()


def is_intact(head: bytes, pieces: Iterable[memoryview] = (), *, checksum: str) -> bool:
    """Whether a file that `write_checked` wrote still agrees with the checksum that its head states."""
    found = hashlib.sha256(head.replace(checksum.encode(), CHECKSUM_PLACEHOLDER))
    for piece in pieces:
        found.update(piece)
    return found.hexdigest() == checksum


def write_json(path: Path, data: Mapping[str, Any]) -> str:
    """Write a mapping as JSON in place of what is at `path`, with a checksum under `checksum`, and return that."""
    text = json.dumps({**data, "checksum": CHECKSUM_PLACEHOLDER.decode()}, indent=1)  # ASCII: names need not be UTF-8
    return write_checked(path, text.encode())


def read_json(path: Path) -> dict[str, Any]:
    """The mapping that `write_json` wrote, with its checksum.

    Raises:
        DamagedFile: its checksum does not match. FileNotFoundError: there is no such file.
    """
    head = path.read_bytes()
    with suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
        data = json.loads(head)
        if is_intact(head, checksum=data["checksum"]):
            return dict(data)
    raise DamagedFile(f"{path} is damaged")
