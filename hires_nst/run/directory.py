"""A run's directory: its lock and its log of events. No torch in sight."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import shutil
import socket
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from hires_nst.errors import DamagedFile, OutputError, RunBusy
from hires_nst.events import Event
from hires_nst.files import plain_os_errors

try:
    import fcntl
except ImportError:  # Windows, where two processes are not kept apart
    fcntl = None  # type: ignore[assignment]

RECORD, CONFIG, LOG, LEVELS = "run.json", "config.yaml", "events.jsonl", "levels"
OTHER = "give another run directory with --run-dir"
_LOCK = "lock"
_PATIENCE = 0.2
"""Seconds for which a lock is asked for again: `lock_owner` takes it for a moment."""
_PART = re.compile(r"\.[0-9a-f]+\.part")


class RunDirectory:
    """A run directory that this process holds; made by `opened`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log: IO[str] | None = None

    @property
    def record(self) -> Path:
        """Where run.json is, or will be."""
        return self.path / RECORD

    def log(self, event: Event) -> None:
        """Append an event with its time and a checksum to events.jsonl.

        Raises:
            ResourceError: the disk is full. OutputError: the file cannot be written.
        """
        with plain_os_errors(self.path / LOG):
            if self._log is None:
                self._log = _appending(self.path / LOG)
            self._log.write(log_line(event, time.time()) + "\n")
            self._log.flush()

    def close_log(self) -> None:
        """Let go of events.jsonl; what cannot be written any more is dropped."""
        if self._log is not None:
            with suppress(OSError):
                self._log.close()
            self._log = None

    def clear(self) -> None:
        """Remove what a run has written, the record last, and nothing else."""
        self.close_log()
        with plain_os_errors(self.path):
            if (self.path / LEVELS).is_dir():
                shutil.rmtree(self.path / LEVELS)
            for name in (LOG, CONFIG, RECORD):
                (self.path / name).unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the run directory; files of others in it stay, and it with them."""
        self.clear()
        (self.path / _LOCK).unlink(missing_ok=True)
        with suppress(OSError):
            self.path.rmdir()


@contextmanager
def opened(path: Path, *, make: bool) -> Iterator[RunDirectory]:
    """The run directory at `path`, held while the block runs.

    Args:
        make: make it if it is not there.

    Raises:
        OutputError: it cannot be made or written, or it is somebody else's folder; or as `check_run`.
        RunBusy: another process holds it.
    """
    other = OTHER if make else "go on with a copy of it in another place"
    with plain_os_errors(path, other=other):
        if not make:
            check_run(path)
        made = not path.exists()
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):  # a lock that is there could be taken all the same
            raise OutputError(f"the run directory {path} may not be written to; change its permissions, or {other}")
        strangers = sorted(entry.name for entry in path.iterdir() if not _known(entry.name))
        if strangers and not (path / RECORD).exists():
            raise OutputError(f"{path} is no run directory, for it holds {strangers[0]}; choose another one")
        lock = _locked(path)
    folder = RunDirectory(path)
    try:
        for stale in path.rglob(".*.part"):  # of a process that was killed
            if _PART.fullmatch(stale.name):
                stale.unlink(missing_ok=True)
        yield folder
    finally:
        folder.close_log()
        with suppress(OSError):
            if _is_at(lock, path / _LOCK) and [entry.name for entry in path.iterdir()] == [_LOCK]:  # nothing was begun
                (path / _LOCK).unlink()
                if made:
                    path.rmdir()
        os.close(lock)


def is_run(path: Path) -> bool:
    """Whether a folder is a run directory.

    Raises:
        OutputError: there can be no such folder, for its name is too long.
    """
    with plain_os_errors(path, other=OTHER):
        return (path / RECORD).exists()


def check_run(path: Path) -> None:
    """Refuse what is no run directory.

    Raises:
        OutputError: there is no such folder. DamagedFile: it has no run.json.
    """
    if not path.exists():
        raise OutputError(f"there is no run directory {path}; a finished run removes its own")
    if not path.is_dir():
        raise OutputError(
            f"{path} is a file, and neither a run directory nor a batch's output folder; give such a folder"
        )
    if not (path / RECORD).exists():
        raise DamagedFile(f"{path} is no run directory, for it has no {RECORD}, and no batch's output folder")


def resume_command(path: Path | str) -> str:
    """The command that goes on with the run in a directory."""
    return command("resume", path)


def command(name: str, path: Path | str) -> str:
    """A command line of this program about a path, which is no option even where it begins with a dash."""
    text = str(path)
    return f"hires-nst {name} {shlex.quote(f'./{text}' if text.startswith('-') else text)}"


def lock_owner(path: Path) -> str | None:
    """Who holds a run directory at this moment, or None; without taking hold of it."""
    if fcntl is None:
        return None
    with suppress(FileNotFoundError):
        handle = os.open(path / _LOCK, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return _who(handle)
        finally:
            os.close(handle)
    return None


def size(path: Path) -> int:
    """Bytes of all files in a folder; 0 where there is none."""
    total = 0
    for file in path.rglob("*"):
        with suppress(OSError):  # a run under way removes files
            if file.is_file():
                total += file.stat().st_size
    return total


def log_line(event: Event, now: float) -> str:
    """An event as one line of events.jsonl: JSON with `time` (seconds since the epoch) first and `crc32` last."""
    line = json.dumps({"time": round(now, 3), **event.as_dict()}, default=str)
    return f'{line[:-1]}, "crc32": "{zlib.crc32(line.encode()):08x}"}}'


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """The events of a run directory, oldest first; torn and damaged lines are left out."""
    with suppress(FileNotFoundError), (path / LOG).open("rb") as file:
        for raw in file:
            with suppress(ValueError):
                text = raw.decode().rstrip("\n")
                body, mark, tail = text.rpartition(', "crc32": "')
                if mark and tail == f'{zlib.crc32((body + "}").encode()):08x}"}}':
                    yield json.loads(body + "}")


def _appending(path: Path) -> IO[str]:
    """The log, at its end; a line that a killed process left torn is ended first."""
    file = path.open("a", encoding="utf-8")
    if file.tell():
        with path.open("rb") as end:
            end.seek(-1, os.SEEK_END)
            if end.read() != b"\n":
                file.write("\n")
    return file


def _known(name: str) -> bool:
    return name in (RECORD, CONFIG, LOG, LEVELS, _LOCK) or bool(_PART.fullmatch(name))


def _locked(path: Path) -> int:
    """An open lock file that is locked by this process, as long as it is open; the system unlocks a killed one's."""
    patience = time.monotonic() + _PATIENCE
    while True:
        handle = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        if fcntl is None:
            return handle
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(handle, path / _LOCK):
                since = datetime.now().isoformat(" ", "seconds")
                text = f"process {os.getpid()} on {socket.gethostname()}, since {since}"
                os.ftruncate(handle, 0)
                os.pwrite(handle, text.encode(), 0)
                return handle
        except OSError as error:
            who = _who(handle)
            os.close(handle)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                if time.monotonic() < patience:
                    time.sleep(_PATIENCE / 10)
                    continue
                raise RunBusy(f"{path} is in use by {who}; wait for it to end, or stop it first") from None
            raise
        os.close(handle)  # the file was removed by the one who held it before: once more
        with suppress(FileExistsError):
            path.mkdir(parents=True)


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        return path.stat().st_ino == os.fstat(handle).st_ino
    except FileNotFoundError:
        return False


def _who(handle: int) -> str:
    return os.pread(handle, 200, 0).decode(errors="replace") or "another process"
