"""How much memory there is, how much a tile needs, and the tile size that follows."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import psutil
import torch

from hires_nst.backbones.registry import Backbone, Conv
from hires_nst.config import Optimizer

LARGEST_TILE = {"cpu": 1024, "cuda": 3072}
"""Pixels of a tile's side beyond which nothing is gained: caches on a CPU, 2^31 elements of a tensor in cuDNN."""

SMALLEST_TILE = 64
"""Below this a tile is nearly all overlap."""

SAFETY = 1.3
"""Factor on the estimate for what the allocator and the libraries take besides."""

_CGROUP = (("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),)


def free_memory(device: torch.device) -> int:
    """Bytes that are free: on the CUDA device, or in this machine and its control group."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = int(psutil.virtual_memory().available)
    for limit_file, used_file in _CGROUP:
        try:
            limit, used = Path(limit_file).read_text().strip(), Path(used_file).read_text().strip()
        except OSError:
            continue
        if limit.isdigit():
            free = min(free, max(0, int(limit) - int(used)))
    return free


def tile_bytes_per_pixel(backbone: Backbone, layers: Collection[str], optimizer: Optimizer, *, half: bool) -> float:
    """An estimate of the bytes that one pixel of a tile's window needs during an optimisation.

    What autograd keeps: the rectified activations and the poolings' indices (the weights are frozen, so the
    convolutions keep no inputs). On top, the few largest activations in passing, and the optimiser's vectors.
    """
    size = 2 if half else 4
    kept, largest, stride = 0.0, 0.0, 1
    needed = set(layers)
    channels = 3
    for step in backbone.steps:
        if not needed:
            break
        if isinstance(step, Conv):
            channels = step.out_channels
            kept += size * channels / stride**2
            largest = max(largest, size * channels / stride**2)
            needed.discard(step.name)
        else:
            stride *= 2
            kept += (8 + size) * channels / stride**2
    vectors = 2 * optimizer.history + 6 if optimizer.name == "lbfgs" else 6
    return SAFETY * (kept + 4 * largest + 12 * vectors)


def automatic_tile_size(
    free: int, bytes_per_pixel: float, *, fraction: float, overlap: int, stride: int, device: torch.device
) -> int:
    """The side of the largest tile whose window fits into `fraction` of the free memory, on the stride grid.

    Never below `SMALLEST_TILE` (where memory does not suffice, the run will say so) nor above `LARGEST_TILE`.
    """
    window = int((free * fraction / bytes_per_pixel) ** 0.5)
    size = min(window - 2 * overlap, LARGEST_TILE.get(device.type, 1024))
    return max(size, SMALLEST_TILE) // stride * stride


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out: CUDA's, the CPU allocator's, or Python's."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text)


def release(device: torch.device) -> None:
    """Give cached memory back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
