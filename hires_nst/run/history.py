"""The course of a run, from its events: its levels, its losses, and the borders of its tiles."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import accumulate
from statistics import fmean
from typing import Any

from hires_nst.events import Event, LevelFinished, LevelStarted, RoundStarted, RunStarted, StepFinished, TilesShrunk

MAX_POINTS = 160
"""Points of a curve; more are not visible."""

Points = tuple[tuple[float, float], ...]
"""(evaluations of each pixel so far, value) in ascending order of the first."""

Round = tuple[int, int]
"""A level and a round of it."""


@dataclass(frozen=True, kw_only=True)
class LevelRecord:
    """A level as it was painted.

    Attributes:
        begins: the evaluations of each pixel before it.
        seconds: None until it is finished.
        number: from 1 for the coarsest, which a run need not begin at.
        ended: the evaluations after which it ended, where `levels.tolerance` made them fewer than planned; else None.
    """

    width: int
    height: int
    rounds: int
    steps: int
    tiles: int
    begins: float = 0.0
    seconds: float | None = None
    ended: int | None = None
    number: int = 1

    @property
    def evaluations(self) -> int:
        """Of each pixel."""
        return self.rounds * self.steps if self.ended is None else self.ended


@dataclass(frozen=True)
class LossCurves:
    """The mean objective of the tiles at each evaluation, and the style loss of the whole image at starts of rounds."""

    objective: Points = ()
    style: Points = ()


@dataclass(frozen=True)
class Borders:
    """The borders between tiles, in pixels from the top and from the left, without the edges of the image."""

    rows: tuple[int, ...] = ()
    columns: tuple[int, ...] = ()


@dataclass(kw_only=True)
class History:
    """The course of a run. Losses are stored by level, round, step and tile, so that repeated work replaces them."""

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
                    seconds=before.seconds if before else None, number=event.index + 1,
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
                self._change(event.index, seconds=event.seconds, ended=event.evaluations)

    def _change(self, level: int, **values: Any) -> None:
        if level in self._levels:
            self._levels[level] = replace(self._levels[level], **values)

    def style_loss(self, level: int, round: int) -> float | None:
        """The style loss of the whole image at the start of a round; None if it was not measured."""
        return self._style.get((level, round))

    @property
    def last_style_loss(self) -> float | None:
        """The style loss of the last round in which it was measured."""
        return self._style[max(self._style)] if self._style else None

    @property
    def levels(self) -> tuple[LevelRecord, ...]:
        """The levels so far, coarse to fine."""
        records = [self._levels[index] for index in sorted(self._levels)]
        starts = accumulate((float(record.evaluations) for record in records), initial=0.0)
        return tuple(replace(record, begins=start) for record, start in zip(records, starts, strict=False))

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
        """The borders between tiles in any round of the finest level so far; None if there are none."""
        finest = [cuts for (level, _), cuts in self._borders.items() if level == max(self._levels, default=None)]
        rows = tuple(sorted({row for cuts in finest for row in cuts.rows}))
        columns = tuple(sorted({column for cuts in finest for column in cuts.columns}))
        return Borders(rows, columns) if rows or columns else None


def thinned(points: Points, most: int = MAX_POINTS) -> Points:
    """At most `most` of the points, evenly chosen, including the first and the last."""
    if len(points) <= most:
        return points
    return tuple(points[round(index * (len(points) - 1) / (most - 1))] for index in range(most))
