"""The content of a report as plain data, from which `hires_nst.report.render` makes the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from hires_nst.quantities import megapixels_per_hour
from hires_nst.run.history import Borders, LevelRecord, LossCurves

ReportedState = Literal["done", "failed", "skipped", "waiting", "running", "interrupted"]


@dataclass(frozen=True, kw_only=True)
class ReportedJob:
    """One picture to paint.

    Attributes:
        name: its title on the page.
        output: the picture's file, which may not exist.
        width, height: of the output in pixels, 0 if unknown.
        seconds: of work on the present picture, or on all attempts if it is not done; None if unknown.
        error: why it failed or was skipped.
        retry_command: the command line that retries a failed job.
        settings: the effective configuration, as nested mappings.
        borders: where tiles met, for the seam score; None if unknown.
        notes: messages for the user while it was painted.
        log: its readable log; None if there is none.
    """

    name: str
    state: ReportedState
    content: Path
    styles: tuple[Path, ...]
    output: Path
    width: int = 0
    height: int = 0
    seconds: float | None = None
    attempts: int = 1
    error: str | None = None
    retry_command: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    levels: tuple[LevelRecord, ...] = ()
    curves: LossCurves = field(default_factory=LossCurves)
    borders: Borders | None = None
    notes: tuple[str, ...] = ()
    log: Path | None = None

    @property
    def megapixels(self) -> float:
        """Of the output."""
        return self.width * self.height / 1e6


def moment(seconds: float | None) -> datetime | None:
    """A time in seconds since the epoch, in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)


def style_paths(settings: Mapping[str, Any]) -> list[str]:
    """The style images of an effective configuration."""
    styles = settings.get("styles", ())
    return [str(path) for style in styles for path in (style.get("images") or [style.get("image")]) if path is not None]


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Sums over the jobs of a report; `megapixels` and `megapixels_per_hour` are of the finished ones."""

    done: int
    failed: int
    other: int
    megapixels: float
    seconds: float | None
    megapixels_per_hour: float | None


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole report.

    Attributes:
        jobs: in the order of the page.
        started, finished: of all jobs together; None if unknown or not yet.
        working_seconds: of work on the present pictures, where that is not all the time from start to finish (a batch
            that was resumed the next day, or pictures that were painted again).
        version: of hires-nst.
        machine: network and device, in one line.
        no_longer_selected: the number of jobs of earlier commands that the last one does not have.
    """

    title: str
    jobs: tuple[ReportedJob, ...]
    version: str
    started: datetime | None = None
    finished: datetime | None = None
    working_seconds: float | None = None
    machine: str = ""
    no_longer_selected: int = 0

    def in_state(self, *states: ReportedState) -> tuple[ReportedJob, ...]:
        """The jobs in any of these states."""
        return tuple(job for job in self.jobs if job.state in states)

    @property
    def totals(self) -> Totals:
        """The sums over the jobs."""
        done, failed = self.in_state("done"), self.in_state("failed")
        seconds = self.working_seconds
        if seconds is None and self.started is not None and self.finished is not None:
            seconds = (self.finished - self.started).total_seconds()
        megapixels = sum(job.megapixels for job in done)
        return Totals(
            done=len(done),
            failed=len(failed),
            other=len(self.jobs) - len(done) - len(failed),
            megapixels=megapixels,
            seconds=seconds,
            megapixels_per_hour=megapixels_per_hour(megapixels * 1e6, seconds),
        )
