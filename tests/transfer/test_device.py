"""What is special to a kind of device: its memory, its tiles, and how memory that ran out is recognised."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from hires_nst.errors import ConfigError
from hires_nst.transfer.device import (
    choose_device,
    describe_devices,
    free_memory,
    is_out_of_memory,
    largest_tile,
    release_memory,
    set_determinism,
    unless_memory_runs_out,
)
from hires_nst.transfer.memory import free_host_memory

GIGA = 10**9


def test_the_largest_tile_is_known_without_torch() -> None:
    code = "import sys; from hires_nst.transfer.device import largest_tile; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert largest_tile("cuda") > largest_tile("cpu") == largest_tile("mps")


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (3 * GIGA, 8 * GIGA))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Some GPU")
    assert choose_device("auto") == torch.device("cuda")
    assert choose_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(ConfigError, match="there is no device cuda:1: torch finds 1 CUDA device here"):
        choose_device("cuda:1")
    processor, gpu = describe_devices()
    assert processor.startswith("cpu (")
    assert gpu == "cuda:0 (Some GPU, 3.0 GB free of 8.0 GB)"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    assert describe_devices() == (processor,)


def test_the_processors_memory_is_the_machines() -> None:
    assert free_memory(torch.device("cpu")) == pytest.approx(free_host_memory(), rel=0.2)


def test_what_torch_keeps_of_a_cuda_device_counts_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 * GIGA, 8 * GIGA))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 4 * GIGA)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: GIGA)
    assert free_memory(torch.device("cuda")) == 6 * GIGA


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            True,
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
        (OSError("out of memory"), False),
    ],
)
def test_out_of_memory_is_reported_from_other_errors(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_torch_says_so_in_words_that_are_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55)
    assert is_out_of_memory(caught.value)
    release_memory()


def test_work_that_needs_too_much_memory_gives_nothing() -> None:
    assert unless_memory_runs_out(lambda: 3) == 3
    assert unless_memory_runs_out(lambda: torch.empty(2**55)) is None
    with pytest.raises(RuntimeError, match="a bug"):
        unless_memory_runs_out(_fails)


def _fails() -> None:
    raise RuntimeError("a bug")


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_only_a_cuda_device_is_told_to_give_the_same_bytes(
    kind: str, deterministic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda mode, *, warn_only: told.append(mode))
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    set_determinism(torch.device(kind), deterministic=deterministic)
    assert told == ([deterministic] if kind == "cuda" else [])
    assert ("CUBLAS_WORKSPACE_CONFIG" in os.environ) == (kind == "cuda" and deterministic)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
