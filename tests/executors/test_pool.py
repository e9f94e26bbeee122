"""Tiles that are shared out give the same bits as those of one process, whoever does them and whoever is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from hires_nst.config import Coupling, Loss, Optimizer, StyleLossName
from hires_nst.errors import HiresNstError, Interrupted
from hires_nst.executors import heartbeats, processes
from hires_nst.executors.heartbeats import Silences
from hires_nst.executors.messages import Done, Job, Lost, OutOfMemory, StartLevel, StartRound, packed, size_of, unpacked
from hires_nst.executors.pool import TilePool
from hires_nst.executors.processes import ProcessCrew
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.kept import KeptActivations
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.refine import refine_round
from hires_nst.transfer.rounds import OptimizerCanvases, Round, RoundListener, RoundResult, RoundStore, TileResult
from hires_nst.transfer.tasks import Executor, Finished, MakeTask, Task, TileTask
from hires_nst.transfer.tiles import Grid, Tile, make_grid
from hires_nst.transfer.weights import PixelWeights
from tests.executors.fakes import FakeCrew, Sleeping, setup_for
from tests.transfer.test_equivalence import LOSS, problem
from tests.transfer.test_regions import in_regions, ramp

ROOT = Path(__file__).parents[2]
HEIGHT, WIDTH = 96, 160
SETUP = setup_for(problem(HEIGHT, WIDTH)[0].extract.network)


def current(
    *,
    coupling: Coupling = "balanced",
    optimizer: str = "lbfgs",
    loss: Loss = LOSS,
    weighted: bool = False,
    regions: bool = False,
) -> Round:
    objective, content, canvas = problem(HEIGHT, WIDTH, loss=loss)
    if regions:
        mask = ramp(HEIGHT, WIDTH)
        objective, content, canvas = in_regions(mask, 1 - mask, loss=loss, content=mask, border=16)
    if weighted:  # and the third of the picture that is transparent has a tile that sees nothing
        alpha = np.ones((HEIGHT, WIDTH, 1), np.float32)
        alpha[:, :100] = 0.0
        alpha[:, 100:120] = 0.5
        objective = replace(objective, weights=PixelWeights.of(Canvas.of(alpha)), border=16)
    grid = make_grid(HEIGHT, WIDTH, size=48, stride=16, overlap=16)
    return Round(
        canvas=canvas, content_canvas=content, objective=objective, grid=grid, measure_grid=grid, coupling=coupling,
        optimizer=Optimizer.model_validate({"name": optimizer}), steps=2, optimizer_canvases=OptimizerCanvases(),
    )  # fmt: skip


def two_rounds(first: Round, executor: Executor | None = None, **options: Any) -> RoundResult:
    result = refine_round(first, executor=executor, **options)
    second = replace(first, canvas=result.canvas, optimizer_canvases=result.optimizer_canvases)
    return refine_round(second, executor=executor, **options)


def check_same(found: RoundResult, expected: RoundResult) -> None:
    np.testing.assert_array_equal(found.canvas.pixels, expected.canvas.pixels)
    assert (found.loss, found.steps) == (expected.loss, expected.steps)
    assert found.optimizer_canvases is not None
    assert expected.optimizer_canvases is not None
    assert found.optimizer_canvases.canvases.keys() == expected.optimizer_canvases.canvases.keys()
    for name, canvas in expected.optimizer_canvases.canvases.items():
        np.testing.assert_array_equal(found.optimizer_canvases.canvases[name].pixels, canvas.pixels)


class Parts(RoundStore):
    """Every second tile is cut into parts."""

    def parts_of(self, tile: Tile) -> Grid | None:
        if tile.index % 2:
            return None
        return make_grid(tile.window.height, tile.window.width, size=32, stride=16, overlap=16)


@pytest.mark.parametrize("kind", ["plain", "weighted", "regions"])
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("coupling", ["balanced", "independent"])
def test_any_number_of_workers_gives_the_same_bits(coupling: Coupling, optimizer: str, kind: str) -> None:
    first = current(coupling=coupling, optimizer=optimizer, weighted=kind == "weighted", regions=kind == "regions")
    expected = two_rounds(first)
    for workers in (1, 2, 3):
        with TilePool(FakeCrew(workers, SETUP)) as pool:
            check_same(two_rounds(first, pool), expected)


@pytest.mark.parametrize("style", ["gram", "mean-std", "wasserstein"])
def test_other_losses(style: StyleLossName) -> None:
    first = current(loss=LOSS.model_copy(update={"style": style}))
    with TilePool(FakeCrew(2, SETUP)) as pool:
        check_same(two_rounds(first, pool), two_rounds(first))


def test_tiles_in_parts_and_activations_that_are_kept() -> None:
    first = current(weighted=True)
    expected = two_rounds(first, store=Parts())
    crew = FakeCrew(2, SETUP)
    check_same(two_rounds(first, TilePool(crew), store=Parts()), expected)
    tasks = [message.task for message in crew.sent if isinstance(message, Job)]
    contents = [task.content is None for task in tasks if isinstance(task, TileTask)]
    assert contents.count(True) == contents.count(False), "the photograph's windows travel once a level"


def test_what_travels_are_windows_and_statistics() -> None:
    first = current()
    crew = FakeCrew(2, SETUP)
    two_rounds(first, TilePool(crew))
    kinds = [type(message) for message in crew.sent]
    assert kinds.count(StartLevel) == 2
    assert kinds.count(StartRound) == 2 * 2 * 2  # workers, rounds, before and after the measurement
    window = max(tile.window.area for tile in first.grid.tiles)
    largest = max(size_of(packed(message)) for message in crew.sent)
    assert largest < (3 + 3 + 6) * 8 * window + 10_000  # image, photograph, two tensors of the optimiser


def test_a_slow_worker_gets_fewer_tiles() -> None:
    crew = FakeCrew(2, SETUP, pace=(1, 5))
    two_rounds(current(), TilePool(crew))
    assert crew.done[1] < crew.done[0] / 2


def test_what_is_stored_is_not_done_again() -> None:
    first, stored = current(), dict[int, TileResult]()

    class Stored(RoundStore):
        def load_tile(self, tile: Tile) -> TileResult | None:
            return stored.get(tile.index)

        def save_tile(self, tile: Tile, result: TileResult, *, on_saved: Any) -> None:
            stored[tile.index] = result
            on_saved()

    expected = refine_round(first, store=Stored())
    for index in (0, 3, 4):
        del stored[index]
    crew = FakeCrew(2, SETUP)
    check_same(refine_round(first, store=Stored(), executor=TilePool(crew)), expected)
    assert sum(crew.done.values()) == 3 + len(first.measure_grid.tiles)


def test_workers_that_are_lost_cost_their_tiles() -> None:
    first, lost, jobs = current(), list[str](), 0

    def trouble(number: int, job: Job) -> Lost | None:
        nonlocal jobs
        jobs += 1
        return Lost(f"number {number}") if jobs in (2, 9) else None

    pool = TilePool(FakeCrew(3, SETUP, trouble=trouble), on_lost=lost.append)
    check_same(two_rounds(first, pool), two_rounds(first))
    assert len(lost) == 2
    jobs = 8
    with pytest.raises(HiresNstError, match=r"no worker is left for the tiles: the last one was lost \(number .\)"):
        two_rounds(first, pool)


def test_memory_that_runs_out_elsewhere_is_raised_after_the_others_are_done() -> None:
    finished: list[int] = []

    class Listener(RoundListener):
        def tile_finished(self, tile: int, *, loss: float, seconds: float, steps: int) -> None:
            finished.append(tile)

    def trouble(number: int, job: Job) -> OutOfMemory | None:
        is_first = isinstance(job.task, TileTask) and job.task.window.top == job.task.window.left == 0
        return OutOfMemory(job.number, "CUDA out of memory") if is_first else None

    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        refine_round(current(), executor=TilePool(FakeCrew(2, SETUP, trouble=trouble)), listener=Listener())
    assert finished
    assert 0 not in finished


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The time by which silences are measured."""
    now = [0.0]
    monkeypatch.setattr(heartbeats, "time", SimpleNamespace(monotonic=lambda: now[0]))
    yield now


