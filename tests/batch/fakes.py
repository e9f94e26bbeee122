"""A stand-in for the engine of a batch, which needs no torch; `python -m tests.batch.fakes` runs a batch with it."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from hires_nst import events
from hires_nst.batch import api
from hires_nst.batch.job import Job, Jobs
from hires_nst.batch.ledger_reading import read_changes, read_rows, reading
from hires_nst.batch.ledger_schema import Row
from hires_nst.batch.options import BatchOptions
from hires_nst.batch.runner import Summary, run_batch
from hires_nst.batch.tasks import MakeEngine, MakeExecutor, Painted, Task
from hires_nst.batch.workers import WorkerPool
from hires_nst.config import Batch, Runtime, load_config
from hires_nst.errors import InputError, Interrupted, ResourceError, RunBusy, out_of_memory
from hires_nst.events import BatchStarted, Event, OnEvent
from hires_nst.files import FileDigests, plain_os_errors, sha256_of
from hires_nst.stopping import Stop


class FakeEngine:
    """Does what the photograph, a text here, says.

    `ok`, `bad`, `short` (of memory), `once` (short at first), `busy` (at first), `long` (an hour, as far as deadlines
    go), `full` (the disk), `crash`, `hang`, `wait`.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.digests = FileDigests()

    def paint(self, task: Task, *, stop: Stop, on_event: OnEvent) -> Painted:
        text = task.content.read_text()
        on_event(
            events.RunStarted(
                content=str(task.content),
                output=str(task.picture),
                width=20,
                height=10,
                levels=((20, 10, 1, 1, 1),),
                pixel_evaluations=200.0,
                model="m",
                device="d",
            )
        )
        if "short" in text or ("once" in text and task.attempt == 1):
            raise out_of_memory()
        if "bad" in text:
            raise InputError(f"{task.content.name} is no good; give a better one")
        if "busy" in text and task.attempt == 1:
            raise RunBusy("the run directory is in use by another process; wait for it to end, or stop it first")
        if "long" in text and stop.due(3600):
            raise Interrupted(f"stopped for {stop.reason}")
        if "full" in text:
            try:
                with plain_os_errors(task.paths.run_dir / "canvas"):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except ResourceError as error:
                raise ResourceError(f"{error}; then resume with `hires-nst resume {task.paths.run_dir}`") from None
        if "crash" in text:
            os.kill(os.getpid(), signal.SIGKILL)
        if "hang" in text and task.attempt == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        until = time.monotonic() + (60 if "wait" in text else self.seconds)
        while time.monotonic() < until:
            if stop.due():
                raise Interrupted(f"stopped for {stop.reason}")
            time.sleep(min(0.01, self.seconds or 0.01))
        on_event(events.RoundFinished(level=0, round=0, rounds=1, loss=0.5, seconds=0.1))
        part = task.folder / "part"
        part.write_text(picture_of(text, task.config.paintings[0].image.read_text()))
        part.replace(task.picture)
        return Painted(20, 10, sha256_of(task.picture))


def picture_of(content: str, style: str) -> str:
    """What the engine makes of a photograph and a painting."""
    return f"{content} as {style}"


def make_inputs(folder: Path, count: int, *, text: Callable[[int], str] = lambda number: f"ok {number}") -> Path:
    """A folder of photographs, and beside it a painting."""
    photos = folder / "photos"
    photos.mkdir(parents=True)
    for number in range(count):
        (photos / f"p{number}.jpg").write_text(text(number))
    (folder / "style.jpg").write_text("style")
    return photos


def jobs_of(photos: Path, out: Path, *styles: Path, preset: str | None = None, **settings: Any) -> Jobs:
    """The jobs of a folder, with `batch` settings."""
    config = load_config(overrides=[{"batch": settings}])
    return api.jobs(photos, out, styles=styles or [photos.parent / "style.jpg"], config=config, preset=preset)


def run_with(
    photos: Path, out: Path, make_executor: MakeExecutor, *, jobs: Jobs | None = None, stop: Stop | None = None,
    on_event: OnEvent = events.ignore, overwrite: bool = False, retry_failed: bool = False, fail_fast: bool = False,
    **settings: Any,
) -> Summary:  # fmt: skip
    """Run a batch on an executor; `settings` are those of `batch`."""
    settings = {"retry_wait": 0.0, **settings}
    return run_batch(
        jobs or jobs_of(photos, out, **settings), out,
        options=BatchOptions(
            batch=Batch(**settings), runtime=Runtime(), overwrite=overwrite, retry_failed=retry_failed,
            fail_fast=fail_fast,
        ),
        make_executor=make_executor, stop=stop or Stop(), on_event=on_event,
    )  # fmt: skip


def run(
    photos: Path, out: Path, *, workers: int = 1, engine: MakeEngine | None = None, seconds: float = 0.0,
    lease: float = 60.0, stop: Stop | None = None, **rest: Any,
) -> Summary:  # fmt: skip
    """Run a batch with worker processes and the fake engine."""
    stop = stop or Stop()
    engines = [engine or partial(FakeEngine, seconds)] * workers
    make = partial(WorkerPool, engines, lease_seconds=lease, deadline=stop.deadline)
    return run_with(photos, out, make, stop=stop, lease_seconds=lease, **rest)


def rows(out: Path) -> dict[str, Row]:
    """The ledger's rows by the name of the picture."""
    with reading(out) as database:
        return {row.output: row for row in read_rows(database).values()}


def times_done(out: Path) -> dict[str, int]:
    """How often each job was entered as done."""
    with reading(out) as database:
        names = {row.id: row.output for row in read_rows(database).values()}
        counts = dict.fromkeys(names.values(), 0)
        for job, _, state, _ in read_changes(database):
            counts[names[job]] += state == "done"
    return counts


def check_agreement(photos: Path, out: Path, jobs: tuple[Job, ...]) -> None:
    """Every job is done exactly once, and the pictures are those of the ledger and no others."""
    table = rows(out)
    assert {row.state for row in table.values()} == {"done"}
    assert times_done(out) == dict.fromkeys((job.output for job in jobs), 1)
    found = {
        path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file() and ".hires-nst" not in path.parts
    }
    assert found == table.keys()
    for job in jobs:
        expected = picture_of(job.content.read_text(), job.config.paintings[0].image.read_text())
        assert (out / job.output).read_text() == expected


class Seen(list[Event]):
    """A list of events to ask for those of one kind."""

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self if isinstance(event, kind)]


def meet(folder: Path, event: Event) -> None:
    """When the batch of this process begins, wait in a folder until that of another one does."""
    if isinstance(event, BatchStarted):
        (folder / str(os.getpid())).touch()
        while len(list(folder.iterdir())) < 2:
            time.sleep(0.01)


if __name__ == "__main__":
    source, target, number, pace, lease_seconds, *meeting = sys.argv[1:]
    ended = run(
        Path(source), Path(target), workers=int(number), seconds=float(pace), lease=float(lease_seconds), retries=1000,
        on_event=partial(meet, Path(meeting[0])) if meeting else events.ignore,
    )  # fmt: skip
    sys.exit(ended.exit_code)
