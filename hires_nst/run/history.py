"""What a run's events say about its course: its levels, its losses, and where tiles met."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import accumulate
from statistics import fmean
from typing import Any

from hires_nst.events import Event, LevelFinished, LevelStarted, RoundStarted, RunStarted, StepFinished, TilesShrunk

MAX_POINTS = 160
"""Points of a curve; more cannot be seen."""

Points = tuple[tuple[float, float], ...]
"""(evaluations of each pixel so far, value) in ascending order of the first."""

Round = tuple[int, int]
"""A level and a round of it."""


@dataclass(frozen=True, kw_only=True)
class LevelRecord:
    """One level as it was painted. `seconds` is None for a level that did not finish; `begins` in evaluations."""

    width: int
    height: int
    rounds: int
    steps: int
    tiles: int
    begins: float = 0.0
    seconds: float | None = None


@dataclass(frozen=True)
class LossCurves:
    """Losses over the evaluations of each pixel.

    Attributes:
        objective: the mean of the tiles' objectives at each evaluation.
        style: the style loss of the whole image at the start of rounds, where it was measured.
    """

    objective: Points = ()
    style: Points = ()


@dataclass(frozen=True)
class Borders:
    """Where the tiles of the finest level met: pixels from the top and from the left, the image's edges left out."""

    rows: tuple[int, ...] = ()
    columns: tuple[int, ...] = ()


@dataclass
class History:
    """The course of a run. Losses are stored by level, round, step and tile: what is done again replaces itself."""

    _plan: RunStarted | None = None
    _levels: dict[int, LevelRecord] = field(default_factory=dict)
    _objective: dict[Round, dict[int, dict[int, float]]] = field(default_factory=dict)
    _style: dict[Round, float] = field(default_factory=dict)
    _borders: dict[Round, Borders] = field(default_factory=dict)

    def update(self, event: Event) -> None:
        """Take an event into account."""
        match event:
            case RunStarted():
                if self._plan is not None and event.levels != self._plan.levels:  # nothing of the old plan remains
                    self._levels, self._objective, self._style, self._borders = {}, {}, {}, {}
                self._plan = event
            case LevelStarted():
                before = self._levels.get(event.index)
                self._levels[event.index] = LevelRecord(
                    width=event.width, height=event.height, rounds=event.rounds, steps=event.steps, tiles=event.tiles,
                    seconds=before.seconds if before else None,
                )  # fmt: skip
            case RoundStarted():
                key = event.level, event.round
                if event.style_loss is not None and math.isfinite(event.style_loss):
                    self._style[key] = event.style_loss
                self._borders[key] = Borders(event.row_borders, event.column_borders)
                self._change(event.level, rounds=event.rounds)  # another number after memory ran out
            case StepFinished():
                if math.isfinite(event.loss):
                    steps = self._objective.setdefault((event.level, event.round), {})
                    steps.setdefault(event.step, {})[event.tile] = event.loss
                self._change(event.level, steps=event.steps)
            case TilesShrunk():  # the round starts over, perhaps as several
                self._objective.pop((event.level, event.round), None)
                self._borders.pop((event.level, event.round), None)
            case LevelFinished():
                self._change(event.index, seconds=event.seconds)

    def _change(self, level: int, **values: Any) -> None:
        if level in self._levels:
            self._levels[level] = replace(self._levels[level], **values)

    def style_loss(self, level: int, round: int) -> float | None:
        """The style loss of the whole image at the start of a round; None where it was not measured."""
        return self._style.get((level, round))

    @property
    def last_style_loss(self) -> float | None:
        """That of the last round in which it was measured."""
        return self._style[max(self._style)] if self._style else None

    @property
    def levels(self) -> tuple[LevelRecord, ...]:
        """The levels so far, coarse to fine."""
        records = [self._levels[index] for index in sorted(self._levels)]
        begins = accumulate((float(record.rounds * record.steps) for record in records), initial=0.0)
        return tuple(replace(record, begins=at) for record, at in zip(records, begins, strict=False))

    @property
    def curves(self) -> LossCurves:
        """The losses so far, at most MAX_POINTS of each."""
        levels = dict(zip(sorted(self._levels), self.levels, strict=True))

        def position(key: Round) -> float:
            return levels[key[0]].begins + key[1] * levels[key[0]].steps

        objective = tuple(
            (position(key) + step, fmean(tiles.values()))
            for key in sorted(self._objective)
            if key[0] in levels
            for step, tiles in sorted(self._objective[key].items())
        )
        style = tuple((position(key), self._style[key]) for key in sorted(self._style) if key[0] in levels)
        return LossCurves(thinned(objective), thinned(style))

    @property
    def borders(self) -> Borders | None:
        """Where tiles met in any round of the finest level so far; None where they did not."""
        finest = [found for (level, _), found in self._borders.items() if level == max(self._levels, default=None)]
        rows = sorted({cut for found in finest for cut in found.rows})
        columns = sorted({cut for found in finest for cut in found.columns})
        return Borders(tuple(rows), tuple(columns)) if rows or columns else None


def thinned(points: Points, most: int = MAX_POINTS) -> Points:
    """At most `most` of the points, evenly chosen, the first and the last among them."""
    if len(points) <= most:
        return points
    return tuple(points[round(index * (len(points) - 1) / (most - 1))] for index in range(most))
