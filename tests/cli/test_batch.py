"""`hires-nst batch` and `hires-nst status`: with pictures, the real engine and worker processes; and their words."""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import zlib
from collections import Counter
from dataclasses import asdict
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from rich.console import Console

import hires_nst
from hires_nst import events
from hires_nst.batch.ledger_reading import reading
from hires_nst.batch.options import read_batch
from hires_nst.batch.progress import BatchState
from hires_nst.cli.batch_progress import BatchDisplay, BatchLines, following
from hires_nst.cli.report import report_of_batch
from hires_nst.events import (
    BatchFinished,
    BatchStarted,
    JobChanged,
    JobDone,
    JobFailed,
    JobProgress,
    JobSkipped,
    JobStarted,
)
from hires_nst.imageio.reading import read_picture
from hires_nst.report.sources import gather
from hires_nst.stopping import Stop
from tests.batch import fakes
from tests.batch.fakes import make_inputs, rows
from tests.calls import counted_calls
from tests.cli.test_commands import ROOT, program, run
from tests.conftest import random_canvas

SMALL = (
    *("--size", "32", "--set", "levels.coarse_steps=2", "--set", "levels.min_size=16", "--device", "cpu"),
    *("--set", "loss.style_layers={conv1_1: 1}", "--set", "loss.content_layers={conv2_1: 1}", "--retry-wait", "0"),
)

QUICK = (*SMALL, "--no-report")


def samples(seed: int, width: int = 40, height: int = 30) -> np.ndarray:
    return np.rint(random_canvas(height, width, seed).pixels * 255).astype(np.uint8)


