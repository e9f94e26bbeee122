"""What all levels of a run share: the device, the network, the place of canvases and the size of tiles."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from hires_nst.backbones.description import Backbone
from hires_nst.config import Config
from hires_nst.errors import InputError
from hires_nst.events import OnEvent, ignore
from hires_nst.executors.devices import sharing
from hires_nst.quantities import parse_amount
from hires_nst.run.cache import Cache
from hires_nst.run.disk_space import overlap_of
from hires_nst.run.memory import pixel_bytes, window_bytes
from hires_nst.run.output_size import OutputSize
from hires_nst.transfer.allocator import give_back_memory, keep_freed_memory
from hires_nst.transfer.canvas import Canvas, Place
from hires_nst.transfer.device import (
    choose_device,
    free_memory,
    largest_tensor,
    largest_tile,
    set_determinism,
    shares_host_memory,
    used_memory,
)
from hires_nst.transfer.extractor import Extractor, network_of, padding_of
from hires_nst.transfer.levels import Level, schedule
from hires_nst.transfer.memory import ALONE, MemoryShare, automatic_tile_size, free_host_memory, own_memory
from hires_nst.transfer.tasks import Executor
from hires_nst.transfer.tiles import Grid, make_grid

MEASURE_FACTOR = 2
"""Tiles of evaluations without a graph are this much larger, in about the memory of those with one."""

DEVICE_SHARE = 4
"""Canvases on a GPU take at most this part of its free memory; the tiles need most of it."""


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What all levels of a run share.

    Attributes:
        extract, extract_whole: the network, and the one for images whose edges no working border keeps away: the style
            images, and the coarsest level, where layers see further than its border is wide.
        check_stop: called at every point where the run may end; it raises `Interrupted` to stop it.
        cache: of networks and statistics, which other runs in this process may share.
        long_edge: of the result, in pixels.
        style_key: everything besides the level that the style statistics depend on.
        sharing: workers of this run that share its memory of the device, each with a tile.
        share: what the run may use of the memory that other runs use too.
        executor: does the tiles elsewhere; None does them in this process.
    """

    config: Config
    backbone: Backbone
    extract: Extractor
    extract_whole: Extractor
    place: Place
    on_disk: bool
    overlap: int
    emit: OnEvent
    check_stop: Callable[[], None]
    cache: Cache
    long_edge: int
    style_key: Hashable
    sharing: int = 1
    share: MemoryShare = ALONE
    executor: Executor | None = None

    @property
    def precision(self) -> str:
        """Of the network: `float32` or `bfloat16`."""
        return str(self.extract.network.precision).removeprefix("torch.")

    def tile_size(self, level: Level) -> int:
        """The side of a level's tiles; the coarsest level is one tile if memory allows."""
        device, area, taken = self.extract.device, level.canvas_area, 0
        in_host_memory = shares_host_memory(device) and not self.on_disk
        if in_host_memory or canvases_device(self, level).type != "cpu":  # the level's canvases come first
            taken = area * pixel_bytes(self.config)
        budget = self.budget(taken)
        size = automatic_tile_size(
            budget // self.sharing, self.bytes_per_pixel(), overlap=self.overlap, stride=self.config.stride,
            largest=largest_tile(device.type),
        )  # fmt: skip
        if level.index == 0:
            elements = area * self.backbone.stored(self.config.layers).largest
            if area * self.bytes_per_pixel() < budget and elements < largest_tensor(device.type):
                return max(*level.canvas_size, self.config.stride)
        return size if self.config.tiles.size == "auto" else max(self.config.tiles.size, self.config.stride)

    def budget(self, taken: int = 0) -> int:
        """Bytes to use on the device, where so many are taken; of an amount also what the process has already."""
        runtime, device = self.config.runtime, self.extract.device
        own = own_memory() if isinstance(runtime.memory, str) and device.type == "cpu" else 0
        return runtime.budget(room(self), taken=taken + own, workers=self.share.workers)

    def trim(self) -> None:
        """Give freed memory back to the system where the process has more than half of `runtime.memory`, an amount.

        The allocator keeps what is freed, in blocks that seldom serve windows of other sizes.
        """
        memory = self.config.runtime.memory
        if isinstance(memory, str) and own_memory() > parse_amount(memory) // self.share.workers // 2:
            give_back_memory()

    def bytes_per_pixel(self, steps: int | None = None) -> float:
        """Memory per pixel of a tile's window while it is optimised, for so many steps or for any number of them."""
        return window_bytes(self.config, half=self.extract.network.precision.itemsize < 4, steps=steps)

    def grid(self, height: int, width: int, *, size: int, shifted: bool = False, overlap: int | None = None) -> Grid:
        """The tiles of an image."""
        return make_grid(
            height, width, size=size, stride=self.config.stride, overlap=self.overlap if overlap is None else overlap,
            shifted=shifted,
        )  # fmt: skip

    def measure_grid(self, height: int, width: int, *, size: int) -> Grid:
        """Larger tiles for evaluations without a graph."""
        return self.grid(height, width, size=size * MEASURE_FACTOR, overlap=0)


