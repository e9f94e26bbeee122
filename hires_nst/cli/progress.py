"""Events as something to look at: a live display on a terminal, plain lines elsewhere, JSON lines, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hires_nst import events
from hires_nst.events import Event, OnEvent, json_line
from hires_nst.quantities import duration as duration

Clock = Callable[[], float]


class Tally:
    """Where a run stands, by the events so far; work is counted in pixels of the canvas * evaluations."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.run: events.RunStarted | None = None
        self.level: events.LevelStarted | None = None
        self.round: events.RoundStarted | None = None
        self.tile = 0
        self.loss: float | None = None
        self.download: events.DownloadProgress | None = None
        self._clock = clock
        self._began = clock()
        self._working_since: float | None = None
        self._before: float | None = None  # the work of earlier processes
        self._levels = 0.0  # the work of finished levels
        self._rounds = 0.0  # of finished rounds of this level
        self._tiles = 0.0  # of finished tiles of this round
        self._steps = 0.0  # of the tile under way

    def update(self, event: Event) -> None:
        """Take an event into account."""
        match event:
            case events.RunStarted():
                self.run, self.download, self._working_since, self._before = event, None, None, None
            case events.RunResumed():
                self._levels = self._work_before(event.level)
                self._rounds = self._tiles = self._steps = 0.0
            case events.DownloadProgress():
                self.download = event
            case events.LevelStarted():
                self.level, self.round, self.tile = event, None, 0
                self._levels = self._work_before(event.index)
                self._rounds = self._tiles = self._steps = 0.0
                self._working_since = self._working_since or self._clock()
            case events.RoundStarted():
                self.round, self.tile = event, 0
                self._rounds = self._level_work() * event.round / event.rounds
                self._tiles = self._steps = 0.0
            case events.StepFinished():
                self._before = self.done if self._before is None else self._before
                self.tile, self.loss = event.tile, event.loss
                self._steps = self._tile_work() * event.step / event.steps
            case events.TileFinished():
                self._tiles += event.pixel_evaluations
                if event.tile >= self.tile:  # it may be told when the next one is under way
                    self.tile, self.loss, self._steps = event.tile, event.loss, 0.0
            case events.TileRestored():
                self.tile, self.loss = event.tile, event.loss
                self._tiles += event.pixel_evaluations
            case events.RoundFinished():
                if self.round is not None and self.round.round > event.round:
                    return  # the next one is under way
                self.loss = event.loss
                self._rounds = self._level_work() * (event.round + 1) / event.rounds
                self._tiles = self._steps = 0.0
            case events.LevelFinished():
                self._levels = self._work_before(event.index + 1)
                self._rounds = self._tiles = self._steps = 0.0
            case _:
                pass

    @property
    def total(self) -> float:
        """All the work of the run; 0 before it is known."""
        return self.run.pixel_evaluations if self.run else 0.0

    @property
    def done(self) -> float:
        """The work done so far, at most `total`."""
        in_round = self._tiles + self._steps
        if self.round is not None:
            in_round = min(in_round, self._level_work() / max(1, self.round.rounds))
        return min(self.total, self._levels + min(self._rounds + in_round, self._level_work()))

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self._began

    @property
    def left(self) -> float | None:
        """Seconds to go, if the rest goes as the work so far did; None while too little of it is done."""
        if self.rate is None or self.done - (self._before or 0.0) < 0.01 * self.total:
            return None
        return (self.total - self.done) / self.rate

    @property
    def rate(self) -> float | None:
        """Work a second in this process; None before there is any."""
        if self._working_since is None or self._before is None:
            return None
        seconds, done = self._clock() - self._working_since, self.done - self._before
        return done / seconds if seconds > 0 and done > 0 else None

    def _work_before(self, index: int) -> float:
        levels = self.run.levels if self.run else ()
        return float(sum(width * height * rounds * steps for width, height, rounds, steps, _ in levels[:index]))

    def _level_work(self) -> float:
        if self.level is None:
            return 0.0
        return self._work_before(self.level.index + 1) - self._work_before(self.level.index)

    def _tile_work(self) -> float:
        if self.level is None:
            return 0.0
        tiles = self.round.tiles if self.round else self.level.tiles
        return self._level_work() / max(1, self.level.rounds) / max(1, tiles)


