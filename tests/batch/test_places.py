"""How many workers a batch has on each GPU, what each may use of the memory, and that pictures do not depend on it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hires_nst import batch
from hires_nst.batch import api, places
from hires_nst.batch.job import Job
from hires_nst.batch.options import BatchOptions
from hires_nst.batch.places import worker_places
from hires_nst.config import Config
from hires_nst.events import JobStarted
from hires_nst.executors.devices import GpuState, gpu_states
from hires_nst.run.memory import gpu_bytes
from hires_nst.stopping import Stop
from hires_nst.transfer.memory import ALONE, MemoryShare
from tests.batch.fakes import Seen
from tests.conftest import random_canvas

MEBI = 2**20
IDLE = "0, 80000, 0\n"
GpuStates = Callable[[str], None]


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GpuStates:
    """Takes the lines with which a fake nvidia-smi answers a query; it lists as many GPUs."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(places, "cores", lambda: 64)
    monkeypatch.setattr(places, "free_host_memory", lambda: 600)

    def make(answer: str) -> None:
        program = tmp_path / "bin" / "nvidia-smi"
        program.parent.mkdir(exist_ok=True)
        (program.parent / "answer").write_text(answer)
        listed = "".join(f"echo 'GPU {number}: H (UUID: {number})'\n" for number in range(answer.count("\n")))
        query = "--query-gpu=index,memory.free,utilization.gpu --format=csv,noheader,nounits"
        program.write_text(
            f'#!/bin/sh\n[ "$1" = -L ] && {{ {listed} exit 0; }}\n[ "$*" = "{query}" ] && cat "${{0%/*}}/answer"\n'
        )
        program.chmod(0o755)

    return make


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, {"cuda:0": 10, "cuda:2": 30}),
        ("2,0", {"cuda:0": 30, "cuda:1": 10}),
        ("GPU-1f, 2", {"cuda:1": 30}),
        ("", {}),
    ],
)
def test_what_gpus_have_left(
    visible: str | None, names: dict[str, int], nvidia_smi: GpuStates, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_smi("0, 10, 7\n1, [N/A], [N/A]\n2, 30, 7\nan error\n")
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu_states() == {name: GpuState(free * MEBI, 7) for name, free in names.items()}


def jobs_of(folder: Path, *, count: int = 40, **sections: Any) -> tuple[tuple[Job, ...], Config]:
    """Jobs whose pictures have 1024 x 683 px unless `sections` say otherwise."""
    for number in range(count + 1):
        Image.new("RGB", (60, 40), (number, 0, 0)).save(folder / f"{number}.png")
    config = Config.model_validate({"output": {"long_edge": 1024}, **sections})
    contents = [folder / f"{number}.png" for number in range(count)]
    return batch.jobs(contents, folder / "out", styles=folder / f"{count}.png", config=config).jobs, config


def counts(folder: Path, **options: Any) -> dict[str, int]:
    """The number of workers on each device."""
    jobs, config = jobs_of(folder, **options)
    found = [place.device for place in worker_places(jobs, batch=config.batch, runtime=config.runtime)]
    return {name: found.count(name) for name in found}


@pytest.mark.parametrize(
    ("answer", "options", "expected"),
    [
        (IDLE, {}, {"cuda:0": 4}),
        ("0, 80000, 19\n", {}, {"cuda:0": 4}),
        ("0, 80000, 20\n", {}, {"cuda:0": 1}),
        ("0, 80000, [N/A]\n", {}, {"cuda:0": 1}),
        (IDLE, {"output": {"long_edge": 2449}}, {"cuda:0": 3}),  # 4 megapixels, of which four do not fit
        (IDLE, {"output": {"long_edge": 2452}}, {"cuda:0": 2}),
        (IDLE, {"count": 3}, {"cuda:0": 3}),
        (IDLE, {"runtime": {"memory": "9 GB"}}, {"cuda:0": 1}),
        (IDLE, {"runtime": {"device": "cuda:0"}}, {"cuda:0": 4}),
        (IDLE, {"runtime": {"device": "cpu"}}, {"cpu": 1}),
        (IDLE, {"batch": {"workers": 3}}, {"cuda:0": 3}),
        (IDLE, {"batch": {"workers_per_gpu": 6}}, {"cuda:0": 6}),
        (IDLE + "1, 9000, 0\n2, 80000, 99\n", {}, {"cuda:0": 4, "cuda:1": 1, "cuda:2": 1}),
        (IDLE + "1, 80000, 0\n", {"count": 5}, {"cuda:0": 3, "cuda:1": 3}),
        (IDLE + "1, 80000, 0\n", {"batch": {"workers_per_gpu": 2}}, {"cuda:0": 2, "cuda:1": 2}),
        ("", {}, {"auto": 1}),
        ("", {"batch": {"workers_per_gpu": 2}}, {"auto": 1}),
    ],
)
def test_workers_on_gpus(
    answer: str, options: dict[str, Any], expected: dict[str, int], nvidia_smi: GpuStates, tmp_path: Path
) -> None:
    nvidia_smi(answer)
    assert counts(tmp_path, **options) == expected


@pytest.mark.parametrize(("cores", "expected"), [(2, 1), (5, 2), (6, 3), (100, 4)])
def test_workers_on_gpus_need_processor_cores(
    cores: int, expected: int, nvidia_smi: GpuStates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_smi(IDLE)
    monkeypatch.setattr(places, "cores", lambda: cores)
    assert counts(tmp_path) == {"cuda:0": expected}


def test_workers_divide_the_memory(nvidia_smi: GpuStates, tmp_path: Path) -> None:
    def shares(**sections: Any) -> list[tuple[str, MemoryShare]]:
        jobs, config = jobs_of(tmp_path, **sections)
        found = worker_places(jobs, batch=config.batch, runtime=config.runtime)
        return [(place.device, place.share) for place in found]

    nvidia_smi("0, 90, 99\n1, [N/A], [N/A]\n")
    on_gpu = MemoryShare(workers=2, device=45 * MEBI, host=200)
    assert shares(batch={"workers": 3}) == [
        ("cuda:0", on_gpu), ("cuda:1", MemoryShare(workers=1, host=200)), ("cuda:0", on_gpu),
    ]  # fmt: skip
    of_unknown = MemoryShare(workers=2, host=150)
    assert shares(batch={"workers": 4})[1] == ("cuda:1", of_unknown)
    assert shares(batch={"workers": 3}, runtime={"device": "cpu"}) == [("cpu", MemoryShare(workers=3, host=200))] * 3
    assert shares(runtime={"device": "cpu"}) == [("cpu", ALONE)]
    assert shares() == [("cuda:0", MemoryShare(host=300)), ("cuda:1", MemoryShare(host=300))]


def test_the_largest_job_with_the_most_settings_counts(nvidia_smi: GpuStates, tmp_path: Path) -> None:
    small, _ = jobs_of(tmp_path)
    large, config = jobs_of(tmp_path, output={"long_edge": 2000}, model={"name": "vgg19"})
    need = gpu_bytes(config, (2000, 1333))
    assert need > gpu_bytes(config, (1500, 1000)) > gpu_bytes(small[0].config, (1500, 1000))
    nvidia_smi(f"0, {int(2 * need / 0.8 / MEBI) + 1}, 0\n")
    found = worker_places([*small, large[0]], batch=config.batch, runtime=config.runtime)
    assert len(found) == 2


def test_plan_and_run_have_the_same_workers(nvidia_smi: GpuStates, tmp_path: Path) -> None:
    nvidia_smi(IDLE)
    jobs, config = jobs_of(tmp_path)
    options = BatchOptions(batch=config.batch, runtime=config.runtime)
    contents = [job.content for job in jobs]
    plan = batch.plan(contents, tmp_path / "out", styles=tmp_path / "40.png", config=config, measure=False)
    assert plan.workers == api._executor(jobs, options=options, stop=Stop()).workers == 4


def test_several_workers_give_the_pictures_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # in float32, pixels depend on the number of threads
    for number in range(5):
        pixels = np.rint(random_canvas(72, 80, number).pixels * 255).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")

    def painted(workers: int) -> tuple[list[bytes], set[int]]:
        config = Config.model_validate(
            {
                "levels": {"min_size": 32, "coarse_steps": 2, "rounds": 1, "steps": 2},
                "runtime": {"device": "cpu"},
                "batch": {"workers": workers},
            }
        )
        contents, out, seen = [tmp_path / f"{number}.png" for number in range(4)], tmp_path / f"{workers}", Seen()
        summary = batch.run(contents, out, styles=tmp_path / "4.png", config=config, on_event=seen.append)
        assert summary.exit_code == 0
        pictures = [path.read_bytes() for path in sorted(out.glob("*.png"))]
        return pictures, {event.worker for event in seen.of(JobStarted)}

    alone, together = painted(1), painted(2)
    assert (alone[1], together[1]) == ({0}, {0, 1})
    assert len(set(alone[0])) == 4
    assert together[0] == alone[0]
