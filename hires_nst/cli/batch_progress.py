"""A batch as something to look at: a live display on a terminal, plain lines elsewhere, JSON lines, or errors only."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hires_nst.cli.progress import Clock, Tally
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
    json_line,
)
from hires_nst.quantities import duration


class BatchTally:
    """Where a batch stands, by the events so far; jobs that other processes do are not seen."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.started: BatchStarted | None = None
        self.finished = self.failed = 0
        self.pixels = 0
        self.workers: dict[int, tuple[str, Tally]] = {}
        self._clock = clock
        self._began = clock()
        self._left: tuple[float, float] | None = None

    def update(self, event: Event) -> None:
        """Take an event into account."""
        match event:
            case BatchStarted():
                self.started, self.finished, self.failed = event, event.done + event.skipped, event.failed
            case JobStarted():
                self.workers[event.worker] = PurePosixPath(event.output).name, Tally(self._clock)
            case JobProgress():
                if event.worker in self.workers:
                    self.workers[event.worker][1].update(event.run_event)
            case JobDone():
                self.workers.pop(event.worker, None)
                self.finished += 1
                self.pixels += event.width * event.height
                self._left = None if event.seconds_left is None else (self._clock(), event.seconds_left)
            case JobFailed():
                self.workers.pop(event.worker, None)
                self.failed += event.final
            case _:
                pass

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
    """A live picture of a tally: a bar for the batch, and one for each worker."""

    def __init__(self, tally: BatchTally) -> None:
        self.tally = tally

    def __rich__(self) -> RenderableType:
        """The lines."""
        tally = self.tally
        if tally.started is None:
            return Text("looking for the pictures ...")
        over = tally.finished + tally.failed
        told = [duration(tally.elapsed)]
        if tally.failed:
            told.append(f"{tally.failed} failed")
        if tally.left is not None:
            told.append(f"about {duration(tally.left)} left")
        if tally.megapixels_per_hour is not None:
            told.append(f"{tally.megapixels_per_hour:.3g} MP/h")
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=36)
        table.add_column(width=30)
        table.add_column(no_wrap=True)
        table.add_row(f"{over} of {tally.started.jobs} pictures", _bar(over, tally.started.jobs), ", ".join(told))
        for number, (name, job) in sorted(tally.workers.items()):
            told = [f"{100 * job.done / job.total:.0f} %" if job.total else "starting", duration(job.elapsed)]
            if job.left is not None:
                told.append(f"about {duration(job.left)} left")
            table.add_row(Text(f"{number + 1}  {name}"), _bar(job.done, job.total), ", ".join(told))
        return Group(table)


class BatchLines:
    """Plain lines: one when a job ends, and whatever else the user should know."""

    def __init__(self, write: Callable[[str], None], folder: Path, *, live: bool = False) -> None:
        """Take where lines go; with `live` a display tells of what goes well."""
        self.write = write
        self.folder = folder
        self.live = live
        self.tally = BatchTally()

    def update(self, event: Event) -> None:
        """Write what an event has to say, if anything."""
        self.tally.update(event)
        if text := self._said(event):
            self.write(text)

    def _said(self, event: Event) -> str | None:
        tally = self.tally
        match event:
            case BatchStarted():
                return batch_line(event)
            case JobChanged():
                then = {"redo": "painted again", "skip": "left as it is", "fail": "counted as failed"}[event.action]
                return f"{event.output}: {event.change}; {then}"
            case JobSkipped():
                return f"skipped: {event.reason}"
            case JobDone() if not self.live:
                jobs = tally.started.jobs if tally.started else 0
                left = "" if tally.left is None else f", about {duration(tally.left)} left"
                size = f"{event.width} x {event.height} px in {duration(event.seconds)}"
                return f"{tally.finished + tally.failed} of {jobs}: {event.output}, {size}{left}"
            case JobFailed():
                then = "" if event.final else f"; tried again in {duration(event.retry_seconds)}"
                return f"{'failed' if event.final else 'no success'}: {event.output}: {event.reason}{then}"
            case BatchFinished():
                return finish_lines(event, self.folder)
        return None


def batch_line(event: BatchStarted) -> str:
    """What there is to do, in words."""
    parts = [f"{event.waiting} to paint"]
    if event.megapixels:
        parts[0] += f" ({event.megapixels:.3g} megapixels)"
    for name in ("done", "skipped", "failed"):
        if getattr(event, name):
            parts.append(f"{getattr(event, name)} {name} before")
    if event.running:
        parts.append(f"{event.running} begun before, or being painted by another process")
    text = f"{event.jobs} picture{'s' if event.jobs != 1 else ''}: {', '.join(parts)}"
    if event.left_out:
        text += f"; left out: {', '.join(f'{reason} ({count})' for reason, count in event.left_out.items())}"
    return text


def finish_lines(event: BatchFinished, folder: Path) -> str:
    """How it ended, in words."""
    parts = [f"{event.done} done"]
    for name in ("failed", "skipped", "waiting", "running"):
        if getattr(event, name):
            parts.append(f"{getattr(event, name)} {name}")
    rate = "" if event.megapixels_per_hour is None else f", {event.megapixels_per_hour:.3g} megapixels an hour"
    lines = [f"{folder}: {', '.join(parts)} in {duration(event.seconds)}{rate}"]
    if event.stopped is not None:
        lines.append(f"stopped for {event.stopped}; the same command goes on")
    elif event.failed:
        lines.append("the same command with --retry-failed tries what failed again")
    return "\n".join(lines)


class BatchErrors(BatchLines):
    """Only lines about what went wrong."""

    def _said(self, event: Event) -> str | None:
        match event:
            case JobChanged(action="fail") | JobFailed(final=True):
                return super()._said(event)
            case BatchFinished() if event.failed or event.stopped is not None:
                return super()._said(event)
        return None


@contextmanager
def following(folder: Path, *, quiet: bool, as_json: bool, console: Console | None = None) -> Iterator[OnEvent]:
    """A callback that shows events while the block runs: JSON lines on stdout, or on stderr progress, or errors."""
    if as_json:
        yield lambda event: typer.echo(json_line(event.as_dict()))
        return
    if quiet:
        yield BatchErrors(lambda text: typer.echo(text, err=True), folder).update
        return
    console = console or Console(stderr=True)
    if not (console.is_terminal and sys.stderr.isatty()):
        yield BatchLines(lambda text: typer.echo(text, err=True), folder).update
        return
    lines = BatchLines(
        lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True), folder, live=True
    )
    with Live(BatchDisplay(lines.tally), console=console, refresh_per_second=4, transient=True):
        yield lines.update


def _bar(done: float, total: float) -> ProgressBar:
    return ProgressBar(total=total or None, completed=done, width=30)
