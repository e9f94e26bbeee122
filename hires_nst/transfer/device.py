"""What depends on the kind of device. torch is imported only in the functions that need it.

Kinds are `cpu`; `cuda`, which in torch's builds for ROCm means AMD's GPUs; and `mps`, Apple's GPU, which has no float64
and shares its memory with the processor. Statistics are in float64: on a device that has it, else on the CPU.
"""

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
    from torch import Tensor

Value = TypeVar("Value")
Repeat = Callable[["Tensor"], tuple["Tensor", ...]]
"""Does again what was recorded, for another argument."""

LARGEST_TENSOR = 2**31
"""Elements beyond which cuDNN is unsafe."""

LARGEST_TENSOR_MPS = 2**30
"""Elements of float32 beyond which arrays of Metal's are unsafe: 4 GB."""

_LARGEST_TILE = {"cpu": 1024, "cuda": 3072, "mps": 2048}
_OUT_OF_MEMORY = (
    *("can't allocate memory", "out of memory", "ALLOC_FAILED"),
    *("could not create a primitive", "could not create a memory object"),  # oneDNN's words for it
)


def choose_device(name: str) -> torch.device:
    """The device of that name; `auto` is the first CUDA device, or else Apple's GPU, or else the CPU.

    Raises:
        ConfigError: this machine or this build of torch does not have it.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    has_mps = torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if count else "mps" if has_mps else "cpu")
    device = torch.device(name)
    if device.type == "mps" and not has_mps:
        raise ConfigError("there is no device mps: torch finds no Apple GPU here; --device cpu works everywhere")
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
        name = torch.cuda.get_device_name(index) + (f", ROCm {torch.version.hip}" if torch.version.hip else "")
        found.append(f"cuda:{index} ({name}, {amount(free)} free of {amount(total)})")
    if torch.backends.mps.is_available():
        found.append(f"mps (Apple GPU, {amount(free_memory(torch.device('mps')))} free)")
    return tuple(found)


def model_of(device: torch.device) -> str:
    """The name of a GPU's model; empty for a processor, whose models are not told apart."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"Apple GPU, {platform.processor() or platform.machine()}" if device.type == "mps" else ""


def has_float64(device: torch.device) -> bool:
    """Whether a device computes in float64."""
    return device.type != "mps"


def statistics_device(device: torch.device) -> torch.device:
    """Where the statistics of what a device computes are: there, or on the CPU where it has no float64."""
    import torch

    return device if has_float64(device) else torch.device("cpu")


def exact(tensor: Tensor) -> Tensor:
    """The same in float64, on its `statistics_device`; differentiable."""
    return tensor.to(statistics_device(tensor.device)).double()  # first to where there is float64


def alike(values: Tensor, other: Tensor) -> Tensor:
    """The values in the type of another tensor and on its device; differentiable."""
    return values.to(other.dtype).to(other.device)  # while still where there is float64


def sums_half_precision(device: torch.device) -> bool:
    """Whether a device multiplies matrices of half precision with a result in float32 (not shown for ROCm)."""
    import torch

    return device.type == "cuda" and torch.version.hip is None


def shares_host_memory(device: torch.device) -> bool:
    """Whether tiles and canvases in memory are in the same memory."""
    return device.type != "cuda"


def synchronise(device: torch.device) -> None:
    """Wait until a device has done all that it was told."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def capture(function: Callable[[Tensor], tuple[Tensor, ...]], example: Tensor) -> Repeat | None:
    """A function of tensors like `example` as the kernels that it launches, recorded as a CUDA graph.

    What the function reads besides its argument is read at the same addresses again, and what it does on the host is
    not done again. The results of a call are tensors of their own.

    Returns:
        None on devices without it, and where the function cannot be recorded: it reads a number back, say, or there is
        too little memory for it.
    """
    import torch

    if example.device.type != "cuda":
        return None
    try:
        with torch.cuda.device(example.device):
            argument, aside = example.clone(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
            aside.wait_stream(torch.cuda.current_stream())
            # The stream is left here too: where a recording fails, torch.cuda.graph does not leave it.
            with torch.cuda.stream(aside):
                function(argument)  # once before: libraries choose kernels and take workspaces
                graph = torch.cuda.CUDAGraph()
                # Checkpoints are written in another thread meanwhile.
                with torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
                    results = function(argument)
            torch.cuda.current_stream().wait_stream(aside)
    except RuntimeError:
        torch.cuda.empty_cache()
        return None
    for result in results:  # so that a graph that does nothing is found out
        result.fill_(float("nan"))

    def repeat(tensor: Tensor) -> tuple[Tensor, ...]:
        argument.copy_(tensor)
        graph.replay()
        return tuple(result.clone() for result in results)

    return repeat


def precision_of(name: Precision, device: torch.device) -> torch.dtype:
    """The type of the activations: `auto` is bfloat16 where the device multiplies in it, else float32."""
    import torch

    if name == "auto":
        name = "bfloat16" if _multiplies_in_bfloat16(device) else "float32"
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def _multiplies_in_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for it; of processors, those with AVX512-BF16 or AMX; not known of `mps`."""
    import torch

    if device.type == "mps":
        return False
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = getattr(torch.cpu, "get_capabilities", dict[str, bool])()  # not in torch 2.11
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def set_determinism(device: torch.device, *, deterministic: bool) -> None:
    """Whether a GPU gives the same bytes each time, from now on in this process; a processor always does.

    cuBLAS reads its part when it starts, so the first run of a process decides for it. A kernel that torch has in no
    other form is used as it is, with torch's warning.
    """
    if device.type == "cpu":
        return
    import torch

    if deterministic and device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # slow; to find errors
    torch.use_deterministic_algorithms(deterministic, warn_only=True)


def largest_tile(kind: str) -> int:
    """Pixels of a tile's side beyond which nothing is gained on `cpu` (caches), `cuda` or `mps` (`largest_tensor`)."""
    return _LARGEST_TILE[kind]


def largest_tensor(kind: str) -> int:
    """Elements of a tensor beyond which a kind of device is unsafe."""
    return LARGEST_TENSOR_MPS if kind == "mps" else LARGEST_TENSOR


def set_threads(count: int) -> None:
    """Set the number of processor threads that torch uses."""
    import torch

    torch.set_num_threads(count)


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a device; for the processor, those of `free_host_memory`, which bound Apple's GPU too."""
    import torch

    if device.type == "cpu":
        return free_host_memory()
    if device.type == "mps":
        cached = torch.mps.driver_allocated_memory() - torch.mps.current_allocated_memory()
        room = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        return max(0, min(room, free_host_memory()) + cached)
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # torch's own, to use again
    return int(torch.cuda.mem_get_info(device)[0]) + int(cached)


def used_memory(device: torch.device) -> int:
    """Bytes of a CUDA device that the tensors of this process take; 0 before there are any."""
    import torch

    return int(torch.cuda.memory_allocated(device))


def release_memory() -> None:
    """Give what is kept for later back, to the system and to the GPUs in use."""
    import torch

    give_back_memory()
    torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out: a GPU's, the CPU allocator's, or Python's."""
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
