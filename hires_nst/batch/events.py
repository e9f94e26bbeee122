"""What a batch tells while it runs; each job's own events come wrapped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hires_nst.events import Event


@dataclass(frozen=True)
class BatchStarted(Event):
    """What there is to do, counted in jobs.

    Attributes:
        jobs: of the command.
        waiting: of these, to be painted now; `done`, `failed`, `skipped`, `running` (elsewhere) by earlier runs.
        left_out: files by the reason why they are no jobs.
        megapixels: millions of pixels of what is waiting, as far as their sizes are known.
        workers: that will paint.
    """

    jobs: int
    waiting: int
    running: int
    done: int
    failed: int
    skipped: int
    left_out: dict[str, int]
    megapixels: float
    workers: int


@dataclass(frozen=True)
class JobChanged(Event):
    """A picture is done already, but `what` (settings, photograph, painting, picture) changed since; see `then`."""

    job: str
    output: str
    what: str
    then: str


@dataclass(frozen=True)
class JobStarted(Event):
    """A worker (numbers from 0) has a job; `attempt` counts from 1."""

    job: str
    worker: int
    content: str
    output: str
    attempt: int


@dataclass(frozen=True)
class JobTold(Event):
    """What the engine told while it painted the job."""

    job: str
    worker: int
    told: Event

    def as_dict(self) -> dict[str, Any]:
        """The event as JSON-ready data."""
        return {"event": "JobTold", "job": self.job, "worker": self.worker, "told": self.told.as_dict()}


@dataclass(frozen=True)
class JobDone(Event):
    """A picture is in its place. `left_seconds` is an estimate for all that is left; None when there is none."""

    job: str
    worker: int
    output: str
    width: int
    height: int
    seconds: float
    left_seconds: float | None


@dataclass(frozen=True)
class JobFailed(Event):
    """An attempt failed; `final` when there is no other one, or else it waits for `wait` seconds."""

    job: str
    worker: int
    content: str
    output: str
    reason: str
    final: bool
    wait: float


@dataclass(frozen=True)
class JobSkipped(Event):
    """A job is left alone, for a reason."""

    job: str
    output: str
    reason: str


@dataclass(frozen=True)
class BatchFinished(Event):
    """How it ended, in jobs; `painted` by this process, `stopped` why it stopped before the end.

    `megapixels_per_hour` is of this process, None when it painted nothing.
    """

    painted: int
    waiting: int
    running: int
    done: int
    failed: int
    skipped: int
    seconds: float
    megapixels_per_hour: float | None
    stopped: str | None
