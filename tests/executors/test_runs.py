"""Runs whose tiles are done by workers: the same bytes, also after an interruption and with another number of them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from hires_nst import Config, events
from hires_nst.batch.engine import on_device
from hires_nst.config import picture_settings
from hires_nst.executors import devices
from hires_nst.executors.messages import Job, Lost, OutOfMemory
from hires_nst.executors.pool import TilePool
from hires_nst.executors.ray_cluster import RayCluster, connect
from hires_nst.executors.ray_crew import RayCrew
from hires_nst.transfer.tasks import TileTask
from tests.cli.test_commands import program
from tests.cli.test_commands import run as command
from tests.executors.fakes import FakeCrew, setup_for
from tests.executors.test_pool import SETUP, check_same, current, two_rounds
from tests.run import test_resume
from tests.run.test_resume import interrupted, of, resume, run_of, save, settings, stylize

try:
    import ray
except ImportError:
    ray = None  # type: ignore[assignment]

needs_ray = pytest.mark.skipif(ray is None, reason="Ray is not installed")
ROOT = Path(__file__).parents[2]
inputs, expected = test_resume.inputs, test_resume.expected


def with_workers(count: int | None, **sections: Any) -> dict[str, Any]:
    return settings(runtime={"workers": count}, **sections)


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


def test_resumed_with_another_number_of_workers(inputs: Path, expected: bytes, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    seen = interrupted(inputs, out, events.TileFinished, 5, with_workers(2))
    assert not children()
    assert not multiprocessing.active_children()
    seen += interrupted(inputs, out, events.TileFinished, 5, with_workers(None))
    seen += stylize(inputs, out, with_workers(3))
    assert out.read_bytes() == expected
    tiles = [(event.level, event.round, event.tile) for event in of(seen, events.TileFinished)]
    assert len(set(tiles)) == len(tiles), "a finished tile was computed again"
    assert not children()


def test_resumed_by_its_own_record(inputs: Path, expected: bytes, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    interrupted(inputs, out, events.StepFinished, 15, with_workers(2))
    resume(run_of(out))
    assert out.read_bytes() == expected


def test_memory_that_runs_out_in_a_worker(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trouble(number: int, job: Job) -> OutOfMemory | None:
        is_large = isinstance(job.task, TileTask) and job.task.window.area > 100 * 100
        return OutOfMemory(job.number, "out of memory") if is_large else None

    @contextmanager
    def executor(config: Config, extract: Any, **_: Any) -> Iterator[TilePool]:
        yield TilePool(FakeCrew(2, setup_for(extract.network, extract.dtype), trouble=trouble))

    monkeypatch.setattr("hires_nst.run.single_run.tile_executor", executor)
    photo_and_painting = tmp_path / "inputs"
    photo_and_painting.mkdir()
    save(photo_and_painting / "photo.png", 128, 256, 1)
    save(photo_and_painting / "painting.png", 90, 96, 2)
    seen = stylize(photo_and_painting, tmp_path / "out.png", settings(levels={"min_size": 64}, tiles={"size": 128}))
    assert [(event.level, event.round, event.size) for event in of(seen, events.TilesShrunk)] == [(1, 0, 64)]
    assert (tmp_path / "out.png").exists()


def test_the_command_line(inputs: Path, tmp_path: Path) -> None:
    photo, painting, out = inputs / "photo.png", inputs / "painting.png", tmp_path / "out.png"
    arguments: list[Path | str] = ["stylize", photo, painting, "-o", out, "--quiet"]
    options = ["--set", "levels.min_size=32", "--set", "levels.coarse_steps=2", "--set", "levels.rounds=1"]
    result = program(*arguments, *options, "--tile-size", "32", "--workers", "2", OMP_NUM_THREADS="1")
    assert (result.returncode, result.stderr) == (0, "")
    assert out.exists()
    refused = command(*map(str, arguments), "--overwrite", "--address", "auto")
    assert refused.exit_code == 2
    assert "--address requires --executor ray" in refused.stderr


def test_the_number_of_workers_is_no_matter_of_the_picture() -> None:
    assert picture_settings({"runtime": {"workers": 3}}) == {}
    assert on_device(Config.model_validate({"runtime": {"workers": 3}}), "cpu").runtime.workers is None


def test_devices_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cuda_devices", lambda: 2)
    assert devices.tile_devices(None, "auto") == ["auto"]
    assert devices.tile_devices("auto", "auto") == ["cuda:0", "cuda:1"]
    assert devices.tile_devices(3, "cuda") == ["cuda:0", "cuda:1", "cuda:0"]
    assert devices.tile_devices("auto", "cpu") == ["cpu"]
    assert (devices.sharing(3, "cuda"), devices.sharing(2, "cpu"), devices.sharing(None, "auto")) == (2, 2, 1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    before = dict(os.environ)
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)  # what the workers on the node find
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield connect(None)
    finally:
        ray.shutdown()
        os.environ.clear()
        os.environ.update(before)


@needs_ray
def test_actors_of_a_cluster_give_the_same_bits_and_may_be_lost(cluster: RayCluster) -> None:
    first, lost = current(weighted=True), list[str]()
    assert (cluster.started, cluster.room({"CPU": 1.0}), cluster.gpus_for(None)) == (False, 2, 0.0)
    crew = RayCrew(cluster, SETUP, workers=2, cpus=1, gpus=0)
    with TilePool(crew, on_lost=lost.append) as pool:
        check_same(two_rounds(first, pool), two_rounds(first))
        ray.kill(crew._actors[1])
        check_same(two_rounds(first, pool), two_rounds(first))
        crew.end(0, "it hangs")
        assert crew.wait(1) == [(0, Lost("it hangs"))]
    assert len(lost) == 1
    assert "lost in the cluster" in lost[0]
    assert ray.is_initialized()


@needs_ray
def test_a_run_on_a_cluster(cluster: RayCluster, inputs: Path, expected: bytes, tmp_path: Path) -> None:
    stylize(inputs, tmp_path / "out.png", executor="ray")
    assert (tmp_path / "out.png").read_bytes() == expected


def test_without_ray(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    arguments: list[Path | str] = ["stylize", inputs / "photo.png", inputs / "painting.png", "-o", tmp_path / "out.png"]
    options = ["--set", "levels.min_size=32", "--tile-size", "32", "--executor", "ray"]
    result = command(*map(str, arguments), *options)
    assert result.exit_code == 2
    assert "pip install 'hires-nst[cluster]'" in result.stderr
