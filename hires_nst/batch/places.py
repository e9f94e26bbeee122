"""Where the workers of a batch on this machine are: how many on each GPU, and what each may use of the memory there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hires_nst.batch.job import Job
from hires_nst.config import Batch, Config, Runtime
from hires_nst.executors.devices import GpuState, devices, gpu_states, worker_devices
from hires_nst.processors import cores
from hires_nst.run.memory import gpu_bytes
from hires_nst.transfer.memory import ALONE, MemoryShare, free_host_memory

MOST_ON_GPU = 4
"""Workers on a GPU for small pictures, which leave it idle while they are prepared, decoded and written."""

LARGE_PIXELS = 4_000_000
"""A larger picture keeps a GPU busy by itself: one more worker decodes the next picture and writes the last one."""

MOST_WITH_LARGE = 2
"""Workers on a GPU where a picture of the batch is that large."""

CORES_FOR_WORKER = 2
"""Processor cores that a worker on a GPU needs at least: it decodes, encodes, and tells the GPU what to do."""

BUSY_PERCENT = 20
"""From this utilization on, a GPU does the work of others; a desktop needs less."""


@dataclass(frozen=True)
class Place:
    """Where a worker paints: its device, and what it may use of the memory."""

    device: str
    share: MemoryShare = ALONE


def worker_places(jobs: Sequence[Job], *, batch: Batch, runtime: Runtime) -> list[Place]:
    """The place of each worker of a batch; those that come first are on different devices.

    The memory is measured now, and divided equally. Neither torch nor the GPUs are asked, only nvidia-smi.
    """
    found = devices(runtime.device)
    on_gpus = any(device.startswith("cuda") for device in found)
    states: Mapping[str, GpuState] | None = None
    if batch.workers == "auto" and on_gpus:
        if batch.workers_per_gpu == "auto":
            states = gpu_states()
            counts = _counts(found, states, jobs=jobs, runtime=runtime)
        else:
            counts = dict.fromkeys(found, batch.workers_per_gpu)
        names = [device for turn in range(max(counts.values())) for device in found if turn < counts[device]]
    else:
        names = worker_devices(batch.workers, runtime.device)
    if len(names) == 1:
        return [Place(names[0])]
    if states is None and on_gpus and len(names) > len(set(names)):
        states = gpu_states()
    host = free_host_memory() // len(names)
    shares = {name: _share(names.count(name), (states or {}).get(name), host=host) for name in names}
    return [Place(name, shares[name]) for name in names]


def _share(workers: int, state: GpuState | None, *, host: int) -> MemoryShare:
    """The share of each of so many workers on a device."""
    measured = None if state is None or workers == 1 else state.free // workers
    return MemoryShare(workers=workers, device=measured, host=host)


def _counts(
    found: Sequence[str], states: Mapping[str, GpuState], *, jobs: Sequence[Job], runtime: Runtime
) -> dict[str, int]:
    """How many workers each of these GPUs gets; one where nothing is known of it or others keep it busy."""
    counts = dict.fromkeys(found, 1)
    idle = [device for device in found if device in states and states[device].utilization < BUSY_PERCENT]
    most = min(cores() // CORES_FOR_WORKER // len(found), -(-len(jobs) // len(found)))
    if not idle or most < 2:
        return counts
    largest, need = max(job.pixels for job in jobs), _most_bytes(jobs)
    most = min(most, MOST_ON_GPU if largest <= LARGE_PIXELS else MOST_WITH_LARGE)
    for device in idle:
        counts[device] = max(1, min(most, runtime.budget(states[device].free) // need))
    return counts


def _most_bytes(jobs: Sequence[Job]) -> int:
    """The most that one of the jobs needs of a GPU's memory."""
    settings: dict[int, tuple[Config, int, int]] = {}  # by identity: many jobs share theirs
    for job in jobs:
        _, width, height = settings.get(id(job.config), (job.config, 1, 1))
        width, height = (max(most, side) for most, side in zip((width, height), job.size or (1, 1), strict=True))
        settings[id(job.config)] = job.config, width, height
    return max(gpu_bytes(config, (width, height)) for config, width, height in settings.values())
