"""Where a batch has its files: a state folder inside the output folder, and in it a folder for each job."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hires_nst.run.log import LOG

STATE_FOLDER = ".hires-nst"
"""The folder inside the output folder for the ledger, the logs and unfinished work."""

TEXT = "log.txt"
LOGS = LOG, TEXT
"""The logs in a job's folder, of all attempts: for programs and for people."""


@dataclass(frozen=True)
class JobPaths:
    """The files of one job, in its `folder`."""

    folder: Path

    @property
    def events(self) -> Path:
        """The log for programs."""
        return self.folder / LOG

    @property
    def text(self) -> Path:
        """The log for people."""
        return self.folder / TEXT

    @property
    def existing_text(self) -> Path | None:
        """The log for people, where the job was ever started."""
        return self.text if self.text.is_file() else None

    @property
    def run_dir(self) -> Path:
        """The run directory, which an interrupted attempt leaves to the next one."""
        return self.folder / "run"


@dataclass(frozen=True)
class BatchPaths:
    """The files of a batch, by its output folder."""

    output: Path

    @property
    def state(self) -> Path:
        """The state folder."""
        return self.output / STATE_FOLDER

    @property
    def ledger(self) -> Path:
        """The ledger; where it exists, the output folder is that of a batch."""
        return self.state / "ledger.sqlite"

    def job(self, id: str) -> JobPaths:
        """The files of a job."""
        return JobPaths(self.state / "jobs" / id)
