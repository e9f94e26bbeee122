"""Whole batches with worker processes and an engine that only pretends."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from PIL import Image

from hires_nst.batch import disk_space, runner
from hires_nst.batch.attempt import run_task
from hires_nst.batch.ledger import Ledger
from hires_nst.batch.ledger_reading import read_changes, reading
from hires_nst.batch.ledger_schema import STATES, Outcome
from hires_nst.batch.options import read_batch
from hires_nst.batch.paths import LOGS
from hires_nst.batch.tasks import Failure, Painted, Task, WorkerMessage
from hires_nst.batch.workers import WorkerPool
from hires_nst.config import load_config
from hires_nst.errors import HiresNstError, OutputError, ResourceError
from hires_nst.events import (
    BatchFinished,
    BatchStarted,
    Event,
    JobChanged,
    JobDone,
    JobFailed,
    JobProgress,
    JobSkipped,
    JobStarted,
    OnEvent,
    json_line,
)
from hires_nst.executors import heartbeats
from hires_nst.executors.devices import cuda_devices, devices
from hires_nst.files import fingerprint
from hires_nst.report.batches import attempts_before
from hires_nst.report.render import write_report
from hires_nst.report.sources import gather
from hires_nst.stopping import Stop
from tests.batch import fakes
from tests.batch.fakes import FakeEngine, Seen, check_agreement, jobs_of, make_inputs, rows, run, run_with, times_done
from tests.calls import counted_calls


def states(out: Path) -> dict[str, str]:
    return {name: row.state for name, row in rows(out).items()}


def test_two_thousand_jobs(tmp_path: Path) -> None:
    def text(number: int) -> str:
        return "bad" if number in (7, 1000) else "once" if number % 400 == 5 else "crash" if number == 77 else "ok"

    photos, out, seen = make_inputs(tmp_path, 2000, text=text), tmp_path / "out", Seen()
    summary = run(photos, out, workers=2, on_event=seen.append)
    assert summary.counts == {"waiting": 0, "running": 0, "done": 1997, "failed": 3, "skipped": 0}
    assert summary.exit_code == 1
    begun = [int(event.output[1:-10]) for event in seen.of(JobStarted) if event.attempt == 1]
    assert begun == list(range(2000))
    table = rows(out)
    for number in range(2000):
        row, name = table[f"p{number}-style.png"], text(number)
        assert row.state == ("failed" if name in ("bad", "crash") else "done")
        assert row.attempts == (1 if name in ("ok", "bad") else 2)
    assert "p7.jpg is no good" in (table["p7-style.png"].error or "")
    assert "killed by SIGKILL" in (table["p77-style.png"].error or "")
    assert len(list(out.glob("*.png"))) == 1997
    assert set(times_done(out).values()) == {0, 1}

    again = Seen()
    with counted_calls() as calls:
        assert run(photos, out, workers=2, on_event=again.append).painted == 0
    assert calls["call"] < 2000 * 2000  # about 800 a job
    assert [type(event) for event in again] == [BatchStarted, BatchFinished]
    (started,) = again.of(BatchStarted)
    assert (started.done, started.failed, started.waiting, started.workers) == (1997, 3, 0, 0)

    for number in (7, 77, 1000):
        (photos / f"p{number}.jpg").write_text("ok")
    summary = run(photos, out, retry_failed=True)
    assert (summary.painted, summary.exit_code) == (3, 0)
    check_agreement(photos, out, jobs_of(photos, out).jobs)


def test_what_is_reported(tmp_path: Path) -> None:
    photos, out, seen = make_inputs(tmp_path, 2, text=["ok", "short"].__getitem__), tmp_path / "out", Seen()
    run(photos, out, on_event=seen.append)
    kinds = [type(event) for event in seen]
    assert kinds[0] is BatchStarted
    assert kinds[-1] is BatchFinished
    assert [event.final for event in seen.of(JobFailed)] == [False, True]
    assert {type(event.run_event).__name__ for event in seen.of(JobProgress)} == {"RunStarted", "RoundFinished"}
    (done,) = seen.of(JobDone)
    assert (done.output, done.width, done.height) == ("p0-style.png", 20, 10)
    assert seen.of(BatchFinished)[0].megapixels_per_hour > 0
    for event in seen:
        json.dumps(event.as_dict())
    folders = {name: out / ".hires-nst" / "jobs" / row.id for name, row in rows(out).items()}
    lines = [json.loads(line) for line in (folders["p0-style.png"] / "events.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["RunStarted", "RoundFinished"]
    assert all(abs(line["time"] - time.time()) < 60 for line in lines)
    log = (folders["p1-style.png"] / "log.txt").read_text()
    assert log.count("attempt") == 2
    assert log.count("failed: out of memory; ") == 2
    assert "Traceback" not in log


def test_the_time_left_is_that_of_pictures_whose_size_is_known(tmp_path: Path) -> None:
    photos, out, seen = make_inputs(tmp_path, 0), tmp_path / "out", Seen()
    for name in "abc":
        Image.new("RGB", (100, 50)).save(photos / f"{name}.png")
    (photos / "d.png").write_text("unknown")
    jobs = jobs_of(photos, out)
    assert [job.pixels > 0 for job in jobs.jobs] == [True, True, True, False]
    run_with(photos, out, Drawing, jobs=jobs, on_event=seen.append, retries=0)
    assert [event.seconds_left is not None for event in seen.of(JobDone)] == [True, True, False, False]
    first, second = (event.seconds_left for event in seen.of(JobDone)[:2])
    assert first == 2 * second == pytest.approx(2 * 5000 / 200 * 1.5)


class Drawing:
    """An executor that has every picture at once, of 200 pixels in a second and a half."""

    workers, idle = 1, True

    def start(self, task: Task) -> None:
        self.task, self.idle = task, False

    def wait(self, seconds: float) -> list[WorkerMessage]:
        self.idle = True
        self.task.folder.mkdir(parents=True)
        self.task.picture.touch()
        outcome = Outcome(
            width=20,
            height=10,
            seconds=1.5,
            losses={},
            fingerprint=self.task.fingerprint,
            inputs=(),
            picture=fingerprint(self.task.picture),
        )
        return [(self.task.id, outcome)]

    def stop(self, reason: str) -> None:
        pass

    def close(self) -> None:
        pass


def test_the_report_tells_the_time_of_the_present_pictures(tmp_path: Path) -> None:
    photos, out = paint_three(tmp_path)
    (tmp_path / "style.jpg").write_text("another")
    assert run(photos, out, changed="redo", seconds=0.3).painted == 3
    report, table = gather(out), rows(out)
    for job in report.jobs:
        assert job.seconds == table[job.output.name].seconds
    seconds = sum(row.seconds or 0 for row in table.values())
    assert report.working_seconds is not None
    with reading(out) as database:
        first, second = (changes_of(database, state)[:3] for state in ("running", "done"))
        again, end = (changes_of(database, state)[3:] for state in ("running", "done"))
    assert report.working_seconds == pytest.approx(sum(end) - sum(again))
    assert 0.8 < seconds <= report.working_seconds
    assert report.started is not None
    assert report.started.timestamp() == pytest.approx(first[0])  # of the whole
    assert second[-1] < again[0]


def changes_of(database: sqlite3.Connection, state: str) -> list[float]:
    return [moment for _, moment, now, _ in read_changes(database) if now == state]


@pytest.mark.parametrize(
    ("states", "before"),
    [
        ("", 0),
        ("waiting running done", 0),
        ("waiting running waiting running done", 0),
        ("waiting running done failed", 0),
        ("waiting running done waiting running done", 1),
        ("waiting running running done waiting running failed", 2),
        ("waiting running done waiting running done waiting running waiting running done", 2),
        ("waiting running done waiting", 0),
    ],
)
def test_attempts_of_pictures_that_were_painted_again(states: str, before: int) -> None:
    assert attempts_before([(float(moment), state) for moment, state in enumerate(states.split())]) == before


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    photos, out = make_inputs(tmp_path, 1), tmp_path / "out"
    for name, text in ((b"bad\xff.jpg", "ok"), (b"worse\xfe.jpg", "bad")):
        try:
            Path(os.fsdecode(os.fsencode(photos) + b"/" + name)).write_text(text)
        except OSError:
            pytest.skip("this file system has Unicode names only")
    seen = Seen()
    assert run(photos, out, on_event=seen.append).counts == {**dict.fromkeys(STATES, 0), "done": 2, "failed": 1}
    assert {os.fsencode(path.name) for path in out.glob("*.png")} == {b"p0-style.png", b"bad\xff-style.png"}
    assert states(out) == {"p0-style.png": "done", "bad\udcff-style.png": "done", "worse\udcfe-style.png": "failed"}
    assert "worse\udcfe.jpg is no good" in (rows(out)["worse\udcfe-style.png"].error or "")
    for event in seen:
        json_line(event.as_dict()).encode()
    write_report(gather(out), out).read_bytes().decode("utf-8")

    again = Seen()
    run(photos, out, on_event=again.append)
    assert [type(event) for event in again] == [BatchStarted, BatchFinished]
    with reading(out) as database:  # as `hires-nst resume` does
        jobs, _ = read_batch(database, out)
    assert run(photos, out, jobs=jobs, retry_failed=True).counts["done"] == 2


def test_folders_are_mirrored(tmp_path: Path) -> None:
    photos, out = make_inputs(tmp_path, 1), tmp_path / "out"
    (photos / "a" / "b").mkdir(parents=True)
    (photos / "a" / "b" / "deep.jpg").write_text("ok")
    run(photos, out, recursive=True, template="{style}/{content}.png")
    assert (out / "a" / "b" / "style" / "deep.png").exists()
    check_agreement(photos, out, jobs_of(photos, out, recursive=True, template="{style}/{content}.png").jobs)


# What changed since.


def paint_three(folder: Path) -> tuple[Path, Path]:
    photos, out = make_inputs(folder, 3), folder / "out"
    assert run(photos, out).exit_code == 0
    return photos, out


def repaint_photograph(photos: Path, out: Path) -> dict[str, Any]:
    (photos / "p1.jpg").write_text("ok, retouched")
    return {}


def repaint_result(photos: Path, out: Path) -> dict[str, Any]:
    (out / "p1-style.png").write_text("a masterpiece of my own")
    return {}


CHANGES: dict[str, tuple[Callable[[Path, Path], dict[str, Any]], str]] = {
    "photograph": (repaint_photograph, "p1.jpg has changed"),
    "picture": (repaint_result, "the picture was changed by another program"),
}


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("policy", ["redo", "skip", "fail"])
def test_what_changed_is_reported_and_done_as_asked(kind: str, policy: str, tmp_path: Path) -> None:
    photos, out = paint_three(tmp_path)
    change, sentence = CHANGES[kind]
    change(photos, out)
    before = (out / "p1-style.png").read_text()
    seen = Seen()
    summary = run(photos, out, changed=policy, on_event=seen.append)
    (reported,) = seen.of(JobChanged)
    assert (reported.output, reported.change, reported.action) == ("p1-style.png", sentence, policy)
    state = "failed" if policy == "fail" else "done"
    assert states(out) == {"p0-style.png": "done", "p1-style.png": state, "p2-style.png": "done"}
    assert summary.exit_code == (policy == "fail")
    assert summary.painted == (policy == "redo")
    if policy == "redo":
        assert (out / "p1-style.png").read_text() == f"{(photos / 'p1.jpg').read_text()} as style"
        assert times_done(out)["p1-style.png"] == 2
    else:
        assert (out / "p1-style.png").read_text() == before
        if policy == "fail":
            assert sentence in (rows(out)["p1-style.png"].error or "")
        assert run(photos, out, changed="redo").painted == 1  # asked for later
        assert states(out)["p1-style.png"] == "done"


def test_a_change_that_is_taken_back(tmp_path: Path) -> None:
    photos, out = paint_three(tmp_path)
    text = (photos / "p1.jpg").read_text()
    (photos / "p1.jpg").write_text("other")
    assert run(photos, out, changed="fail").exit_code == 1
    (photos / "p1.jpg").write_text(text)
    assert run(photos, out, changed="fail").exit_code == 0
    assert set(states(out).values()) == {"done"}


def test_a_file_that_was_only_touched_is_not_changed(tmp_path: Path) -> None:
    photos, out = paint_three(tmp_path)
    for path in (photos / "p1.jpg", tmp_path / "style.jpg", out / "p1-style.png"):
        os.utime(path, (1, 1))
    seen = Seen()
    run(photos, out, changed="fail", on_event=seen.append)
    assert not seen.of(JobChanged)


def test_another_painting_changes_all(tmp_path: Path) -> None:
    photos, out = paint_three(tmp_path)
    (tmp_path / "style.jpg").write_text("another")
    assert run(photos, out, changed="redo").painted == 3


def test_other_settings_change_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos, out = paint_three(tmp_path)

    def load(*, overrides: list[dict[str, Any]]) -> Any:
        return load_config(overrides=[*overrides, {"loss": {"content_weight": 0.5}}])

    monkeypatch.setattr(fakes, "load_config", load)
    seen = Seen()
    summary = run(photos, out, changed="skip", on_event=seen.append)
    assert (summary.painted, summary.counts["done"]) == (0, 3)  # the pictures are there
    assert {event.change for event in seen.of(JobChanged)} == {"the settings have changed"}
    assert {job.state for job in gather(out).jobs} == {"done"}
    assert run(photos, out, changed="redo", retries=4).painted == 3  # settings of the batch are no settings of pictures
    assert run(photos, out, changed="fail", retries=5).exit_code == 0


def test_a_picture_that_is_gone_is_painted_again(tmp_path: Path) -> None:
    photos, out = paint_three(tmp_path)
    (out / "p1-style.png").unlink()
    seen = Seen()
    assert run(photos, out, on_event=seen.append).painted == 1
    assert [event.change for event in seen.of(JobChanged)] == ["the picture no longer exists"]
    (out / "p1-style.png").unlink()
    assert run(photos, out, changed="fail").exit_code == 1


@pytest.mark.parametrize("policy", ["redo", "skip"])
def test_a_picture_stays_done_when_its_photograph_is_gone(policy: str, tmp_path: Path) -> None:
    photos, out = paint_three(tmp_path)
    jobs = jobs_of(photos, out)  # as `hires-nst resume` has them
    (photos / "p1.jpg").unlink()
    seen = Seen()
    summary = run(photos, out, jobs=jobs, changed=policy, on_event=seen.append)
    assert (summary.counts["done"], summary.exit_code) == (3, 0)
    (reported,) = seen.of(JobChanged)
    assert (reported.change, reported.action) == ("p1.jpg no longer exists", "skip")
    assert {job.state for job in gather(out).jobs} == {"done"}


def test_pictures_of_others_are_left_alone(tmp_path: Path) -> None:
    photos, out, seen = make_inputs(tmp_path, 2), tmp_path / "out", Seen()
    out.mkdir()
    (out / "p0-style.png").write_text("mine")
    summary = run(photos, out, on_event=seen.append)
    assert (summary.painted, summary.exit_code, summary.counts["skipped"]) == (1, 0, 1)
    assert (out / "p0-style.png").read_text() == "mine"
    assert "already exists; use --overwrite to replace it" in seen.of(JobSkipped)[0].reason
    assert run(photos, out).painted == 0
    assert run(photos, out, overwrite=True).painted == 1
    check_agreement(photos, out, jobs_of(photos, out).jobs)


def test_a_picture_that_came_meanwhile_is_left_alone(tmp_path: Path) -> None:
    photos, out = make_inputs(tmp_path, 1), tmp_path / "out"

    def put(event: Event) -> None:
        if isinstance(event, JobStarted):
            (out / event.output).write_text("mine")

    assert run(photos, out, on_event=put).counts["skipped"] == 1
    assert (out / "p0-style.png").read_text() == "mine"


# Failures.


def test_retries_wait(tmp_path: Path) -> None:
    photos, out = make_inputs(tmp_path, 1, text=lambda _: "short"), tmp_path / "out"
    began = time.monotonic()
    assert run(photos, out, retries=2, retry_wait=0.3).exit_code == 1
    assert time.monotonic() - began > 0.6
    assert rows(out)["p0-style.png"].attempts == 3


def test_what_can_never_be_read_is_not_retried(tmp_path: Path) -> None:
    photos, out, seen = make_inputs(tmp_path, 2, text=["bad", "once"].__getitem__), tmp_path / "out", Seen()
    run(photos, out, retries=3, on_event=seen.append)
    assert {name: row.attempts for name, row in rows(out).items()} == {"p0-style.png": 1, "p1-style.png": 2}
    assert [(event.output, event.final) for event in seen.of(JobFailed)] == [
        ("p0-style.png", True),
        ("p1-style.png", False),
    ]


def test_the_others_go_first_while_a_job_waits_for_its_retry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos, seen = make_inputs(tmp_path, 4, text=lambda number: "once" if number == 0 else "ok"), Seen()
    monkeypatch.setattr(  # an hour passes when the last of the others has begun
        runner, "Ledger", partial(Ledger, clock=lambda: time.time() + 3600 * (len(seen.of(JobStarted)) > 3))
    )
    run(photos, tmp_path / "out", retry_wait=3000, on_event=seen.append)
    assert [event.output[1] for event in seen.of(JobStarted)] == ["0", "1", "2", "3", "0"]


def test_fail_fast(tmp_path: Path) -> None:
    photos, out = make_inputs(tmp_path, 20, text=lambda number: "bad" if number == 3 else "ok"), tmp_path / "out"
    seen = Seen()
    summary = run(photos, out, retries=0, fail_fast=True, on_event=seen.append)
    assert summary.exit_code == 1
    assert summary.counts == {"waiting": 16, "running": 0, "done": 3, "failed": 1, "skipped": 0}
    assert seen.of(BatchFinished)[0].stopped == "p3-style.png failed"
    assert run(photos, out).counts["done"] == 19


def test_a_worker_that_hangs_is_killed(tmp_path: Path) -> None:
    photos, out, seen = make_inputs(tmp_path, 1, text=lambda _: "hang"), tmp_path / "out", Seen()
    summary = run(photos, out, lease=1.0, retries=1000, on_event=seen.append)  # a busy machine may seem to hang, too
    assert summary.exit_code == 0
    assert "stopped responding" in seen.of(JobFailed)[0].reason
    assert rows(out)["p0-style.png"].attempts >= 2


def test_workers_of_a_batch_that_slept_are_not_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With Ctrl-Z, or in a container that is paused; those that hang still are."""
    slept, seen = [0.0], Seen()
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + slept[0], sleep=time.sleep)
    monkeypatch.setattr(heartbeats, "time", clock)
    photos, out = make_inputs(tmp_path, 2, text=["ok", "hang"].__getitem__), tmp_path / "out"
    hung = jobs_of(photos, out).jobs[1].id

    class Sleeping(WorkerPool):
        """Sleeps while the worker hangs, twice for an hour, and then a little at a time."""

        def wait(self, seconds: float) -> Sequence[WorkerMessage]:
            if any(event.job == hung for event in seen.of(JobProgress)) and not seen.of(JobFailed):
                slept[0] += 3600.0 if slept[0] < 7200 else 20.0
            news = super().wait(seconds)
            if slept[0] <= 7200 + 60:  # so many seconds without a heartbeat are allowed
                assert not any(isinstance(result, Failure) for _, result in news)
                assert not any(worker.unresponsive for worker in self._workers.values())
            return news

    made = partial(Sleeping, [FakeEngine], lease_seconds=100.0)
    assert run_with(photos, out, made, lease_seconds=100.0, on_event=seen.append).exit_code == 0
    assert slept[0] > 7200 + 100
    assert [event.reason for event in seen.of(JobFailed)] == ["the worker process stopped responding and was killed"]


