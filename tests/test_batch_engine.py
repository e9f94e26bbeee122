"""One job of a batch with the real engine: interrupted, gone on with, and begun anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_pipeline import config as small
from test_pipeline import save

from hires_nst import events
from hires_nst.batch.engine import PaintingEngine
from hires_nst.batch.tasks import Busy, Failure, Outcome, Stopped, Task, perform
from hires_nst.config import StyleImage
from hires_nst.events import Event
from hires_nst.run_folder import opened
from hires_nst.stopping import Stop

Tile = tuple[int, int, int]


@pytest.fixture
def engine() -> PaintingEngine:
    return PaintingEngine(device="cpu", threads=None)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    from conftest import random_canvas

    photo = save(tmp_path / "photo.png", random_canvas(64, 80, 1))
    painting = save(tmp_path / "painting.png", random_canvas(60, 60, 2))
    own = small().model_copy(update={"styles": (StyleImage(image=painting),)})
    return Task("id", photo, own, (photo, painting), "settings", tmp_path / "books", ".png", 1)


def perform_until(engine: PaintingEngine, task: Task, tiles: int | None = None) -> tuple[Any, list[Event]]:
    """The report, and what was told; stopped after so many tiles."""
    stop, seen = Stop(), list[Event]()

    def listen(event: Event) -> None:
        seen.append(event)
        if tiles is not None and len(finished(seen)) == tiles:
            stop.request("the test")

    return perform(task, engine, stop=stop, on_event=listen), seen


def finished(seen: list[Event]) -> list[Tile]:
    return [(e.level, e.round, e.tile) for e in seen if isinstance(e, events.TileFinished)]


def test_an_interrupted_job_goes_on_to_the_same_bytes(engine: PaintingEngine, task: Task, tmp_path: Path) -> None:
    alone = replace(task, folder=tmp_path / "alone")
    report, everything = perform_until(engine, alone)
    assert isinstance(report, Outcome)
    assert not alone.run_dir.exists()

    report, first = perform_until(engine, task, tiles=4)
    assert isinstance(report, Stopped)
    assert task.run_dir.exists()
    report, second = perform_until(engine, task)
    assert isinstance(report, Outcome)
    assert any(isinstance(event, events.RunResumed) for event in second)
    assert finished(first) + finished(second) == finished(everything)
    assert task.picture.read_bytes() == alone.picture.read_bytes()
    assert not task.run_dir.exists()


def repaint_photograph(task: Task) -> Task:
    from conftest import random_canvas

    task.content.unlink()
    save(task.content, random_canvas(64, 80, 3))
    return task


def other_settings(task: Task) -> Task:
    return replace(task, config=task.config.model_copy(update={"loss": small(loss={"content_weight": 0.7}).loss}))


def damage_record(task: Task) -> Task:
    (task.run_dir / "run.json").write_text("{")
    return task


@pytest.mark.parametrize("change", [repaint_photograph, other_settings, damage_record])
def test_what_does_not_fit_any_more_is_begun_anew(
    change: Callable[[Task], Task], engine: PaintingEngine, task: Task, tmp_path: Path
) -> None:
    perform_until(engine, task, tiles=4)
    task = change(task)
    report, seen = perform_until(engine, task)
    assert isinstance(report, Outcome)
    notices = [event.message for event in seen if isinstance(event, events.Notice)]
    assert [notice.startswith("begun anew instead of going on: ") for notice in notices].count(True) == 1
    alone = replace(task, folder=tmp_path / "alone")
    assert isinstance(perform_until(engine, alone)[0], Outcome)
    assert task.picture.read_bytes() == alone.picture.read_bytes()


def test_a_photograph_that_broke_meanwhile_is_what_is_told(engine: PaintingEngine, task: Task) -> None:
    perform_until(engine, task, tiles=4)
    task.content.write_bytes(b"")
    report, _ = perform_until(engine, task)
    assert isinstance(report, Failure)
    assert "photo.png is empty" in report.reason


def test_a_run_directory_that_another_process_holds(engine: PaintingEngine, task: Task) -> None:
    with opened(task.run_dir, make=True):
        report, _ = perform_until(engine, task)
    assert isinstance(report, Busy)
    assert "is in use by process" in report.reason
    assert isinstance(perform_until(engine, task)[0], Outcome)
