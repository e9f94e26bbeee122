"""The display of a batch: bars on a terminal, plain lines elsewhere, JSON lines, or errors only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

from rich.console import Console
from rich.progress import TaskID

from hires_nst import events
from hires_nst.batch.progress import BatchState, RunningJob
from hires_nst.cli.progress import (
    Bars,
    Clock,
    PlainLines,
    counted,
    live_console,
    note,
    print_error,
    print_json,
    so_far,
    ticking,
    times,
)
from hires_nst.events import Event, OnEvent
from hires_nst.quantities import counts, duration, printable

ACTIONS = {
    "redo": "paint it again",
    "skip": "leave it as it is (--changed redo paints it again)",
    "fail": "count it as failed",
}


class BatchDisplay:
    """A batch as a live display: a bar for all of it, and one for each worker that has a job."""

    def __init__(self, console: Console, clock: Clock = time.monotonic) -> None:
        self.state = BatchState(clock)
        self.bars = Bars(console)
        self._clock = clock
        self._bar = self.bars.add_task("looking for the pictures", total=None, details=self._details, order=-1)
        self._workers: dict[int, TaskID] = {}

    def update(self, event: Event) -> None:
        """Take an event into account."""
        self.state.update(event)
        match event:
            case events.JobStarted():
                self._remove(event.worker)
                job, name = self.state.running[event.worker], printable(PurePosixPath(event.output).name)
                details = partial(self._job_details, job)
                self._workers[event.worker] = self.bars.add_task(
                    f"{event.worker + 1}  {name}", total=None, details=details, order=event.worker
                )
            case events.JobProgress() if event.worker in self._workers:
                run = self.state.running[event.worker].run
                self.bars.update(self._workers[event.worker], completed=run.done, total=run.total or None)
            case events.JobDone() | events.JobFailed():
                self._remove(event.worker)
        if started := self.state.started:
            over = self.state.finished + self.state.failed
            text = f"{over} of {started.jobs} pictures"
            self.bars.update(self._bar, description=text, completed=over, total=started.jobs or None)

    def _remove(self, worker: int) -> None:
        if worker in self._workers:
            self.bars.remove_task(self._workers.pop(worker))

    def _details(self) -> str:
        state = self.state
        failed = f", {state.failed} failed" if state.failed else ""
        rate = "" if state.megapixels_per_hour is None else f", {state.megapixels_per_hour:.3g} MP/h"
        return times(state.elapsed, state.left) + failed + rate

    def _job_details(self, job: RunningJob) -> str:
        share = f"{100 * job.run.share:.0f} %" if job.run.total else "starting"
        return f"{share}, {times(self._clock() - job.started, job.run.seconds_left(self._clock()))}"


class BatchLines(PlainLines):
    """Plain lines: one when a job ends, and one for each other event that the user should know about.

    With the `state` of a live display, which shows finished jobs itself, there are no lines for these.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        folder: Path,
        *,
        state: BatchState | None = None,
        errors_only: bool = False,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(write, clock)
        self.folder, self.errors_only = folder, errors_only
        self.state = state or BatchState(clock)
        self.live = state is not None

    def lines(self, event: Event) -> Iterable[str]:
        """The lines of an event."""
        if not self.live:
            self.state.update(event)
        if self.errors_only and not is_error(event):
            return ()
        match event:
            case events.BatchStarted():
                return [start_line(event)]
            case events.JobChanged():
                return [f"{event.output}: {event.change}; {ACTIONS[event.action]}"]
            case events.JobSkipped():
                return [f"skipped: {event.reason}"]
            case events.JobDone():
                notes = [f"note: {text}" for text in self.state.ended.run.notes] if self.state.ended else []
                if self.live:
                    return [f"{event.output}: {'; '.join(notes)}"] if notes else ()
                jobs = self.state.started.jobs if self.state.started else 0
                size = f"{event.width} x {event.height} px in {times(event.seconds, self.state.left)}"
                over = self.state.finished + self.state.failed
                return ["; ".join([f"{over} of {jobs}: {event.output}, {size}", *notes])]
            case events.JobFailed():
                how = "failed" if event.final else f"attempt failed, retrying in {duration(event.retry_seconds)}"
                return [f"{how}: {event.output}: {event.reason}"]
            case events.BatchFinished():
                return end_lines(event, self.folder)
        line = note(event)
        return () if line is None else [line]

    def progress(self) -> str | None:
        """The state of the batch and of the jobs under way; None where a live display or nobody shows it."""
        if self.live or self.errors_only:
            return None
        state = self.state
        if state.started is None:
            return f"looking for the pictures, {duration(state.elapsed)}"
        failed = f", {state.failed} failed" if state.failed else ""
        of_all = f"{state.finished + state.failed} of {state.started.jobs} pictures{failed}"
        parts = [f"{of_all}, {so_far(state.share, state.megapixels_per_hour)}, {times(state.elapsed, state.left)}"]
        for _, job in sorted(state.running.items()):
            spent = times(self.clock() - job.started, job.run.seconds_left(self.clock()))
            parts.append(f"{job.output} {so_far(job.run.share)}, {spent}")
        return "; ".join(parts)