class SleepyExecutor:
    """Paints in this process, and lets something happen before it tells of that."""

    workers, idle = 1, True

    def __init__(self, meanwhile: Callable[[str], None]) -> None:
        self.meanwhile = meanwhile

    def start(self, task: Task) -> None:
        self.task, self.idle = task, False

    def wait(self, seconds: float) -> list[WorkerMessage]:
        if self.idle:
            time.sleep(seconds)
            return []
        report = run_task(self.task, FakeEngine(), stop=Stop(), on_event=lambda event: None)
        self.meanwhile(self.task.id)
        self.idle = True
        return [(self.task.id, report)]

    def stop(self, reason: str) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize("theirs", ["finish", "postpone", "finish later", "fail"])
def test_a_batch_that_slept_asks_whose_its_jobs_are(theirs: str, tmp_path: Path) -> None:
    """Another process took them over when their leases had run out."""
    photos, out, seen = make_inputs(tmp_path, 2), tmp_path / "out", Seen()
    jobs = jobs_of(photos, out).jobs

    def meanwhile(job: str) -> None:
        if len(seen.of(JobStarted)) > 1:
            return
        row = other.claim()
        assert row is not None
        assert row.id == job
        if theirs == "postpone":
            other.release(job, "in use by another process", wait=0)
        elif theirs == "fail":
            other.fail(job, "no good", retries=5, wait=0)
        elif theirs == "finish":
            finish(job)

    def finish(job: str) -> None:
        task = Task(
            index=1, content=jobs[0].content, output=jobs[0].output, config=jobs[0].config, folder=folder, attempt=2
        )
        assert task.id == job
        outcome = run_task(task, FakeEngine(), stop=Stop(), on_event=lambda event: None)
        assert isinstance(outcome, Outcome)

        def publish() -> None:
            task.picture.replace(out / jobs[0].output)

        assert other.finish(job, outcome, publish=publish)

    def listen(event: Event) -> None:
        seen.append(event)
        if isinstance(event, JobStarted) and event.job == jobs[1].id and theirs == "finish later":
            finish(jobs[0].id)

    folder = tmp_path / "elsewhere"
    with Ledger(out, lease_seconds=60, clock=lambda: time.time() + 1000) as other:  # for which this one sleeps
        other.set_queue(jobs)
        ours = run_with(photos, out, lambda: SleepyExecutor(meanwhile), on_event=listen)
    assert ours.exit_code == 0
    assert [event.job for event in seen.of(JobStarted)] == [job.id for job in jobs]
    taken = theirs in ("finish", "finish later")
    assert [event.job for event in seen.of(JobDone)] == [job.id for job in jobs[taken:]]
    assert not seen.of(JobFailed)
    check_agreement(photos, out, jobs)


