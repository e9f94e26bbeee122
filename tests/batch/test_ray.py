"""Batches on a Ray cluster of two nodes, both on this machine; one of them is lost on the way."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hires_nst.batch import api
from hires_nst.batch.ray_executor import RayExecutor
from hires_nst.batch.workers import WorkerPool
from hires_nst.config import Batch
from hires_nst.events import (
    CheckpointWritten,
    Event,
    JobDone,
    JobFailed,
    JobProgress,
    JobStarted,
    StepFinished,
    TileFinished,
)
from hires_nst.stopping import Stop
from tests.batch.fakes import FakeEngine, Seen, check_agreement, jobs_of, make_inputs, rows, run_with
from tests.batch.ray_engines import Counted, Loading, Noting, Waiting
from tests.cli.test_commands import program
from tests.cli.test_commands import run as command
from tests.run.test_pipeline import config as small
from tests.run.test_pipeline import save

try:
    import ray
    from ray.cluster_utils import Cluster
except ImportError:
    ray = None  # type: ignore[assignment]

needs_ray = pytest.mark.skipif(
    ray is None, reason="Ray is not installed; install it with `pip install 'hires-nst[cluster]'`"
)
ROOT = Path(__file__).parents[2]
BATCH = Batch(cluster_gpus=0)
GUARD = 300.0
"""Seconds after which something hangs for certain: Ray takes its time to start processes on a busy machine."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without cores, and a node with two, and with two GPUs that are none."""
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)  # what the workers on the nodes find
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made.add_node(num_cpus=2, num_gpus=2, include_dashboard=False)  # as far as Ray knows
    ray.init(address=made.address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield made
    finally:
        ray.shutdown()
        made.shutdown()  # type: ignore[no-untyped-call]
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def progress_of(seen: Seen, out: Path) -> dict[str, list[JobProgress]]:
    """The progress of each picture, by its name."""
    progress = seen.of(JobProgress)
    return {row.output: [event for event in progress if event.job == row.id] for row in rows(out).values()}


def read_logs(out: Path, job: str) -> tuple[str, str]:
    """The log of a job as JSON lines, and the human-readable one."""
    folder = out / ".hires-nst" / "jobs" / job
    return (folder / "events.jsonl").read_text(), (folder / "log.txt").read_text()


def executor(*, ship: bool = False, seconds: float = 0.0, deadline: float | None = None) -> RayExecutor:
    return RayExecutor(BATCH, ship=ship, deadline=deadline, make_engine=partial(FakeEngine, seconds))


@needs_ray
@pytest.mark.parametrize("ship", [False, True])
def test_every_job_is_done_once(ship: bool, cluster: Any, tmp_path: Path) -> None:
    photos = make_inputs(tmp_path, 12, text=lambda number: "once" if number == 3 else f"ok {number}")
    out, seen = tmp_path / "out", Seen()
    summary = run_with(photos, out, lambda: executor(ship=ship), on_event=seen.append)
    assert summary.exit_code == 0
    check_agreement(photos, out, jobs_of(photos, out).jobs)
    assert {event.worker for event in seen.of(JobStarted)} == {0, 1}
    assert len(seen.of(JobDone)) == 12
    names = {
        name: [type(event.run_event).__name__ for event in found] for name, found in progress_of(seen, out).items()
    }
    assert names.pop("p3-style.png") == ["RunStarted", "RunStarted", "RoundFinished"]
    assert list(names.values()) == [["RunStarted", "RoundFinished"]] * 11
    assert [event.final for event in seen.of(JobFailed)] == [False]
    for row in rows(out).values():
        folder = out / ".hires-nst" / "jobs" / row.id
        assert "RoundFinished" in (folder / "events.jsonl").read_text()
        assert "done" in (folder / "log.txt").read_text()
    assert run_with(photos, out, pytest.fail).painted == 0


@needs_ray
@pytest.mark.parametrize("ship", [False, True])
def test_progress_and_logs_are_reported_while_a_job_works(ship: bool, cluster: Any, tmp_path: Path) -> None:
    photos, out, seen = make_inputs(tmp_path, 2), tmp_path / "out", Seen()
    logs: dict[str, tuple[str, str]] = {}

    def listen(event: Event) -> None:
        seen.append(event)
        if isinstance(event, JobProgress) and isinstance(event.run_event, TileFinished):
            logs[event.job] = read_logs(out, event.job)
            (tmp_path / event.job).touch()

    made = partial(RayExecutor, BATCH, ship=ship, make_engine=partial(Waiting, tmp_path))
    assert run_with(photos, out, made, on_event=listen).exit_code == 0
    assert len(logs) == 2
    for found in progress_of(seen, out).values():
        kinds = [type(event.run_event).__name__ for event in found]
        assert kinds[0] == "LevelStarted"
        assert kinds[-3:] == ["TileFinished", "RunStarted", "RoundFinished"]
        assert 0 <= kinds.count("StepFinished") == len(kinds) - 4 < 500
        assert {event.worker for event in found} == {found[0].worker}
    for job, (lines, text) in logs.items():  # and at the end, everything is there once
        assert " attempt 1: " in text
        assert "TileFinished" in text
        after = read_logs(out, job)
        assert after[0].startswith(lines)
        assert after[1].startswith(text)
        assert after[0].count("StepFinished") == 1000
        assert after[1].count(" attempt 1: ") == after[1].count("TileFinished") == 1
        assert after[1].endswith(" done\n")


@needs_ray
def test_a_lost_queue_costs_no_job(cluster: Any, tmp_path: Path) -> None:
    photos, out, seen, made = make_inputs(tmp_path, 6), tmp_path / "out", Seen(), list[RayExecutor]()

    def make() -> RayExecutor:
        made.append(executor())
        return made[0]

    def listen(event: Event) -> None:
        seen.append(event)
        if isinstance(event, JobStarted) and len(seen.of(JobStarted)) == 4:
            ray.kill(made[0]._queue.actor)

    began = time.monotonic()
    assert run_with(photos, out, make, on_event=listen).exit_code == 0
    assert time.monotonic() - began < GUARD
    assert not seen.of(JobFailed)
    check_agreement(photos, out, jobs_of(photos, out).jobs)


@needs_ray
@pytest.mark.parametrize("gpus", [0, 1])
def test_a_worker_process_makes_its_engine_once(gpus: int, cluster: Any, tmp_path: Path) -> None:
    photos, out = make_inputs(tmp_path, 12), tmp_path / "out"
    made = partial(RayExecutor, Batch(cluster_gpus=gpus), make_engine=partial(Counted, tmp_path))
    for _ in range(2):
        assert run_with(photos, out, made, overwrite=True, changed="redo").exit_code == 0
        (tmp_path / "style.jpg").write_text("another")
    makers, painted = ((tmp_path / name).read_text().split("\n")[:-1] for name in ("made", "painted"))
    assert len(painted) == 24
    # Ray takes the process that was used last; more than places are there only when it is slow to see that one is idle.
    assert 2 <= len(makers) <= 2 * 4
    assert max(Counter(makers).values()) <= 2  # one for each batch
    if gpus:
        assert {line.split()[1] for line in painted} == {"0", "1"}
        assert all(line == f"cuda:{line[-1]} {line[-1]}" for line in painted)
    else:
        assert {line.strip() for line in painted} == {"auto"}


LOOSE = StepFinished, CheckpointWritten
"""Events that are sent when there is time."""


LOOSE_KEYS = ("seconds", "content", "styles", "output")


def essence(event: Event) -> dict[str, Any]:
    """An event without times and places."""
    return {key: value for key, value in event.as_dict().items() if key not in LOOSE_KEYS}


@needs_ray
def test_two_pictures_are_those_of_a_local_worker(cluster: Any, tmp_path: Path) -> None:
    from tests.conftest import random_canvas

    photos, style = tmp_path / "photos", save(tmp_path / "style.png", random_canvas(60, 60, 9))
    photos.mkdir()
    for number in range(2):
        save(photos / f"{number}.png", random_canvas(64, 80, number))
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes((ROOT / "hires_nst" / "backbones" / "data" / "vgg19-slim.safetensors").read_bytes())
    config = small(model={"weights": weights})
    found_by_kind: dict[str, Any] = {}
    for kind in ("local", "shared", "shipped"):
        count, out, seen = tmp_path / f"{kind}.count", tmp_path / kind, Seen()
        engine = partial(Loading, count)
        whole = Batch(cluster_cpus=2, cluster_gpus=0)  # the cluster has one place for this
        made = (
            partial(WorkerPool, [engine], lease_seconds=60)
            if kind == "local"
            else partial(RayExecutor, whole, ship=kind == "shipped", make_engine=engine)
        )
        jobs = api.jobs(photos, out, styles=[style], config=config)
        assert run_with(photos, out, made, jobs=jobs, on_event=seen.append).exit_code == 0
        assert Counter(count.read_text().split()) == {"load_network": 1, "style_statistics": 2}
        found_by_kind[kind] = {
            name: [
                (event.worker, essence(event.run_event)) for event in found if not isinstance(event.run_event, LOOSE)
            ]
            for name, found in progress_of(seen, out).items()
        }
    assert len(found_by_kind["local"]) == 2
    for kind in ("shared", "shipped"):
        assert found_by_kind[kind] == found_by_kind["local"]
        for name in found_by_kind["local"]:
            assert (tmp_path / kind / name).read_bytes() == (tmp_path / "local" / name).read_bytes()


@needs_ray
def test_shipped_pictures_need_no_shared_folder(cluster: Any, tmp_path: Path) -> None:
    class Elsewhere(FakeEngine):
        """Paints only what came along."""

        def paint(self, task: Any, **rest: Any) -> Any:
            forbidden = (str(photos), str(out))
            assert not str(task.content).startswith(forbidden)
            assert not str(task.config.styles[0].image).startswith(forbidden)
            assert not str(task.picture).startswith(forbidden)
            return super().paint(task, **rest)

    photos, out = make_inputs(tmp_path, 2, text=["ok", "bad"].__getitem__), tmp_path / "out"
    made = partial(RayExecutor, BATCH, ship=True, make_engine=Elsewhere)
    assert run_with(photos, out, made, retries=0).counts["done"] == 1
    assert "p1.jpg is no good" in (rows(out)["p1-style.png"].error or "")
    (photos / "p1.jpg").unlink()
    assert run_with(photos, out, made, jobs=jobs_of(photos, out)).exit_code == 0


@needs_ray
def test_a_stop_cancels_what_is_in_work(cluster: Any, tmp_path: Path) -> None:
    photos, out, stop = make_inputs(tmp_path, 4, text=lambda n: "wait" if n else "ok"), tmp_path / "out", Stop()

    def listen(event: Event) -> None:
        if isinstance(event, JobDone):
            threading.Timer(1.0, stop.request, ["SIGTERM"], {"exit_code": 143}).start()

    began = time.monotonic()
    summary = run_with(photos, out, executor, stop=stop, on_event=listen)
    assert time.monotonic() - began < GUARD
    assert (summary.exit_code, summary.counts["waiting"], summary.counts["done"]) == (143, 3, 1)


SIGNALLED = """
import os, signal, sys
from functools import partial
from pathlib import Path
from tests.batch.fakes import FakeEngine, run_with
from hires_nst.batch import api
from hires_nst.events import JobProgress
from hires_nst.batch.ray_executor import RayExecutor
from hires_nst.cli.signals import stopping
from hires_nst.config import Batch

def listen(event):
    if isinstance(event, JobProgress) and stop.reason is None:
        os.kill(os.getpid(), signal.SIGTERM)

photos, out, address = sys.argv[1:]
with stopping(until=None, max_hours=None, quiet=True) as stop:
    made = partial(RayExecutor, Batch(cluster_gpus=0), address=address, make_engine=partial(FakeEngine, 0.0))
    summary = run_with(Path(photos), Path(out), made, stop=stop, on_event=listen)
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
print(summary.stopped)
sys.exit(summary.exit_code)
"""


@needs_ray
def test_sigterm_ends_a_driver_in_an_orderly_way(cluster: Any, tmp_path: Path) -> None:
    photos, out = make_inputs(tmp_path, 2, text=lambda _: "wait"), tmp_path / "out"
    paths = os.pathsep.join([str(ROOT)])
    ended = subprocess.run(
        [sys.executable, "-c", SIGNALLED, photos, out, cluster.address],
        capture_output=True, text=True, timeout=GUARD, env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (143, "SIGTERM\n"), ended.stderr
    assert {row.state for row in rows(out).values()} == {"waiting"}
    assert {row.failures for row in rows(out).values()} == {0}


@needs_ray
def test_a_node_is_lost(cluster: Any, tmp_path: Path) -> None:
    photos, out, seen = make_inputs(tmp_path, 20), tmp_path / "out", Seen()
    second = cluster.add_node(num_cpus=2, include_dashboard=False)
    cluster.wait_for_nodes()
    (tmp_path / "slow").write_text(second.node_id)
    lost: list[Path] = []

    def wait_for_it() -> None:
        """Once jobs are in work on the second node, take it away."""
        while not lost:
            time.sleep(0.1)
            lost.extend(note.parent for note in out.rglob("node") if note.read_text() == second.node_id)
        cluster.remove_node(second, allow_graceful=False)

    watcher = threading.Thread(target=wait_for_it, daemon=True)
    watcher.start()
    began = time.monotonic()
    made = partial(RayExecutor, BATCH, make_engine=partial(Noting))
    summary = run_with(photos, out, made, on_event=seen.append)
    assert summary.exit_code == 0
    watcher.join(GUARD)
    assert time.monotonic() - began < GUARD
    assert max(event.worker for event in seen.of(JobStarted)) == 3
    for folder in lost:  # and Ray started them again
        assert (folder / "log.txt").read_text().count(" attempt 1: ") == 2
        assert (folder / "node").read_text() != second.node_id
    assert not seen.of(JobFailed)
    check_agreement(photos, out, jobs_of(photos, out).jobs)
    assert {row.attempts for row in rows(out).values()} == {1}


@needs_ray
def test_a_cluster_that_is_not_there(tmp_path: Path) -> None:
    photos = make_inputs(tmp_path, 1)
    options = ("--executor", "ray", "--address", "127.0.0.1:1")
    result = program("batch", photos, tmp_path / "style.jpg", "-o", tmp_path / "out", *options)
    assert result.returncode == 2
    assert "error: there is no Ray cluster at 127.0.0.1:1" in result.stderr


def test_without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    photos = make_inputs(tmp_path, 1)
    result = command("batch", photos, tmp_path / "style.jpg", "-o", tmp_path / "out", "--executor", "ray")
    assert result.exit_code == 2
    assert "pip install 'hires-nst[cluster]'" in result.stderr
