"""The memory that a run needs. Does not import torch."""

from __future__ import annotations

from collections.abc import Sequence

from hires_nst.config import Config
from hires_nst.run.disk_space import overlap_of
from hires_nst.run.masks import mask_canvases
from hires_nst.transfer.canvas import BYTES_PER_PIXEL, BYTES_PER_WEIGHT, HALF_BYTES_PER_PIXEL
from hires_nst.transfer.device import largest_tile
from hires_nst.transfer.levels import Level, schedule, style_size
from hires_nst.transfer.memory import tile_bytes_per_pixel

IMAGE_BYTES = BYTES_PER_PIXEL + HALF_BYTES_PER_PIXEL
"""A pixel of the image, and of the content image in half precision."""

ROUND_BYTES = {"lbfgs": 4 * HALF_BYTES_PER_PIXEL, "adam": HALF_BYTES_PER_PIXEL + 4 * BYTES_PER_PIXEL}
"""Of L-BFGS the changes of the image in the last round and in this one and the gradients at their starts; of Adam the
change of the image and the two means before and after."""

GPU_PROCESS_BYTES = 10**9
"""Of a GPU's memory that a process takes before it paints, at most: the driver's context, kernels, the network."""


def window_bytes(config: Config, *, half: bool, steps: int | None = None) -> float:
    """Memory per pixel of a tile's window while it is optimised, for so many steps or for any number of them.

    `half` says whether the network is in half precision.
    """
    optimizer = config.optimizer
    if steps is not None:  # L-BFGS stores a pair for each step, up to its history
        optimizer = optimizer.model_copy(update={"history": min(optimizer.history, steps)})
    return tile_bytes_per_pixel(
        config.backbone, config.layers, optimizer=optimizer, half=half, losses=config.losses.values()
    )


def pixel_bytes(config: Config) -> int:
    """The most that the canvases of a level take for each pixel, while it is painted; exact."""
    copy = BYTES_PER_PIXEL if config.tiles.coupling == "exact" else 0
    masks = mask_canvases(config) * HALF_BYTES_PER_PIXEL // 3
    return IMAGE_BYTES + copy + ROUND_BYTES[config.optimizer.name] + masks


def gpu_bytes(config: Config, size: tuple[int, int]) -> int:
    """What a run of a picture of that width and height needs of a GPU, for the tiles that it has alone on a large one.

    Its canvases are counted too. Where the precision is left open it is taken to be float32, as it may turn out.
    """
    finest = schedule(size[1], size[0], levels=config.levels)[-1]
    most = largest_tile("cuda") if config.tiles.size == "auto" else max(config.tiles.size, config.stride)
    side = min(max(finest.canvas_size), most) + 2 * overlap_of(config)
    tile = side**2 * window_bytes(config, half=config.runtime.precision == "bfloat16")
    return GPU_PROCESS_BYTES + int(tile) + finest.canvas_area * pixel_bytes(config)


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
