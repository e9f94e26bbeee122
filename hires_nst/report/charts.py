"""The geometry of a chart of losses: evaluations to the right, losses upwards on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hires_nst.run.history import LevelRecord, LossCurves

WIDTH, HEIGHT = 400, 220
LEFT, RIGHT, TOP, BOTTOM = 40, 8, 24, 36
NAMES = {"objective": "objective", "style": "style loss, whole picture"}


@dataclass(frozen=True)
class Tick:
    """A tick of an axis: its position in units of the drawing, and its label."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """A curve: `path` is the `d` of an SVG path; `first` and `last` are values as text."""

    kind: str
    name: str
    path: str
    dots: tuple[tuple[float, float], ...]
    first: str
    last: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart, which the page draws as SVG; the plot is inside `left`, `right`, `top` and `bottom`.

    `across` and `up` are the ticks of the axes, `levels` the starts of levels, with their numbers.
    """

    lines: tuple[Line, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    levels: tuple[Tick, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM

    @property
    def summary(self) -> str:
        """The chart in words, for screen readers."""
        return "; ".join(f"{line.name} from {line.first} to {line.last}" for line in self.lines)


def chart(curves: LossCurves, levels: Sequence[LevelRecord]) -> Chart | None:
    """The chart of a job's losses; None without a loss above 0."""
    shown = {
        kind: [(x, y) for x, y in points if y > 0 and math.isfinite(y)]
        for kind, points in (("objective", curves.objective), ("style", curves.style))
    }
    values = [y for points in shown.values() for _, y in points]
    if not values:
        return None
    end = max(x for points in shown.values() for x, _ in points) or 1.0
    low, high = math.log10(min(values)), math.log10(max(values))
    if high - low < 0.3:  # a factor of two at least, or noise would fill the chart of a flat curve
        middle = (low + high) / 2
        low, high = middle - 0.15, middle + 0.15

    def x_of(value: float) -> float:
        return round(LEFT + value / end * (WIDTH - LEFT - RIGHT), 1)

    def y_of(value: float) -> float:
        return round(TOP + (high - math.log10(value)) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    lines = []
    for kind, points in shown.items():
        if points:
            dots = tuple((x_of(x), y_of(y)) for x, y in points)
            path = "M" + "L".join(f"{x:g} {y:g}" for x, y in dots)
            first, last = (f"{value:.3g}" for _, value in (points[0], points[-1]))
            lines.append(Line(kind=kind, name=NAMES[kind], path=path, dots=dots, first=first, last=last))
    return Chart(
        lines=tuple(lines),
        across=tuple(Tick(x_of(value), f"{value:g}") for value in linear_ticks(end)),
        up=tuple(Tick(y_of(value), f"{value:g}") for value in log_ticks(10**low, 10**high)),
        levels=tuple(Tick(x_of(level.begins), str(level.number)) for level in levels if level.begins < end),
    )  # fmt: skip


def log_ticks(low: float, high: float) -> tuple[float, ...]:
    """Round numbers from `low` to `high` for a logarithmic axis: powers of ten, or more if these are fewer than 3."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: tuple[float, ...] = ()
    for factors in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)):
        numbers = (float(f"{factor}e{decade}") for decade in decades for factor in factors)
        found = tuple(number for number in numbers if low <= number <= high)
        if len(found) >= 3:
            break
    return found


def linear_ticks(end: float, most: int = 6) -> tuple[float, ...]:
    """0 and round multiples up to `end`, at most `most` steps."""
    rough = end / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return tuple(index * step for index in range(math.floor(end / step + 1e-9) + 1))
