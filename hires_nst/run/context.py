"""What all levels of a run share: the device, the network, the place of canvases and the size of tiles."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
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
from hires_nst.run.masks import mask_canvases
from hires_nst.run.output_size import OutputSize
from hires_nst.transfer.allocator import give_back_memory, keep_freed_memory
from hires_nst.transfer.canvas import BYTES_PER_PIXEL, BYTES_PER_WEIGHT, HALF_BYTES_PER_PIXEL, Canvas, Place
from hires_nst.transfer.device import (
    choose_device,
    free_memory,
    largest_tensor,
    largest_tile,
    set_determinism,
    shares_host_memory,
)
from hires_nst.transfer.extractor import Extractor, network_of, padding_of
from hires_nst.transfer.levels import Level, schedule, style_size
from hires_nst.transfer.losses import STYLE_LOSSES
from hires_nst.transfer.memory import automatic_tile_size, free_host_memory, own_memory, tile_bytes_per_pixel
from hires_nst.transfer.tasks import Executor
from hires_nst.transfer.tiles import Grid, make_grid

MEASURE_FACTOR = 2
"""Tiles of evaluations without a graph are this much larger, in about the memory of those with one."""

DEVICE_SHARE = 4
"""Canvases on a GPU take at most this part of its free memory; the tiles need most of it."""

IMAGE_BYTES = BYTES_PER_PIXEL + HALF_BYTES_PER_PIXEL
"""A pixel of the image, and of the content image in half precision."""

ROUND_BYTES = {"lbfgs": 4 * HALF_BYTES_PER_PIXEL, "adam": HALF_BYTES_PER_PIXEL + 4 * BYTES_PER_PIXEL}
"""Of L-BFGS the changes of the image in the last round and in this one and the gradients at their starts; of Adam the
change of the image and the two means before and after."""


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
        sharing: workers that share the memory of the device, each with a tile.
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
        return runtime.budget(free_memory(device), taken=taken + own)

    def trim(self) -> None:
        """Give freed memory back to the system where the process has more than half of `runtime.memory`, an amount.

        The allocator keeps what is freed, in blocks that seldom serve windows of other sizes.
        """
        memory = self.config.runtime.memory
        if isinstance(memory, str) and own_memory() > parse_amount(memory) // 2:
            give_back_memory()

    def bytes_per_pixel(self, steps: int | None = None) -> float:
        """Memory per pixel of a tile's window while it is optimised, for so many steps or for any number of them."""
        half, optimizer = self.extract.network.precision.itemsize < 4, self.config.optimizer
        if steps is not None:  # L-BFGS stores a pair for each step, up to its history
            optimizer = optimizer.model_copy(update={"history": min(optimizer.history, steps)})
        copies = max(STYLE_LOSSES[loss.style].copies for loss in self.config.losses.values())
        return tile_bytes_per_pixel(self.backbone, self.config.layers, optimizer=optimizer, half=half, copies=copies)

    def grid(self, height: int, width: int, *, size: int, shifted: bool = False, overlap: int | None = None) -> Grid:
        """The tiles of an image."""
        return make_grid(
            height, width, size=size, stride=self.config.stride, overlap=self.overlap if overlap is None else overlap,
            shifted=shifted,
        )  # fmt: skip

    def measure_grid(self, height: int, width: int, *, size: int) -> Grid:
        """Larger tiles for evaluations without a graph."""
        return self.grid(height, width, size=size * MEASURE_FACTOR, overlap=0)


def pixel_bytes(config: Config) -> int:
    """The most that the canvases of a level take for each pixel, while it is painted; exact."""
    copy = BYTES_PER_PIXEL if config.tiles.coupling == "exact" else 0
    masks = mask_canvases(config) * HALF_BYTES_PER_PIXEL // 3
    return IMAGE_BYTES + copy + ROUND_BYTES[config.optimizer.name] + masks


def canvases_device(context: RunContext, level: Level) -> torch.device:
    """Where the canvases of a level are while it is painted: on a GPU where they take little of its own memory."""
    device = context.extract.device
    fits = level.canvas_area * pixel_bytes(context.config) <= free_memory(device) // DEVICE_SHARE
    return device if fits and not shares_host_memory(device) else torch.device("cpu")


def canvas_bytes(
    config: Config,
    finest: Level,
    *,
    styles: Sequence[tuple[int, int]],
    transparent: Sequence[bool] = (),
) -> int:
    """The most that the canvases of a run take together: those of its size, and the style images made smaller.

    While the last level is painted they take `pixel_bytes`. While it starts, there are fewer, but with `levels.detail:
    auto` each style image is there at its size, one at a time, and what is smoothed, see `detail.add_detail`.

    Args:
        finest: the last level.
        styles: heights and widths of the style images, those of folders among them.
        transparent: whether the content image and the style images have weights, if any of them does.
    """
    content_weights, *style_weights = transparent or [False] * (1 + len(styles))
    weights_bytes = finest.canvas_area * content_weights * BYTES_PER_WEIGHT
    lower = config.levels.factor**-2
    area, largest = finest.canvas_area, 0
    painting, starting = area * pixel_bytes(config), area * (IMAGE_BYTES * (1 + lower) + BYTES_PER_PIXEL)
    for own, one, weights in zip(styles, config.paintings, style_weights, strict=True):
        turned = len(one.style.orientations) - 1
        for scale in one.style.scales(max(finest.height, finest.width)):
            scaled = style_size(own, (finest.height, finest.width), scale=scale, config=config)
            pixels, copied = scaled[0] * scaled[1] * BYTES_PER_PIXEL, scaled != own
            painting += (copied + turned) * (pixels + scaled[0] * scaled[1] * weights * BYTES_PER_WEIGHT)
            starting += (1 + turned) * lower * pixels  # of the level before
            if config.levels.detail == "auto":
                largest = max(largest, int(pixels * (copied + lower)))
    return max(painting, int(starting) + largest) + weights_bytes


def open_context(
    config: Config,
    size: OutputSize,
    *,
    emit: OnEvent = ignore,
    check_stop: Callable[[], None] = lambda: None,
    cache: Cache | None = None,
    executor: str = "local",
) -> RunContext:
    """Choose the device and the precision, and load the network unless it is in the cache.

    Args:
        executor: where workers are; those on this machine share the memory of its devices.

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
    on_disk = _is_on_disk(config, size)
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


def _is_on_disk(config: Config, size: OutputSize) -> bool:
    """Whether canvases are memory-mapped: as set, or when they would take more than half of the memory to use."""
    if config.runtime.canvas != "auto":
        return config.runtime.canvas == "disk"
    finest = schedule(size.height, size.width, levels=config.levels)[-1]
    need = finest.canvas_area * pixel_bytes(config)
    memory, free = config.runtime.memory, free_host_memory()
    return need > (config.runtime.budget(free) if isinstance(memory, str) else free) / 2
