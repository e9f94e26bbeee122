"""Where a batch has its files: a state folder inside the output folder, and in it a folder for each job."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from hires_nst.errors import InputError, OutputError
from hires_nst.run.directory import is_run
from hires_nst.run.log import LOG

STATE_FOLDER = ".hires-nst"
"""The folder inside the output folder for the ledger, the logs and unfinished work."""

TEXT = "log.txt"
LOGS = LOG, TEXT
"""The logs in a job's folder, of all attempts: JSON lines and human-readable."""


def working_folder(path: Path) -> Path:
    """The run directory or output folder of a batch that a user may mean by a path.

    That is the path itself, `OUT.run` for the picture OUT, or the folder that a file of a run or a state folder is in;
    the path itself where there is none of these.

    Raises:
        InputError: it is a picture of a batch.
    """
    beside = path.with_name(f"{path.name}.run") if path.name else path
    with suppress(OSError, OutputError):  # a name that is too long, for example
        if BatchPaths(path).ledger.is_file() or is_run(path):
            return path
        if is_run(beside):
            return beside
        if BatchPaths(path.parent).ledger.is_file():
            if path.name == STATE_FOLDER:
                return path.parent
            raise InputError(f"{path} is inside the output folder of a batch; give that folder: {path.parent}")
        if path.is_file() and is_run(path.parent):
            return path.parent
    return path


class JobPaths:
    """The files of one job.

    Attributes:
        folder: has all of them.
        events, text: the logs, as JSON lines and human-readable.
        run_dir: the run directory, which an interrupted attempt leaves to the next one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events, self.text = folder / LOG, folder / TEXT
        self.run_dir = folder / "run"

    @property
    def existing_text(self) -> Path | None:
        """The human-readable log, where the job was ever started."""
        return self.text if self.text.is_file() else None


class BatchPaths:
    """The files of a batch, by its output folder.

    Attributes:
        state: the state folder.
        ledger: where it exists, the output folder is that of a batch.
    """

    def __init__(self, output: Path) -> None:
        self.state = output / STATE_FOLDER
        self.ledger = self.state / "ledger.sqlite"

    def job(self, id: str) -> JobPaths:
        """The files of a job."""
        return JobPaths(self.state / "jobs" / id)