class Broken(FakeEngine):
    """An engine that cannot be made."""

    def __init__(self) -> None:
        raise MemoryError


def test_an_engine_that_cannot_be_made(tmp_path: Path) -> None:
    photos, out = make_inputs(tmp_path, 2), tmp_path / "out"
    assert run(photos, out, engine=Broken, retries=0).counts["failed"] == 2
    assert "out of memory" in (rows(out)["p0-style.png"].error or "")


class Unloadable:
    """Something that no worker can unpickle."""

    def __reduce__(self) -> Any:
        return os._exit, (3,)


def test_workers_that_cannot_be_started(tmp_path: Path) -> None:
    photos, out = make_inputs(tmp_path, 5), tmp_path / "out"
    with pytest.raises(HiresNstError, match=r"workers cannot be started: .* exit code 3"):
        run(photos, out, engine=Unloadable(), retries=5)  # type: ignore[arg-type]
    assert "running" not in states(out).values()
    assert run(photos, out).exit_code == 0


def test_too_little_disk_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    make_inputs(tmp_path, 0)
    for name in "ab":
        Image.new("RGB", (100, 50)).save(photos / f"{name}.png")
    jobs = jobs_of(photos, out).jobs
    need = 40_000 + disk_space.job_run_bytes(jobs[0])  # one of them at a time
    assert disk_space.needed(jobs, out, workers=1) == need
    assert disk_space.needed(jobs, out, workers=2) == need + disk_space.job_run_bytes(jobs[1])
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=need - 1))
    with pytest.raises(ResourceError, match="free some, choose another folder") as error:
        run(photos, out)
    assert error.value.exit_code == 4
    assert not list(out.glob("*.png"))
    assert set(states(out).values()) == {"waiting"}
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=need))
    disk_space.check_disk_space(jobs, out, workers=1)


