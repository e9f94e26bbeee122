"""The devices and processor cores of this machine, without torch."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Literal

from hires_nst.errors import ConfigError, nearest

EXECUTORS = ("local", "ray")


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
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    try:
        found = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    count = sum(line.startswith("GPU ") for line in found.splitlines())
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        named = [part.strip() for part in visible.split(",")]
        valid = named[: named.index("-1")] if "-1" in named else named
        count = min(count, sum(bool(part) for part in valid))
    return count


def cores() -> int:
    """Processor cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def check_executor(executor: str, *, address: str | None = None, ship: bool = False) -> None:
    """Raise ConfigError where there is no such executor, or the options of a cluster are given without one."""
    if executor not in EXECUTORS:
        raise ConfigError(f"there is no executor {executor!r}{nearest(executor, EXECUTORS)}")
    if executor != "ray" and (address is not None or ship):
        raise ConfigError(f"{'--ship' if ship else '--address'} requires --executor ray")
