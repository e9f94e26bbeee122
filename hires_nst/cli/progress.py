"""The display of a run: bars on a terminal, plain lines elsewhere, JSON lines, or nothing."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from hires_nst import events
from hires_nst.events import Event, OnEvent, json_line
from hires_nst.quantities import duration, printable
from hires_nst.run.progress import RunState

Clock = Callable[[], float]

LINE_SECONDS = 60.0
"""The most between two lines of a log while work is under way."""

TICK_SECONDS = 1.0

MOST_NAMED = 6
"""Pictures that a line names; of more, the first and the last one."""


class Bars(Progress):
    """Bars on a terminal, which vanish at the end: a text, the bar, and details that change with time.

    Tasks have the fields `details`, a function that returns the text, and `order`, by which they are sorted.
    """

    def __init__(self, console: Console) -> None:
        text = Column(no_wrap=True, overflow="ellipsis", max_width=36)
        columns = TextColumn("{task.description}", markup=False, table_column=text), BarColumn(30), _Details()
        self.headline = ""
        super().__init__(*columns, console=console, refresh_per_second=4, transient=True)

    def get_renderables(self) -> Iterable[RenderableType]:
        """The headline, if there is one, and the bars."""
        if self.headline:
            yield Text(self.headline)
        yield self.make_tasks_table(sorted(self.tasks, key=lambda task: task.fields["order"]))


class _Details(ProgressColumn):
    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        return Text(task.fields["details"]())


class RunDisplay:
    """A run as a live display: level, round and tile, and a bar with the time left."""

    def __init__(self, console: Console, clock: Clock = time.monotonic) -> None:
        self.state = RunState()
        self.bars = Bars(console)
        self._clock = clock
        self._started = clock()
        self._bar = self.bars.add_task("loading the images and the network", total=None, details=self._details, order=0)

    def update(self, event: Event) -> None:
        """Take an event into account."""
        state = self.state
        state.update(event, self._clock())
        if state.level is not None:
            self.bars.headline = place(state)
            self.bars.update(self._bar, description=f"{100 * state.share:3.0f} %", completed=state.done,
                             total=state.total or None)  # fmt: skip
        elif state.download is not None:
            text, total = f"downloading {state.download.file}", state.download.total or None
            self.bars.update(self._bar, description=text, completed=state.download.done, total=total)
        line = f"{understood(event)}; writing {event.output}" if isinstance(event, events.RunStarted) else note(event)
        if line is not None:
            self.bars.console.print(printable(line), markup=False, highlight=False)

    def _details(self) -> str:
        if self.state.download is not None:
            return f"{self.state.download.done / 1e6:.0f} MB"
        return times(self._clock() - self._started, self.state.seconds_left(self._clock()))


def place(state: RunState) -> str:
    """Level, round and tile of a run, and its loss."""
    level, round = state.level, state.round
    parts = []
    if level is not None:
        parts += [f"level {level.index + 1}/{level.count}", f"{level.width} x {level.height} px"]
    if round is not None:
        parts += [f"round {round.round + 1}/{round.rounds}", f"tile {state.tile + 1}/{round.tiles}"]
    if state.loss is not None:
        parts.append(f"loss {state.loss:.4g}")
    return "  ".join(parts)


def times(elapsed: float, left: float | None) -> str:
    """The time since the start and the time left, as text."""
    return duration(elapsed) + (f", about {duration(left)} left" if left else "")


def so_far(share: float, megapixels_per_hour: float | None = None) -> str:
    """A share of the work and the rate, as text."""
    return f"{100 * share:.0f} %" + ("" if megapixels_per_hour is None else f", {megapixels_per_hour:.3g} MP/h")


class PlainLines:
    """Lines about events for a log, and about the progress where none came for a minute."""

    def __init__(self, write: Callable[[str], None], clock: Clock = time.monotonic) -> None:
        self.clock = clock
        self._write, self._lock, self._last = write, threading.Lock(), clock()

    def lines(self, event: Event) -> Iterable[str]:
        """Take an event into account; its lines."""
        raise NotImplementedError

    def progress(self) -> str | None:
        """A line about the progress so far; None where nobody wants one."""
        raise NotImplementedError

    def update(self, event: Event) -> None:
        """Take an event into account, and write what is to be written."""
        with self._lock:
            for line in self.lines(event):
                self.write(line)
        self.tick()

    def tick(self) -> None:
        """Write a line about the progress if it is time; may be called from another thread."""
        with self._lock:
            if self.clock() - self._last >= LINE_SECONDS and (line := self.progress()) is not None:
                self.write(line)

    def write(self, line: str) -> None:
        """Write a line."""
        self._write(line)
        self._last = self.clock()


@contextmanager
def ticking(lines: PlainLines) -> Iterator[OnEvent]:
    """The callback of lines whose progress is written while the block runs, also when no event comes for long."""
    ended = threading.Event()

    def tick() -> None:
        with suppress(OSError):  # whoever reads the log has gone, as the next event finds out too
            while not ended.wait(TICK_SECONDS):
                lines.tick()

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield lines.update
    finally:
        ended.set()
        thread.join(TICK_SECONDS)


class Lines(PlainLines):
    """Plain lines of a run: one when a level starts, one for each round, and notes."""

    def __init__(self, write: Callable[[str], None], clock: Clock = time.monotonic) -> None:
        super().__init__(write, clock)
        self.state = RunState()
        self._began = clock()
        self._tenth = -1

    def lines(self, event: Event) -> Iterable[str]:
        """The lines of an event."""
        self.state.update(event, self.clock())
        match event:
            case events.RunStarted():
                size, levels = f"{event.width} x {event.height} px", counted(len(event.levels), "level")
                return understood(event), f"{event.output}: {size} in {levels}, {event.model} on {event.device}"
            case events.LevelStarted():
                size, tiles = f"{event.width} x {event.height} px", counted(event.tiles, "tile")
                work = f"{event.rounds} x {event.steps} evaluations, {tiles}"
                return [f"level {event.index + 1}/{event.count}: {size}, {work}"]
            case events.RunResumed():
                if self.state.run is not None and event.level >= len(self.state.run.levels):
                    return ["resuming with writing the result"]
                return [f"resuming at level {event.level + 1}, round {event.round + 1}"]
            case events.RoundFinished():
                value = self.state.history.style_loss(event.level, event.round)
                losses = "" if value is None else f"style loss {value:.4g} at its start, "
                losses += f"loss {event.loss:.4g}"
                line = f"  round {event.round + 1}/{event.rounds}: {losses}, {duration(event.seconds)}"
                return [f"{line}; {self._so_far()}"]
            case events.LevelFinished() if event.evaluations is not None:
                return [f"  level {event.index + 1} ends after {event.evaluations} evaluations (levels.tolerance)"]
            case events.DownloadProgress():
                tenth, self._tenth = self._tenth, 10 * event.done // event.total if event.total else 0
                of_all = f" of {event.total / 1e6:.0f}" if event.total else ""
                megabytes = f"{event.done / 1e6:.0f}{of_all} MB"
                return [] if tenth == self._tenth else [f"downloading {event.file}: {megabytes}"]
        text = note(event)
        return () if text is None else [text]

    def progress(self) -> str:
        """Share, rate and times, and where in the levels the run is."""
        if self.state.level is None:
            return f"loading the images and the network, {duration(self.clock() - self._began)}"
        return f"  {self._so_far()}; {place(self.state)}"

    def _so_far(self) -> str:
        state, now = self.state, self.clock()
        spent = times(now - self._began, state.seconds_left(now))
        return f"{so_far(state.share, state.megapixels_per_hour(now))}, {spent}"


def understood(event: events.RunStarted) -> str:
    """What is the photograph and what the paintings."""
    if not event.styles:
        return f"{event.content} without a painting"
    if len(event.styles) == 1:
        return f"1 photograph x 1 painting: {event.content} in the style of {event.styles[0]}"
    roles = f"{event.content} in the styles of {listed(event.styles)}, blended"
    return f"1 photograph x {len(event.styles)} paintings: {roles}"


def listed(pictures: Sequence[Path | str]) -> str:
    """Pictures in a sentence: `a.jpg, b.jpg and c.jpg`."""
    *first, last = map(str, pictures)
    if len(pictures) > MOST_NAMED:
        return f"{first[0]}, ... and {last}"
    return f"{', '.join(first)} and {last}" if first else last


def counted(count: int, noun: str) -> str:
    """A number of things: `1 tile`, `4 tiles`."""
    return f"{count} {noun}{'s' if count != 1 else ''}"


def note(event: Event) -> str | None:
    """The line of an event that every display shows; None for all other events."""
    match event:
        case events.Notice():
            return f"note: {event.message}"
        case events.TilesShrunk():
            return f"note: out of memory; the rest of the round uses tiles of {event.size} px"
    return None


def print_json(event: Event) -> None:
    """Print an event as a line of JSON on stdout."""
    typer.echo(json_line(event.as_dict()))


def print_line(text: str) -> None:
    """Print a line on stdout."""
    typer.echo(printable(text))


def print_error(text: str) -> None:
    """Print a line on stderr."""
    typer.echo(printable(text), err=True)


def live_console(console: Console | None) -> Console | None:
    """The console for a live display, on stderr unless one is given; None where that is not a terminal."""
    console = console or Console(stderr=True)
    return console if console.is_terminal and sys.stderr.isatty() else None


@contextmanager
def showing(*, quiet: bool, as_json: bool, console: Console | None = None) -> Iterator[OnEvent]:
    """A callback that shows events while the block runs: JSON lines on stdout, or progress on stderr."""
    if as_json or quiet:
        yield print_json if as_json else events.ignore
    elif (terminal := live_console(console)) is None:
        with ticking(Lines(print_error)) as update:
            yield update
    else:
        display = RunDisplay(terminal)
        with display.bars:
            yield display.update
