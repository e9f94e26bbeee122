"""Where a batch stands, by its ledger; also from another process while it works. Does not import torch."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hires_nst.batch.ledger_reading import read_current, reading
from hires_nst.batch.ledger_schema import STATES, JobState, Row
from hires_nst.batch.paths import BatchPaths
from hires_nst.quantities import megapixels_per_hour
from hires_nst.run.directory import RECORD


@dataclass(frozen=True, kw_only=True)
class RunningJob:
    """A job that a process has worked on for this many seconds; not `alive` where the process was killed."""

    output: str
    attempt: int
    seconds: float
    alive: bool


@dataclass(frozen=True)
class ClosedJob:
    """A job that failed or was skipped, for a reason; `log` is its human-readable log, None if it was never started."""

    output: str
    reason: str
    log: Path | None


@dataclass(frozen=True, kw_only=True)
class BatchStatus:
    """Where a batch stands.

    Attributes:
        counts: jobs by state.
        megapixels_per_hour: of one worker, on average over the finished jobs; None while there are none.
        no_longer_selected: how many jobs of earlier commands the last one does not have.
    """

    folder: Path
    counts: Mapping[JobState, int]
    running: tuple[RunningJob, ...]
    failed: tuple[ClosedJob, ...]
    skipped: tuple[ClosedJob, ...]
    megapixels_per_hour: float | None
    no_longer_selected: int


def batch_status(folder: Path) -> BatchStatus:
    """Where the batch in an output folder stands.

    Raises:
        InputError: it is not the folder of a batch. ConfigError: its ledger is of another version.
    """
    now = time.time()
    with reading(folder) as database:
        rows, others = read_current(database, folder, now=now)
    return BatchStatus(
        folder=folder,
        counts={state: sum(row.state == state for row in rows) for state in STATES},
        running=tuple(
            RunningJob(
                output=row.output, attempt=row.attempts, seconds=now - (row.started or now),
                alive=job_state(folder, row, now=now) == "running",
            )
            for row in rows
            if row.state == "running"
        ),
        failed=_closed(folder, rows, state="failed"),
        skipped=_closed(folder, rows, state="skipped"),
        megapixels_per_hour=_megapixels_per_hour(rows),
        no_longer_selected=others,
    )  # fmt: skip


def job_state(folder: Path, row: Row, *, now: float) -> JobState | Literal["interrupted"]:
    """The state of a job: that of the ledger, or `interrupted` where an attempt has ended before its end.

    Args:
        now: seconds since the epoch.
    """
    if row.state == "running" and (row.lease is None or row.lease < now):
        return "interrupted"
    if row.state == "waiting" and (BatchPaths(folder).job(row.id).run_dir / RECORD).exists():
        return "interrupted"
    return row.state


def _closed(folder: Path, rows: Sequence[Row], *, state: JobState) -> tuple[ClosedJob, ...]:
    paths = BatchPaths(folder)
    return tuple(
        ClosedJob(row.output, row.error or "", paths.job(row.id).existing_text) for row in rows if row.state == state
    )


def _megapixels_per_hour(rows: Sequence[Row]) -> float | None:
    done = [row for row in rows if row.state == "done" and row.width and row.height and row.seconds]
    seconds = sum(row.seconds or 0.0 for row in done)
    pixels = sum((row.width or 0) * (row.height or 0) for row in done)
    return megapixels_per_hour(pixels, seconds)