def test_what_interrupted_jobs_have_on_the_disk_needs_no_space(tmp_path: Path) -> None:
    photos, out = make_inputs(tmp_path, 0), tmp_path / "out"
    for name in "ab":
        Image.new("RGB", (100, 50)).save(photos / f"{name}.png")
    jobs = jobs_of(photos, out).jobs
    whole = disk_space.needed(jobs, out, workers=2)
    for job, count in zip(jobs, (1000, 300), strict=True):
        run_dir = out / ".hires-nst" / "jobs" / job.id / "run"
        (run_dir / "levels").mkdir(parents=True)
        (run_dir / "levels" / "0.safetensors").write_bytes(bytes(count))
    assert disk_space.needed(jobs, out, workers=2) == whole - 1300


def test_a_disk_that_gets_full_stops_the_batch(tmp_path: Path) -> None:
    photos = make_inputs(tmp_path, 5, text=["ok", "full", "wait", "ok", "ok"].__getitem__)
    out, seen = tmp_path / "out", Seen()
    summary = run(photos, out, workers=2, on_event=seen.append)
    assert summary.exit_code == 4
    assert summary.stopped == f"no space left on the disk of {out} (free some)"
    assert not seen.of(JobFailed)
    assert summary.counts["failed"] == summary.counts["running"] == 0
    assert summary.counts["waiting"] >= 2
    assert {row.failures for row in rows(out).values()} == {0}
    for number in (1, 2):
        (photos / f"p{number}.jpg").write_text("ok")
    assert run(photos, out).exit_code == 0
    check_agreement(photos, out, jobs_of(photos, out).jobs)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("log", LOGS)
