"""Where a batch has its files: a state folder inside the output folder, and in it a folder for each job."""

from __future__ import annotations

from pathlib import Path

from hires_nst.run.log import LOG

STATE_FOLDER = ".hires-nst"
"""The folder inside the output folder for the ledger, the logs and unfinished work."""

TEXT = "log.txt"
LOGS = LOG, TEXT
"""The logs in a job's folder, of all attempts: JSON lines and human-readable."""


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
