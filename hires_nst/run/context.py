"""What all levels of a run share: the device, the network, the place of canvases and the size of tiles."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from hires_nst.backbones.registry import Backbone
from hires_nst.config import Config
from hires_nst.errors import InputError
from hires_nst.events import OnEvent, ignore
from hires_nst.executors.devices import sharing
from hires_nst.run.cache import Cache
from hires_nst.run.disk_space import overlap_of
from hires_nst.run.output_size import OutputSize
from hires_nst.transfer.allocator import keep_freed_memory
from hires_nst.transfer.canvas import BYTES_PER_PIXEL, BYTES_PER_WEIGHT, Canvas, Place
from hires_nst.transfer.device import LARGEST_TENSOR, choose_device, free_memory, largest_tile, set_determinism
from hires_nst.transfer.extractor import Extractor, network_of, padding_of
from hires_nst.transfer.levels import Level, schedule, style_size
from hires_nst.transfer.losses import STYLE_LOSSES
from hires_nst.transfer.memory import automatic_tile_size, free_host_memory, tile_bytes_per_pixel
from hires_nst.transfer.tasks import Executor
from hires_nst.transfer.tiles import Grid, make_grid

MEASURE_FACTOR = 2
"""Tiles of evaluations without a graph are this much larger, in about the memory of those with one."""

CANVASES = {"lbfgs": 6, "adam": 7}
"""Full-size canvases at the finest level: the content image, the image before a round and after it, and of L-BFGS where
the last round started and the gradient there and at this round's start, of Adam its two means before and after."""


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What all levels of a run share.

    Attributes:
        extract, extract_whole: the network, and the one for images whose edges no working border keeps away: the style
            images, and the coarsest level, where layers see further than its border is wide.
        check_stop: called at every point where the run may end; it raises `Interrupted` to stop it.
        cache: of networks and statistics, which other runs in this process may share.
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
        if device.type == "cpu" and not self.on_disk:  # the level's canvases come first
            taken = area * BYTES_PER_PIXEL * CANVASES[self.config.optimizer.name]
        budget = self.config.runtime.budget(free_memory(device), taken=taken)
        size = automatic_tile_size(
            budget // self.sharing, self.bytes_per_pixel(), overlap=self.overlap, stride=self.config.stride,
            largest=largest_tile(device.type),
        )  # fmt: skip
        if level.index == 0:
            elements = area * self.backbone.blocks[0][-1]
            if area * self.bytes_per_pixel() < budget and elements < LARGEST_TENSOR:
                return max(*level.canvas_size, self.config.stride)
        return size if self.config.tiles.size == "auto" else max(self.config.tiles.size, self.config.stride)

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


def canvas_bytes(
    config: Config,
    finest: Level,
    *,
    styles: Sequence[tuple[int, int]],
    transparent: Sequence[bool] = (),
) -> int:
    """The most that the canvases of a run take together: those of its size, and the style images made smaller.

    While the last level is painted there are `CANVASES`. While it starts, there are fewer, but with `levels.detail:
    auto` each style image is there at its size and without its fine detail, one at a time, see `detail.add_detail`.

    Args:
        finest: the last level.
        styles: heights and widths of the style images.
        transparent: whether the content image and the style images have weights, if any of them does.
    """
    content_weights, *style_weights = transparent or [False] * (1 + len(styles))
    weights_bytes, lower = finest.canvas_area * content_weights * BYTES_PER_WEIGHT, config.levels.factor**-2
    canvas = finest.canvas_area * BYTES_PER_PIXEL
    painting, starting, largest = canvas * CANVASES[config.optimizer.name], (3 + lower) * canvas, 0
    for own, style, weights in zip(styles, config.styles, style_weights, strict=True):
        scaled = style_size(own, (finest.height, finest.width), scale=style.scale, config=config)
        pixels, copied = scaled[0] * scaled[1] * BYTES_PER_PIXEL, scaled != own
        painting += copied * (pixels + scaled[0] * scaled[1] * weights * BYTES_PER_WEIGHT)
        starting += lower * pixels  # of the level before
        if config.levels.detail == "auto":
            largest = max(largest, int(pixels * (1 + copied + lower)))
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
    extract = Extractor(network, device=device, dtype=torch.float32, check_stop=check_stop)
    styles_key = tuple((_digest(style.image, cache), style.weight, style.scale) for style in config.styles)
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
    """What identifies the network, wherever the file of its weights is."""
    weights = config.model.weights
    return config.model.model_copy(update={"weights": None}), _digest(weights, cache) or weights


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
    need = finest.canvas_area * BYTES_PER_PIXEL * CANVASES[config.optimizer.name]
    memory, free = config.runtime.memory, free_host_memory()
    return need > (config.runtime.budget(free) if isinstance(memory, str) else free) / 2
