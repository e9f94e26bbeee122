"""The chart of the losses of a run."""

from __future__ import annotations

import math

import pytest

from hires_nst.report import charts
from hires_nst.run.history import LevelRecord, LossCurves


def test_a_chart_places_points_by_their_logarithms() -> None:
    drawing = charts.chart(
        LossCurves(objective=((0, 100.0), (5, 10.0), (10, 1.0))),
        [LevelRecord(width=9, height=9, rounds=1, steps=10, tiles=1, begins=0)],
    )
    assert drawing is not None
    (line,) = drawing.lines
    middle = (drawing.top + drawing.bottom) / 2
    assert line.dots == (
        (drawing.left, drawing.top), ((drawing.left + drawing.right) / 2, middle), (drawing.right, drawing.bottom)
    )  # fmt: skip
    assert line.path.startswith(f"M{drawing.left:g} {drawing.top:g}L")
    assert [(tick.text, tick.at) for tick in drawing.up] == [
        ("1", drawing.bottom), ("10", middle), ("100", drawing.top)
    ]  # fmt: skip
    assert drawing.summary == "objective from 100 to 1"


@pytest.mark.parametrize(
    "curves", [LossCurves(), LossCurves(objective=((1, 0.0),)), LossCurves(style=((1, math.inf),))]
)
def test_nothing_to_draw_is_no_chart(curves: LossCurves) -> None:
    assert charts.chart(curves, ()) is None


def test_a_single_point_and_a_flat_curve_can_be_drawn() -> None:
    for points in (((0.0, 0.5),), ((1.0, 0.5), (2.0, 0.5))):
        drawing = charts.chart(LossCurves(objective=points), ())
        assert drawing is not None
        assert all(drawing.top < y < drawing.bottom for _, y in drawing.lines[0].dots)
        assert drawing.up


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.09, 110, (0.1, 1, 10, 100)),
        (0.09, 2.1, (0.1, 0.2, 0.5, 1, 2)),
        (1.1, 3.2, (1.5, 2, 3)),
        (1, 1000, (1, 10, 100, 1000)),
    ],
)
def test_logarithmic_ticks(low: float, high: float, expected: tuple[float, ...]) -> None:
    assert charts.log_ticks(low, high) == expected


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (6, (0, 1, 2, 3, 4, 5, 6)),
        (76, (0, 20, 40, 60)),
        (1, (0, 0.2, 0.4, 0.6, 0.8, 1)),
        (250, (0, 50, 100, 150, 200, 250)),
    ],
)
def test_linear_ticks(end: float, expected: tuple[float, ...]) -> None:
    assert charts.linear_ticks(end) == pytest.approx(expected)
