"""The comparison of jobs with the ledger: which are done, which have changed, and in which state each begins."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from hires_nst.batch.job import Job
from hires_nst.batch.ledger_schema import JobState, Row
from hires_nst.batch.options import BatchOptions
from hires_nst.events import JobChanged
from hires_nst.files import FileFingerprint, is_unchanged

GONE = "the picture no longer exists"


class Comparison:
    """Compares jobs with the ledger of a batch folder."""

    def __init__(self, folder: Path, options: BatchOptions) -> None:
        self._folder, self._options = folder, options
        self._difference = cache(_difference)  # many jobs have the same paintings: each is read once

    def states(
        self, jobs: Iterable[Job], rows: Mapping[str, Row]
    ) -> tuple[dict[str, tuple[JobState, str | None]], list[JobChanged]]:
        """The state in which each job begins and the reason, by its id; and what has changed since jobs were done."""
        states, changes = {}, []
        for job in jobs:
            row = rows.get(job.id)
            change = self._change(job, row) if row is not None and row.picture is not None else None
            states[job.id] = state, _ = self._state(job, row, change=change)
            if change is not None:
                action = {"waiting": "redo", "done": "skip"}.get(state, "fail")
                changes.append(JobChanged(job=job.id, output=job.output, change=change, action=action))
        return states, changes

    def _state(self, job: Job, row: Row | None, *, change: str | None) -> tuple[JobState, str | None]:
        options, changed = self._options, self._options.batch.changed
        if row is not None and row.state == "running":
            return "running", row.error
        if row is not None and row.picture is not None:  # it was done once
            if change is None:
                return "done", None
            redo = changed == "redo" or (row.state == "failed" and options.retry_failed)
            if change == GONE and changed == "skip":
                return "waiting", None
            if redo and all(map(os.path.exists, job.inputs)):
                return "waiting", None
            if changed == "fail":
                return "failed", f"{change}; --changed redo paints it again"
            return "done", None  # the picture still exists
        if row is not None and row.state == "failed" and not options.retry_failed:
            return "failed", row.error
        place = self._folder / job.output
        if not options.overwrite and not (row is not None and row.owned) and place.exists():
            return "skipped", already_exists(place)
        return "waiting", row.error if row is not None and row.state == "waiting" else None

    def _change(self, job: Job, row: Row) -> str | None:
        """What has changed since the picture was done, in words; None if nothing has."""
        assert row.picture is not None
        picture = self._folder / job.output
        if not picture.exists():
            return GONE
        if row.fingerprint != job.fingerprint:
            return "the settings have changed"
        if row.inputs is None or len(row.inputs) != len(job.inputs):
            return "the list of input files has changed"
        for path, before in zip(job.inputs, row.inputs, strict=True):
            if change := self._difference(path, before):
                return f"{path.name} {change}"
        return "the picture was changed by another program" if self._difference(picture, row.picture) else None


def _difference(path: Path, before: FileFingerprint) -> str | None:
    """How a file has changed, if it has."""
    try:
        return None if is_unchanged(path, before) else "has changed"
    except FileNotFoundError:
        return "no longer exists"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def already_exists(path: Path) -> str:
    """Why a job is skipped: there is a picture that is not of this batch."""
    return f"{path} already exists; use --overwrite to replace it"