def good_files(folder: Path) -> list[str]:
    """Twelve pictures of all kinds."""
    image = [Image.fromarray(samples(seed)) for seed in range(12)]
    image[0].save(folder / "plain.png")
    image[1].save(folder / "photo.jpg", quality=90)
    image[2].save(folder / "scan.tif")
    tifffile.imwrite(folder / "deep.tiff", samples(3).astype(np.uint16) * 257, photometric="rgb")
    image[4].convert("CMYK").save(folder / "press.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    image[5].save(folder / "turned.jpeg", exif=exif)
    image[6].save(folder / "a name with spaces and \N{SUNFLOWER}.png")
    image[7].convert("L").save(folder / "grey.png")
    image[8].save(folder / "web.webp", lossless=True)
    image[9].putalpha(200)
    image[9].save(folder / "glass.png")
    image[10].convert("P").save(folder / "palette.png")
    image[11].save(folder / "CAPITALS.JPG", quality=80)
    return sorted(path.stem for path in folder.iterdir())


def bad_files(folder: Path) -> dict[str, str]:
    """Six that are none, and what is said about them.

    Where the tests run as root, every file may be read: a link that leads nowhere stands for the one that may not.
    """
    (folder / "empty.jpg").touch()
    whole = (folder / "photo.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("a shopping list\n" * 20)
    (folder / "x.jpg").mkdir()
    locked = folder / "locked.png"
    if os.geteuid() == 0:
        locked.symlink_to("nowhere.png")
    else:
        Image.new("RGB", (40, 30)).save(locked)
        locked.chmod(0)
    data = b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in (
            (b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(bytes(1000))),
            (b"IEND", b""),
        )
    )
    (folder / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    return {
        "empty": "is empty",
        "truncated": "ends early",
        "text": "is not a picture but a text",
        "x": "is a folder",
        "locked": "does not exist" if os.geteuid() == 0 else "permission denied",
        "bomb": "has 100000 x 100000 pixels",
    }


def test_a_night_with_good_and_bad_files(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "prints"
    photos.mkdir()
    good = good_files(photos)
    bad = bad_files(photos)
    (photos / "notes.txt").write_text("not to be painted")
    Image.fromarray(samples(99, 64, 64)).save(tmp_path / "starry.jpg")
    command = ("batch", photos, tmp_path / "starry.jpg", "-o", out, *SMALL)

    result = run(*command)
    assert result.exit_code == 1, result.output
    made = {path.name for path in out.iterdir() if path.is_file()}
    assert made == {"report.html", *(f"{name}-starry.png" for name in good)}
    assert len(good) == 12
    for name in good:
        picture = read_picture(out / f"{name}-starry.png", max_megapixels=1)
        assert (picture.width, picture.height) == ((24, 32) if name == "turned" else (32, 24))
    table = rows(out)
    for name, reason in bad.items():
        row = table[f"{name}-starry.png"]
        assert (row.state, row.attempts) == ("failed", 1)
        assert reason in (row.error or ""), row.error
        assert any(line.startswith(f"failed: {name}-starry.png") for line in result.stderr.splitlines())
    assert result.stdout == f"{out / 'report.html'}\n"
    assert "18 pictures: 18 to paint" in result.stderr
    assert "left out: 1 file that is not a picture" in result.stderr
    assert "12 done, 6 failed" in result.stderr
    assert "--retry-failed" in result.stderr

    before = {path: path.stat().st_mtime_ns for path in out.glob("*.png")}
    with counted_calls() as calls:
        assert run(*command).exit_code == 1
    assert calls["call"] < 150_000  # 53,000 when it was written
    assert {path: path.stat().st_mtime_ns for path in out.glob("*.png")} == before
    assert {row.attempts for row in rows(out).values()} == {1}

    # The report lists the failures; its command makes the picture of a file that was mended.
    page = (out / "report.html").read_text()
    for name, reason in bad.items():
        assert f"<strong>{name}-starry</strong>" in page
        assert reason in page
    (command_again,) = {job.retry_command for job in gather(out).jobs if job.state == "failed"}
    assert command_again is not None
    assert command_again in unescape(page)
    Image.fromarray(samples(50)).save(photos / "text.jpg")
    result = run(*shlex.split(command_again)[1:])
    assert result.exit_code == 1
    assert "5 pictures failed" in (out / "report.html").read_text()
    after = {path: path.stat().st_mtime_ns for path in out.glob("*.png")}
    assert after.keys() - before.keys() == {out / "text-starry.png"}
    assert {path: after[path] for path in before} == before
    assert "13 done, 5 failed" in result.stderr

    result = run("status", out)
    assert result.exit_code == 0
    assert f"{out}: 13 done, 5 failed" in result.stdout
    for name in bad.keys() - {"text"}:
        assert f"failed    {name}-starry.png: " in result.stdout
    logs = [line.removeprefix("log       ") for line in result.stdout.splitlines() if line.startswith("log ")]
    assert len(logs) == 5
    assert all("failed: " in Path(log).read_text() for log in logs)
    links = {f"{Path(log).relative_to(out).as_posix()}" for log in logs}
    assert all(f'href="{link}"' in (out / "report.html").read_text() for link in links)
    progress = json.loads(run("status", out, "--json").stdout)
    assert sorted(job["log"] for job in progress["failed"]) == sorted(logs)
    assert progress["counts"] == {"waiting": 0, "running": 0, "done": 13, "failed": 5, "skipped": 0}
    assert {job["output"] for job in progress["failed"]} == {f"{name}-starry.png" for name in bad.keys() - {"text"}}


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[Path, Path]:
    """A folder with two photographs, and a painting."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in "ab":
        Image.fromarray(samples(ord(name))).save(photos / f"{name}.png")
    Image.fromarray(samples(99, 64, 64)).save(tmp_path / "art.jpg")
    return photos, tmp_path / "art.jpg"


def test_a_batch_paints_what_single_runs_paint(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    photos, art = inputs
    assert run("batch", photos, art, "-o", tmp_path / "out", *QUICK, "--template", "{content}.tif").exit_code == 0
    for name in "ab":
        alone = tmp_path / f"{name}.tif"
        options = SMALL[: SMALL.index("--retry-wait")]
        assert run("stylize", photos / f"{name}.png", art, "-o", alone, *options).exit_code == 0
        assert alone.read_bytes() == (tmp_path / "out" / f"{name}.tif").read_bytes()


def test_json(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    photos, art = inputs
    result = run("batch", photos, art, "-o", tmp_path / "out", *QUICK, "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert not result.stderr
    assert lines[0]["event"] == "BatchStarted"
    assert lines[-1]["event"] == "BatchFinished"
    assert lines[-1]["done"] == 2
    assert {line["run_event"]["event"] for line in lines if line["event"] == "JobProgress"} >= {
        "RunStarted",
        "RunFinished",
    }
    assert not run("batch", photos, art, "-o", tmp_path / "out", *QUICK, "--quiet").output


def test_jobs_of_a_configuration(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "jobs.yaml").write_text(
        """
output: {long_edge: 24}
batch: {template: "{index}-{width}.png"}
jobs:
  - {content: photos/a.png, style: art.jpg}
  - {content: photos/b.png, style: art.jpg, set: {output: {long_edge: 40}}}
"""
    )
    small = QUICK[2:]
    result = run("batch", "-c", tmp_path / "jobs.yaml", "-o", tmp_path / "out", *small)
    assert result.exit_code == 0, result.output
    for name, size in (("1-24", (24, 18)), ("2-40", (40, 30))):
        with Image.open(tmp_path / "out" / f"{name}.png") as picture:
            assert picture.size == size
    result = run("batch", "-c", tmp_path / "jobs.yaml", "-o", tmp_path / "other", *QUICK)  # an option goes before all
    assert sorted(path.name for path in (tmp_path / "other").glob("*.png")) == ["1-32.png", "2-32.png"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--executor", "slurm"], "--executor should be local or ray, not 'slurm'"),
        (["--address", "auto"], "--address requires --executor ray"),
        (["--ship"], "--ship requires --executor ray"),
        (["--until", "25:00"], "--until should be a time of day, not '25:00'"),
        (["--max-hours", "0"], "--max-hours should be a number above 0"),
        (["--match", "cross"], "--match should be product, zip or stem"),
        (["--workers", "many"], "--workers should be"),
        (["--template", "{contents}.png"], "did you mean 'content'?"),
        (["--style-weights", "1"], "in a batch each is a separate style"),
        (["--set", "batch.retrys=2"], "did you mean 'retries'?"),
        (["--print", "A33"], "is not a paper size"),
        (["--set", "checkpoint.directory=run"], "checkpoint.directory is for a single picture"),
    ],
)
def test_a_wrong_command_line(arguments: list[str], sentence: str, inputs: tuple[Path, Path], tmp_path: Path) -> None:
    photos, art = inputs
    result = run("batch", photos, art, "-o", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert not (tmp_path / "out").exists()


def test_nothing_to_do(tmp_path: Path) -> None:
    result = run("batch", "-o", tmp_path / "out")
    assert (result.exit_code, "there are no photographs" in result.stderr) == (2, True)
    result = run("status", tmp_path)
    assert (result.exit_code, "is neither a run directory" in result.stderr) == (3, True)
    result = run("resume", tmp_path, "--retry-failed")
    assert (result.exit_code, "--retry-failed is for batches only" in result.stderr) == (2, True)


def test_too_little_disk_space(inputs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    photos, art = inputs
    result = run("batch", photos, art, "-o", tmp_path / "out", *SMALL)
    assert (result.exit_code, "free some, choose" in result.stderr) == (4, True)


# Interruptions.


def interrupted(sign: int, *arguments: str | Path, after: str, group: bool = False) -> tuple[int, list[dict[str, Any]]]:
    """The exit code and the events of a program that gets a signal after an event of that name.

    With `group`, its workers get it too, as from a terminal.
    """
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    # In a job of a shell without job control, Ctrl-C is ignored from the start.
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import hires_nst.cli as c; c.main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments, "--json"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths},
        start_new_session=group,
    )  # fmt: skip
    reported = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            reported.append(json.loads(line))
            if after in line and process.poll() is None:
                os.killpg(process.pid, sign) if group else process.send_signal(sign)
                after = "nothing more"
        return process.wait(300), reported
    finally:
        process.kill()
        process.stdout.close() if process.stdout else None
        process.wait()


def tiles(reported: list[dict[str, Any]]) -> list[tuple[str, int, int, int]]:
    """The finished tiles, by job, level, round and number."""
    inner = [(line["job"], line["run_event"]) for line in reported if line["event"] == "JobProgress"]
    return [(job, e["level"], e["round"], e["tile"]) for job, e in inner if e["event"] == "TileFinished"]


TILED = (
    *("--size", "64", "--device", "cpu", "--retry-wait", "0", "--template", "{content}.png", "--tile-size", "32"),
    *("--overlap", "8", "--set", "levels.steps=2"),
    *("--set", "levels.min_size=24", "--set", "levels.coarse_steps=2", "--set", "levels.rounds=6"),
    *("--set", "loss.style_layers={conv1_1: 1, conv2_1: 1}", "--set", "loss.content_layers={conv2_1: 1}"),
)


def test_an_interrupted_batch_goes_on_inside_its_picture(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    photos, art = inputs
    out, alone = tmp_path / "out", tmp_path / "alone"
    code, first = interrupted(signal.SIGINT, "batch", photos, art, "-o", out, *TILED, after="TileFinished")
    assert code == 130
    assert first[-1]["stopped"] == "Ctrl-C"
    assert {row.state for row in rows(out).values()} == {"waiting"}
    assert {row.failures for row in rows(out).values()} == {0}
    assert not list(out.glob("*.png"))
    assert {job.state for job in gather(out).jobs} == {"interrupted", "waiting"}
    assert "interrupted" in (out / "report.html").read_text()

    result = run("resume", out, "--json")
    assert result.exit_code == 0, result.output
    second = [json.loads(line) for line in result.stdout.splitlines()]
    assert any(line["event"] == "JobProgress" and line["run_event"]["event"] == "RunResumed" for line in second)
    assert tiles(first)
    assert not set(tiles(first)) & set(tiles(second))

    result = run("batch", photos, art, "-o", alone, *TILED, "--json", "--no-report")
    assert sorted(tiles([json.loads(line) for line in result.stdout.splitlines()])) == sorted(
        tiles(first) + tiles(second)
    )
    result = run("batch", photos, art, "-o", out, *TILED, "--json")  # the ledger's settings are the command's
    assert [json.loads(line)["event"] for line in result.stdout.splitlines()] == ["BatchStarted", "BatchFinished"]
    for name in "ab":
        assert (out / f"{name}.png").read_bytes() == (alone / f"{name}.png").read_bytes()
    for job in gather(out).jobs:
        assert job.state == "done"
        assert job.curves.objective
        assert job.borders is not None


def test_sigterm(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    photos, art = inputs
    many = ("--set", "levels.coarse_steps=100000", "--no-report")
    out = tmp_path / "out"
    code, reported = interrupted(signal.SIGTERM, "batch", photos, art, "-o", out, *SMALL, *many, after="StepFinished")
    assert (code, reported[-1]["stopped"]) == (143, "SIGTERM")
    assert {(row.state, row.failures) for row in rows(out).values()} == {("waiting", 0)}
    assert not (out / "report.html").exists()


def test_ctrl_c_while_a_worker_starts(
    inputs: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    photos, art = inputs
    out, after = tmp_path / "out", "JobStarted"
    code, reported = interrupted(signal.SIGINT, "batch", photos, art, "-o", out, *QUICK, after=after, group=True)
    assert not capfd.readouterr().err
    assert (code, reported[-1]["stopped"]) == (130, "Ctrl-C")
    assert "JobFailed" not in {line["event"] for line in reported}
    assert {(row.state, row.failures) for row in rows(out).values()} == {("waiting", 0)}


def test_resume_paints_what_the_last_command_had(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    photos, art = inputs
    out, soon = tmp_path / "out", ("--max-hours", "0.0000001")
    assert run("batch", photos, art, "-o", out, *QUICK, *soon, "--template", "old-{content}.png").exit_code == 130
    for size in ("48", "24"):  # the last one counts
        options = (*QUICK, *soon, "--template", "{content}.png", "--size", size)
        assert run("batch", photos, art, "-o", out, *options).exit_code == 130
    result = run("resume", out)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.glob("*.png")) == ["a.png", "b.png"]
    with Image.open(out / "a.png") as picture:
        assert picture.size == (24, 18)
    assert {name: row.state for name, row in rows(out).items()} == {
        "old-a.png": "waiting", "old-b.png": "waiting", "a.png": "done", "b.png": "done"
    }  # fmt: skip


def test_what_is_no_longer_selected_is_set_apart(tmp_path: Path) -> None:
    photos, out = make_inputs(tmp_path, 3, text=["ok", "bad", "bad"].__getitem__), tmp_path / "out"

    def reported(expected: dict[str, int], others: int) -> str:
        """What `status` says, which is what the report says."""
        report_of_batch(out, Stop(), quiet=True, as_json=False)
        progress, page = json.loads(run("status", out, "--json").stdout), (out / "report.html").read_text()
        assert {state: count for state, count in progress["counts"].items() if count} == expected
        assert progress["no_longer_selected"] == others
        assert json.loads(events.json_line(asdict(hires_nst.status(out)))) == progress
        assert (" of an earlier command is no longer selected" in page) == (others == 1)
        assert (" of earlier commands are no longer selected" in page) == (others > 1)
        assert ("--retry-failed" in page) == ("failed" in expected)
        assert Counter(job.state for job in gather(out).jobs) == expected
        return run("status", out).stdout

    fakes.run(photos, out, retries=0)
    assert "no longer" not in reported({"done": 1, "failed": 2}, 0)
    (photos / "p2.jpg").unlink()
    assert fakes.run(photos, out).counts["failed"] == 1
    reported({"done": 1, "failed": 1}, 1)
    (photos / "p1.jpg").unlink()
    assert fakes.run(photos, out).exit_code == 0
    assert "also      2 jobs of earlier commands are no longer selected" in reported({"done": 1}, 2)
    again = Stop()
    again.request("the test")
    fakes.run(photos, out, template="{content}.png", stop=again)
    reported({"done": 1, "waiting": 1}, 2)
    fakes.run(photos, out, template="another-{content}.png")
    reported({"done": 2}, 3)
    (photos / "p1.jpg").write_text("ok")
    fakes.run(photos, out)  # selected again
    assert "failed    p1-style.png: p1.jpg is no good" in reported({"done": 2, "failed": 1}, 2)


def test_failures_of_another_folder_stay_until_they_are_painted(tmp_path: Path) -> None:
    out = tmp_path / "out"
    photos = [make_inputs(tmp_path / name, 2, text=lambda number: "bad" if number else "ok") for name in ("a", "b")]
    for number, folder in enumerate(photos):
        for file in sorted(folder.glob("*.jpg")):
            file.rename(folder / f"{'ab'[number]}{file.name}")
        assert fakes.run(folder, out, retries=0).exit_code == 1

    def counts() -> dict[str, int]:
        progress = json.loads(run("status", out, "--json").stdout)
        assert progress["no_longer_selected"] == 0
        return {state: count for state, count in progress["counts"].items() if count}

    assert counts() == {"done": 2, "failed": 2}
    with reading(out) as database:
        jobs, _ = read_batch(database, out)
    assert sorted(job.content.name for job in jobs.jobs) == ["ap1.jpg", "bp0.jpg", "bp1.jpg"]


# The report, and what is printed before.


def test_a_report_that_fails_does_not_fail_the_batch(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    photos, art = inputs
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.html").write_text("of somebody else")
    result = run("batch", photos, art, "-o", out, *SMALL)
    assert result.exit_code == 0
    assert "note: the report was not written: " in result.stderr
    assert "write it with `hires-nst report " in result.stderr
    (out / "report.html").unlink()
    assert run("report", out).exit_code == 0
    before = (out / "report.html").stat().st_mtime_ns
    assert run("batch", photos, art, "-o", out, *SMALL).exit_code == 0
    assert (out / "report.html").stat().st_mtime_ns == before  # nothing happened since


def test_a_stop_holds_while_the_report_is_written(
    inputs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the report of two pictures is at the first one."""
    from hires_nst.report import pictures

    plain, made = pictures._make, []

    def make(job: Any, *others: Any, **options: Any) -> Any:
        made.append(job.name)
        if len(made) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return plain(job, *others, **options)

    monkeypatch.setattr(pictures, "_make", make)
    photos, art = inputs
    out = tmp_path / "out"
    result = run("batch", photos, art, "-o", out, *SMALL)
    assert (result.exit_code, made) == (0, ["a-art"])
    assert "the report does not show all pictures yet (Ctrl-C); complete it with `hires-nst report " in result.stderr
    assert "1 picture is painted, but not shown here yet" in (out / "report.html").read_text()
    assert run("batch", photos, art, "-o", out, *SMALL).exit_code == 0  # does the rest
    assert made == ["a-art", "b-art"]
    assert "not shown here yet" not in (out / "report.html").read_text()


def test_quiet_tells_what_fails(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    photos, art = inputs
    assert run("batch", photos, art, "-o", tmp_path / "good", *QUICK, "--quiet").stderr == ""
    (photos / "b.png").write_bytes(b"")
    result = run("batch", photos, art, "-o", tmp_path / "out", *QUICK, "--quiet")
    assert (result.exit_code, result.stdout) == (1, "")
    first, *rest = result.stderr.splitlines()
    assert first.startswith("failed: b-art.png: ")
    assert rest[-1] == "run the same command with --retry-failed to retry what failed"


def test_quiet_tells_how_to_go_on() -> None:
    said: list[str] = []
    lines = BatchLines(said.append, Path("prints"), errors_only=True)
    for event in (*STORY, JobChanged(job="x", output="x.png", change="the settings changed since", action="fail"), END):
        lines.update(event)
    assert "\n".join(said).splitlines() == [
        "failed: b.png: b.jpg is empty",
        "x.png: the settings changed since; count it as failed",
        "prints: 2 done, 1 failed, 1 skipped, 1 waiting in 1 min 40 s, 72 megapixels per hour",
        "stopped: the deadline 07:00; run the same command again to resume",
    ]


def test_a_painted_name_that_is_not_utf8(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    """By the real engine; and what is printed about it."""
    photos, art = inputs
    name = os.fsdecode(b"bad\xff")
    try:
        (photos / "a.png").rename(photos / f"{name}.png")
    except OSError:
        pytest.skip("this file system has Unicode names only")
    out = tmp_path / "out"
    result = run("batch", photos, art, "-o", out, *SMALL, "--json")
    assert result.exit_code == 0, result.output
    assert (out / f"{name}-art.png").exists()
    assert b"bad%FF-art.png" in (out / "report.html").read_bytes()
    (out / f"{name}-art.png").unlink()
    (photos / f"{name}.png").write_bytes(b"")
    options = [*SMALL, "--no-report"]
    done = program("batch", photos, art, "-o", out, *options)
    assert done.returncode == 1
    assert "bad\\udcff-art.png" in done.stderr
    assert "bad\\udcff-art.png" in program("status", out, PYTHONIOENCODING="utf-8:strict").stdout


def test_the_plan_of_a_batch(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    photos, art = inputs
    (photos / "empty.jpg").touch()
    (photos / "notes.txt").touch()
    options = SMALL[: SMALL.index("--retry-wait")]
    result = run("plan", photos, art, *options)
    assert result.exit_code == 0, result.output
    assert "pictures  3, 0.00154 megapixels; 1 photograph cannot be read" in result.stdout
    assert f"fails     {photos / 'empty.jpg'} is empty" in result.stdout
    assert "left out  1 file that is not a picture" in result.stdout
    assert "time      about" in result.stdout
    plan = json.loads(run("plan", photos, art, *options, "--no-measure", "--json").stdout)
    assert (plan["pictures"], plan["workers"], plan["output_bytes"]) == (3, 1, 2 * 32 * 24 * 4)
    assert plan["run_bytes"] > 0
    assert list(plan["unreadable"]) == [str(photos / "empty.jpg")]
    assert plan["seconds"] is None
    for given, pictures in (("--exclude", "empty*"), 2), (("--include", "empty*"), 1):
        result = run("plan", photos, art, *SMALL, "--no-measure", "--json", "-r", *given)
        assert json.loads(result.stdout)["pictures"] == pictures, result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["art.jpg", "photos"]


# How it looks.

STORY: tuple[events.Event, ...] = (
    BatchStarted(
        jobs=5,
        photographs=5,
        paintings=1,
        waiting=3,
        running=0,
        done=1,
        failed=0,
        skipped=1,
        left_out={"hidden files": 2},
        megapixels=3.5,
        workers=2,
    ),
    JobChanged(job="x", output="x.png", change="the settings changed since", action="skip"),
    JobSkipped("y", "y.png", "y.png was there before"),
    JobStarted(job="a", worker=0, content="a.jpg", output="sub/a.png", attempt=1),
    JobStarted(job="b", worker=1, content="b.jpg", output="b.png", attempt=1),
    JobProgress(
        "a",
        0,
        events.RunStarted(
            content="a.jpg",
            output="p.png",
            width=20,
            height=10,
            levels=((20, 10, 1, 4, 1),),
            pixel_evaluations=800.0,
            model="vgg",
            device="cpu",
        ),
    ),
    JobProgress("a", 0, events.LevelStarted(index=0, count=1, width=20, height=10, rounds=1, steps=4, tiles=1)),
    JobProgress("a", 0, events.StepFinished(level=0, round=0, tile=0, step=2, steps=4, loss=0.5)),
    JobFailed(
        job="b", worker=1, content="b.jpg", output="b.png", reason="b.jpg is empty", final=False, retry_seconds=10.0
    ),
    JobFailed(
        job="b", worker=1, content="b.jpg", output="b.png", reason="b.jpg is empty", final=True, retry_seconds=10.0
    ),
    JobDone(job="a", worker=0, output="sub/a.png", width=2000, height=1000, seconds=90.0, seconds_left=200.0),
)
END = BatchFinished(
    painted=1,
    waiting=1,
    running=0,
    done=2,
    failed=1,
    skipped=1,
    seconds=100.0,
    megapixels_per_hour=72.0,
    stopped="the deadline 07:00",
)


def test_plain_lines() -> None:
    said: list[str] = []
    lines = BatchLines(said.append, Path("prints"))
    for event in (*STORY, END):
        lines.update(event)
    assert "\n".join(said).splitlines() == [
        "5 photographs x 1 painting, 5 pictures: 3 to paint (3.5 megapixels), 1 done earlier, 1 skipped earlier; "
        "left out: 2 hidden files",
        "x.png: the settings changed since; leave it as it is (--changed redo paints it again)",
        "skipped: y.png was there before",
        "attempt failed, retrying in 10 s: b.png: b.jpg is empty",
        "failed: b.png: b.jpg is empty",
        "4 of 5: sub/a.png, 2000 x 1000 px in 1 min 30 s, about 3 min 20 s left",
        "prints: 2 done, 1 failed, 1 skipped, 1 waiting in 1 min 40 s, 72 megapixels per hour",
        "stopped: the deadline 07:00; run the same command again to resume",
    ]


def test_the_notes_of_a_job_stand_in_its_line() -> None:
    notes = [JobProgress("a", 0, events.Notice(text)) for text in ("clipped", "the first page", "clipped")]
    for state, line in (
        (
            None,
            "4 of 5: sub/a.png, 2000 x 1000 px in 1 min 30 s, about 3 min 20 s left; "
            "note: clipped; note: the first page",
        ),
        (BatchState(), "sub/a.png: note: clipped; note: the first page"),
    ):
        said: list[str] = []
        lines = BatchLines(said.append, Path("prints"), state=state)
        for event in (*STORY[:-1], *notes, STORY[-1]):
            if state is not None:
                state.update(event)
            lines.update(event)
        assert said[-1] == line


def test_a_batch_says_how_far_it_is_every_minute() -> None:
    now = 0.0
    said: list[str] = []
    lines = BatchLines(said.append, Path("prints"), clock=lambda: now)
    for event in STORY[:8]:
        lines.update(event)
    said.clear()
    for moment in (30.0, 60.0, 90.0, 120.0):
        now = moment
        lines.tick()
    assert len(said) == 2
    assert said[0] == (
        "2 of 5 pictures, 50 %, 0.006 MP/h, 1 min 0 s; sub/a.png 50 %, 1 min 0 s, about 1 min 0 s left; "
        "b.png 0 %, 1 min 0 s"
    )
    for event in STORY[8:]:
        lines.update(event)
    now = 200.0
    lines.update(JobProgress("c", 0, events.TilesShrunk(0, 0, 64)))
    assert said[-1] == "4 of 5 pictures, 1 failed, 80 %, 36 MP/h, 3 min 20 s, about 2 min 0 s left"
    quiet = BatchLines(said.append, Path("prints"), errors_only=True, clock=lambda: now)
    now = 1000.0
    said.clear()
    quiet.tick()
    assert not said


def shown(display: BatchDisplay) -> str:
    console = Console(file=io.StringIO(), width=110, force_terminal=False)
    console.print(display.bars)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_display() -> None:
    now = 0.0
    display = BatchDisplay(Console(file=io.StringIO()), lambda: now)
    assert "looking for the pictures" in shown(display)
    for event in STORY[:8]:
        display.update(event)
    now = 60.0
    first, *bars = shown(display).splitlines()
    assert "2 of 5 pictures" in first
    assert len(bars) == 2
    assert "1  a.png" in bars[0]
    assert "50 %" in bars[0]
    assert "about 1 min 0 s left" in bars[0]
    assert "2  b.png" in bars[1]
    assert "starting" in bars[1]
    for event in STORY[8:]:
        display.update(event)
    now = 80.0
    (line,) = shown(display).splitlines()
    for part in ("4 of 5 pictures", "1 min 20 s", "1 failed", "about 3 min 0 s left", "90 MP/h"):
        assert part in line
    now = 300.0
    assert "left" not in shown(display)


def test_bars_are_sorted_by_worker() -> None:
    display = BatchDisplay(Console(file=io.StringIO()))
    for worker in (2, 0, 1):
        display.update(JobStarted(job="a", worker=worker, content="a.jpg", output=f"{worker}.png", attempt=1))
    assert [line.split()[0] for line in shown(display).splitlines()[1:]] == ["1", "2", "3"]


def test_a_live_batch_tells_failures_above_the_display() -> None:
    said: list[str] = []
    lines = BatchLines(said.append, Path("prints"), state=BatchState())
    for event in STORY:
        lines.update(event)
    assert said[-1] == "failed: b.png: b.jpg is empty"


@pytest.mark.parametrize("terminal", [True, False])
def test_what_follows_a_batch(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    with following(Path("prints"), quiet=False, as_json=False, console=console) as on_event:
        for event in (*STORY, END):
            on_event(event)
    text = console.file.getvalue() if terminal else capsys.readouterr().err  # type: ignore[attr-defined]
    for part in ("failed: b.png: b.jpg is empty", "prints: 2 done", "4 of 5"):
        assert part in text
    assert ("MP/h" in text) == terminal


def test_every_event_is_json() -> None:
    for event in (*STORY, END):
        data: dict[str, Any] = json.loads(events.json_line(event.as_dict()))
        assert data["event"] == type(event).__name__
