"""What earlier runs left: which jobs are done, which changed since, and in which state each begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hires_nst.batch.events import JobChanged
from hires_nst.batch.jobs import Job
from hires_nst.batch.marks import Mark, unchanged
from hires_nst.batch.rows import Entry, Row, State

GONE = "the picture is gone"


@dataclass
class Comparison:
    """Compares jobs with the ledger.

    Attributes:
        folder: the batch folder.
        changed: redo, skip or fail, see `batch.changed`.
        retry_failed: failed jobs wait again.
        overwrite: pictures that are not of this batch may be replaced.
    """

    folder: Path
    changed: str
    retry_failed: bool
    overwrite: bool

    def __post_init__(self) -> None:
        self._compared: dict[tuple[Path, Mark], bool] = {}

    def entries(self, jobs: Iterable[Job], rows: Mapping[str, Row]) -> tuple[list[Entry], list[JobChanged]]:
        """The entry of each job, and what changed since it was done."""
        entries, changes = [], []
        for job in jobs:
            row = rows.get(job.id)
            what = self.what_changed(job, row) if row is not None and row.picture is not None else None
            state, note = self._state(job, row, what)
            if what is not None:
                changes.append(JobChanged(job.id, job.output, what, "redo" if state == "waiting" else self.changed))
            seen = row.state if row is not None else None
            entries.append(Entry(job.id, job.output, str(job.content), settings_key(job), state, note, seen))
        return entries, changes

    def _state(self, job: Job, row: Row | None, what: str | None) -> tuple[State, str | None]:
        if row is not None and row.state == "running":
            return "running", row.error
        if row is not None and row.picture is not None:  # it was done once
            if what is None:
                return "done", None
            redo = self.changed == "redo" or (row.state == "failed" and self.retry_failed)
            if redo or (what == GONE and self.changed == "skip"):
                return "waiting", None
            return ("skipped" if self.changed == "skip" else "failed"), f"{what}; --changed redo paints it again"
        if row is not None and row.state == "failed" and not self.retry_failed:
            return "failed", row.error
        owned = self.overwrite or (row is not None and row.owned)
        if not owned and (self.folder / job.output).exists():
            return "skipped", there_already(self.folder / job.output)
        return "waiting", row.error if row is not None and row.state == "waiting" else None

    def what_changed(self, job: Job, row: Row) -> str | None:
        """What is not as it was when the picture was done, in words; None when nothing changed."""
        assert row.picture is not None
        picture = self.folder / job.output
        if not picture.exists():
            return GONE
        if row.fingerprint != job.fingerprint:
            return "the settings changed since"
        if row.inputs is None or len(row.inputs) != len(job.inputs):
            return "other files go into the picture now"
        for path, before in zip(job.inputs, row.inputs, strict=True):
            if not self._unchanged(path, before):
                return f"{path.name} changed since"
        return None if self._unchanged(picture, row.picture) else "the picture was changed by others"

    def _unchanged(self, path: Path, before: Mark) -> bool:
        """Paintings are the same for many jobs: each is looked at once."""
        key = path, before
        if key not in self._compared:
            try:
                self._compared[key] = unchanged(path, before)
            except OSError:
                self._compared[key] = False
        return self._compared[key]


def settings_key(job: Job) -> str:
    """The key of the job's settings in the ledger, the paths of its paintings included."""
    return job.config.fingerprint()


def there_already(path: Path) -> str:
    """Why a job is skipped whose picture is not of this batch."""
    return f"{path} was there before; --overwrite replaces it"
