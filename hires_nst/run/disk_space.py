"""The disk space that a run needs, at most. Does not import torch."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from hires_nst.backbones.registry import BACKBONES
from hires_nst.config import Config
from hires_nst.errors import DiskFull
from hires_nst.quantities import amount
from hires_nst.transfer.canvas import BYTES_PER_PIXEL
from hires_nst.transfer.device import largest_tile
from hires_nst.transfer.levels import Level, schedule
from hires_nst.transfer.tiles import make_grid

AUTO_OVERLAP = 64
"""Pixels of overlap where `tiles.overlap` is auto: more hardly lowered the style loss, and less raised it."""

ROUND_CANVASES = 3
"""Full-size canvases in the file of a round: the image, and the two of `OptimizerCanvases`."""

BYTES_PER_CHANNEL: Mapping[str, int] = MappingProxyType({"sliced": 8 * 260, "neighbours": 4 * 4096})
"""What losses store of each channel besides second moments, at most: histograms, and a bank of features."""

SMALL_FILES = 20_000_000
"""Bytes for what is small in a run directory: the log, the record, headers."""


def overlap_of(config: Config) -> int:
    """Pixels that tiles overlap by: a multiple of the deepest stride in use."""
    overlap = AUTO_OVERLAP if config.tiles.overlap == "auto" else config.tiles.overlap
    return -(-overlap // config.stride) * config.stride


def picture_bytes(pixels: int, *, bit_depth: int, channels: int = 3) -> int:
    """The uncompressed size of a picture of so many pixels."""
    return pixels * channels * bit_depth // 8


def run_bytes(config: Config, levels: Sequence[tuple[Level, int]]) -> int:
    """The most that the run directory takes: at the end of a round, or inside a tile.

    `levels` go from coarse to fine, each with the size of its tiles.
    """
    finished, most = 0, 0
    every, exact = config.checkpoint.every, config.tiles.coupling == "exact"
    state = {"adam": 2, "lbfgs": 1}[config.optimizer.name]  # image-shaped tensors of the optimiser in a tile's file
    for level, size in levels:
        canvas = level.canvas_area * BYTES_PER_PIXEL
        rounds = 0 if every == "level" else min(config.checkpoint.keep, max(0, level.rounds - 1))
        now = canvas * rounds * ROUND_CANVASES
        grids = [
            make_grid(*level.canvas_size, size=size, stride=config.stride, overlap=overlap_of(config), shifted=shifted)
            for shifted in (False, True)
        ]
        tiles = max(sum(tile.window.area for tile in grid.tiles) for grid in grids) * BYTES_PER_PIXEL
        largest = (level.canvas_area if exact else max(t.window.area for g in grids for t in g.tiles)) * BYTES_PER_PIXEL
        vectors = 3 if config.optimizer.name == "adam" else 2 * min(config.optimizer.history, level.steps) + 5
        inside = vectors * largest
        if every != "tile":
            inside = 0
        elif level.rounds and not exact:
            # The next round's first tile may be written before the tiles of this one are removed.
            now += (tiles + largest) * (1 + state)
        written = canvas * (ROUND_CANVASES if rounds else 1)
        # A file is written beside the one that it replaces, and a canvas while the next tile is under way.
        most = max(most, finished + now + 2 * inside + written)
        finished += canvas
    statistics = [_statistics_bytes(config, level) for level, _ in levels]
    return most + sum(statistics) + max(statistics) + SMALL_FILES


def _statistics_bytes(config: Config, level: Level) -> int:
    """Of the data of the style images, which are no fewer than the statistics of a round."""
    loss = config.loss_at(level.index)
    more = BYTES_PER_CHANNEL.get(loss.style, 0)
    convolutions = BACKBONES[config.model.name].convolutions
    channels = [conv.out_channels for conv in convolutions if conv.name in loss.active_style_layers]
    return sum(count * (8 * (count + 1) + more) for count in channels)


def expected_run_bytes(config: Config, size: tuple[int, int], *, kind: str) -> int:
    """The most that the run directory of a picture of that width and height takes, with the largest tiles.

    `kind` is the kind of device, see `transfer.device`.
    """
    width, height = size
    largest = largest_tile(kind) if config.tiles.size == "auto" else max(config.tiles.size, config.stride)
    levels = schedule(height, width, levels=config.levels)
    return run_bytes(
        config, [(level, largest if level.index else max(*level.canvas_size, config.stride)) for level in levels]
    )


@dataclass(frozen=True)
class Need:
    """Bytes that a run needs in a folder at most, and what to do when the disk has fewer."""

    folder: Path
    size: int
    remedies: tuple[str, ...]


RUN_REMEDIES = ("choose another disk with --run-dir", "store less with --set checkpoint.every=level")
PICTURE_REMEDIES = ("write the picture to another disk",)
CANVAS_REMEDIES = (
    "set TMPDIR to a folder on another disk",
    "keep canvases in memory with --set runtime.canvas=memory",
)


def check_disk(needs: Sequence[Need]) -> None:
    """Raise DiskFull where a disk has less free space than a run needs there."""
    disks: dict[int, list[Need]] = {}
    for need in needs:
        if need.size > 0:
            disks.setdefault(need.folder.stat().st_dev, []).append(need)
    for here in disks.values():
        most, size = max(here, key=lambda need: need.size), sum(need.size for need in here)
        free = shutil.disk_usage(most.folder).free
        if size > free:
            *others, last = (remedy for need in here for remedy in need.remedies)
            raise DiskFull(
                f"the run needs up to {amount(size)} on the disk of {most.folder.absolute()}, and {amount(free)} is "
                f"free; {', '.join(['free some space', *others])}, or {last}",
                most.folder,
            )
