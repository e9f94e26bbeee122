"""The state of a batch, from its events."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from hires_nst import events
from hires_nst.events import Event
from hires_nst.quantities import megapixels_per_hour
from hires_nst.run.progress import RunState


@dataclass
class RunningJob:
    """A job that a worker paints: its picture, when it started, and its run so far."""

    output: str
    started: float
    run: RunState = field(default_factory=RunState)

    @property
    def pixels(self) -> float:
        """Pixels of the picture, in proportion to the work done."""
        return self.run.share * self.run.run.width * self.run.run.height if self.run.run else 0.0


class BatchState:
    """The state of a batch after the events so far, without the jobs of other processes; `clock` gives seconds.

    Attributes:
        started: the jobs at the start; None before it.
        finished, failed: jobs that are over.
        pixels: of the pictures that are done.
        running: the jobs under way, by the numbers of their workers.
        ended: the job that the last event ended; None where it ended none.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.started: events.BatchStarted | None = None
        self.finished = self.failed = self.pixels = 0
        self.running: dict[int, RunningJob] = {}
        self.ended: RunningJob | None = None
        self._clock = clock
        self._began = clock()
        self._end: float | None = None

    def update(self, event: Event) -> None:
        """Take an event into account."""
        self.ended = None
        match event:
            case events.BatchStarted():
                self.started, self.finished, self.failed = event, event.done + event.skipped, event.failed
            case events.JobStarted():
                self.running[event.worker] = RunningJob(event.output, self._clock())
            case events.JobProgress() if event.worker in self.running:
                self.running[event.worker].run.update(event.run_event, self._clock())
            case events.JobDone():
                self.ended = self.running.pop(event.worker, None)
                self.finished += 1
                self.pixels += event.width * event.height
                self._end = None if event.seconds_left is None else self._clock() + event.seconds_left
            case events.JobFailed():
                self.ended = self.running.pop(event.worker, None)
                self.failed += event.final

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._began

    @property
    def share(self) -> float:
        """The jobs that are over, and the parts of the others, as a share of all, 0 to 1."""
        jobs = self.started.jobs if self.started else 0
        done = self.finished + self.failed + sum(job.run.share for job in self.running.values())
        return min(1.0, done / jobs) if jobs else 0.0

    @property
    def left(self) -> float | None:
        """Estimated seconds left; None before enough of a job is done, and once they have passed."""
        if self._end is not None:
            return max(0.0, self._end - self._clock()) or None
        if self.started is None or self.pixels or any(job.run.share < 0.01 for job in self.running.values()):
            return None
        rate, painted = self.megapixels_per_hour, sum(job.pixels for job in self.running.values())
        return max(0.0, self.started.megapixels - painted / 1e6) / rate * 3600 or None if rate else None

    @property
    def megapixels_per_hour(self) -> float | None:
        """The rate of the pictures that are done, or that of the first ones while none is; None before any work."""
        if self.pixels:
            return megapixels_per_hour(self.pixels, self.elapsed)
        return sum(job.run.megapixels_per_hour(self._clock()) or 0.0 for job in self.running.values()) or None
