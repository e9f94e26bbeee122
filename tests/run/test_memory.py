"""The memory that runs share: its parts, and that the tiles of several workers on a GPU are those of one alone."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hires_nst import Config
from hires_nst.run import context
from hires_nst.run.context import RunContext, open_context
from hires_nst.run.memory import gpu_bytes
from hires_nst.run.output_size import OutputSize
from hires_nst.transfer import memory
from hires_nst.transfer.levels import schedule
from hires_nst.transfer.memory import ALONE, MemoryShare
from hires_nst.transfer.tiles import Grid

GIGA = 10**9


def opened(size: tuple[int, int] = (64, 64), *, share: MemoryShare = ALONE, **sections: Any) -> RunContext:
    config = Config.model_validate({"runtime": {"device": "cpu", "precision": "float32"}} | sections)
    return open_context(config, OutputSize(width=size[0], height=size[1], crop=(0, 0, *size), dpi=None), share=share)


def test_a_share_is_what_the_process_has_and_may_still_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "own_memory", lambda: 30)
    share = MemoryShare(workers=4, device=200, host=100)
    assert [share.of_host(free) for free in (1000, 70, 50)] == [70, 70, 50]
    assert [share.of_device(free, used=150) for free in (1000, 20)] == [50, 20]
    assert MemoryShare(host=20).of_host(1000) == MemoryShare(device=20).of_device(1000, used=30) == 0
    assert MemoryShare(workers=4).of_device(1000, used=150) == 250, "what nobody measured is divided"
    assert (ALONE.of_host(1000), ALONE.of_device(1000, used=150)) == (1000, 1000)


def test_workers_of_a_batch_divide_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "free_memory", lambda device: 16 * GIGA)
    monkeypatch.setattr(context, "free_host_memory", lambda: 16 * GIGA)
    monkeypatch.setattr(memory, "own_memory", lambda: 0)
    monkeypatch.setattr(context, "own_memory", lambda: 0)
    share = MemoryShare(workers=4, host=4 * GIGA)
    for setting, alone in ((0.8, 12.8), ("8 GB", 8.0)):
        runtime = {"device": "cpu", "precision": "float32", "memory": setting}
        assert opened(runtime=runtime).budget() == int(alone * GIGA)
        assert opened(runtime=runtime, share=share).budget() == int(alone * GIGA) // 4
    assert not opened((10_000, 8_000)).on_disk  # 3.4 GB
    assert opened((10_000, 8_000), share=share).on_disk


@pytest.mark.parametrize("size", [(300, 200), (1200, 800), (2400, 1600), (9000, 6000)])
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_that_fit_on_a_gpu_have_the_tiles_of_one_alone(
    workers: int, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A processor plays the GPU."""
    config = Config.model_validate({"runtime": {"precision": "float32"}})
    gpu = SimpleNamespace(device=torch.device("cuda"), network=SimpleNamespace(precision=torch.float32))
    monkeypatch.setattr(context, "used_memory", lambda device: 10**8)
    need = gpu_bytes(config, size)

    def tiles(free: int, share: MemoryShare) -> list[Grid]:
        monkeypatch.setattr(context, "free_memory", lambda device: free)
        found = replace(opened(size, share=share), extract=gpu, config=config)  # type: ignore[arg-type]
        levels = schedule(size[1], size[0], levels=config.levels)
        return [
            found.grid(*level.canvas_size, size=found.tile_size(level), shifted=shifted)
            for level in levels
            for shifted in (False, True)
        ]

    alone = tiles(1000 * GIGA, ALONE)
    free = int(workers * need / 0.8) + workers
    assert tiles(free, MemoryShare(workers=workers, device=free // workers)) == alone
    assert tiles(need // 10, MemoryShare(workers=workers, device=free // workers)) != alone, "what is free is the bound"
