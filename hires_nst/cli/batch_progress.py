"""A batch as something to look at: bars on a terminal, plain lines elsewhere, JSON lines, or errors only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

from rich.console import Console
from rich.progress import TaskID

from hires_nst.cli.progress import Bars, Clock, live_console, print_error, print_json, times
from hires_nst.events import (
    BatchFinished,
    BatchStarted,
    Event,
    JobChanged,
    JobDone,
    JobFailed,
    JobProgress,
    JobSkipped,
    JobStarted,
    OnEvent,
)
from hires_nst.quantities import duration
from hires_nst.run.progress import RunState


class BatchState:
    """Where a batch stands, by its events so far; jobs that other processes do are not seen."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.started: BatchStarted | None = None
        self.finished = self.failed = 0
        self.pixels = 0
        self._clock = clock
        self._began = clock()
        self._left: tuple[float, float] | None = None

    def update(self, event: Event) -> None:
        """Take an event into account."""
        match event:
            case BatchStarted():
                self.started, self.finished, self.failed = event, event.done + event.skipped, event.failed
            case JobDone():
                self.finished += 1
                self.pixels += event.width * event.height
                self._left = None if event.seconds_left is None else (self._clock(), event.seconds_left)
            case JobFailed():
                self.failed += event.final

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self._began

    @property
    def left(self) -> float | None:
        """Seconds to go; None while no job is done, and when they are over."""
        if self._left is None:
            return None
        then, seconds = self._left
        left = seconds - (self._clock() - then)
        return left if left > 0 else None

    @property
    def megapixels_per_hour(self) -> float | None:
        """Of the pictures that are done; None while there are none."""
        return self.pixels / 1e6 / self.elapsed * 3600 if self.pixels and self.elapsed else None


class BatchDisplay:
    """A batch as a live display: a bar for all of it, and one for each worker that has a job."""

    def __init__(self, console: Console, clock: Clock = time.monotonic) -> None:
        self.state = BatchState(clock)
        self.bars = Bars(console)
        self._clock = clock
        self._bar = self.bars.add_task("looking for the pictures", total=None, details=self._details, order=-1)
        self._workers: dict[int, tuple[TaskID, RunState]] = {}

    def update(self, event: Event) -> None:
        """Take an event into account."""
        self.state.update(event)
        match event:
            case JobStarted():
                self._remove(event.worker)
                run, name = RunState(), PurePosixPath(event.output).name
                details = partial(self._job_details, run, self._clock())
                bar = self.bars.add_task(f"{event.worker + 1}  {name}", total=None, details=details, order=event.worker)
                self._workers[event.worker] = bar, run
            case JobProgress() if event.worker in self._workers:
                bar, run = self._workers[event.worker]
                run.update(event.run_event, self._clock())
                self.bars.update(bar, completed=run.done, total=run.total or None)
            case JobDone() | JobFailed():
                self._remove(event.worker)
        if started := self.state.started:
            over = self.state.finished + self.state.failed
            text = f"{over} of {started.jobs} pictures"
            self.bars.update(self._bar, description=text, completed=over, total=started.jobs or None)

    def _remove(self, worker: int) -> None:
        if worker in self._workers:
            self.bars.remove_task(self._workers.pop(worker)[0])

    def _details(self) -> str:
        state = self.state
        failed = f", {state.failed} failed" if state.failed else ""
        speed = "" if state.megapixels_per_hour is None else f", {state.megapixels_per_hour:.3g} MP/h"
        return times(state.elapsed, state.left) + failed + speed

    def _job_details(self, run: RunState, started: float) -> str:
        share = f"{100 * run.share:.0f} %" if run.total else "starting"
        return f"{share}, {times(self._clock() - started, run.seconds_left(self._clock()))}"


class BatchLines:
    """Plain lines: one when a job ends, and whatever else the user should know."""

    def __init__(self, write: Callable[[str], None], folder: Path, *, state: BatchState | None = None) -> None:
        """Take where lines go, and the state of a live display, which shows what goes well."""
        self.write = write
        self.folder = folder
        self.state = state or BatchState()
        self.live = state is not None

    def update(self, event: Event) -> None:
        """Write what there is to say about an event, if anything."""
        if not self.live:
            self.state.update(event)
        if text := self._text(event):
            self.write(text)

    def _text(self, event: Event) -> str | None:
        match event:
            case BatchStarted():
                return batch_line(event)
            case JobChanged():
                action = {"redo": "paint it again", "skip": "leave it as it is", "fail": "count it as failed"}
                return f"{event.output}: {event.change}; {action[event.action]}"
            case JobSkipped():
                return f"skipped: {event.reason}"
            case JobDone() if not self.live:
                jobs = self.state.started.jobs if self.state.started else 0
                size = f"{event.width} x {event.height} px in {times(event.seconds, self.state.left)}"
                return f"{self.state.finished + self.state.failed} of {jobs}: {event.output}, {size}"
            case JobFailed():
                how = "failed" if event.final else f"attempt failed, retrying in {duration(event.retry_seconds)}"
                return f"{how}: {event.output}: {event.reason}"
            case BatchFinished():
                return finish_lines(event, self.folder)
        return None


def batch_line(event: BatchStarted) -> str:
    """What there is to do."""
    parts = [f"{event.waiting} to paint"]
    if event.megapixels:
        parts[0] += f" ({event.megapixels:.3g} megapixels)"
    for name in ("done", "skipped", "failed"):
        if getattr(event, name):
            parts.append(f"{getattr(event, name)} {name} earlier")
    if event.running:
        parts.append(f"{event.running} started earlier or running in another process")
    text = f"{event.jobs} picture{'s' if event.jobs != 1 else ''}: {', '.join(parts)}"
    if event.left_out:
        text += f"; left out: {', '.join(f'{reason} ({count})' for reason, count in event.left_out.items())}"
    return text


def finish_lines(event: BatchFinished, folder: Path) -> str:
    """How it ended."""
    parts = [f"{event.done} done"]
    for name in ("failed", "skipped", "waiting", "running"):
        if getattr(event, name):
            parts.append(f"{getattr(event, name)} {name}")
    rate = "" if event.megapixels_per_hour is None else f", {event.megapixels_per_hour:.3g} megapixels per hour"
    lines = [f"{folder}: {', '.join(parts)} in {duration(event.seconds)}{rate}"]
    if event.stopped is not None:
        lines.append(f"stopped: {event.stopped}; run the same command again to resume")
    elif event.failed:
        lines.append("run the same command with --retry-failed to retry what failed")
    return "\n".join(lines)


class BatchErrors(BatchLines):
    """Only lines about what went wrong."""

    def _text(self, event: Event) -> str | None:
        match event:
            case JobChanged(action="fail") | JobFailed(final=True):
                return super()._text(event)
            case BatchFinished() if event.failed or event.stopped is not None:
                return super()._text(event)
        return None


@contextmanager
def following(folder: Path, *, quiet: bool, as_json: bool, console: Console | None = None) -> Iterator[OnEvent]:
    """A callback that shows events while the block runs: JSON lines on stdout, or on stderr progress, or errors."""
    if as_json:
        yield print_json
    elif quiet:
        yield BatchErrors(print_error, folder).update
    elif (terminal := live_console(console)) is None:
        yield BatchLines(print_error, folder).update
    else:
        display = BatchDisplay(terminal)
        write = partial(display.bars.console.print, markup=False, highlight=False, soft_wrap=True)
        lines = BatchLines(write, folder, state=display.state)

        def update(event: Event) -> None:
            display.update(event)
            lines.update(event)

        with display.bars:
            yield update