def is_error(event: Event) -> bool:
    """Whether an event reports a failure or an early end."""
    match event:
        case events.JobChanged(action="fail") | events.JobFailed(final=True):
            return True
        case events.BatchFinished():
            return bool(event.failed) or event.stopped is not None
    return False


def start_line(event: events.BatchStarted) -> str:
    """The work ahead."""
    size = f" ({event.megapixels:.3g} megapixels)" if event.megapixels else ""
    parts = [f"{event.waiting} to paint{size}"]
    parts += [f"{part} earlier" for part in _counts(event, "done", "skipped", "failed")]
    if event.running:
        parts.append(f"{event.running} started earlier or running in another process")
    photographs, paintings = counted(event.photographs, "photograph"), counted(event.paintings, "painting")
    sign = "x" if event.photographs * event.paintings == event.jobs else "and"
    text = f"{photographs} {sign} {paintings}, {counted(event.jobs, 'picture')}: {', '.join(parts)}"
    return f"{text}; left out: {counts(event.left_out)}" if event.left_out else text


def end_lines(event: events.BatchFinished, folder: Path) -> list[str]:
    """The outcome, and how to continue."""
    parts = [f"{event.done} done", *_counts(event, "failed", "skipped", "waiting", "running")]
    rate = "" if event.megapixels_per_hour is None else f", {event.megapixels_per_hour:.3g} megapixels per hour"
    lines = [f"{folder}: {', '.join(parts)} in {duration(event.seconds)}{rate}"]
    if event.stopped is not None:
        lines.append(f"stopped: {event.stopped}; run the same command again to resume")
    elif event.failed:
        lines.append("run the same command with --retry-failed to retry what failed")
    return lines


def _counts(event: Event, *names: str) -> list[str]:
    return [f"{count} {name}" for name in names if (count := getattr(event, name))]


@contextmanager
def following(folder: Path, *, quiet: bool, as_json: bool, console: Console | None = None) -> Iterator[OnEvent]:
    """A callback that shows events while the block runs: JSON lines on stdout, or on stderr progress, or errors."""
    if as_json:
        yield print_json
    elif quiet or (terminal := live_console(console)) is None:
        with ticking(BatchLines(print_error, folder, errors_only=quiet)) as update_lines:
            yield update_lines
    else:
        display = BatchDisplay(terminal)

        def write(line: str) -> None:
            display.bars.console.print(printable(line), markup=False, highlight=False, soft_wrap=True)

        lines = BatchLines(write, folder, state=display.state)

        def update(event: Event) -> None:
            display.update(event)
            lines.update(event)

        with display.bars:
            yield update
