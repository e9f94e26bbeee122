"""A run's directory: its lock and its log of events. Does not import torch."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from io import FileIO
from pathlib import Path

from hires_nst.config import Config
from hires_nst.errors import DamagedFile, InputError, OutputError, RunBusy
from hires_nst.events import Event
from hires_nst.files import behind_links, check_exists, plain_os_errors
from hires_nst.run.log import LOG, EventLog

RECORD, CONFIG, LEVELS, INPUTS = "run.json", "config.yaml", "levels", "inputs"
RESULT = "result.tif"
"""The picture of a run that returns it."""
OTHER = "give another run directory with --run-dir"
_LOCK = "lock"
_PATIENCE = 0.2
"""Seconds for which a lock is tried again: `lock_owner` takes it for a moment."""
_PART = re.compile(r"\.[0-9a-f]+\.part")
_NUMBER = re.compile(r"\d\d+", re.ASCII).fullmatch
"""The name of a level's folder, or of a round's."""


class RunDirectory:
    """The files of a run directory that this process has locked; made by `opened`.

    Attributes:
        record: what the run is made of, JSON.
        config: the effective configuration, YAML.
        levels: the folder of the checkpoints.
        inputs: the folder of the input images that were given in memory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record, self.config, self.levels, self.inputs = (path / name for name in (RECORD, CONFIG, LEVELS, INPUTS))
        self._log: EventLog | None = None

    def level(self, level: int) -> Path:
        """The folder of a level."""
        return self.levels / f"{level:02d}"

    def round(self, level: int, number: int) -> Path:
        """The folder of a round."""
        return self.level(level) / "rounds" / f"{number:02d}"

    def rounds(self) -> list[tuple[int, int]]:
        """Level and number of each round that has a folder; other files there (.DS_Store, @eaDir) are not ours."""
        folders = [(p.parts[-3], p.name) for p in self.levels.glob("*/rounds/*") if p.is_dir()]
        return [(int(level), int(number)) for level, number in folders if _NUMBER(level) and _NUMBER(number)]

    def log(self, event: Event) -> None:
        """Append an event to events.jsonl; raises as `plain_os_errors`."""
        with plain_os_errors(self.path / LOG):
            if self._log is None:
                self._log = EventLog(self.path / LOG)
            self._log.write(event)

    def close_log(self) -> None:
        """Close events.jsonl; what can no longer be written is dropped."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def clear(self) -> None:
        """Remove what a run has written, the record last, and nothing else."""
        self.close_log()
        with plain_os_errors(self.path):
            for folder in (self.levels, self.inputs):
                if folder.is_dir():
                    shutil.rmtree(folder)
            for name in (LOG, CONFIG, RESULT, RECORD):
                (self.path / name).unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the run directory, unless there are files of others in it."""
        self.clear()
        with suppress(OSError):  # Windows removes no file that is open
            (self.path / _LOCK).unlink(missing_ok=True)
            self.path.rmdir()


@contextmanager
def opened(path: Path, *, make: bool) -> Iterator[RunDirectory]:
    """The run directory at `path`, locked while the block runs; with `make`, it is made if it does not exist.

    Raises:
        OutputError: it cannot be made or written, or it is another kind of folder; or as `check_run`.
        RunBusy: another process has locked it.
    """
    is_new = not path.exists()
    other = OTHER if make else "resume a copy of it in another place"
    with plain_os_errors(path, other=other):
        lock = _locked(path, make=make, other=other)
    folder = RunDirectory(path)
    try:
        for stale in path.rglob(".*.part"):  # of a process that was killed
            if _PART.fullmatch(stale.name):
                stale.unlink(missing_ok=True)
        yield folder
    finally:
        folder.close_log()
        with suppress(OSError):
            if not folder.record.exists():
                shutil.rmtree(folder.inputs, ignore_errors=True)
            if _is_at(lock, path / _LOCK) and [entry.name for entry in path.iterdir()] == [_LOCK]:  # no run began
                (path / _LOCK).unlink()
                if is_new:
                    path.rmdir()
        lock.close()