def test_silences_leave_out_when_nobody_looked(clock: list[float]) -> None:
    silences = Silences(100.0)
    silences.heard(7)
    for now, silence in ((45.0, 45.0), (90.0, 90.0), (3600.0, 0.0), (3640.0, 40.0)):
        clock[0] = now
        silences.look()
        assert silences.of(7) == silence


@pytest.mark.parametrize(("answered", "limit"), [(1, 100.0), (0, 200.0)])
def test_a_worker_whose_task_takes_far_too_long_is_lost(answered: int, limit: float, clock: list[float]) -> None:
    """It is measured by what others took, also where it never did a task; before they are done, nobody is lost."""
    stuck_at: list[float] = []
    slowest = 10.0 if limit == 200 else 0.1

    class Stuck(FakeCrew):
        def _do(self, number: int, message: Any, answers: list[tuple[int, Any]]) -> None:
            if number == 1 and (stuck_at or (isinstance(message, Job) and self.done[1] == answered)):
                stuck_at.append(clock[0])
                return
            super()._do(number, message, answers)

        def wait(self, seconds: float) -> Sequence[tuple[int, Any]]:
            found = super().wait(seconds)
            clock[0] += 0 if found else 10
            return [
                (number, replace(message, seconds=slowest) if isinstance(message, Done) else message)
                for number, message in found
            ]

        def end(self, number: int, reason: str) -> None:
            ended.append((number, clock[0]))
            super().end(number, reason)

    ended, lost = list[tuple[int, float]](), list[str]()
    pool = TilePool(Stuck(2, SETUP, pace=(2, 1)), on_lost=lost.append, lease_seconds=100.0)
    check_same(two_rounds(current(), pool), two_rounds(current()))
    assert lost == [f"a tile took more than {limit:.0f} s, and others at most {slowest:.3g} s"]
    ((number, then),) = ended
    assert number == 1
    assert limit - 40 < then - stuck_at[0] < limit + 40


