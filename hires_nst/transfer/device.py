"""What depends on the kind of device, CUDA or CPU. torch is imported only in the functions that need it."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from hires_nst.config import Precision
from hires_nst.errors import ConfigError
from hires_nst.quantities import amount
from hires_nst.transfer.allocator import give_back_memory
from hires_nst.transfer.memory import free_host_memory

if TYPE_CHECKING:
    import torch

Value = TypeVar("Value")

LARGEST_TENSOR = 2**31
"""Elements beyond which cuDNN is unsafe."""

_LARGEST_TILE = {"cpu": 1024, "cuda": 3072}
_OUT_OF_MEMORY = (
    *("can't allocate memory", "out of memory", "ALLOC_FAILED"),
    *("could not create a primitive", "could not create a memory object"),  # oneDNN's words for it
)


def choose_device(name: str) -> torch.device:
    """The device of that name; `auto` is the first CUDA device, or else the CPU.

    Raises:
        ConfigError: this machine or this build of torch does not have it.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= count:
        found = f"{count} CUDA device{'s' if count != 1 else ''}" if count else "no CUDA device"
        raise ConfigError(f"there is no device {name}: torch finds {found} here; --device cpu works everywhere")
    return device


def describe_devices() -> tuple[str, ...]:
    """Each device of this machine in a few words."""
    import torch

    found = [f"cpu ({platform.processor() or platform.machine()})"]
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(index)
        found.append(f"cuda:{index} ({torch.cuda.get_device_name(index)}, {amount(free)} free of {amount(total)})")
    return tuple(found)


def precision_of(name: Precision, device: torch.device) -> torch.dtype:
    """The type of the activations: `auto` is bfloat16 where the device multiplies in it, else float32."""
    import torch

    if name == "auto":
        name = "bfloat16" if _multiplies_in_bfloat16(device) else "float32"
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def _multiplies_in_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for it; of processors, those with AVX512-BF16 or AMX."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = getattr(torch.cpu, "get_capabilities", dict[str, bool])()  # not in torch 2.11
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def set_determinism(device: torch.device, *, deterministic: bool) -> None:
    """Whether a CUDA device gives the same bytes each time, from now on in this process; a processor always does.

    cuBLAS reads its part when it starts, so the first run of a process decides for it. A kernel that torch has in no
    other form is used as it is, with torch's warning.
    """
    if device.type != "cuda":
        return
    import torch

    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # slow; to find errors
    torch.use_deterministic_algorithms(deterministic, warn_only=True)


def largest_tile(kind: str) -> int:
    """Pixels of a tile's side beyond which nothing is gained on `cpu` (caches) or `cuda` (`LARGEST_TENSOR`)."""
    return _LARGEST_TILE.get(kind, _LARGEST_TILE["cpu"])


def set_threads(count: int) -> None:
    """Set the number of processor threads that torch uses."""
    import torch

    torch.set_num_threads(count)


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a device; for the processor, those of `free_host_memory`."""
    import torch

    if device.type != "cuda":
        return free_host_memory()
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # torch's own, to use again
    return int(torch.cuda.mem_get_info(device)[0]) + int(cached)


def release_memory() -> None:
    """Give what is kept for later back, to the system and to the CUDA devices in use."""
    import torch

    give_back_memory()
    torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out: CUDA's, the CPU allocator's, or Python's."""
    import torch

    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(sign in text for sign in _OUT_OF_MEMORY)


def unless_memory_runs_out(work: Callable[[], Value]) -> Value | None:
    """What `work` returns, or None when memory ran out; by then the error and its tensors are released."""
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    return None
