"""What a run works with: the result's size, the device, the network, the place of canvases and the cut into tiles."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from hires_nst.backbones.registry import BACKBONES, Backbone
from hires_nst.backbones.vgg import VGG
from hires_nst.backbones.weights import load_network
from hires_nst.canvas import BYTES_PER_PIXEL, Canvas, Place
from hires_nst.config import Config, StyleImage
from hires_nst.errors import ConfigError, InputError
from hires_nst.events import OnEvent, ignore
from hires_nst.kept import Kept, content_key
from hires_nst.levels import Level
from hires_nst.memory import automatic_tile_size, free_memory, tile_bytes_per_pixel
from hires_nst.objective import Extractor
from hires_nst.run_size import overlap_of
from hires_nst.sheets import Sheet, minimum_side
from hires_nst.tiles import Grid, make_grid

MEASURE_FACTOR = 2
"""Tiles of evaluations without a graph are this much larger, in about the memory of those with one."""

LARGEST_TENSOR = 2**31
"""Elements beyond which cuDNN is unsafe."""

CANVASES = {"lbfgs": 6, "adam": 7}
"""Full-size canvases at the finest level: the photograph, the image before a round and after it, and of L-BFGS where
the last round started and the gradient there and at this round's start, of Adam its two means before and after."""


@dataclass(frozen=True)
class Job:
    """What all levels of a run share: the settings, the network, the sizes and the place of canvases."""

    config: Config
    backbone: Backbone
    extract: Extractor
    place: Place
    on_disk: bool
    overlap: int
    emit: OnEvent
    pause: Callable[[], None] = lambda: None
    """Called wherever the run may end; it raises `Interrupted` when it is to."""
    kept: Kept | None = None
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
            free, self.bytes_per_pixel, fraction=fraction, overlap=self.overlap, stride=self.stride, device=device
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


def with_styles(config: Config, paths: Sequence[Path | str]) -> Config:
    """The configuration with these paintings in place of its own.

    Raises:
        ConfigError: there is no painting at all, though a style layer counts.
    """
    if paths:
        config = config.model_copy(update={"styles": tuple(StyleImage(image=Path(path)) for path in paths)})
    if not config.styles and (config.loss.active_style_layers or config.init.kind == "style"):
        raise ConfigError("there is no style: name a painting after the photograph, or under styles: in the YAML")
    return config


def check_painting(style: StyleImage, size: tuple[int, int], config: Config) -> None:
    """Refuse a painting of `size` (width, height) that the deepest layer has no position on.

    Raises:
        InputError: it is too small.
    """
    least = minimum_side(config)
    if min(size) < least:
        raise InputError(
            f"the style {style.image} is {size[0]} x {size[1]} px, but {config.model.name} needs {least} px on each "
            "side; give a larger one"
        )


def painting_size(own: tuple[int, int], style: StyleImage, height: int, width: int, config: Config) -> tuple[int, int]:
    """Height and width of a painting at a level of that height and width, from its `own`.

    Its long edge is `style.scale` times the level's. It is never enlarged beyond its own pixels, nor made smaller on a
    side than the deepest layer needs.
    """
    least = minimum_side(config)
    factor = min(1.0, max(style.scale * max(height, width) / max(own), least / min(own)))
    return max(least, round(own[0] * factor)), max(least, round(own[1] * factor))


def canvas_bytes(config: Config, height: int, width: int, paintings: Sequence[tuple[int, int]]) -> int:
    """The most that the canvases of a run take together: those of its size, and the paintings made smaller.

    Args:
        height, width: of the result.
        paintings: heights and widths.
    """
    pixels = height * width * CANVASES[config.optimizer.name]
    for own, style in zip(paintings, config.styles, strict=True):
        scaled = painting_size(own, style, height, width, config)
        pixels += 0 if scaled == own else scaled[0] * scaled[1]
    return pixels * BYTES_PER_PIXEL


def open_job(
    config: Config, sheet: Sheet, emit: OnEvent, pause: Callable[[], None] = lambda: None, *, kept: Kept | None = None
) -> Job:
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
    return Job(
        config=config,
        backbone=network.backbone,
        extract=Extractor(network, device, torch.float32, autocast, pause),
        place=lambda height, width: Canvas.empty(height, width, on_disk=on_disk),
        on_disk=on_disk,
        overlap=overlap_of(config),
        emit=emit,
        pause=pause,
        kept=kept,
        kept_key=(network_key, autocast, paintings_key(config)) if kept is not None else None,
    )


def network_of(config: Config, device: torch.device, emit: OnEvent = ignore) -> VGG:
    """The network that the configuration asks for, with its weights, on a device.

    Raises:
        WeightsError: see `load_network`.
    """
    model, backbone = config.model, BACKBONES[config.model.name]
    pooling = backbone.pooling if model.pooling == "auto" else model.pooling
    network = load_network(backbone, pooling=pooling, padding=model.padding, file=model.weights, on_event=emit)
    return network.to(device)


def autocast_of(config: Config, device: torch.device) -> torch.dtype | None:
    """The type that convolutions are computed in on a device; None for float32."""
    precision = config.runtime.precision
    if precision == "auto":
        precision = "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"
    return torch.bfloat16 if precision == "bfloat16" else None


def model_key(config: Config) -> Hashable:
    """What the network is, wherever the file of its weights lies."""
    weights = config.model.weights
    return config.model.model_copy(update={"weights": None}), content_key(weights) or weights


def paintings_key(config: Config) -> Hashable:
    """What the paintings are: their files' content, weights and scales."""
    return tuple((content_key(style.image), style.weight, style.scale) for style in config.styles)


def choose_device(name: str) -> torch.device:
    """The device of that name; `auto` is the first CUDA device, or else the CPU.

    Raises:
        ConfigError: this machine or this build of torch has it not.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        found = f"{count} CUDA device{'s' if count != 1 else ''}" if count else "no CUDA device"
        raise ConfigError(f"there is no device {name}: torch finds {found} here; --device cpu works everywhere")
    return device


def canvas_on_disk(config: Config, sheet: Sheet) -> bool:
    """Whether canvases are memory-mapped: as told, or when they would take more than half of the free memory."""
    if config.runtime.canvas != "auto":
        return config.runtime.canvas == "disk"
    need = sheet.width * sheet.height * BYTES_PER_PIXEL * CANVASES[config.optimizer.name]
    return need > free_memory(torch.device("cpu")) / 2
