"""What earlier runs left: which jobs are done, which changed since, and in which state each begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hires_nst.batch.job import Job
from hires_nst.batch.ledger_schema import Entry, JobState, Row
from hires_nst.events import JobChanged
from hires_nst.files import FileFingerprint, is_unchanged

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
        self._compared: dict[tuple[Path, FileFingerprint], str | None] = {}

    def entries(self, jobs: Iterable[Job], rows: Mapping[str, Row]) -> tuple[list[Entry], list[JobChanged]]:
        """The entry of each job, and what changed since it was done."""
        entries, changes = [], []
        for job in jobs:
            row = rows.get(job.id)
            what = self.what_changed(job, row) if row is not None and row.picture is not None else None
            state, note = self._state(job, row, what)
            if what is not None:
                then = {"waiting": "redo", "done": "skip"}.get(state, "fail")
                changes.append(JobChanged(job=job.id, output=job.output, change=what, action=then))
            seen = row.state if row is not None else None
            entries.append(
                Entry(
                    id=job.id, output=job.output, content=str(job.content), config=settings_key(job), state=state,
                    note=note, seen=seen,
                )
            )  # fmt: skip
        return entries, changes

    def _state(self, job: Job, row: Row | None, what: str | None) -> tuple[JobState, str | None]:
        if row is not None and row.state == "running":
            return "running", row.error
        if row is not None and row.picture is not None:  # it was done once
            if what is None:
                return "done", None
            redo = self.changed == "redo" or (row.state == "failed" and self.retry_failed)
            if what == GONE and self.changed == "skip":
                return "waiting", None
            if redo and all(map(_is_there, job.inputs)):
                return "waiting", None
            if self.changed == "fail":
                return "failed", f"{what}; --changed redo paints it again"
            return "done", None  # the picture that is there is still a picture
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
            if what := self._difference(path, before):
                return f"{path.name} {what}"
        return "the picture was changed by others" if self._difference(picture, row.picture) else None

    def _difference(self, path: Path, before: FileFingerprint) -> str | None:
        """What became of a file, if anything. Paintings are the same for many jobs: each is looked at once."""
        key = path, before
        if key not in self._compared:
            try:
                self._compared[key] = None if is_unchanged(path, before) else "changed since"
            except FileNotFoundError:
                self._compared[key] = "is not there any more"
            except OSError as error:
                self._compared[key] = f"cannot be read any more ({error.strerror})"
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


def there_already(path: Path) -> str:
    """Why a job is skipped whose picture is not of this batch."""
    return f"{path} was there before; --overwrite replaces it"
