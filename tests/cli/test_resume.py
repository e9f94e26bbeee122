"""`resume` and `status`, and the options of `stylize` that stop a run and resume it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import hires_nst
from hires_nst import events
from hires_nst.cli.signals import ending_at_once, stopping
from hires_nst.cli.status import status_lines
from hires_nst.errors import Interrupted, OutputError
from hires_nst.run import directory
from hires_nst.run.status import run_status
from tests.cli.test_commands import program, run
from tests.run.test_resume import SMALL, interrupted, save, stylize


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    save(folder / "photo.png", 64, 80, 1)
    save(folder / "painting.png", 90, 96, 2)
    (folder / "small.yaml").write_text(json.dumps(SMALL))
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.png"


def command(inputs: Path, out: Path) -> list[str | Path]:
    return ["stylize", inputs / "photo.png", inputs / "painting.png", "-o", out, "-c", inputs / "small.yaml"]


def test_a_run_that_was_stopped_tells_where_it_stands_and_goes_on(inputs: Path, out: Path) -> None:
    seen = interrupted(inputs, out, events.TileFinished, 4)
    done = len([e for e in seen if isinstance(e, events.TileFinished) and e.level == 1])  # more where writing is slow
    assert done >= 3
    folder = out.with_name("out.png.run")
    result = run("status", folder)
    assert result.exit_code == 0, result.output
    for part in (
        f"result    {out}, 80 x 64 px",
        "state     stopped by the test",
        f"place     level 2/2, round 1/2, {done} of 6 tiles done",
        "style loss",
        f"resume    hires-nst resume {folder}",
    ):
        assert part in result.stdout
    shown = json.loads(run("status", folder, "--json").stdout)
    assert (shown["level"], shown["levels"], shown["round"], shown["rounds"]) == (2, 2, 1, 2)
    assert (shown["tiles_done"], shown["tiles"], shown["state"], shown["lock_owner"]) == (done, 6, "stopped", None)
    assert shown["loss"] == [e for e in seen if isinstance(e, events.StepFinished)][-1].loss
    assert shown["bytes"] == directory.folder_bytes(folder)
    work = [e.pixel_evaluations for e in seen if isinstance(e, events.TileFinished)]
    share = sum(work) / (40 * 32 * 6 + 80 * 64 * 4)  # and perhaps a step of the next one, started before this was shown
    assert share - 1e-6 <= shown["done"] < share + max(work) / (40 * 32 * 6 + 80 * 64 * 4)
    result = run("resume", folder)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{out}: 80 x 64 px in ")
    assert "resuming at level 2, round 1" in result.stderr
    for name in ("status", "resume"):
        result = run(name, folder)
        assert (result.exit_code, "removed when its run finishes" in result.stderr) == (3, True)


def test_the_status_of_a_run_under_way(inputs: Path, out: Path) -> None:
    folder, found = out.with_name("out.png.run"), []

    def on_event(event: events.Event) -> None:
        if isinstance(event, events.TileFinished) and (event.round, event.tile) == (1, 4):
            found.append(run_status(folder))

    hires_nst.stylize(
        inputs / "photo.png", out, styles=inputs / "painting.png", config=hires_nst.load_config(inputs / "small.yaml"),
        on_event=on_event,
    )  # fmt: skip
    (status,) = found
    assert (status.state, status.level, status.round, status.tiles_done, status.tiles) == ("running", 2, 2, 5, 12)
    assert status.lock_owner is not None
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
    until = f"{datetime.now() + timedelta(hours=12):%H:%M}"
    result = run(*command(inputs, out), "--max-hours", "5", "--until", until)
    assert result.exit_code == 0, result.output
    assert "--max-hours should be a number above 0" in run("resume", out, "--max-hours", "0").stderr
    assert "--until should be a time of day" in run(*command(inputs, out), "--overwrite", "--until", "noon").stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals for a process itself")
@pytest.mark.parametrize(("kind", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_the_second_signal_says_how_to_go_on_too(kind: str, code: int, tmp_path: Path) -> None:
    def twice(folder: Path) -> str:
        with (
            pytest.raises(Interrupted) as caught,
            stopping(until=None, max_hours=None, quiet=True) as stop,
            ending_at_once(folder, stop),
        ):
            os.kill(os.getpid(), signal.Signals[kind])
            assert stop.reason is not None
            os.kill(os.getpid(), signal.Signals[kind])
        assert caught.value.exit_code == code
        return str(caught.value)

    (tmp_path / "my run").mkdir()
    (tmp_path / "my run" / "run.json").touch()
    assert twice(tmp_path / "my run") == f"interrupted; resume with `hires-nst resume '{tmp_path}/my run'`"
    assert twice(tmp_path / "other") == "interrupted before anything was painted"


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


@pytest.mark.parametrize("name", ["photo.png", "painting.png", "start.png", "link.png"])
def test_the_result_is_none_of_the_inputs(name: str, inputs: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(inputs, mine)
    shutil.copy(inputs / "photo.png", mine / "start.png")
    (mine / "link.png").symlink_to("photo.png")
    before = (mine / name).read_bytes()
    start = ["--set", "init.kind=file", "--set", f"init.file={mine / 'start.png'}"]
    for how in ("stylize", "plan"):
        for options in ([], ["--overwrite"]):
            result = run(how, *command(mine, mine / name)[1:], *start, *options)
            assert result.exit_code == 2
            assert result.stderr == (
                f"error: {mine / name} is one of the pictures that the run reads; choose another name for the result\n"
            )
    with pytest.raises(OutputError, match="is one of the pictures that the run reads"):
        hires_nst.stylize(mine / "photo.png", mine / "photo.png", styles=mine / "painting.png", overwrite=True)
    assert (mine / name).read_bytes() == before
    assert not list(mine.glob("*.run"))


def test_a_name_that_is_too_long_for_a_run_directory(inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / f"{'x' * 248}.png"
    result = run(*command(inputs, out))
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: {out}.run cannot be written (File name too long); give another run directory with --run-dir\n"
    )
    assert not list(tmp_path.iterdir())
    result = run(*command(inputs, out), "--run-dir", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_a_name_that_begins_with_a_dash(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out = Path("-x.png")
    interrupted(inputs, out, events.TileFinished, 4)
    shown = re.search(r"resume    hires-nst (.*)", run("status", "./-x.png.run").stdout)
    assert shown is not None
    result = run(*shlex.split(shown[1]))
    assert result.exit_code == 0, result.output
    assert [path.name for path in tmp_path.iterdir()] == ["-x.png"]


def test_what_is_no_run_directory(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "photo.jpg").write_text("a picture")
    for path, code, sentence in (
        ("none", 3, "{} does not exist; a run directory is removed when its run finishes, so look"),
        ("photo.jpg", 3, "{} is a file; give a run directory or the output folder of a batch"),
        ("empty", 3, "{} is neither a run directory (no run.json) nor the output folder of a batch; give"),
    ):
        for name in ("status", "resume"):
            result = run(name, tmp_path / path)
            assert result.stderr.startswith(f"error: {sentence.format(tmp_path / path)}")
            assert result.stderr.count("\n") == 1
            assert result.exit_code == code
    assert not list((tmp_path / "empty").iterdir())


def test_the_picture_stands_for_its_run_directory(inputs: Path, out: Path) -> None:
    interrupted(inputs, out, events.TileFinished, 4)
    folder = out.with_name("out.png.run")
    for place in (folder, out, folder / "run.json"):
        assert f"resume    hires-nst resume {folder}" in run("status", place).stdout
    assert str(folder / "report.html") in run("report", out).stdout
    neither = run("status", out.parent)
    assert (neither.exit_code, f"; did you mean {folder}?" in neither.stderr) == (3, True)
    assert run("resume", out).exit_code == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    for name in ("status", "resume"):
        done = run(name, out)
        assert (done.exit_code, "without out.png.run beside it, a picture is finished" in done.stderr) == (3, True)


def test_a_file_in_the_place_of_the_picture_is_replaced_when_requested(inputs: Path, out: Path) -> None:
    interrupted(inputs, out, events.TileFinished, 4)
    out.write_text("precious")
    folder = out.with_name("out.png.run")
    result = run("resume", folder)
    assert (result.exit_code, "use --overwrite to replace it" in result.stderr) == (2, True)
    assert out.read_text() == "precious"
    assert run("resume", folder, "--overwrite").exit_code == 0
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(sys.platform != "linux", reason="file names are UTF-8 elsewhere")
def test_names_that_are_not_utf_8(inputs: Path, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"b\xff d")
    shutil.copytree(inputs, odd)
    out, folder = odd / "out.png", odd / "out.png.run"
    interrupted(odd, out, events.TileFinished, 4)
    shown = json.loads(run("status", folder, "--json").stdout)
    assert (shown["output"], shown["state"]) == (str(out), "stopped")
    done = program("status", folder, PYTHONIOENCODING="utf-8:strict")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"result    {tmp_path}/b\\udcff d/out.png, 80 x 64 px" in done.stdout
    result = run("resume", folder, "--json")
    assert result.exit_code == 0, result.output
    last = json.loads(result.stdout.splitlines()[-1])
    assert (last["event"], last["output"]) == ("RunFinished", str(out))
    made = odd / os.fsdecode(b"\xe9.png")
    # As many threads as in this process, for the same bytes.
    done = program(*command(odd, made), PYTHONIOENCODING="utf-8:strict", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{tmp_path}/b\\udcff d/\\udce9.png: 80 x 64 px in ")
    assert made.read_bytes() == out.read_bytes()
