"""Batches on a Ray cluster of two nodes, both on this machine; one of them is lost on the way."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from batch_fakes import FakeEngine, Seen, check_agreement, jobs_of, make_inputs, rows, run_with
from test_cli_commands import program
from test_cli_commands import run as command

from hires_nst.batch.events import JobDone, JobFailed, JobStarted
from hires_nst.batch.ray_executor import RayExecutor
from hires_nst.config import Batch
from hires_nst.events import Event
from hires_nst.stopping import Stop

try:
    import ray
    from ray.cluster_utils import Cluster
except ImportError:
    ray = None

needs_ray = pytest.mark.skipif(ray is None, reason="Ray is not installed; pip install 'hires-nst[cluster]' brings it")
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without cores, and a node with two."""
    paths = [str(HERE), str(HERE.parent), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)  # what the workers on the nodes find
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made.add_node(num_cpus=2, include_dashboard=False)
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    try:
        yield made
    finally:
        ray.shutdown()
        made.shutdown()
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def executor(*, ship: bool = False, seconds: float = 0.0, deadline: float | None = None) -> RayExecutor:
    return RayExecutor(Batch(), ship=ship, deadline=deadline, make_engine=partial(FakeEngine, seconds))


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
    assert [event.final for event in seen.of(JobFailed)] == [False]
    for row in rows(out).values():
        folder = out / ".hires-nst" / "jobs" / row.id
        assert "RoundFinished" in (folder / "events.jsonl").read_text()
        assert "done" in (folder / "log.txt").read_text()
    assert run_with(photos, out, pytest.fail).painted == 0


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
    made = partial(RayExecutor, Batch(), ship=True, make_engine=Elsewhere)
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
    assert time.monotonic() - began < 40
    assert (summary.exit_code, summary.counts["waiting"], summary.counts["done"]) == (143, 3, 1)


class Noting(FakeEngine):
    """Notes the node that it runs on, and takes its time on one of them."""

    def paint(self, task: Any, **rest: Any) -> Any:
        node = ray.get_runtime_context().get_node_id()
        (task.folder / "node").write_text(node)
        self.seconds = 20.0 if node in (task.content.parent.parent / "slow").read_text() else 0.0
        return super().paint(task, **rest)


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
    made = partial(RayExecutor, Batch(), make_engine=partial(Noting))
    summary = run_with(photos, out, made, on_event=seen.append)
    assert summary.exit_code == 0
    watcher.join(10)
    assert time.monotonic() - began < 60
    assert max(event.worker for event in seen.of(JobStarted)) == 3
    for folder in lost:  # and Ray began them anew
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
