"""The disk space that a run needs, at most. Does not import torch."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from hires_nst.config import Config
from hires_nst.errors import DiskFull
from hires_nst.quantities import amount
from hires_nst.run.masks import style_groups
from hires_nst.transfer.canvas import BYTES_PER_PIXEL, HALF_BYTES_PER_PIXEL
from hires_nst.transfer.device import largest_tile
from hires_nst.transfer.levels import Level, schedule
from hires_nst.transfer.tiles import make_grid

AUTO_OVERLAP = 64
"""Pixels of overlap where `tiles.overlap` is auto: more hardly lowered the style loss, and less raised it."""

STATE_BYTES: Mapping[str, int] = MappingProxyType({"lbfgs": HALF_BYTES_PER_PIXEL, "adam": 2 * BYTES_PER_PIXEL})
"""A pixel of the optimiser's tensors in a tile's file, and in that of a round, beside the change of the image."""

BYTES_PER_CHANNEL: Mapping[str, int] = MappingProxyType({"sliced": 8 * 260, "neighbours": 4 * 4096})
"""What losses store of each channel besides second moments, at most: histograms, and a bank of features."""

COLOUR_HISTOGRAM_BYTES = 6 * 8 * 260
"""The histograms of the colours along six directions, of about 260 numbers each."""

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
    every, keep, exact = config.checkpoint.every, config.checkpoint.keep, config.tiles.coupling == "exact"
    stores_tiles = every in ("auto", "tile")
    changed = HALF_BYTES_PER_PIXEL + STATE_BYTES[config.optimizer.name]
    for level, size in levels:
        area, most_rounds = level.canvas_area, 0 if every == "level" else min(keep, max(0, level.rounds - 1))
        grids = [
            make_grid(*level.canvas_size, size=size, stride=config.stride, overlap=overlap_of(config), shifted=shifted)
            for shifted in (False, True)
        ]
        windows = max(sum(tile.window.area for tile in grid.tiles) for grid in grids)
        largest = area if exact else max(tile.window.area for grid in grids for tile in grid.tiles)
        vectors = 3 if config.optimizer.name == "adam" else 2 * min(config.optimizer.history, level.steps) + 5
        # A step's file is written beside the one that it replaces.
        inside = 2 * vectors * largest * BYTES_PER_PIXEL if stores_tiles else 0
        canvas, carried = area * HALF_BYTES_PER_PIXEL, area * changed if most_rounds else 0
        rounds = most_rounds * (canvas + carried)
        if stores_tiles and level.rounds and not exact:
            # The next round's first tile may be written before the tiles of this one are removed.
            tiles = (windows + largest) * changed
            if keep > 1:
                now = rounds + tiles + canvas + carried
            elif most_rounds:  # with all tiles there, the optimiser's canvases before the round are removed
                now = canvas + max(tiles + carried, tiles + canvas, carried + canvas)
            else:
                now = tiles + canvas
        else:
            now = rounds + canvas + carried
        most = max(most, finished + now + inside)
        finished += canvas
    statistics = [_statistics_bytes(config, level) for level, _ in levels]
    return most + sum(statistics) + max(statistics) + SMALL_FILES


def _statistics_bytes(config: Config, level: Level) -> int:
    """Of the data of the style images, which are no fewer than the statistics of a round."""
    loss = config.loss_at(level.index)
    more = BYTES_PER_CHANNEL.get(loss.style, 0)
    backbone = config.backbone
    channels = [backbone.channels(layer) for layer in loss.active_style_layers]
    palette = COLOUR_HISTOGRAM_BYTES if loss.active_palette_weight else 0
    return max(1, len(style_groups(config))) * (palette + sum(count * (8 * (count + 1) + more) for count in channels))


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