class Display:
    """A live picture of a tally: what is going on, and a bar with the time left."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally

    def __rich__(self) -> RenderableType:
        """The two lines."""
        tally = self.tally
        if tally.download is not None and tally.run is None:
            got = tally.download
            return _bar(got.done, got.total, f"downloading {got.file}", f"{got.done / 1e6:.0f} MB")
        if tally.run is None or tally.level is None:
            return Text("reading the images and the network ...")
        level = tally.level
        parts = [f"level {level.index + 1}/{level.count}", f"{level.width} x {level.height} px"]
        if tally.round is not None:
            parts.append(f"round {tally.round.round + 1}/{tally.round.rounds}")
            parts.append(f"tile {tally.tile + 1}/{tally.round.tiles}")
        if tally.loss is not None:
            parts.append(f"loss {tally.loss:.4g}")
        left = "" if tally.left is None else f", about {duration(tally.left)} left"
        share = f"{100 * tally.done / tally.total:3.0f} %" if tally.total else ""
        return Group(Text("  ".join(parts)), _bar(tally.done, tally.total, share, duration(tally.elapsed) + left))


class Lines:
    """Plain lines: one when a level starts, one for each round, and whatever the user should know."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self.write = write
        self._style: dict[int, float | None] = {}  # by round: one may be told to be finished when the next has begun
        self._levels: int | None = None
        self._tenth = -1

    def update(self, event: Event) -> None:
        """Write what an event has to say, if anything."""
        match event:
            case events.RunStarted():
                self._levels = len(event.levels)
                levels = f"{len(event.levels)} level{'s' if len(event.levels) != 1 else ''}"
                self.write(
                    f"{event.content}: {event.width} x {event.height} px in {levels}, {event.model} on {event.device}"
                )
            case events.LevelStarted():
                self._style.clear()
                self.write(
                    f"level {event.index + 1}/{event.count}: {event.width} x {event.height} px, {event.rounds} x "
                    f"{event.steps} evaluations, {event.tiles} tile{'s' if event.tiles != 1 else ''}"
                )
            case events.RunResumed():
                done = self._levels is not None and event.level >= self._levels
                place = "the picture's file" if done else f"level {event.level + 1}, round {event.round + 1}"
                self.write(f"going on at {place}")
            case events.RoundStarted():
                self._style[event.round] = event.style_loss
            case events.RoundFinished():
                value = self._style.get(event.round)
                style = "" if value is None else f"style loss {value:.4g} at its start, "
                self.write(
                    f"  round {event.round + 1}/{event.rounds}: {style}loss {event.loss:.4g}, {duration(event.seconds)}"
                )
            case events.DownloadProgress():
                tenth = 10 * event.done // event.total if event.total else 0
                if tenth != self._tenth:
                    self._tenth = tenth
                    of_all = f" of {event.total / 1e6:.0f}" if event.total else ""
                    self.write(f"downloading {event.file}: {event.done / 1e6:.0f}{of_all} MB")
            case _:
                if text := remark(event):
                    self.write(text)


def remark(event: Event) -> str | None:
    """What deserves a line of its own, in every way of showing progress; None for all other events."""
    match event:
        case events.Notice():
            return f"note: {event.message}"
        case events.TilesShrunk():
            return f"note: memory ran out, so what is left of the round is done in tiles of {event.size} px"
    return None


@contextmanager
def showing(*, quiet: bool, as_json: bool, console: Console | None = None) -> Iterator[OnEvent]:
    """A callback that shows events while the block runs: JSON lines on stdout, or progress on stderr."""
    if as_json:
        yield lambda event: typer.echo(json_line(event.as_dict()))
        return
    if quiet:
        yield events.ignore
        return
    console = console or Console(stderr=True)
    if not (console.is_terminal and sys.stderr.isatty()):
        yield Lines(lambda text: typer.echo(text, err=True)).update
        return
    tally = Tally()
    with Live(Display(tally), console=console, refresh_per_second=4, transient=True):

        def update(event: Event) -> None:
            tally.update(event)
            if text := remark(event):
                console.print(text, markup=False, highlight=False)

        yield update


def _bar(done: float, total: float, before: str, after: str) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(width=30)
    table.add_column(no_wrap=True)
    table.add_row(before, ProgressBar(total=total or None, completed=done, width=30), after)
    return table