def is_run(path: Path) -> bool:
    """Whether a folder is a run directory; OutputError for a name that is too long."""
    with plain_os_errors(path, other=OTHER):
        return (path / RECORD).exists()


def check_run(path: Path) -> None:
    """Raise InputError where there is no such folder, and DamagedFile for a folder without run.json."""
    check_exists(path, otherwise="a run directory is removed when its run finishes, so look for the picture")
    if not path.is_dir():
        raise InputError(
            f"{path} is a file; give a run directory or the output folder of a batch (without {path.name}.run beside "
            "it, a picture is finished)"
        )
    if not (path / RECORD).exists():
        inside = sorted(entry for entry in path.glob("*.run") if (entry / RECORD).exists())
        hint = f"did you mean {inside[0]}?" if inside else "give the folder OUT.run, or the folder after batch -o"
        raise DamagedFile(f"{path} is neither a run directory (no {RECORD}) nor the output folder of a batch; {hint}")


def run_directory(output: Path, config: Config, *, run_dir: Path | str | None = None) -> Path:
    """The run directory: `run_dir`, the one of the configuration, or `OUT.run` beside the output."""
    if run_dir is not None:
        return Path(run_dir)
    return config.checkpoint.directory or output.with_name(f"{output.name}.run")


def resume_command(path: Path | str) -> str:
    """The command that resumes the run in a directory."""
    return command("resume", path)


def command(name: str, path: Path | str) -> str:
    """A command line of this program about a path, which may begin with a dash."""
    text = str(path)
    return f"hires-nst {name} {shlex.quote(f'./{text}' if text.startswith('-') else text)}"


def lock_owner(path: Path) -> str | None:
    """The process that has locked a run directory at this moment, or None."""
    from filelock import lock_descriptor  # takes long to import

    with suppress(OSError), (path / _LOCK).open("rb", buffering=0) as file:
        if not lock_descriptor(file.fileno(), blocking=False):
            return _owner(file)
    return None


def folder_bytes(path: Path) -> int:
    """Bytes of all files in a folder; 0 if there is none."""
    total = 0
    for file in path.rglob("*"):
        with suppress(OSError):  # a run under way removes files
            if file.is_file():
                total += file.stat().st_size
    return total


def _locked(path: Path, *, make: bool, other: str) -> FileIO:
    """The lock file, locked by this process as long as it is open; the system unlocks it when the process is killed.

    It names its owner from its second byte on: Windows lets nobody read the first one while it is locked.
    """
    from filelock import lock_descriptor

    end = time.monotonic() + _PATIENCE
    while True:
        try:
            if make:
                behind_links(path).mkdir(parents=True, exist_ok=True)
            else:
                check_run(path)
            _check_usable(path, other)
            file = FileIO(os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o644), "r+")
        except (FileNotFoundError, FileExistsError):  # perhaps the process that had locked it is removing it
            if time.monotonic() > end:
                raise
            continue
        locked = lock_descriptor(file.fileno(), blocking=False)
        if locked and _is_at(file, path / _LOCK):
            file.truncate(0)
            since = datetime.now().isoformat(" ", "seconds")
            file.write(f" process {os.getpid()} on {socket.gethostname()}, since {since}".encode())
            return file
        with file:
            if not locked and time.monotonic() > end:
                raise RunBusy(f"{path} is in use by {_owner(file)}; wait for it to end, or stop it first")
        time.sleep(_PATIENCE / 10)


def _check_usable(path: Path, other: str) -> None:
    names = {RECORD, CONFIG, LOG, LEVELS, INPUTS, RESULT, _LOCK}
    strangers = sorted({entry.name for entry in path.iterdir() if not _PART.fullmatch(entry.name)} - names)
    if not os.access(path, os.W_OK | os.X_OK):  # an existing lock could be taken all the same
        path.stat()
        raise OutputError(f"the run directory {path} may not be written to; change its permissions, or {other}")
    if strangers and not (path / RECORD).exists():
        raise OutputError(f"{path} is not a run directory: it contains {strangers[0]}; choose another one")


def _is_at(file: FileIO, path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _owner(file: FileIO) -> str:
    file.seek(1)
    return file.read(200).decode(errors="replace") or "another process"
