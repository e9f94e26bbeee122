"""The state of a run, computed from its events, live or from its log, for displays, `status`, reports and batches."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from hires_nst import events
from hires_nst.events import Event
from hires_nst.quantities import megapixels_per_hour
from hires_nst.run.history import History
from hires_nst.run.log import read_log


@dataclass(kw_only=True)
class _Work:
    """Work done, in pixels of the canvas * evaluations."""

    levels: float = 0.0  # finished levels
    rounds: float = 0.0  # finished rounds of the current level
    tiles: float = 0.0  # finished tiles of the current round
    steps: float = 0.0  # the current tile


@dataclass(kw_only=True)
class RunState:
    """The state of a run after the events so far.

    Times are seconds on the clock of the caller of `update`: any clock for live events, since the epoch for a log.

    Attributes:
        run: the plan; None before it is known. Likewise `level`, `round` and `loss`, the last loss of any tile.
        resumed: whether the current attempt continues an interrupted one.
        tile: the tile of the last event, from 0.
        tiles_done: the finished tiles of the round.
        download: of weights, until the run starts.
        stop_reason: why the run stopped before its end, if it did.
        finished: None until the run finishes, and once it is started again.
        started, finished_at, updated: times of the first start, of the end, and of the last event.
        notes: messages for the user, each once.
        history: levels, losses and borders of tiles.
    """

    run: events.RunStarted | None = None
    resumed: bool = False
    level: events.LevelStarted | None = None
    round: events.RoundStarted | None = None
    tile: int = 0
    tiles_done: set[int] = field(default_factory=set)
    loss: float | None = None
    download: events.DownloadProgress | None = None
    stop_reason: str | None = None
    finished: events.RunFinished | None = None
    started: float | None = None
    finished_at: float | None = None
    updated: float | None = None
    notes: dict[str, None] = field(default_factory=dict)
    history: History = field(default_factory=History)
    _work: _Work = field(default_factory=_Work)
    _ended: dict[int, int] = field(default_factory=dict)  # evaluations of the levels that ended early
    _working_since: float | None = None
    _work_before: float | None = None  # the work of earlier processes
    _attempt_started: float | None = None
    _seconds_before: float = 0.0  # of the attempts that this one resumes
    _seconds_last: float = 0.0  # of the attempts that this one may resume

    def update(self, event: Event, time: float) -> None:
        """Take an event into account that happened at a time."""
        self.history.update(event)
        match event:
            case events.RunStarted():
                self._start(event, time)
            case events.RunResumed():
                self.resumed, self._seconds_before = True, self._seconds_last
                self._work = _Work(levels=self._work_until(event.level))
            case events.RunStopped():
                self.stop_reason = event.reason
            case events.RunFinished():
                self.finished, self.finished_at = event, time
            case events.LevelStarted():
                self.level, self.round, self.tile = event, None, 0
                self.tiles_done.clear()
                self._ended = {level: taken for level, taken in self._ended.items() if level < event.index}
                self._work = _Work(levels=self._work_until(event.index))
                self._working_since = time if self._working_since is None else self._working_since
            case events.LevelFinished():
                if event.evaluations is not None:
                    self._ended[event.index] = event.evaluations
                self._work = _Work(levels=self._work_until(event.index + 1))
            case events.RoundStarted():
                self.round, self.tile = event, 0
                self.tiles_done.clear()
                self._finish_rounds(event.round, of=event.rounds)
            case events.RoundFinished() if self.round is None or self.round.round <= event.round:
                self.loss = event.loss
                self._finish_rounds(event.round + 1, of=event.rounds)
            case events.TilesShrunk():
                self.tiles_done.clear()
            case events.StepFinished():
                self._work_before = self.done if self._work_before is None else self._work_before
                self._work.steps = self._tile_work * event.step / event.steps
                self.tile, self.loss = event.tile, event.loss
            case events.TileFinished() | events.TileRestored():
                self._finish_tile(event)
            case events.DownloadProgress():
                self.download = event
            case events.Notice():
                self.notes[event.message] = None
        self.updated = time

    def _start(self, event: events.RunStarted, time: float) -> None:
        self._seconds_last, self._seconds_before = self.seconds, 0.0
        self._attempt_started = time
        self.started = time if self.started is None else self.started
        self.run, self.download, self.resumed = event, None, False
        self.stop_reason = self.finished = self.finished_at = None
        self._work, self._working_since, self._work_before = _Work(), None, None

    def _finish_rounds(self, done: int, *, of: int) -> None:
        self._work.rounds = self._level_work * done / of
        self._work.tiles = self._work.steps = 0.0

    def _finish_tile(self, event: events.TileFinished | events.TileRestored) -> None:
        self.tiles_done.add(event.tile)
        self._work.tiles += event.pixel_evaluations
        if isinstance(event, events.TileFinished):
            if event.tile < self.tile:  # the next one has started
                return
            self._work.steps = 0.0
        self.tile, self.loss = event.tile, event.loss

    @property
    def total(self) -> float:
        """All the work of the run, in pixels of the canvas * evaluations; 0 before it is known.

        What a level that ended early left out is not part of it.
        """
        return self.run.pixel_evaluations - self._left_out(len(self.run.levels)) if self.run else 0.0

    @property
    def done(self) -> float:
        """The work done so far, at most `total`."""
        in_round = self._work.tiles + self._work.steps
        if self.round is not None:
            in_round = min(in_round, self._level_work / max(1, self.round.rounds))
        return min(self.total, self._work.levels + min(self._work.rounds + in_round, self._level_work))

    @property
    def share(self) -> float:
        """The work done as a share of all, 0 to 1."""
        return self.done / self.total if self.total else 0.0

    def rate(self, now: float) -> float | None:
        """Work per second in this process; None before there is any."""
        if self._working_since is None or self._work_before is None:
            return None
        seconds, done = now - self._working_since, self.done - self._work_before
        return done / seconds if seconds > 0 and done > 0 else None

    def megapixels_per_hour(self, now: float) -> float | None:
        """The rate at which the picture comes into being in this process; None before there is any work."""
        rate = self.rate(now)
        if rate is None or self.run is None:
            return None
        return megapixels_per_hour(self.run.width * self.run.height * rate, self.total)

    def seconds_left(self, now: float) -> float | None:
        """Estimated seconds left at the rate so far; None while too little work is done."""
        rate = self.rate(now)
        if rate is None or self.done - (self._work_before or 0.0) < 0.01 * self.total:
            return None
        return (self.total - self.done) / rate

    @property
    def losses(self) -> dict[str, float]:
        """The last objective as `loss` and the last style loss of the whole image as `style`; unknown ones left out."""
        found = {"loss": self.loss, "style": self.history.last_style_loss}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def seconds(self) -> float:
        """Seconds of work so far, including the attempts that this one resumes, but not those before a fresh start.

        An attempt lasts from its start to its last event, as it may have been killed.
        """
        if self._attempt_started is None or self.updated is None:
            return 0.0
        return self._seconds_before + self.updated - self._attempt_started

    def _work_until(self, level: int) -> float:
        planned = sum(pixels * evaluations for pixels, evaluations in self._planned[:level])
        return float(planned - self._left_out(level))

    def _left_out(self, level: int) -> float:
        """The work of the levels before this one that was planned and not done."""
        planned = enumerate(self._planned[:level])
        return float(sum(pixels * (count - self._ended.get(index, count)) for index, (pixels, count) in planned))

    @property
    def _planned(self) -> list[tuple[int, int]]:
        """The pixels of each level's canvas, and the evaluations of each."""
        if self.run is None:
            return []
        pixels = self.run.canvas_pixels or [width * height for width, height, *_ in self.run.levels]
        return [(area, rounds * steps) for area, (_, _, rounds, steps, _) in zip(pixels, self.run.levels, strict=True)]

    @property
    def _level_work(self) -> float:
        if self.level is None:
            return 0.0
        return self._work_until(self.level.index + 1) - self._work_until(self.level.index)

    @property
    def _tile_work(self) -> float:
        if self.level is None:
            return 0.0
        tiles = self.round.tiles if self.round else self.level.tiles
        return self._level_work / max(1, self.level.rounds) / max(1, tiles)


def read_state(log: Path, *, before: float = math.inf) -> RunState:
    """The state of a run from its log, or its state before a time in seconds since the epoch.

    Raises:
        OSError: the log cannot be read.
    """
    state = RunState()
    for logged in takewhile(lambda logged: logged.time < before, read_log(log)):
        state.update(logged.event, logged.time)
    return state