def test_a_log_that_finds_no_disk_space(log: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    photos, out = make_inputs(tmp_path, 1), tmp_path / "out"
    folder = out / ".hires-nst" / "jobs" / jobs_of(photos, out).jobs[0].id
    folder.mkdir(parents=True)
    (folder / log).symlink_to("/dev/full")
    assert run(photos, out).exit_code == 4
    assert (rows(out)["p0-style.png"].state, rows(out)["p0-style.png"].failures) == ("waiting", 0)
    (folder / log).unlink()
    (folder / log).mkdir()
    assert run(photos, out, retries=0).exit_code == 1
    assert "Is a directory" in (rows(out)["p0-style.png"].error or "")
    assert "Traceback" not in capfd.readouterr().err


def test_a_ledger_that_finds_no_disk_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos, out = make_inputs(tmp_path, 2, text=["ok", "wait"].__getitem__), tmp_path / "out"

    def full(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    def fill(event: Event) -> None:
        if isinstance(event, JobStarted) and event.output == "p1-style.png":
            monkeypatch.setattr(Ledger, "_log_change", full)

    with pytest.raises(ResourceError, match=r"ledger.sqlite; free some and run the command again"):
        run(photos, out, workers=2, on_event=fill)
    monkeypatch.undo()
    assert states(out)["p1-style.png"] == "running"


def test_an_output_folder_that_cannot_be(tmp_path: Path) -> None:
    photos = make_inputs(tmp_path, 1)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be made"):
        run(photos, tmp_path / "file" / "out")


# Stopping.


def test_an_orderly_stop_and_going_on(tmp_path: Path) -> None:
    photos = make_inputs(tmp_path, 6, text=lambda number: "wait" if number in (2, 3) else "ok")
    out, stop, seen = tmp_path / "out", Stop(), Seen()

    def listen(event: Event) -> None:
        seen.append(event)
        if isinstance(event, JobProgress) and event.job == jobs[3].id:
            stop.request("SIGTERM", exit_code=143)

    jobs = jobs_of(photos, out).jobs
    summary = run(photos, out, workers=2, stop=stop, on_event=listen)
    assert (summary.exit_code, summary.stopped) == (143, "SIGTERM")
    assert summary.counts == {"waiting": 4, "running": 0, "done": 2, "failed": 0, "skipped": 0}
    assert {row.failures for row in rows(out).values()} == {0}
    for number in (2, 3):
        (photos / f"p{number}.jpg").write_text("ok")
    assert run(photos, out).painted == 4
    check_agreement(photos, out, jobs)


class SignalledExecutor:
    """One whose worker dies of the signal that asks this process for an end."""

    workers, idle = 1, True

    def __init__(self, stop: Stop, *, asked: bool) -> None:
        self.stopping, self.asked = stop, asked

    def start(self, task: Task) -> None:
        self.task, self.idle = task, False

    def wait(self, seconds: float) -> list[WorkerMessage]:
        self.stopping.request("Ctrl-C")
        return [(self.task.id, Failure("the worker process was killed by SIGINT", signalled=self.asked))]

    def stop(self, reason: str) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize("asked", [True, False])
def test_a_worker_that_dies_of_what_asks_for_an_end_did_not_fail(asked: bool, tmp_path: Path) -> None:
    photos, out, stop = make_inputs(tmp_path, 1), tmp_path / "out", Stop()
    run_with(photos, out, lambda: SignalledExecutor(stop, asked=asked), stop=stop, retries=0)
    assert states(out) == {"p0-style.png": "waiting" if asked else "failed"}


class Interruptible(FakeEngine):
    """An engine whose process dies of Ctrl-C."""

    def paint(self, task: Task, *, stop: Stop, on_event: OnEvent) -> Painted:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
        return super().paint(task, stop=stop, on_event=on_event)


def test_a_worker_that_dies_of_ctrl_c_for_no_reason_failed(tmp_path: Path) -> None:
    photos, out, seen = make_inputs(tmp_path, 1), tmp_path / "out", Seen()
    assert run(photos, out, engine=Interruptible, retries=0, on_event=seen.append).exit_code == 1
    assert seen.of(JobFailed)[0].reason == "the worker process was killed by SIGINT"


def test_a_deadline(tmp_path: Path) -> None:
    photos = make_inputs(tmp_path, 3, text=lambda number: "wait" if number else "ok")
    stop = Stop()

    def listen(event: Event) -> None:
        if isinstance(event, JobDone):
            stop.deadline = time.time()

    summary = run(photos, tmp_path / "out", stop=stop, on_event=listen)
    assert summary.exit_code == 130
    assert summary.stopped is not None and summary.stopped.startswith("the deadline")
    assert summary.counts["done"] == 1
    assert summary.counts["waiting"] == 2


def test_nothing_is_begun_that_would_miss_the_deadline(tmp_path: Path) -> None:
    photos = make_inputs(tmp_path, 3, text=lambda number: "long" if number == 1 else "ok")
    deadline = time.time() + 3000
    summary = run(photos, tmp_path / "out", stop=Stop(deadline=deadline))
    assert time.time() < deadline - 1000
    assert summary.exit_code == 130
    assert summary.stopped is not None and summary.stopped.startswith("the deadline")
    assert states(tmp_path / "out") == {"p0-style.png": "done", "p1-style.png": "waiting", "p2-style.png": "waiting"}
    assert rows(tmp_path / "out")["p1-style.png"].attempts == 1


def test_a_job_whose_last_owner_is_still_at_it_is_tried_later(tmp_path: Path) -> None:
    photos, out, seen = make_inputs(tmp_path, 2, text=["busy", "ok"].__getitem__), tmp_path / "out", Seen()
    here = SleepyExecutor(lambda job: None)
    summary = run_with(photos, out, lambda: here, retries=0, lease_seconds=1.0, on_event=seen.append)
    assert summary.exit_code == 0
    (postponed,) = seen.of(JobFailed)
    assert (postponed.output, postponed.final, postponed.retry_seconds) == ("p0-style.png", False, 0.25)
    assert "in use by another process" in postponed.reason
    check_agreement(photos, out, jobs_of(photos, out).jobs)


# Several processes, and their deaths.


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that are ended with the test."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def start(
    photos: Path, out: Path, *, workers: int = 1, seconds: float = 0.0, lease: float = 1.0, meeting: Path | None = None
) -> Any:
    """A process with a batch; with a folder for a `meeting`, it waits there for another one before it begins."""
    root = Path(__file__).parents[2]
    paths = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    arguments = [photos, out, workers, seconds, lease, *filter(None, [meeting])]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.batch.fakes", *map(str, arguments)], env={**os.environ, "PYTHONPATH": paths}
    )


