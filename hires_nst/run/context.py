"""What a run works with: the result's size, the device, the network, the place of canvases and the cut into tiles."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from hires_nst.backbones.registry import Backbone
from hires_nst.config import Config
from hires_nst.events import OnEvent
from hires_nst.run.cache import Cache, content_key
from hires_nst.run.disk_space import overlap_of
from hires_nst.run.output_size import OutputSize
from hires_nst.transfer.canvas import BYTES_PER_PIXEL, Canvas, Place
from hires_nst.transfer.device import LARGEST_TENSOR, autocast_of, choose_device, free_memory, largest_tile
from hires_nst.transfer.extractor import Extractor, network_of
from hires_nst.transfer.levels import Level
from hires_nst.transfer.memory import automatic_tile_size, free_host_memory, tile_bytes_per_pixel
from hires_nst.transfer.style_images import style_size
from hires_nst.transfer.tiles import Grid, make_grid

MEASURE_FACTOR = 2
"""Tiles of evaluations without a graph are this much larger, in about the memory of those with one."""

CANVASES = {"lbfgs": 6, "adam": 7}
"""Full-size canvases at the finest level: the photograph, the image before a round and after it, and of L-BFGS where
the last round started and the gradient there and at this round's start, of Adam its two means before and after."""


@dataclass(frozen=True)
class RunContext:
    """What all levels of a run share: the settings, the network, the sizes and the place of canvases."""

    config: Config
    backbone: Backbone
    extract: Extractor
    place: Place
    on_disk: bool
    overlap: int
    emit: OnEvent
    check_stop: Callable[[], None] = lambda: None
    """Called wherever the run may end; it raises `Interrupted` when it is to."""
    kept: Cache | None = None
    """What earlier runs in this process left to this one."""
    kept_key: Hashable = None
    """Everything besides the level that the paintings' statistics depend on."""

    @property
    def stride(self) -> int:
        """The deepest stride in use."""
        return self.backbone.stride_of(self.config.layers)

    def tile_size(self, level: Level) -> int:
        """The side of a level's tiles; the coarsest level is one tile if memory allows."""
        device, fraction, area = self.extract.device, self.config.runtime.memory_fraction, level.height * level.width
        free = free_memory(device)
        if device.type == "cpu" and not self.on_disk:  # the level's canvases come first
            free = max(0, free - area * BYTES_PER_PIXEL * CANVASES[self.config.optimizer.name])
        size = automatic_tile_size(
            free,
            self.bytes_per_pixel,
            fraction=fraction,
            overlap=self.overlap,
            stride=self.stride,
            largest=largest_tile(device.type),
        )
        if level.index == 0:
            elements = area * self.backbone.blocks[0][-1]
            if area * self.bytes_per_pixel < free * fraction and elements < LARGEST_TENSOR:
                return max(level.height, level.width, self.stride)
        return size if self.config.tiles.size == "auto" else max(self.config.tiles.size, self.stride)

    @property
    def bytes_per_pixel(self) -> float:
        """Of a tile's window, while it is optimised."""
        half = self.extract.autocast is not None
        return tile_bytes_per_pixel(self.backbone, self.config.layers, self.config.optimizer, half=half)

    def grid(self, height: int, width: int, size: int, *, shifted: bool = False, overlap: int | None = None) -> Grid:
        """The tiles of an image."""
        return make_grid(
            height, width, size=size, stride=self.stride, overlap=self.overlap if overlap is None else overlap,
            shifted=shifted,
        )  # fmt: skip

    def measure_grid(self, height: int, width: int, size: int) -> Grid:
        """Larger tiles, for evaluations without a graph."""
        return self.grid(height, width, size * MEASURE_FACTOR, overlap=0)


def canvas_bytes(config: Config, height: int, width: int, paintings: Sequence[tuple[int, int]]) -> int:
    """The most that the canvases of a run take together: those of its size, and the paintings made smaller.

    Args:
        height, width: of the result.
        paintings: heights and widths.
    """
    pixels = height * width * CANVASES[config.optimizer.name]
    for own, style in zip(paintings, config.styles, strict=True):
        scaled = style_size(own, (height, width), scale=style.scale, config=config)
        pixels += 0 if scaled == own else scaled[0] * scaled[1]
    return pixels * BYTES_PER_PIXEL


def open_context(
    config: Config,
    sheet: OutputSize,
    emit: OnEvent,
    check_stop: Callable[[], None] = lambda: None,
    *,
    kept: Cache | None = None,
) -> RunContext:
    """Choose the device and the precision, and load the network unless it is among what was kept.

    Raises:
        ConfigError: the device is not there. WeightsError: see `load_network`.
    """
    device = choose_device(config.runtime.device)
    load = partial(network_of, config, device, emit)
    network_key = (model_key(config), str(device)) if kept is not None else None
    network = kept.network(network_key, load) if kept is not None else load()
    autocast = autocast_of(config, device)
    on_disk = canvas_on_disk(config, sheet)
    return RunContext(
        config=config,
        backbone=network.backbone,
        extract=Extractor(network, device, torch.float32, autocast, check_stop),
        place=lambda height, width: Canvas.empty(height, width, on_disk=on_disk),
        on_disk=on_disk,
        overlap=overlap_of(config),
        emit=emit,
        check_stop=check_stop,
        kept=kept,
        kept_key=(network_key, autocast, paintings_key(config)) if kept is not None else None,
    )


def model_key(config: Config) -> Hashable:
    """What the network is, wherever the file of its weights lies."""
    weights = config.model.weights
    return config.model.model_copy(update={"weights": None}), content_key(weights) or weights


def paintings_key(config: Config) -> Hashable:
    """What the paintings are: their files' content, weights and scales."""
    return tuple((content_key(style.image), style.weight, style.scale) for style in config.styles)


def canvas_on_disk(config: Config, sheet: OutputSize) -> bool:
    """Whether canvases are memory-mapped: as told, or when they would take more than half of the free memory."""
    if config.runtime.canvas != "auto":
        return config.runtime.canvas == "disk"
    need = sheet.width * sheet.height * BYTES_PER_PIXEL * CANVASES[config.optimizer.name]
    return need > free_host_memory() / 2
