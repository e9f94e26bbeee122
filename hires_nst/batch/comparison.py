"""The comparison of jobs with the ledger: which are done, which have changed, and in which state each begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hires_nst.batch.job import Job
from hires_nst.batch.ledger_schema import Entry, JobState, Row
from hires_nst.events import JobChanged
from hires_nst.files import FileFingerprint, is_unchanged

GONE = "the picture is gone"


@dataclass(kw_only=True)
class Comparison:
    """Compares jobs with the ledger.

    Attributes:
        folder: the batch folder.
        changed: redo, skip or fail, see `batch.changed`.
        retry_failed: failed jobs are retried.
        overwrite: pictures that are not of this batch may be replaced.
    """

    folder: Path
    changed: str
    retry_failed: bool
    overwrite: bool

    def __post_init__(self) -> None:
        self._compared: dict[tuple[Path, FileFingerprint], str | None] = {}

    def entries(self, jobs: Iterable[Job], rows: Mapping[str, Row]) -> tuple[list[Entry], list[JobChanged]]:
        """The entry of each job, and what has changed since it was done."""
        entries, changes = [], []
        for job in jobs:
            row = rows.get(job.id)
            change = self.what_changed(job, row) if row is not None and row.picture is not None else None
            state, note = self._state(job, row, change=change)
            if change is not None:
                action = {"waiting": "redo", "done": "skip"}.get(state, "fail")
                changes.append(JobChanged(job=job.id, output=job.output, change=change, action=action))
            seen = row.state if row is not None else None
            entries.append(
                Entry(
                    id=job.id, output=job.output, content=str(job.content), config=settings_key(job), state=state,
                    note=note, seen=seen,
                )
            )  # fmt: skip
        return entries, changes

    def _state(self, job: Job, row: Row | None, *, change: str | None) -> tuple[JobState, str | None]:
        if row is not None and row.state == "running":
            return "running", row.error
        if row is not None and row.picture is not None:  # it was done once
            if change is None:
                return "done", None
            redo = self.changed == "redo" or (row.state == "failed" and self.retry_failed)
            if change == GONE and self.changed == "skip":
                return "waiting", None
            if redo and all(map(_is_there, job.inputs)):
                return "waiting", None
            if self.changed == "fail":
                return "failed", f"{change}; --changed redo paints it again"
            return "done", None  # the picture still exists
        if row is not None and row.state == "failed" and not self.retry_failed:
            return "failed", row.error
        owned = self.overwrite or (row is not None and row.owned)
        if not owned and (self.folder / job.output).exists():
            return "skipped", already_exists(self.folder / job.output)
        return "waiting", row.error if row is not None and row.state == "waiting" else None

    def what_changed(self, job: Job, row: Row) -> str | None:
        """What has changed since the picture was done, in words; None if nothing has."""
        assert row.picture is not None
        picture = self.folder / job.output
        if not picture.exists():
            return GONE
        if row.fingerprint != job.fingerprint:
            return "the settings have changed"
        if row.inputs is None or len(row.inputs) != len(job.inputs):
            return "the input files are others"
        for path, before in zip(job.inputs, row.inputs, strict=True):
            if change := self._difference(path, before):
                return f"{path.name} {change}"
        return "the picture was changed by another program" if self._difference(picture, row.picture) else None

    def _difference(self, path: Path, before: FileFingerprint) -> str | None:
        """How a file has changed, if it has. Many jobs have the same paintings: each is checked once."""
        key = path, before
        if key not in self._compared:
            try:
                self._compared[key] = None if is_unchanged(path, before) else "has changed"
            except FileNotFoundError:
                self._compared[key] = "no longer exists"
            except OSError as error:
                self._compared[key] = f"cannot be read ({error.strerror})"
        return self._compared[key]


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        return False
    return True


def settings_key(job: Job) -> str:
    """The key of the job's settings in the ledger, the paths of its paintings included."""
    return job.config.fingerprint()


def already_exists(path: Path) -> str:
    """Why a job is skipped whose place has a picture that is not of this batch."""
    return f"{path} already exists; --overwrite replaces it"
