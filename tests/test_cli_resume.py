"""`resume` and `status`, and the options of `stylize` that stop a run and go on with it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_cli_commands import run
from test_resume import SMALL, interrupted, save, stylize

from hires_nst import events, run_folder
from hires_nst.cli.progress import Lines, Tally
from hires_nst.cli.status import run_status, status_lines


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    save(folder / "photo.png", 64, 80, 1)
    save(folder / "painting.png", 90, 96, 2)
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL))
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.png"


def command(inputs: Path, out: Path) -> list[str | Path]:
    return ["stylize", inputs / "photo.png", inputs / "painting.png", "-o", out, "-c", inputs / "small.yaml"]


def test_a_run_that_was_stopped_tells_where_it_stands_and_goes_on(inputs: Path, out: Path) -> None:
    seen = interrupted(inputs, out, events.TileFinished, 4)
    folder = out.with_name("out.png.run")
    result = run("status", folder)
    assert result.exit_code == 0, result.output
    for part in (
        f"result    {out}, 80 x 64 px",
        "state     stopped by the test",
        "place     level 2/2, round 1/2, 3 of 6 tiles done",
        "style loss",
        f"go on     hires-nst resume {folder}",
    ):
        assert part in result.stdout
    told = json.loads(run("status", folder, "--json").stdout)
    assert (told["level"], told["levels"], told["round"], told["rounds"]) == (2, 2, 1, 2)
    assert (told["tiles_done"], told["tiles"], told["state"], told["holder"]) == (3, 6, "stopped", None)
    assert told["loss"] == [e for e in seen if isinstance(e, events.StepFinished)][-1].loss
    assert told["bytes"] == run_folder.size(folder)
    work = [e.pixel_evaluations for e in seen if isinstance(e, events.TileFinished)]
    assert told["done"] == pytest.approx(sum(work) / (40 * 32 * 6 + 80 * 64 * 4))
    result = run("resume", folder)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{out}: 80 x 64 px in ")
    assert "going on at level 2, round 1" in result.stderr
    assert run("status", folder).exit_code == 3


def test_the_status_of_a_run_under_way(inputs: Path, out: Path) -> None:
    folder, found = out.with_name("out.png.run"), []

    def on_event(event: events.Event) -> None:
        if isinstance(event, events.TileFinished) and (event.round, event.tile) == (1, 4):
            found.append(run_status(folder))

    import hires_nst

    hires_nst.stylize(
        inputs / "photo.png", out, style=inputs / "painting.png", config=hires_nst.load_config(inputs / "small.yaml"),
        on_event=on_event,
    )  # fmt: skip
    (status,) = found
    assert (status.state, status.level, status.round, status.tiles_done, status.tiles) == ("running", 2, 2, 5, 12)
    assert status.holder is not None
    assert status.pixels_per_second is not None
    assert status.pixels_per_second > 0
    assert status.seconds_left is not None
    assert any(re.match(r"state     running \(process \d+ on ", line) for line in status_lines(status))


def test_the_status_of_a_killed_run_and_of_a_finished_one_that_was_kept(inputs: Path, out: Path) -> None:
    interrupted(inputs, out, events.TileFinished, 4)
    log = out.with_name("out.png.run") / "events.jsonl"
    log.write_text("".join(line + "\n" for line in log.read_text().splitlines() if "RunStopped" not in line))
    assert run_status(log.parent).state == "interrupted"
    stylize(inputs, out, {**SMALL, "checkpoint": {"keep_run": True}})
    status = run_status(log.parent)
    assert (status.state, status.done, status.seconds_left) == ("finished", 1.0, 0.0)


def test_a_deadline_on_the_command_line(inputs: Path, out: Path) -> None:
    result = run(*command(inputs, out), "--max-hours", "0.0000001")
    assert result.exit_code == 130
    assert "stopped by the deadline" in result.stderr
    result = run(*command(inputs, out), "--max-hours", "5", "--until", "12:00")
    assert result.exit_code == 0, result.output
    assert "--max-hours must be above 0" in run("resume", out, "--max-hours", "0").stderr
    assert "is no time of day" in run(*command(inputs, out), "--overwrite", "--until", "noon").stderr


def test_options_of_the_run_directory(inputs: Path, out: Path, tmp_path: Path) -> None:
    interrupted(inputs, out, events.TileFinished, 4, run_dir=tmp_path / "elsewhere")
    result = run(*command(inputs, out), "--resume", "require")
    assert (result.exit_code, "there is no run in" in result.stderr) == (2, True)
    result = run(*command(inputs, out), "--run-dir", tmp_path / "elsewhere", "--resume", "never")
    assert (result.exit_code, "--resume never --overwrite" in result.stderr) == (2, True)
    result = run(*command(inputs, out), "--run-dir", tmp_path / "elsewhere", "--resume", "require", "--json")
    assert result.exit_code == 0, result.output
    assert "RunResumed" in [json.loads(line)["event"] for line in result.stdout.splitlines()]
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]


def test_what_is_no_run_directory(tmp_path: Path) -> None:
    for name in ("status", "resume"):
        result = run(name, tmp_path / "none")
        assert result.exit_code in (2, 3)
        assert result.stderr.count("\n") == 1
    result = run("resume", tmp_path)
    assert "has no run.json" in result.stderr
    assert not list(tmp_path.iterdir())


EVENTS: list[Any] = [
    events.RunStarted("a", "b", 20, 10, ((10, 5, 1, 4, 1), (20, 10, 2, 4, 4)), 1800.0, "m", "cpu"),
    events.RunResumed("b.run", 1, 1),
    events.LevelStarted(1, 2, 20, 10, 2, 4, 4),
    events.RoundStarted(1, 1, 2, 4, None),
    events.TileRestored(1, 1, 0, 4, 0.5, 200.0),
]


def test_the_work_of_earlier_processes_counts_as_done_but_not_for_the_rate() -> None:
    now = [0.0]
    tally = Tally(clock=lambda: now[0])
    for event in EVENTS:
        tally.update(event)
    assert tally.done == 200 + 800 + 200
    assert tally.left is None
    for step in range(1, 5):
        now[0] += 1
        tally.update(events.StepFinished(1, 1, 1, step, 4, 0.4))
    tally.update(events.TileFinished(1, 1, 1, 4, 0.4, 4.0, 200.0))
    assert (tally.done, tally.rate, tally.left) == (1400, 50, 8)
    lines: list[str] = []
    Lines(lines.append).update(events.RunResumed("b.run", 1, 1))
    assert lines == ["going on at level 2, round 2"]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_events_come_back_from_their_data(event: events.Event) -> None:
    found = events.from_dict(json.loads(json.dumps(event.as_dict())))
    assert found is not None
    assert found.as_dict() == json.loads(json.dumps(event.as_dict()))


def test_data_of_unknown_events_is_no_event() -> None:
    assert events.from_dict({"event": "Error", "message": "x"}) is None
    assert events.from_dict({"event": "Notice"}) is None
