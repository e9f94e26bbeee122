"""A run's log, read back from what the engine tells; and the chart of its losses."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from hires_nst import events
from hires_nst.events import Event
from hires_nst.report import charts
from hires_nst.report.log import RunLog, read_log, thinned
from hires_nst.report.model import Borders, LevelRecord, LossCurves

LEVELS = ((40, 30, 1, 3, 1), (80, 60, 2, 2, 2))
RUN = events.RunStarted(
    content="photo.jpg",
    output="print.png",
    width=80,
    height=60,
    levels=LEVELS,
    pixel_evaluations=1e5,
    model="vgg19-slim",
    device="cpu",
)
COARSE: list[Event] = [
    events.LevelStarted(index=0, count=2, width=40, height=30, rounds=1, steps=3, tiles=1),
    events.RoundStarted(level=0, round=0, rounds=1, tiles=1, style_loss=None),
    *(
        events.StepFinished(level=0, round=0, tile=0, step=step, steps=3, loss=loss)
        for step, loss in ((1, 4.0), (2, 2.0), (3, 1.0))
    ),
    events.RoundFinished(level=0, round=0, rounds=1, loss=1.0, seconds=0.5),
    events.LevelFinished(0, 2, 0.75),
]
FINE: list[Event] = [
    events.LevelStarted(index=1, count=2, width=80, height=60, rounds=2, steps=2, tiles=2),
    events.RoundStarted(level=1, round=0, rounds=2, tiles=2, style_loss=0.5, row_borders=(), column_borders=(48,)),
    *(
        events.StepFinished(level=1, round=0, tile=0, step=step, steps=2, loss=loss)
        for step, loss in ((1, 3.0), (2, 1.0))
    ),
    *(
        events.StepFinished(level=1, round=0, tile=1, step=step, steps=2, loss=loss)
        for step, loss in ((1, 5.0), (2, 2.0))
    ),
    events.RoundStarted(level=1, round=1, rounds=2, tiles=2, style_loss=0.25, row_borders=(32,), column_borders=(48,)),
    *(
        events.StepFinished(level=1, round=1, tile=tile, step=step, steps=2, loss=0.5)
        for tile in (0, 1)
        for step in (1, 2)
    ),
    events.LevelFinished(1, 2, 1.5),
]
ALL = [
    RUN,
    events.Notice("a note"),
    *COARSE,
    *FINE,
    events.Notice("a note"),
    events.RunFinished(output="print.png", width=80, height=60, seconds=2.5),
]
OBJECTIVE = ((1, 4.0), (2, 2.0), (3, 1.0), (4, 4.0), (5, 1.5), (6, 0.5), (7, 0.5))


def write(path: Path, told: Sequence[Event], *, since: float = 1_000_000.0) -> Path:
    lines = [json.dumps({"time": since + second, **event.as_dict()}) for second, event in enumerate(told)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_finished_run(tmp_path: Path) -> None:
    log = read_log(write(tmp_path / "events.jsonl", ALL))
    assert (log.content, log.output, log.width, log.height) == ("photo.jpg", "print.png", 80, 60)
    assert (log.model, log.device, log.seconds, log.notes) == ("vgg19-slim", "cpu", 2.5, ("a note",))
    assert log.started is not None
    assert log.finished is not None
    assert (log.started.timestamp(), log.finished.timestamp()) == (1_000_000, 1_000_000 + len(ALL) - 1)
    assert log.levels == (LevelRecord(40, 30, 1, 3, 1, 0, 0.75), LevelRecord(80, 60, 2, 2, 2, 3, 1.5))
    assert log.curves == LossCurves(objective=OBJECTIVE, style=((3, 0.5), (5, 0.25)))
    assert log.borders == Borders(rows=(32,), columns=(48,))


@pytest.mark.parametrize("kept", range(0, 40, 3))
def test_a_log_that_breaks_off_tells_of_what_is_there(tmp_path: Path, kept: int) -> None:
    path = write(tmp_path / "events.jsonl", ALL)
    path.write_bytes(path.read_bytes()[: -kept - 1])
    log = read_log(path)
    assert log.curves.objective == OBJECTIVE
    assert log.seconds == (2.5 if kept == 0 else None)


@pytest.mark.parametrize(
    "line", [b"\xff\xfe\0", b"[1, 2]", b"null", b'{"event": 3}', b'{"event": "StepFinished"}', b'{"event": "Round',
             b'{"event": "LevelStarted", "index": "x", "width": {}}', b"", b'{"event": "Unheard", "time": 1e300}']
)  # fmt: skip
def test_lines_that_say_nothing_are_passed_over(tmp_path: Path, line: bytes) -> None:
    path = write(tmp_path / "events.jsonl", ALL)
    whole = read_log(path)
    lines = path.read_bytes().splitlines()
    for at in (0, len(lines) // 2, len(lines)):
        path.write_bytes(b"\n".join([*lines[:at], line, *lines[at:]]))
        assert read_log(path) == whole


def test_an_empty_log(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").touch()
    assert read_log(tmp_path / "events.jsonl") == RunLog()


def test_losses_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    told = [
        events.StepFinished(level=0, round=0, tile=0, step=2, steps=3, loss=math.nan) if e == COARSE[3] else e
        for e in ALL
    ]
    assert read_log(write(tmp_path / "events.jsonl", told)).curves.objective == OBJECTIVE[:1] + OBJECTIVE[2:]


def test_a_run_that_went_on_after_an_interruption(tmp_path: Path) -> None:
    """The second attempt does the last tile again, and only what is after it."""
    first, second = [RUN, *COARSE, *FINE[:5]], [RUN, FINE[0], FINE[1], *FINE[4:]]
    log = read_log(write(tmp_path / "events.jsonl", [*first, *second, ALL[-1]]))
    assert log.curves.objective == OBJECTIVE
    assert log.levels[0].seconds == 0.75
    assert log.started is not None
    assert log.started.timestamp() == 1_000_000
    assert log.seconds == 2.5


def test_a_run_that_began_again_is_not_finished(tmp_path: Path) -> None:
    log = read_log(write(tmp_path / "events.jsonl", [*ALL, RUN]))
    assert (log.seconds, log.finished) == (None, None)


def test_a_run_of_another_size_in_the_same_log_replaces_the_first(tmp_path: Path) -> None:
    other = replace(RUN, levels=((40, 30, 1, 3, 1),), width=40, height=30)
    log = read_log(write(tmp_path / "events.jsonl", [*ALL, other, *COARSE]))
    assert log.curves.objective == OBJECTIVE[:3]
    assert len(log.levels) == 1
    assert log.borders is None


def test_a_round_that_began_again_in_smaller_tiles(tmp_path: Path) -> None:
    """Its steps and borders from before count no more, and the coarsest level became two rounds."""
    again: list[Event] = [
        *COARSE[:3],
        events.TilesShrunk(0, 0, 32),
        events.RoundStarted(level=0, round=0, rounds=2, tiles=2, style_loss=None, row_borders=(16,), column_borders=()),
        *(events.StepFinished(level=0, round=0, tile=tile, step=1, steps=1, loss=8.0) for tile in (0, 1)),
        events.RoundStarted(
            level=0, round=1, rounds=2, tiles=2, style_loss=0.125, row_borders=(24,), column_borders=()
        ),
        *(events.StepFinished(level=0, round=1, tile=tile, step=1, steps=1, loss=6.0) for tile in (0, 1)),
    ]
    log = read_log(write(tmp_path / "events.jsonl", [replace(RUN, levels=LEVELS[:1]), *again]))
    assert log.curves == LossCurves(objective=((1, 8.0), (2, 6.0)), style=((1, 0.125),))
    assert (log.levels[0].rounds, log.levels[0].steps) == (2, 1)
    assert log.borders == Borders(rows=(16, 24))


def test_long_curves_are_thinned() -> None:
    points = tuple((float(x), 1.0) for x in range(1000))
    few = thinned(points, 160)
    assert len(few) == 160
    assert (few[0], few[-1]) == (points[0], points[-1])
    assert max(b[0] - a[0] for a, b in pairwise(few)) <= 7
    assert thinned(points[:160], 160) == points[:160]


# The chart


def test_a_chart_places_points_by_their_logarithms() -> None:
    drawing = charts.chart(LossCurves(objective=((0, 100.0), (5, 10.0), (10, 1.0))), [LevelRecord(9, 9, 1, 10, 1, 0)])
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