def test_an_error_of_a_task_ends_its_worker() -> None:
    first = current()
    broken = replace(first, optimizer=first.optimizer.model_copy(update={"name": "none"}))
    with pytest.raises(HiresNstError, match=r"no worker is left .* \(\w*Error: "):
        refine_round(broken, executor=TilePool(FakeCrew(2, SETUP)))


def test_messages_keep_layouts() -> None:
    image = torch.rand(1, 3, 4, 5).to(memory_format=torch.channels_last)
    cases = [image, image[:, :, 1:3], torch.rand(6)[::2], torch.zeros(0, 3), torch.tensor(2.5, dtype=torch.float64)]
    cases += [image.bfloat16(), image > 0.5]
    for case in cases:
        for buffers in (packed(case), [bytes(part) for part in packed(case)]):
            found = unpacked(buffers)
            assert torch.equal(found, case)
            assert found.dtype == case.dtype
            found.copy_(case)  # writable
    assert unpacked(packed(image)).stride() == image.stride()


# Processes.


@pytest.fixture
def crew() -> Iterator[ProcessCrew]:
    made = ProcessCrew([SETUP, SETUP], lease_seconds=60)
    yield made
    made.close()


def all_ready(crew: ProcessCrew) -> ProcessCrew:
    """The same when all of its processes may be given work."""
    messages = list[tuple[int, Any]]()
    while len(messages) < len(crew.numbers):
        messages += crew.wait(1)
    for message in messages:
        crew.inbox.put(message)
    return crew


