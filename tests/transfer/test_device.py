"""What is special to a kind of device: its memory, its tiles, and how memory that ran out is recognised."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from hires_nst.errors import ConfigError
from hires_nst.transfer import device
from hires_nst.transfer.device import (
    choose_device,
    describe_devices,
    free_memory,
    is_out_of_memory,
    largest_tensor,
    largest_tile,
    model_of,
    precision_of,
    release_memory,
    set_determinism,
    shares_host_memory,
    statistics_device,
    sums_half_precision,
    synchronise,
    unless_memory_runs_out,
)
from hires_nst.transfer.memory import free_host_memory

GIGA = 10**9


def test_the_largest_tile_is_known_without_torch() -> None:
    code = "import sys; from hires_nst.transfer.device import largest_tile; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert largest_tile("cuda") > largest_tile("mps") > largest_tile("cpu")
    assert largest_tensor("cuda") > largest_tensor("mps")


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


def test_rocm_is_torchs_cuda_by_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (3 * GIGA, 8 * GIGA))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "AMD Instinct")
    assert sums_half_precision(torch.device("cuda"))
    monkeypatch.setattr(torch.version, "hip", "7.0")
    assert describe_devices()[1] == "cuda:0 (AMD Instinct, ROCm 7.0, 3.0 GB free of 8.0 GB)"
    assert model_of(torch.device("cuda:0")) == "AMD Instinct"
    assert not sums_half_precision(torch.device("cuda"))


def test_apples_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    mps, done = torch.device("mps"), list[str]()
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="there is no device mps: torch finds no Apple GPU here"):
        choose_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 3 * GIGA)
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: 2 * GIGA)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 8 * GIGA)
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: done.append("emptied"))
    monkeypatch.setattr(torch.mps, "synchronize", lambda: done.append("waited"))
    assert choose_device("auto") == choose_device("mps") == mps
    assert choose_device("cpu").type == "cpu"
    for free, expected in ((64 * GIGA, 6 * GIGA), (GIGA, 2 * GIGA)):
        monkeypatch.setattr(device, "free_host_memory", lambda free=free: free)
        assert free_memory(mps) == expected
    assert describe_devices()[-1] == "mps (Apple GPU, 2.0 GB free)"
    assert model_of(mps).startswith("Apple GPU")
    assert statistics_device(mps) == torch.device("cpu")
    assert shares_host_memory(mps)
    assert precision_of("auto", mps) == torch.float32
    release_memory()
    synchronise(mps)
    assert done == ["emptied", "waited"]
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"))


def test_a_processor_has_float64_and_no_model() -> None:
    cpu = torch.device("cpu")
    assert statistics_device(cpu) == cpu
    assert model_of(cpu) == ""
    synchronise(cpu)


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
@pytest.mark.parametrize("kind", ["cpu", "cuda", "mps"])
def test_only_a_gpu_is_told_to_give_the_same_bytes(
    kind: str, deterministic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda mode, *, warn_only: told.append(mode))
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    set_determinism(torch.device(kind), deterministic=deterministic)
    assert told == ([] if kind == "cpu" else [deterministic])
    assert ("CUBLAS_WORKSPACE_CONFIG" in os.environ) == (kind == "cuda" and deterministic)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
