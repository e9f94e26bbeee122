"""Reading the log of a run: one event as JSON on each line of `events.jsonl`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from statistics import fmean
from typing import Any

from hires_nst.report.model import Borders, LevelRecord, LossCurves, Points

MAX_POINTS = 160
"""Points of a curve; more do not show."""


@dataclass(frozen=True)
class RunLog:
    """What a log tells. Everything that the log does not say is empty, 0 or None.

    Attributes:
        finished: when the result was written; None for a run that did not get there.
        seconds: of the whole run.
    """

    content: str = ""
    output: str = ""
    width: int = 0
    height: int = 0
    model: str = ""
    device: str = ""
    started: datetime | None = None
    finished: datetime | None = None
    seconds: float | None = None
    levels: tuple[LevelRecord, ...] = ()
    curves: LossCurves = field(default_factory=LossCurves)
    borders: Borders | None = None
    notes: tuple[str, ...] = ()


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """The events in a log, oldest first, without the lines that are no events: a killed run leaves a broken last line.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        for line in file:
            try:
                event = json.loads(line)
            except ValueError:  # no JSON, or no text at all
                continue
            if isinstance(event, dict) and isinstance(event.get("event"), str):
                yield event


def read_log(path: Path) -> RunLog:
    """What became of the run whose log this is; also while it goes on. A log of several attempts tells of the last one,
    or of all of them together where the later ones went on with the earlier ones' work.

    Raises:
        OSError: the file cannot be read.
    """
    reader = _Reader()
    for event in read_events(path):
        try:
            reader.take(event)
        except (KeyError, TypeError, ValueError):  # an event of another version
            continue
    return reader.result()


@dataclass
class _Level:
    width: int
    height: int
    rounds: int
    steps: int
    tiles: int
    seconds: float | None = None


@dataclass
class _Reader:
    """The state of the reading. Steps are kept by level, round, tile and step: what is done again replaces itself."""

    run: Mapping[str, Any] = field(default_factory=dict)
    started: datetime | None = None
    finished: datetime | None = None
    seconds: float | None = None
    levels: dict[int, _Level] = field(default_factory=dict)
    steps: dict[tuple[int, int], dict[int, dict[int, float]]] = field(default_factory=dict)  # round: step: tile: loss
    style: dict[tuple[int, int], float] = field(default_factory=dict)
    borders: dict[tuple[int, int], Borders] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)

    def take(self, event: Mapping[str, Any]) -> None:
        """Take an event into account."""
        moment = _moment(event.get("time"))
        match event["event"]:
            case "RunStarted":
                if self.run and event["levels"] != self.run["levels"]:  # another plan: nothing of the old one remains
                    self.levels, self.steps, self.style, self.borders = {}, {}, {}, {}
                self.run = event
                self.started = self.started or moment
                self.finished = self.seconds = None
            case "LevelStarted":
                before = self.levels.get(event["index"])
                sizes = (int(event[key]) for key in ("width", "height", "rounds", "steps", "tiles"))
                level = _Level(*sizes)
                level.seconds = before.seconds if before else None
                self.levels[int(event["index"])] = level
            case "RoundStarted":
                key = int(event["level"]), int(event["round"])
                if _is_number(event["style_loss"]):
                    self.style[key] = float(event["style_loss"])
                self.borders[key] = Borders(
                    tuple(map(int, event.get("row_borders", ()))), tuple(map(int, event.get("column_borders", ())))
                )
                if key[0] in self.levels:
                    self.levels[key[0]].rounds = int(event["rounds"])  # another number after memory ran out
            case "StepFinished":
                if _is_number(event["loss"]):
                    steps = self.steps.setdefault((int(event["level"]), int(event["round"])), {})
                    steps.setdefault(int(event["step"]), {})[int(event["tile"])] = float(event["loss"])
                if event["level"] in self.levels:
                    self.levels[event["level"]].steps = int(event["steps"])
            case "TilesShrunk":  # the round begins again, and perhaps as several
                self.steps.pop((int(event["level"]), int(event["round"])), None)
                self.borders.pop((int(event["level"]), int(event["round"])), None)
            case "LevelFinished":
                if event["index"] in self.levels:
                    self.levels[event["index"]].seconds = float(event["seconds"])
            case "Notice":
                self.notes[str(event["message"])] = None
            case "RunFinished":
                self.finished, self.seconds = moment, float(event["seconds"])

    def result(self) -> RunLog:
        """All of it."""
        begins, records, at = {}, [], 0.0
        for index in sorted(self.levels):
            level = self.levels[index]
            begins[index] = at
            records.append(
                LevelRecord(level.width, level.height, level.rounds, level.steps, level.tiles, at, level.seconds)
            )
            at += level.rounds * level.steps

        def position(key: tuple[int, int]) -> float:
            return begins[key[0]] + key[1] * self.levels[key[0]].steps

        objective = tuple(
            (position(key) + step, fmean(tiles.values()))
            for key in sorted(self.steps)
            if key[0] in begins
            for step, tiles in sorted(self.steps[key].items())
        )
        style = tuple((position(key), self.style[key]) for key in sorted(self.style) if key[0] in begins)
        finest = [borders for (level, _), borders in self.borders.items() if level == max(begins, default=None)]
        rows = sorted({cut for borders in finest for cut in borders.rows})
        columns = sorted({cut for borders in finest for cut in borders.columns})
        return RunLog(
            content=str(self.run.get("content", "")),
            output=str(self.run.get("output", "")),
            width=int(self.run.get("width", 0)),
            height=int(self.run.get("height", 0)),
            model=str(self.run.get("model", "")),
            device=str(self.run.get("device", "")),
            started=self.started,
            finished=self.finished,
            seconds=self.seconds,
            levels=tuple(records),
            curves=LossCurves(thinned(objective), thinned(style)),
            borders=Borders(tuple(rows), tuple(columns)) if rows or columns else None,
            notes=tuple(self.notes),
        )


def last_moment(path: Path, after: float, before: float) -> float | None:
    """When the last event between two moments was logged, all in seconds since the epoch; None where there is none."""
    try:
        times = [event["time"] for event in read_events(path) if _is_number(event.get("time"))]
    except OSError:
        return None
    return max((float(time) for time in times if after <= time <= before), default=None)


def thinned(points: Points, most: int = MAX_POINTS) -> Points:
    """At most `most` of the points, evenly chosen, the first and the last among them."""
    if len(points) <= most:
        return points
    return tuple(points[round(index * (len(points) - 1) / (most - 1))] for index in range(most))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _moment(value: object) -> datetime | None:
    """A time in seconds since 1970, or as ISO 8601 text."""
    try:
        if isinstance(value, str):
            return datetime.fromisoformat(value)
        if isinstance(value, (int, float)):
            return datetime.fromtimestamp(value, timezone.utc)
    except (ValueError, OverflowError, OSError):
        pass
    return None