def gone(pids: list[int], seconds: float = 20.0) -> bool:
    """Whether processes end in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids):
            return True
        time.sleep(0.05)
    return False


class Killer(RoundListener):
    """Sends processes a signal at the first step of any tile."""

    def __init__(self, pids: list[int], kind: int = signal.SIGKILL) -> None:
        self.pids, self.kind = pids, kind

    def step_finished(self, tile: int, step: int, *, loss: float) -> None:
        while self.pids:
            os.kill(self.pids.pop(), self.kind)


def test_processes_one_of_which_is_killed(crew: ProcessCrew) -> None:
    first, lost = current(weighted=True), list[str]()
    expected = two_rounds(first)
    pool = TilePool(crew, on_lost=lost.append)
    check_same(two_rounds(first, pool), expected)
    check_same(two_rounds(first, pool, listener=Killer([*crew.pids][:1])), expected)
    assert len(lost) == 1
    assert "killed by SIGKILL, as the system does when memory runs out, on cpu" in lost[0]
    with pytest.raises(HiresNstError, match=r"no worker is left for the tiles: .* killed by SIGKILL"):
        two_rounds(first, pool, listener=Killer([*crew.pids]))


def test_a_process_that_is_stopped() -> None:
    first, lost = current(), list[str]()
    crew = ProcessCrew([SETUP, SETUP], lease_seconds=3.0)
    pids = [*crew.pids]
    with TilePool(all_ready(crew), on_lost=lost.append) as pool:
        check_same(two_rounds(first, pool, listener=Killer(pids[:1], signal.SIGSTOP)), two_rounds(first))
        assert lost == ["the worker process stopped responding and was killed, on cpu"]
        assert gone(pids[:1])


def test_a_process_whose_task_never_ends() -> None:
    """Its heartbeats go on."""
    first, lost, slept = current(), list[str](), list[Tile]()

    class Hanging(TilePool):
        def run(self, objective: Objective, tiles: Any, *, make: MakeTask, **rest: Any) -> Iterator[Finished]:
            def sleeping(tile: Tile, keeps: Any) -> Task:
                if tile.index != 3 or slept:
                    return make(tile, keeps)
                slept.append(tile)
                return Sleeping()

            return super().run(objective, tiles, make=sleeping, **rest)

    crew = ProcessCrew([SETUP, SETUP], lease_seconds=60)
    with Hanging(all_ready(crew), on_lost=lost.append, lease_seconds=2.0) as pool:
        check_same(two_rounds(first, pool), two_rounds(first))
    assert len(slept) == len(lost) == 1
    assert lost[0].startswith("a tile took more than ")
    assert lost[0].endswith(" s, on cpu")


def test_processes_that_do_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "START_SECONDS", 0.05)
    with (
        TilePool(ProcessCrew([SETUP], lease_seconds=60)) as pool,
        pytest.raises(HiresNstError, match="stopped responding"),
    ):
        two_rounds(current(), pool)


def test_an_interruption_is_prompt_and_leaves_no_process(crew: ProcessCrew) -> None:
    first, pids, looks = current(), [*crew.pids], 0

    def check_stop() -> None:
        nonlocal looks
        looks += 1
        if looks > 20:
            raise Interrupted("stopped")

    extract = replace(first.objective.extract, check_stop=check_stop)
    endless = replace(first, objective=replace(first.objective, extract=extract), steps=10**6)
    with TilePool(crew) as pool, pytest.raises(Interrupted):
        refine_round(endless, executor=pool)
    assert gone(pids, 5)


def test_an_error_in_the_making_of_a_task_is_raised(crew: ProcessCrew) -> None:
    class Broken(RoundStore):
        def parts_of(self, tile: Tile) -> Grid | None:
            raise ValueError("a bug")

    with TilePool(crew) as pool, pytest.raises(ValueError, match="a bug"):
        refine_round(current(), executor=pool, store=Broken())


ORPHANED = """
import os, signal
from tests.executors.test_pool import SETUP, ProcessCrew
crew = ProcessCrew([SETUP, SETUP], lease_seconds=60)
print(*crew.pids, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_with_their_parent() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ORPHANED], capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert gone([int(pid) for pid in ended.stdout.split()], 60)


def test_kept_activations_are_asked_for_by_key() -> None:
    kept = KeptActivations(100)
    assert "a" not in kept
    kept.get("a", lambda: {"x": torch.zeros(1)})
    assert "a" in kept
