from __future__ import annotations

import io
import json
import math

import pytest
from rich.console import Console

from hires_nst import events
from hires_nst.cli.progress import Display, Lines, Tally, remark, showing
from hires_nst.events import Event
from hires_nst.quantities import duration

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
        (events.LevelFinished(0, 2, 1.0), 400),
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
        (events.LevelFinished(1, 2, 130.0), 2000),
        (events.RunFinished(output="out.png", width=20, height=20, seconds=135.0), 2000),
    ]
    return steps


def test_tally() -> None:
    tally = Tally()
    for event, done in script():
        tally.update(event)
        assert tally.done == done, event
        assert 0 <= tally.done <= tally.total


def test_a_level_that_stops_early_is_done() -> None:
    tally = Tally()
    for event in (
        RUN,
        events.LevelStarted(index=0, count=2, width=10, height=10, rounds=1, steps=4, tiles=1),
        events.LevelFinished(0, 2, 1.0),
    ):
        tally.update(event)
    assert tally.done == 400


def test_more_work_than_planned_does_not_overflow() -> None:
    tally = Tally()
    for event in (
        RUN,
        events.LevelStarted(index=0, count=2, width=10, height=10, rounds=1, steps=4, tiles=1),
        events.RoundStarted(level=0, round=0, rounds=1, tiles=1, style_loss=None),
    ):
        tally.update(event)
    tally.update(
        events.TileFinished(level=0, round=0, tile=0, tiles=1, loss=0.5, seconds=1.0, pixel_evaluations=9999.0)
    )
    assert tally.done == 400


def test_time_left() -> None:
    now = 0.0
    tally = Tally(clock=lambda: now)
    now = 5.0  # reading images is no measure of the work
    tally.update(RUN)
    tally.update(events.LevelStarted(index=0, count=2, width=10, height=10, rounds=1, steps=4, tiles=1))
    assert tally.left is None
    now = 7.0
    tally.update(events.StepFinished(level=0, round=0, tile=0, step=4, steps=4, loss=1.0))
    assert tally.left == pytest.approx(2.0 * 1600 / 400)
    assert tally.elapsed == 7.0


def render(display: Display, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, record=True)
    console.print(display)
    return console.export_text()


def test_display() -> None:
    now = 0.0
    tally = Tally(clock=lambda: now)
    assert "reading the images" in render(Display(tally))
    tally.update(events.DownloadProgress("vgg19.pth", 50_000_000, 200_000_000))
    assert "downloading vgg19.pth" in render(Display(tally))
    assert "50 MB" in render(Display(tally))
    tally.update(events.DownloadProgress("vgg19.pth", 50_000_000, 0))
    assert "50 MB" in render(Display(tally))
    for event, done in script():
        tally.update(event)
        if done == 1500:
            break
    now = 75.0
    text = render(Display(tally))
    for part in ("level 2/2", "20 x 20 px", "round 2/2", "tile 2/4", "loss 0.4", "75 %", "1 min 15 s, about 25 s left"):
        assert part in text
    assert len(render(Display(tally), width=40).splitlines()) <= 6


def test_lines() -> None:
    written: list[str] = []
    lines = Lines(written.append)
    for done in range(0, 101):
        lines.update(events.DownloadProgress("w.pth", done * 1_000_000, 100_000_000))
    assert len(written) == 11
    assert written[-1] == "downloading w.pth: 100 of 100 MB"
    written.clear()
    for event, _ in script():
        lines.update(event)
    assert written == [
        "photo.jpg: 20 x 20 px in 2 levels, vgg19-slim on cpu",
        "note: the photograph has no profile",
        "level 1/2: 10 x 10 px, 1 x 4 evaluations, 1 tile",
        "  round 1/1: loss 0.5, 1.0 s",
        "level 2/2: 20 x 20 px, 2 x 2 evaluations, 4 tiles",
        "  round 1/2: style loss 0.25 at its start, loss 0.3, 1 min 5 s",
        "note: memory ran out, so what is left of the round is done in tiles of 64 px",
        "  round 2/2: style loss 0.2 at its start, loss 0.3, 1 min 5 s",
    ]


def test_a_run_that_goes_on_with_what() -> None:
    written: list[str] = []
    lines = Lines(written.append)
    for event in (RUN, events.RunResumed("run", 1, 0), events.RunResumed("run", 2, 0)):
        lines.update(event)
    assert written[1:] == ["going on at level 2, round 1", "going on at the picture's file"]


def test_a_round_that_is_told_to_be_finished_when_the_next_is_under_way() -> None:
    late = [
        (RUN, 0.0),
        (events.LevelStarted(index=1, count=2, width=20, height=20, rounds=2, steps=2, tiles=4), 400.0),
        (events.RoundStarted(level=1, round=0, rounds=2, tiles=4, style_loss=0.25), 400.0),
        *(
            (
                events.TileFinished(
                    level=1, round=0, tile=tile, tiles=4, loss=0.3, seconds=1.0, pixel_evaluations=200.0
                ),
                600.0 + 200 * tile,
            )
            for tile in range(4)
        ),
        (events.RoundStarted(level=1, round=1, rounds=2, tiles=4, style_loss=0.2), 1200.0),
        (events.StepFinished(level=1, round=1, tile=0, step=1, steps=2, loss=0.1), 1300.0),
        (events.RoundFinished(level=1, round=0, rounds=2, loss=0.3, seconds=65.0), 1300.0),
    ]
    written: list[str] = []
    lines, tally = Lines(written.append), Tally()
    for event, done in late:
        lines.update(event)
        tally.update(event)
        assert tally.done == done, event
    assert tally.loss == 0.1
    assert written[-1] == "  round 1/2: style loss 0.25 at its start, loss 0.3, 1 min 5 s"


def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with showing(quiet=False, as_json=True) as on_event:
        for event, _ in script():
            on_event(event)
        on_event(events.RoundFinished(level=0, round=0, rounds=1, loss=math.nan, seconds=1.0))
    captured = capsys.readouterr()
    data = [json.loads(line) for line in captured.out.splitlines()]
    assert [entry["event"] for entry in data[:-1]] == [type(event).__name__ for event, _ in script()]
    assert data[0]["levels"] == [[10, 10, 1, 4, 1], [20, 20, 2, 2, 4]]
    assert data[-1]["loss"] is None
    assert captured.err == ""


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with showing(quiet=True, as_json=False) as on_event:
        for event, _ in script():
            on_event(event)
    assert capsys.readouterr() == ("", "")


def test_progress_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with showing(quiet=False, as_json=False) as on_event:
        for event, _ in script():
            on_event(event)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "level 2/2" in captured.err


def test_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with showing(quiet=False, as_json=False, console=console) as on_event:
        for event, _ in script():
            on_event(event)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "note: the photograph has no profile" in text
    assert "level 2/2" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (185, "3 min 5 s"),
        (3599.7, "1 h 0 min"),
        (7800, "2 h 10 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_remarks() -> None:
    assert remark(events.Notice("x")) == "note: x"
    assert remark(events.LevelFinished(0, 1, 1.0)) is None