def room(context: RunContext) -> int:
    """Bytes that a run may use on its device: those that are free, as far as its share goes."""
    device, share = context.extract.device, context.share
    free = free_memory(device)
    return share.of_host(free) if shares_host_memory(device) else share.of_device(free, used=used_memory(device))


def canvases_device(context: RunContext, level: Level) -> torch.device:
    """Where the canvases of a level are while it is painted: on a GPU where they take little of its own memory."""
    device = context.extract.device
    fits = level.canvas_area * pixel_bytes(context.config) <= room(context) // DEVICE_SHARE
    return device if fits and not shares_host_memory(device) else torch.device("cpu")


def open_context(
    config: Config,
    size: OutputSize,
    *,
    emit: OnEvent = ignore,
    check_stop: Callable[[], None] = lambda: None,
    cache: Cache | None = None,
    executor: str = "local",
    share: MemoryShare = ALONE,
) -> RunContext:
    """Choose the device and the precision, and load the network unless it is in the cache.

    Args:
        executor: where workers are; those on this machine share the memory of its devices.
        share: what the run may use of the memory that other runs use too.

    Raises:
        ConfigError: the device does not exist. WeightsError: see `load_network`.
    """
    keep_freed_memory()
    cache = cache or Cache()
    device = choose_device(config.runtime.device)
    set_determinism(device, deterministic=config.runtime.deterministic)
    network_key = _network_key(config, device, cache=cache)
    network = cache.network(network_key, partial(network_of, config, device, on_event=emit))
    extract = Extractor(
        network, device=device, dtype=torch.float32, cuda_graphs=config.runtime.cuda_graphs, check_stop=check_stop
    )
    long_edge = max(size.width, size.height)
    styles_key = tuple(
        (
            _digest(one.image, cache),
            one.weight,
            one.style.scales(long_edge),
            one.style.orientations,
            _digest(one.style.own_mask, cache),
            one.style.own_mask_colour,
        )
        for one in config.paintings
    )
    on_disk = _is_on_disk(config, size, share=share)
    return RunContext(
        config=config,
        backbone=network.backbone,
        extract=extract.padded(padding_of(config, bordered=config.levels.border > 0)),
        extract_whole=extract,
        place=partial(Canvas.empty, on_disk=on_disk),
        on_disk=on_disk,
        overlap=overlap_of(config),
        emit=emit,
        check_stop=check_stop,
        cache=cache,
        long_edge=long_edge,
        style_key=(network_key, styles_key),
        sharing=sharing(config.runtime.workers, config.runtime.device) if executor == "local" else 1,
        share=share,
    )


def in_float32(context: RunContext) -> RunContext:
    """The same with the network in float32."""
    runtime = context.config.runtime.model_copy(update={"precision": "float32"})
    config, extract = context.config.model_copy(update={"runtime": runtime}), context.extract
    network_key = _network_key(config, extract.device, cache=context.cache)
    network = context.cache.network(network_key, partial(network_of, config, extract.device, on_event=context.emit))
    return replace(
        context, extract=replace(extract, network=network.padded(extract.network.padding)),
        extract_whole=replace(context.extract_whole, network=network), style_key=("float32", context.style_key),
    )  # fmt: skip


def _network_key(config: Config, device: torch.device, *, cache: Cache) -> Hashable:
    return model_key(config, cache), str(device), config.runtime.precision


def model_key(config: Config, cache: Cache) -> Hashable:
    """What identifies the network, wherever the file of its weights is; one from Python may have been replaced."""
    weights, published = config.model.weights, config.backbone.weights.sha256
    return config.model.model_copy(update={"weights": None}), _digest(weights, cache) or weights, published


def _digest(path: Path | None, cache: Cache) -> str | None:
    """Of a file; None for no file, and for one that cannot be read, which is an error elsewhere."""
    with suppress(InputError):
        return None if path is None else cache.digests.sha256(path)
    return None


def _is_on_disk(config: Config, size: OutputSize, *, share: MemoryShare) -> bool:
    """Whether canvases are memory-mapped: as set, or when they would take more than half of the memory to use."""
    if config.runtime.canvas != "auto":
        return config.runtime.canvas == "disk"
    finest = schedule(size.height, size.width, levels=config.levels)[-1]
    need = finest.canvas_area * pixel_bytes(config)
    memory, free = config.runtime.memory, share.of_host(free_host_memory())
    return need > (config.runtime.budget(free, workers=share.workers) if isinstance(memory, str) else free) / 2
