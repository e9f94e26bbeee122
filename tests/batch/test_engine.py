"""One job of a batch with the real engine: interrupted, resumed, and started over."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hires_nst import events, files
from hires_nst.batch import attempt
from hires_nst.batch.attempt import result_of, run_task, throttled
from hires_nst.batch.engine import PaintingEngine
from hires_nst.batch.ledger_schema import Outcome
from hires_nst.batch.tasks import BusyResult, DiskFullResult, Failure, Stopped, Task
from hires_nst.config import StyleImage
from hires_nst.errors import ResourceError
from hires_nst.events import Event
from hires_nst.run.directory import opened
from hires_nst.run.progress import read_state
from hires_nst.stopping import Stop
from tests.run.test_pipeline import config as small
from tests.run.test_pipeline import save

Tile = tuple[int, int, int]


@pytest.fixture
def engine() -> PaintingEngine:
    return PaintingEngine(device="cpu", threads=None)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    from tests.conftest import random_canvas

    photo = save(tmp_path / "photo.png", random_canvas(64, 80, 1))
    painting = save(tmp_path / "painting.png", random_canvas(60, 60, 2))
    own = small().model_copy(update={"styles": (StyleImage(image=painting),)})
    return Task(index=1, content=photo, output="out.png", config=own, folder=tmp_path / "job", attempt=1)


def perform_until(engine: PaintingEngine, task: Task, tiles: int | None = None) -> tuple[Any, list[Event]]:
    """The report, and the events; stopped after so many tiles."""
    stop, seen = Stop(), list[Event]()

    def listen(event: Event) -> None:
        seen.append(event)
        if tiles is not None and len(finished(seen)) == tiles:
            stop.request("the test")

    return run_task(task, engine, stop=stop, on_event=listen), seen


def finished(seen: list[Event]) -> list[Tile]:
    return [(e.level, e.round, e.tile) for e in seen if isinstance(e, events.TileFinished)]


def test_an_interrupted_job_is_resumed_to_the_same_bytes(engine: PaintingEngine, task: Task, tmp_path: Path) -> None:
    alone = replace(task, folder=tmp_path / "alone")
    report, everything = perform_until(engine, alone)
    assert isinstance(report, Outcome)
    assert not alone.paths.run_dir.exists()

    report, first = perform_until(engine, task, tiles=4)
    assert isinstance(report, Stopped)
    assert task.paths.run_dir.exists()
    began = time.time()
    earlier = read_state(task.paths.events).seconds
    report, second = perform_until(engine, task)
    assert isinstance(report, Outcome)
    assert any(isinstance(event, events.RunResumed) for event in second)
    assert finished(first) + finished(second) == finished(everything)
    assert earlier > 0
    assert earlier < report.seconds <= earlier + time.time() - began
    assert task.picture.read_bytes() == alone.picture.read_bytes()
    assert not task.paths.run_dir.exists()


def test_a_job_that_began_on_another_machine_goes_on(engine: PaintingEngine, task: Task) -> None:
    perform_until(engine, task, tiles=4)
    path = task.paths.run_dir / "run.json"
    data = files.read_json(path)
    del data["checksum"]
    data["machine"]["torch"] = "2.0"
    files.write_json(path, data)
    report, seen = perform_until(engine, task)
    assert isinstance(report, Outcome)
    assert any(isinstance(event, events.RunResumed) for event in seen)
    notices = [event.message for event in seen if isinstance(event, events.Notice)]
    assert any(notice.startswith("the run began on another machine (torch 2.0, now ") for notice in notices)


def test_each_input_is_read_for_its_digest_once(
    engine: PaintingEngine, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in task.inputs:
        os.utime(path, (1, 1))  # a file that was changed just now is read each time
    read: list[Path] = []

    def counted(path: Path) -> files.FileFingerprint:
        read.append(path)
        return plain(path)

    plain = files.fingerprint
    monkeypatch.setattr(files, "fingerprint", counted)
    result, _ = perform_until(engine, task)
    again, _ = perform_until(engine, replace(task, folder=task.folder / "again"))
    assert isinstance(result, Outcome)
    assert isinstance(again, Outcome)
    assert result.inputs == again.inputs == tuple(map(plain, task.inputs))
    assert [read.count(path) for path in task.inputs] == [1, 1]
    assert result.picture == plain(task.picture)
    assert read.count(task.picture) == 0  # its temporary file was read


def repaint_photograph(task: Task) -> Task:
    from tests.conftest import random_canvas

    task.content.unlink()
    save(task.content, random_canvas(64, 80, 3))
    return task


def other_settings(task: Task) -> Task:
    return replace(task, config=task.config.model_copy(update={"loss": small(loss={"content_weight": 0.7}).loss}))


def damage_record(task: Task) -> Task:
    (task.paths.run_dir / "run.json").write_text("{")
    return task


@pytest.mark.parametrize("change", [repaint_photograph, other_settings, damage_record])
def test_a_run_that_no_longer_matches_is_started_over(
    change: Callable[[Task], Task], engine: PaintingEngine, task: Task, tmp_path: Path
) -> None:
    perform_until(engine, task, tiles=4)
    task, began = change(task), time.time()
    report, seen = perform_until(engine, task)
    assert isinstance(report, Outcome)
    assert report.seconds <= time.time() - began
    notices = [event.message for event in seen if isinstance(event, events.Notice)]
    assert [notice.startswith("started over instead of resuming: ") for notice in notices].count(True) == 1
    alone = replace(task, folder=tmp_path / "alone")
    assert isinstance(perform_until(engine, alone)[0], Outcome)
    assert task.picture.read_bytes() == alone.picture.read_bytes()


def test_the_error_of_a_photograph_that_broke_meanwhile_is_reported(engine: PaintingEngine, task: Task) -> None:
    perform_until(engine, task, tiles=4)
    task.content.write_bytes(b"")
    report, _ = perform_until(engine, task)
    assert isinstance(report, Failure)
    assert "photo.png is empty" in report.reason


def test_a_run_directory_that_another_process_holds(engine: PaintingEngine, task: Task) -> None:
    with opened(task.paths.run_dir, make=True):
        report, _ = perform_until(engine, task)
    assert isinstance(report, BusyResult)
    assert "is in use by process" in report.reason
    assert isinstance(perform_until(engine, task)[0], Outcome)


def test_a_full_disk_is_no_failure_of_the_job(
    engine: PaintingEngine, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    perform_until(engine, task, tiles=4)
    with monkeypatch.context() as patch:

        def full(handle: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch.setattr("hires_nst.imageio.writing.os.fsync", full)
        report, _ = perform_until(engine, task)
    assert isinstance(report, DiskFullResult)
    assert report.path.is_relative_to(task.paths.run_dir)
    log = (task.folder / "log.txt").read_text()
    assert "stopped: no space left on the disk of " in log
    assert "hires-nst resume" not in log
    report, reported = perform_until(engine, task)
    assert isinstance(report, Outcome)
    assert any(isinstance(event, events.RunResumed) for event in reported)


@pytest.mark.parametrize("error", [ResourceError("memory ran out"), MemoryError(), OSError(errno.EIO, "it is broken")])
def test_other_errors_are_failures(error: Exception, tmp_path: Path) -> None:
    assert isinstance(result_of(error, tmp_path), Failure)


def test_steps_are_spaced_and_nothing_else_is(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(attempt, "time", SimpleNamespace(monotonic=lambda: now[0]))
    step, tile = (
        events.StepFinished(level=0, round=0, tile=0, step=1, steps=9, loss=0.5),
        events.TileFinished(level=0, round=0, tile=0, tiles=1, loss=0.5, seconds=1.0, pixel_evaluations=1.0),
    )
    heard: list[Event] = []
    tell = throttled(heard.append)
    for event in (step, step, tile, tile, step):
        tell(event)
    assert heard == [step, tile, tile]
    now[0] += 1
    tell(step)
    assert heard == [step, tile, tile, step]
