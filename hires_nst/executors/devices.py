"""The devices and processor cores of this machine, without torch."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import Literal

from hires_nst.errors import ConfigError, nearest

EXECUTORS = ("local", "ray")

NVIDIA_SMI_SECONDS = 30
"""The most that nvidia-smi may take; it starts the driver where nothing else uses a GPU."""


@dataclass(frozen=True)
class GpuState:
    """What a GPU has left: bytes of its memory that are free, and the percentage of the time in which it was busy."""

    free: int
    utilization: int


def worker_devices(workers: int | Literal["auto"], device: str) -> list[str]:
    """The device of each worker, for `batch.workers` and `runtime.device`."""
    found = devices(device)
    return [found[number % len(found)] for number in range(len(found) if workers == "auto" else workers)]


def tile_devices(workers: int | Literal["auto"] | None, device: str) -> list[str]:
    """The device of each worker of one picture, for `runtime.workers` and `runtime.device`."""
    return [device] if workers is None else worker_devices(workers, device)


def sharing(workers: int | Literal["auto"] | None, device: str) -> int:
    """The most workers of one picture that share the memory of a device."""
    places = tile_devices(workers, device)
    return max(map(places.count, places))


def devices(device: str) -> list[str]:
    """The devices that workers use, for `runtime.device`: every CUDA device for auto and cuda, or else that one.

    This does not ask torch, which takes seconds to load and claims memory on the device.
    """
    if device not in ("auto", "cuda"):
        return [device]
    count = cuda_devices()
    return [f"cuda:{number}" for number in range(count)] or [device]


def cuda_devices() -> int:
    """How many CUDA devices a process on this machine will see."""
    count, visible = sum(line.startswith("GPU ") for line in _nvidia_smi("-L")), _visible()
    return count if visible is None else min(count, len(visible))


def gpu_states() -> dict[str, GpuState]:
    """What the CUDA devices that a process on this machine will see have left, by name (`cuda:0`).

    Devices of which nvidia-smi does not tell are missing, such as parts of one (MIG). Its numbers are taken for CUDA's,
    which are the same where all GPUs are of one model, or with CUDA_DEVICE_ORDER=PCI_BUS_ID.
    """
    found: dict[str, GpuState] = {}
    query = "--query-gpu=index,memory.free,utilization.gpu"
    for line in _nvidia_smi(query, "--format=csv,noheader,nounits"):
        index, *values = (part.strip() for part in line.split(","))
        if len(values) == 2 and all(value.isdecimal() for value in values):
            found[index] = GpuState(int(values[0]) * 2**20, int(values[1]))
    visible = _visible()
    if visible is None:
        return {f"cuda:{name}": state for name, state in found.items()}
    return {f"cuda:{number}": found[name] for number, name in enumerate(visible) if name in found}


def _nvidia_smi(*arguments: str) -> list[str]:
    """The lines that nvidia-smi prints; none where it is missing or fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=NVIDIA_SMI_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.splitlines()


def _visible() -> list[str] | None:
    """The GPUs that CUDA_VISIBLE_DEVICES names, by number or otherwise; None where it is not set."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return None
    named = [part.strip() for part in visible.split(",")]
    return [part for part in (named[: named.index("-1")] if "-1" in named else named) if part]


def check_executor(executor: str, *, address: str | None = None, ship: bool = False) -> None:
    """Raise ConfigError where there is no such executor, or the options of a cluster are given without one."""
    if executor not in EXECUTORS:
        raise ConfigError(f"there is no executor {executor!r}{nearest(executor, EXECUTORS)}")
    if executor != "ray" and (address is not None or ship):
        raise ConfigError(f"{'--ship' if ship else '--address'} requires --executor ray")
