from __future__ import annotations

import io
import json
import math
import time
from itertools import pairwise

import pytest
from rich.console import Console

from hires_nst import events
from hires_nst.cli import progress
from hires_nst.cli.progress import Lines, RunDisplay, note, print_error, print_line, showing
from hires_nst.quantities import duration
from tests.run.test_progress import LATE, RUN, script


def render(display: RunDisplay, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, record=True)
    console.print(display.bars)
    return console.export_text()


def test_display() -> None:
    now = 0.0
    display = RunDisplay(Console(file=io.StringIO()), clock=lambda: now)
    assert "loading the images and the network" in render(display)
    for total in (200_000_000, 0):
        display.update(events.DownloadProgress("vgg19.pth", 50_000_000, total))
        assert "downloading vgg19.pth" in render(display)
        assert "50 MB" in render(display)
    for event, done in script():
        display.update(event)
        if done == 1500:
            break
    now = 75.0
    text = render(display)
    for part in ("level 2/2", "20 x 20 px", "round 2/2", "tile 2/4", "loss 0.4", "75 %", "1 min 15 s, about 25 s left"):
        assert part in text
    assert len(render(display, width=40).splitlines()) <= 6


def test_lines() -> None:
    written: list[str] = []
    lines = Lines(written.append, lambda: 0.0)
    for done in range(0, 101):
        lines.update(events.DownloadProgress("w.pth", done * 1_000_000, 100_000_000))
    assert len(written) == 11
    assert written[-1] == "downloading w.pth: 100 of 100 MB"
    written.clear()
    for event, _ in script():
        lines.update(event)
    assert written == [
        "1 photograph x 1 painting: photo.jpg in the style of painting.jpg",
        "out.png: 20 x 20 px in 2 levels, vgg19-slim on cpu",
        "note: the photograph has no profile",
        "level 1/2: 10 x 10 px, 1 x 4 evaluations, 1 tile",
        "  round 1/1: loss 0.5, 1.0 s; 20 %, 0.0 s",
        "level 2/2: 20 x 20 px, 2 x 2 evaluations, 4 tiles",
        "  round 1/2: style loss 0.25 at its start, loss 0.3, 1 min 5 s; 60 %, 0.0 s",
        "note: out of memory; the rest of the round uses tiles of 64 px",
        "  round 2/2: style loss 0.2 at its start, loss 0.3, 1 min 5 s; 100 %, 0.0 s",
    ]


def test_a_line_at_least_every_minute_inside_a_long_round() -> None:
    now = 0.0
    written: list[tuple[float, str]] = []
    lines = Lines(lambda line: written.append((now, line)), lambda: now)
    for event, _ in script():
        now += 45.0
        lines.update(event)
        for _ in range(100):  # until the next event, which may be long in coming
            now += 1.0
            lines.tick()
    times = [moment for moment, _ in written]
    assert max(later - sooner for sooner, later in pairwise(times)) <= 60 + 45
    inside = [line for _, line in written if line.startswith("  50 %")]
    place = "level 2/2  20 x 20 px  round 1/2  tile 3/4  loss 0.3"
    assert inside[0] == f"  50 %, 0.00031 MP/h, 44 min 15 s, about 38 min 40 s left; {place}"


def test_lines_while_no_event_comes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    monkeypatch.setattr(progress, "TICK_SECONDS", 0.01)
    with showing(quiet=False, as_json=False):
        time.sleep(0.2)
    assert "loading the images and the network, 0." in capsys.readouterr().err


def test_names_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    name = "a\nb\x1b[31m\u202egnp.jpg"
    message = f"{name} is good; é and \N{SUNFLOWER} stay"
    print_line(message)
    print_error(message)
    with showing(quiet=False, as_json=False) as on_event:
        on_event(events.Notice(message))
    out, err = capsys.readouterr()
    assert (len(out.splitlines()), len(err.splitlines())) == (1, 2)
    for line in (*out.splitlines(), *err.splitlines()):
        assert "a\\nb\\x1b[31m\\u202egnp.jpg is good; é and \N{SUNFLOWER} stay" in line


def test_where_a_run_is_resumed() -> None:
    written: list[str] = []
    lines = Lines(written.append)
    Lines(written.append).update(events.RunResumed("b.run", 1, 1))
    assert written.pop() == "resuming at level 2, round 2"  # whose start was not seen
    for event in (RUN, events.RunResumed("run", 1, 0), events.RunResumed("run", 2, 0)):
        lines.update(event)
    assert written[2:] == ["resuming at level 2, round 1", "resuming with writing the result"]


def test_the_style_loss_of_a_round_that_is_finished_when_the_next_is_under_way() -> None:
    written: list[str] = []
    lines = Lines(written.append)
    for event, _ in LATE:
        lines.update(event)
    assert written[-1].startswith("  round 1/2: style loss 0.25 at its start, loss 0.3, 1 min 5 s; ")


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


def test_notes() -> None:
    assert note(events.Notice("x")) == "note: x"
    assert note(events.LevelFinished(index=0, count=1, seconds=1.0)) is None
