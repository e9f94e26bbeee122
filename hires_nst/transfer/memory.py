"""How much memory this machine has free, how much a tile needs, and the tile size that follows."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import psutil

from hires_nst.backbones.description import Backbone
from hires_nst.config import Loss, Optimizer, StyleLossName

SMALLEST_TILE = 64
"""Below this a tile is nearly all overlap."""

SAFETY = 1.4
"""Factor on the estimate for what the allocator and the libraries need in addition."""

FEATURE_COPIES: Mapping[StyleLossName, int] = MappingProxyType(
    {"mean-std": 2, "central-moments": 8, "wasserstein": 4, "sliced": 4, "neighbours": 6}
)
"""Copies of a layer's features, in float32, that an evaluation of a style loss needs with its graph where it is more
than one; estimates."""

PALETTE_BYTES = 40
"""A pixel's targets and errors, where the palette counts."""

CGROUP = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")
"""Lists the control groups of this process."""


@dataclass(frozen=True, kw_only=True)
class MemoryShare:
    """What a process may use of the memory that it shares with others like it.

    The parts are measured once, before any of these processes works, and not each time that one of them looks: it would
    get less the more the others have taken by chance, and the size of its tiles with it.

    Attributes:
        workers: of these processes on the same device.
        device: bytes of a GPU's own memory; None where it was not measured.
        host: bytes of this machine's memory; None for all that is free.
    """

    workers: int = 1
    device: int | None = None
    host: int | None = None

    def of_host(self, free: int) -> int:
        """Bytes that this process may still use of this machine's memory, of which so many are free."""
        return free if self.host is None else max(0, min(free, self.host - own_memory()))

    def of_device(self, free: int, *, used: int) -> int:
        """Bytes that this process may still use of a GPU's own memory, of which so many are free and it has `used`.

        Where its part was not measured, that is an equal part of what is free.
        """
        return free // self.workers if self.device is None else max(0, min(free, self.device - used))


ALONE = MemoryShare()
"""All that is free."""


def free_host_memory() -> int:
    """Bytes that are free in this machine, in the control groups of this process and under its limit on data."""
    groups = map(_free_in_group, _own_groups())
    return min([int(psutil.virtual_memory().available), _free_under_limit(), *groups])


def own_memory() -> int:
    """Bytes of memory that only this process has: not those of files and shared maps, as canvases are."""
    memory = psutil.Process().memory_info()
    return max(0, memory.rss - getattr(memory, "shared", 0))


def _free_under_limit() -> int:
    """Bytes that RLIMIT_DATA (`ulimit -d`) still allows this process; very many where there is no such limit."""
    try:
        import resource
    except ImportError:  # Windows
        return sys.maxsize
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    used = getattr(psutil.Process().memory_info(), "data", None)  # Linux
    return sys.maxsize if limit == resource.RLIM_INFINITY or used is None else max(0, limit - used)


def _own_groups() -> Iterator[Path]:
    """The folders of this process's control groups, of version 1 (the memory controller's) and 2, up to their roots.

    In a container the path may be that of the machine, of which the container sees the last part as the root.
    """
    roots = {CGROUP: "", CGROUP / "memory": ""}
    with suppress(OSError, ValueError):
        for line in OWN_CGROUP.read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0":
                roots[CGROUP] = path
            elif "memory" in controllers.split(","):
                roots[CGROUP / "memory"] = path
    for root, path in roots.items():
        own = root.joinpath(*(part for part in PurePosixPath(path).parts if part not in ("/", "..")))
        yield own
        yield from (folder for folder in own.parents if folder.is_relative_to(root))


def _free_in_group(folder: Path) -> int:
    """Bytes that a control group still allows; very many where it sets no limit.

    Cached files, such as canvases on disk, count as used there, but are evicted when memory is needed.
    """
    for limit, used, cached in (
        ("memory.max", "memory.current", ("active_file", "inactive_file")),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_active_file", "total_inactive_file")),
    ):
        with suppress(OSError, ValueError):  # it is of the other version, or its limit is "max"
            most, now = (int((folder / name).read_text()) for name in (limit, used))
            counters = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            return max(0, most - max(0, now - sum(int(counters.get(name, 0)) for name in cached)))
    return sys.maxsize


def tile_bytes_per_pixel(
    backbone: Backbone, layers: Collection[str], *, optimizer: Optimizer, half: bool, losses: Collection[Loss] = ()
) -> float:
    """An estimate of the bytes that one pixel of a tile's window needs during an optimisation.

    What autograd saves: the network's activations (see `Backbone.stored`), `FEATURE_COPIES` of those of the layers in
    the losses, and the indices of max pooling. On top, the few largest temporary activations, and the
    optimiser's vectors: L-BFGS's pairs, and about 14 others.
    """
    size, stored = 2 if half else 4, backbone.stored(layers)
    copies = max((FEATURE_COPIES.get(loss.style, 1) for loss in losses), default=1)
    saved = size * stored.values + 8 * stored.indices
    saved += sum(4 * copies * backbone.channels(layer) / backbone.stride(layer) ** 2 for layer in layers)
    saved += PALETTE_BYTES * any(loss.active_palette_weight for loss in losses)
    largest = size * stored.largest
    vectors = 14 + (2 * optimizer.history if optimizer.name == "lbfgs" else 0)
    pyramid = 1.0 if optimizer.pixels == "plain" else 4 / 3
    return SAFETY * (saved + 4 * largest + 12 * vectors * pyramid)


def automatic_tile_size(budget: int, bytes_per_pixel: float, *, overlap: int, stride: int, largest: int) -> int:
    """The side of the largest tile whose window fits into so many bytes, on the stride grid.

    Never below `SMALLEST_TILE` (where that does not fit, the run reports it) nor above `largest`.
    """
    window = int((budget / bytes_per_pixel) ** 0.5)
    return max(min(window - 2 * overlap, largest), SMALLEST_TILE) // stride * stride
