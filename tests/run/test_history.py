"""The course of a run, by its events."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from hires_nst import events
from hires_nst.events import Event
from hires_nst.run.history import Borders, LevelRecord, LossCurves, thinned
from hires_nst.run.progress import RunState

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
    events.LevelFinished(index=0, count=2, seconds=0.75),
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
    events.LevelFinished(index=1, count=2, seconds=1.5),
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


def after(reported: Sequence[Event], *, since: float = 1_000_000.0) -> RunState:
    """A run after these events, one a second."""
    state = RunState()
    for second, event in enumerate(reported):
        state.update(event, since + second)
    return state


def test_a_finished_run() -> None:
    run = after(ALL)
    assert (run.run, run.finished, list(run.notes)) == (RUN, ALL[-1], ["a note"])
    assert (run.started, run.finished_at) == (1_000_000, 1_000_000 + len(ALL) - 1)
    assert run.history.levels == (
        LevelRecord(width=40, height=30, rounds=1, steps=3, tiles=1, begins=0, seconds=0.75),
        LevelRecord(width=80, height=60, rounds=2, steps=2, tiles=2, begins=3, seconds=1.5, number=2),
    )
    assert run.history.curves == LossCurves(objective=OBJECTIVE, style=((3, 0.5), (5, 0.25)))
    assert run.history.borders == Borders(rows=(32,), columns=(48,))


def test_a_run_that_did_not_start() -> None:
    history = RunState().history
    assert (history.levels, history.curves, history.borders) == ((), LossCurves(), None)


def test_losses_that_are_not_finite_are_left_out() -> None:
    reported = [
        events.StepFinished(level=0, round=0, tile=0, step=2, steps=3, loss=math.nan) if e == COARSE[3] else e
        for e in ALL
    ]
    assert after(reported).history.curves.objective == OBJECTIVE[:1] + OBJECTIVE[2:]


def test_a_run_that_was_resumed() -> None:
    """The second attempt does the last tile again, and only what is after it."""
    first, second = [RUN, *COARSE, *FINE[:5]], [RUN, FINE[0], FINE[1], *FINE[4:]]
    run = after([*first, *second, ALL[-1]])
    assert run.history.curves.objective == OBJECTIVE
    assert run.history.levels[0].seconds == 0.75
    assert run.started == 1_000_000
    assert run.finished == ALL[-1]


def test_a_run_that_was_started_again_is_not_finished() -> None:
    run = after([*ALL, RUN])
    assert (run.finished, run.finished_at) == (None, None)


def test_a_run_of_another_size_in_the_same_log_replaces_the_first() -> None:
    other = replace(RUN, levels=((40, 30, 1, 3, 1),), width=40, height=30)
    run = after([*ALL, other, *COARSE])
    assert run.history.curves.objective == OBJECTIVE[:3]
    assert len(run.history.levels) == 1
    assert run.history.borders is None


def test_a_round_that_starts_over_in_smaller_tiles() -> None:
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
    run = after([replace(RUN, levels=LEVELS[:1]), *again])
    assert run.history.curves == LossCurves(objective=((1, 8.0), (2, 6.0)), style=((1, 0.125),))
    assert (run.history.levels[0].rounds, run.history.levels[0].steps) == (2, 1)
    assert run.history.borders == Borders(rows=(16, 24))


def test_a_level_that_ended_early_takes_the_place_of_its_evaluations_only() -> None:
    early = events.LevelFinished(index=0, count=2, seconds=0.75, evaluations=2)
    run = after([RUN, *COARSE[:4], COARSE[5], early, *FINE])
    assert run.history.levels[0].ended == run.history.levels[0].evaluations == 2
    assert (run.history.levels[1].begins, run.history.levels[1].evaluations) == (2, 4)
    assert run.history.curves.objective == OBJECTIVE[:2] + tuple((x - 1, value) for x, value in OBJECTIVE[3:])


def test_long_curves_are_thinned() -> None:
    points = tuple((float(x), 1.0) for x in range(1000))
    few = thinned(points, 160)
    assert len(few) == 160
    assert (few[0], few[-1]) == (points[0], points[-1])
    assert max(b[0] - a[0] for a, b in pairwise(few)) <= 7
    assert thinned(points[:160], 160) == points[:160]
