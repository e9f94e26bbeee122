"""The state of a batch, from its events."""

from __future__ import annotations

import time
from collections.abc import Callable

from hires_nst import events
from hires_nst.events import Event
from hires_nst.quantities import megapixels_per_hour


class BatchState:
    """The state of a batch after the events so far, without the jobs of other processes; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.started: events.BatchStarted | None = None
        self.finished = self.failed = self.pixels = 0
        self._clock = clock
        self._began = clock()
        self._end: float | None = None

    def update(self, event: Event) -> None:
        """Take an event into account."""
        match event:
            case events.BatchStarted():
                self.started, self.finished, self.failed = event, event.done + event.skipped, event.failed
            case events.JobDone():
                self.finished += 1
                self.pixels += event.width * event.height
                self._end = None if event.seconds_left is None else self._clock() + event.seconds_left
            case events.JobFailed():
                self.failed += event.final

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._began

    @property
    def left(self) -> float | None:
        """Estimated seconds left; None before a job is done, and once they have passed."""
        left = 0.0 if self._end is None else self._end - self._clock()
        return left if left > 0 else None

    @property
    def megapixels_per_hour(self) -> float | None:
        """The rate of the pictures that are done; None before the first one."""
        return megapixels_per_hour(self.pixels, self.elapsed) if self.pixels else None
