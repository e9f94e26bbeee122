"""Where a run stands by its events: as they come, or read back from its log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hires_nst import events
from hires_nst.events import Event
from hires_nst.run.log import log_line
from hires_nst.run.progress import RunState, read_state

# Two levels: 10 x 10 with one tile and 1 x 4 evaluations, then 20 x 20 with four tiles and 2 x 2.
RUN = events.RunStarted(
    content="photo.jpg",
    output="out.png",
    width=20,
    height=20,
    levels=((10, 10, 1, 4, 1), (20, 20, 2, 2, 4)),
    pixel_evaluations=400.0 + 1600.0,
    model="vgg19-slim",
    device="cpu",
    styles=("painting.jpg",),
)


def script() -> list[tuple[Event, float]]:
    """The events of a run, and the work done after each."""
    steps: list[tuple[Event, float]] = [
        (RUN, 0),
        (events.Notice("the photograph has no profile"), 0),
        (events.LevelStarted(index=0, count=2, width=10, height=10, rounds=1, steps=4, tiles=1), 0),
        (events.RoundStarted(level=0, round=0, rounds=1, tiles=1, style_loss=None), 0),
    ]
    steps += [
        (events.StepFinished(level=0, round=0, tile=0, step=step, steps=4, loss=1.0), 100 * step)
        for step in range(1, 5)
    ]
    steps += [
        (events.TileFinished(level=0, round=0, tile=0, tiles=1, loss=0.5, seconds=1.0, pixel_evaluations=400.0), 400),
        (events.RoundFinished(level=0, round=0, rounds=1, loss=0.5, seconds=1.0), 400),
        (events.LevelFinished(index=0, count=2, seconds=1.0), 400),
        (events.LevelStarted(index=1, count=2, width=20, height=20, rounds=2, steps=2, tiles=4), 400),
    ]
    for number in range(2):
        done = 400 + 800 * number
        if number == 1:  # memory runs out after the first tile, and the round begins again
            steps += [
                (events.RoundStarted(level=1, round=1, rounds=2, tiles=4, style_loss=0.2), done),
                (
                    events.TileFinished(
                        level=1, round=1, tile=0, tiles=4, loss=0.3, seconds=1.0, pixel_evaluations=200.0
                    ),
                    done + 200,
                ),
                (events.TilesShrunk(1, 1, 64), done + 200),
            ]
        steps.append(
            (events.RoundStarted(level=1, round=number, rounds=2, tiles=4, style_loss=0.25 - 0.05 * number), done)
        )
        for tile in range(4):
            steps.append(
                (
                    events.StepFinished(level=1, round=number, tile=tile, step=1, steps=2, loss=0.4),
                    done + 200 * tile + 100,
                )
            )
            steps.append(
                (
                    events.TileFinished(
                        level=1, round=number, tile=tile, tiles=4, loss=0.3, seconds=1.0, pixel_evaluations=200.0
                    ),
                    done + 200 * tile + 200,
                )
            )
        steps.append((events.RoundFinished(level=1, round=number, rounds=2, loss=0.3, seconds=65.0), done + 800))
    steps += [
        (events.LevelFinished(index=1, count=2, seconds=130.0), 2000),
        (events.RunFinished(output="out.png", width=20, height=20, seconds=135.0), 2000),
    ]
    return steps


def test_the_work_done() -> None:
    state = RunState()
    for event, done in script():
        state.update(event, 0.0)
        assert state.done == done, event
        assert 0 <= state.done <= state.total


def test_a_level_that_stops_early_is_done() -> None:
    state = RunState()
    for event in (
        RUN,
        events.LevelStarted(index=0, count=2, width=10, height=10, rounds=1, steps=4, tiles=1),
        events.LevelFinished(index=0, count=2, seconds=1.0),
    ):
        state.update(event, 0.0)
    assert state.done == 400


def test_what_a_level_that_ended_early_left_out_is_no_work_of_the_run() -> None:
    state = RunState()
    for event, done, total in (
        (RUN, 0, 2000),
        (events.LevelStarted(index=0, count=2, width=10, height=10, rounds=1, steps=4, tiles=1), 0, 2000),
        (events.StepFinished(level=0, round=0, tile=0, step=3, steps=4, loss=1.0), 300, 2000),
        (events.LevelFinished(index=0, count=2, seconds=1.0, evaluations=3), 300, 1900),
        (events.LevelStarted(index=1, count=2, width=20, height=20, rounds=2, steps=2, tiles=4), 300, 1900),
        (events.RoundFinished(level=1, round=0, rounds=2, loss=0.3, seconds=65.0), 1100, 1900),
        (events.LevelFinished(index=1, count=2, seconds=1.0, evaluations=2), 1100, 1100),
        (events.LevelStarted(index=0, count=2, width=10, height=10, rounds=1, steps=4, tiles=1), 0, 2000),
    ):
        state.update(event, 0.0)
        assert (state.done, state.total) == (done, total), event


def test_a_border_is_work_too() -> None:
    state = RunState()
    state.update(replace(RUN, canvas_pixels=(14 * 14, 24 * 24), pixel_evaluations=4.0 * (14 * 14 + 24 * 24)), 0.0)
    state.update(events.LevelFinished(index=0, count=2, seconds=1.0), 0.0)
    assert state.done == 4 * 14 * 14
    state.update(events.LevelFinished(index=1, count=2, seconds=1.0), 0.0)
    assert state.done == state.total


def test_more_work_than_planned_does_not_overflow() -> None:
    state = RunState()
    for event in (
        RUN,
        events.LevelStarted(index=0, count=2, width=10, height=10, rounds=1, steps=4, tiles=1),
        events.RoundStarted(level=0, round=0, rounds=1, tiles=1, style_loss=None),
    ):
        state.update(event, 0.0)
    more = events.TileFinished(level=0, round=0, tile=0, tiles=1, loss=0.5, seconds=1.0, pixel_evaluations=9999.0)
    state.update(more, 0.0)
    assert state.done == 400


def test_time_left() -> None:
    state = RunState()
    state.update(RUN, 5.0)  # reading images is no measure of the work
    state.update(events.LevelStarted(index=0, count=2, width=10, height=10, rounds=1, steps=4, tiles=1), 5.0)
    assert state.seconds_left(5.0) is None
    state.update(events.StepFinished(level=0, round=0, tile=0, step=4, steps=4, loss=1.0), 7.0)
    assert state.seconds_left(7.0) == pytest.approx(2.0 * 1600 / 400)


def test_the_work_of_earlier_processes_counts_as_done_but_not_for_the_rate() -> None:
    state = RunState()
    for event in (
        replace(RUN, levels=((10, 5, 1, 4, 1), (20, 10, 2, 4, 4)), pixel_evaluations=1800.0),
        events.RunResumed("b.run", 1, 1),
        events.LevelStarted(index=1, count=2, width=20, height=10, rounds=2, steps=4, tiles=4),
        events.RoundStarted(level=1, round=1, rounds=2, tiles=4, style_loss=None),
        events.TileRestored(level=1, round=1, tile=0, tiles=4, loss=0.5, pixel_evaluations=200.0),
    ):
        state.update(event, 0.0)
    assert (state.done, state.seconds_left(0.0)) == (200 + 800 + 200, None)
    for step in range(1, 5):
        state.update(events.StepFinished(level=1, round=1, tile=1, step=step, steps=4, loss=0.4), float(step))
    state.update(
        events.TileFinished(level=1, round=1, tile=1, tiles=4, loss=0.4, seconds=4.0, pixel_evaluations=200.0), 4.0
    )
    assert (state.done, state.rate(4.0), state.seconds_left(4.0)) == (1400, 50, 8)
    assert state.tiles_done == {0, 1}


LATE: list[tuple[Event, float]] = [
    (RUN, 0.0),
    (events.LevelStarted(index=1, count=2, width=20, height=20, rounds=2, steps=2, tiles=4), 400.0),
    (events.RoundStarted(level=1, round=0, rounds=2, tiles=4, style_loss=0.25), 400.0),
    *(
        (
            events.TileFinished(level=1, round=0, tile=tile, tiles=4, loss=0.3, seconds=1.0, pixel_evaluations=200.0),
            600.0 + 200 * tile,
        )
        for tile in range(4)
    ),
    (events.RoundStarted(level=1, round=1, rounds=2, tiles=4, style_loss=0.2), 1200.0),
    (events.StepFinished(level=1, round=1, tile=0, step=1, steps=2, loss=0.1), 1300.0),
    (events.RoundFinished(level=1, round=0, rounds=2, loss=0.3, seconds=65.0), 1300.0),
]


def test_a_round_that_is_finished_when_the_next_is_under_way() -> None:
    state = RunState()
    for event, done in LATE:
        state.update(event, 0.0)
        assert state.done == done, event
    assert state.loss == 0.1


def test_the_last_losses() -> None:
    state, losses = RunState(), []
    for event, _ in script():
        state.update(event, 0.0)
        if isinstance(event, events.RoundFinished):
            losses.append(state.losses)
    assert losses == [{"loss": 0.5}, {"loss": 0.3, "style": 0.25}, {"loss": 0.3, "style": 0.2}]
    assert RunState().losses == {}


def test_a_run_that_starts_over_has_done_nothing() -> None:
    state = RunState()
    for event, _ in script()[:20]:
        state.update(event, 0.0)
    assert state.done > 0
    state.update(RUN, 1.0)
    assert state.done == 0


def test_what_became_of_a_run() -> None:
    state = RunState()
    state.update(RUN, 1.0)
    state.update(events.RunStopped("Ctrl-C", "a.run"), 2.0)
    assert (state.stop_reason, state.started, state.finished) == ("Ctrl-C", 1.0, None)
    end = events.RunFinished(output="out.png", width=20, height=20, seconds=3.0)
    for event, time in ((RUN, 3.0), (end, 4.0)):
        state.update(event, time)
    assert (state.stop_reason, state.started, state.finished, state.finished_at) == (None, 1.0, end, 4.0)


@pytest.mark.parametrize("count", range(0, len(script()) + 1, 3))
def test_the_log_read_back_gives_the_same_state_as_the_live_events(count: int, tmp_path: Path) -> None:
    live, lines = RunState(), []
    for time, (event, _) in enumerate(script()[:count]):
        live.update(event, float(time))
        lines.append(log_line(event, float(time)) + "\n")
    path = tmp_path / "events.jsonl"
    path.write_text("".join(lines))
    assert read_state(path) == live


@pytest.mark.parametrize("kept", range(0, 40, 3))
def test_a_log_that_breaks_off_tells_what_it_has(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("".join(log_line(event, 1.0) + "\n" for event, _ in script()))
    path.write_bytes(path.read_bytes()[: -kept - 1])
    state = read_state(path)
    assert state.done == 2000
    assert (state.finished is None) == (kept > 0)


def test_an_empty_log_is_the_state_before_the_first_event(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").touch()
    assert read_state(tmp_path / "events.jsonl") == RunState()


STEP = events.StepFinished(level=0, round=0, tile=0, step=1, steps=4, loss=1.0)
RESUMED, NOTICE = events.RunResumed("a.run", 0, 0), events.Notice("x")
END = events.RunFinished(output="out.png", width=20, height=20, seconds=3.0)


@pytest.mark.parametrize(
    ("logged", "seconds"),
    [
        ([], 0),
        ([(100, RUN), (107, STEP)], 7),
        ([(100, RUN), (107, STEP), (200, RUN), (200, RESUMED), (205, STEP)], 12),
        ([(100, RUN), (107, STEP), (200, NOTICE), (201, RUN), (205, STEP)], 4),  # started over, with a note on why
        ([(100, RUN), (107, STEP), (200, RUN), (206, STEP), (300, RUN), (301, RESUMED), (303, STEP)], 9),
        ([(100, RUN), (107, STEP), (950, RUN), (1000, RUN), (1000, RESUMED), (1009, STEP)], 0),  # killed at once
        ([(100, RUN), (107, STEP), (1000, RUN), (1000, RESUMED), (1009, STEP)], 7),  # its own time is not among it
        ([(100, RUN), (107, STEP), (1004, END)], 7),  # only the report was missing
    ],
)
def test_the_seconds_of_earlier_attempts(logged: list[tuple[float, Event]], seconds: float, tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    log.write_text("".join(log_line(event, time) + "\n" for time, event in logged) + '{"ti')
    assert read_state(log, before=1000).seconds == seconds
    assert read_state(tmp_path / "none", before=1000).seconds == 0