GUARD = 300.0
"""Seconds after which something hangs for certain."""


def wait_until(true: Callable[[], Any], seconds: float = GUARD) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.02)


def done_so_far(out: Path) -> int:
    return sum(path.suffix == ".png" for path in out.glob("*")) if out.exists() else 0


def wait_for_another(out: Path) -> None:
    before = done_so_far(out)
    wait_until(lambda: done_so_far(out) > before)


def test_two_batches_at_once_share_the_work(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    photos, out, meeting = make_inputs(tmp_path, 2000), tmp_path / "out", tmp_path / "meeting"
    meeting.mkdir()
    started += [start(photos, out, lease=600, meeting=meeting) for _ in range(2)]
    assert [process.wait(GUARD) for process in started] == [0, 0]
    check_agreement(photos, out, jobs_of(photos, out).jobs)
    assert {row.attempts for row in rows(out).values()} == {1}
    with reading(out) as database:
        owners = database.execute("SELECT owner, count(*) FROM changes WHERE state = 'done' GROUP BY owner").fetchall()
    assert len(owners) == 2


def test_one_of_two_batches_is_killed(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    photos, out = make_inputs(tmp_path, 60), tmp_path / "out"
    started += [start(photos, out, seconds=0.03, lease=1.0) for _ in range(2)]
    wait_until(lambda: done_so_far(out) > 10)
    started[0].kill()
    assert started[1].wait(GUARD) == 0
    check_agreement(photos, out, jobs_of(photos, out).jobs)


def test_what_a_killed_process_had_is_free_at_once(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    photos, out = make_inputs(tmp_path, 1, text=lambda _: "wait"), tmp_path / "out"
    started.append(start(photos, out, lease=3600))
    wait_until((out / ".hires-nst" / "jobs").exists)
    assert states(out) == {"p0-style.png": "running"}
    started[0].kill()
    started[0].wait()
    (photos / "p0.jpg").write_text("ok")
    began = time.monotonic()
    assert run(photos, out, lease=3600).exit_code == 0
    assert time.monotonic() - began < 1800
    check_agreement(photos, out, jobs_of(photos, out).jobs)


def workers_of(parent: int) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(parent).children():
        with suppress(psutil.Error):  # it has just ended
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def test_deaths_of_workers_and_parents_at_random_moments(
    tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    photos, out = make_inputs(tmp_path, 2000), tmp_path / "out"
    moments = random.Random(5)
    orphans: list[psutil.Process] = []
    kills = 0
    while kills < 12:
        parent = start(photos, out, workers=2, seconds=0.02, lease=0.6)
        started.append(parent)
        wait_for_another(out)
        for _ in range(3):  # two workers, then the parent
            time.sleep(moments.uniform(0, 0.25))
            assert parent.poll() is None, "the batch was over too soon"
            children = workers_of(parent.pid)
            if children and kills % 3 != 2:
                with suppress(psutil.Error):  # it may have ended by itself: its parent takes one that is late for dead
                    moments.choice(children).kill()
            else:
                orphans += children
                parent.kill()
                parent.wait()
            kills += 1
            if parent.poll() is not None:
                break
    if started[-1].poll() is None:
        assert started[-1].wait(GUARD) == 0
    else:
        started.append(start(photos, out, workers=2, lease=0.6))
        assert started[-1].wait(GUARD) == 0
    assert kills >= 12
    check_agreement(photos, out, jobs_of(photos, out).jobs)
    wait_until(lambda: not any(map(is_alive, orphans)))


# Devices.


@pytest.mark.parametrize(
    ("visible", "count"), [(None, 3), ("", 0), ("0", 1), ("0,2", 2), ("1,-1,2", 1), ("0,1,2,3", 3)]
)
def test_cuda_devices_without_torch(
    visible: str | None, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nfor i in 0 1 2; do echo \"GPU $i: H (UUID: $i)\"; echo '  MIG 1g'; done\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert cuda_devices() == count
    assert devices("auto") == ([f"cuda:{n}" for n in range(count)] or ["auto"])
    assert devices("cuda:1") == ["cuda:1"]
    assert devices("cpu") == ["cpu"]


def test_devices_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert devices("auto") == ["auto"]


def test_a_pool_without_work_starts_no_process() -> None:
    pool = WorkerPool([partial(FakeEngine, 0.0)] * 3, lease_seconds=10)
    assert pool.workers == 3
    assert pool.wait(0.01) == ()
    assert not multiprocessing.active_children()
    pool.close()
