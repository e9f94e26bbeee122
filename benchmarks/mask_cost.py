"""What masks add to the time of a round.

python benchmarks/mask_cost.py [--tile 512] [--repeat 5]

A round of two steps of a picture of 2 x 2 tiles, its moments included, is refined without masks and with each kind of
them in turn; the seconds are those of the processor, the least of the repeats.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from common import extractor, objective_for, picture, report
from numpy.typing import NDArray

from hires_nst.config import Config, Optimizer
from hires_nst.run.disk_space import overlap_of
from hires_nst.transfer.allocator import keep_freed_memory
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.refine import refine_round
from hires_nst.transfer.regions import Region, term_name
from hires_nst.transfer.rounds import OptimizerCanvases, Round
from hires_nst.transfer.tiles import make_grid
from hires_nst.transfer.weights import PixelWeights


def in_regions(objective: Objective, *masks: NDArray[np.floating]) -> Objective:
    """The objective with its painting in each of these regions."""
    regions = tuple(
        Region(PixelWeights.of(Canvas.of(np.ascontiguousarray(mask[..., None], np.float32))), float(mask.mean()))
        for mask in masks
    )
    style = {
        term_name(layer, number): data for number in range(len(masks)) for layer, data in objective.style.items()
    }  # fmt: skip
    return replace(objective, regions=regions, style=style)


def kinds(objective: Objective) -> Mapping[str, Objective]:
    """What is timed, by name; the first one has no mask."""
    side = objective.height
    across = np.broadcast_to(np.linspace(-1, 2, side, dtype=np.float32).clip(0, 1), (side, side))
    left = np.broadcast_to((np.arange(side) < side // 2).astype(np.float32), (side, side))
    content = PixelWeights.of(Canvas.of(np.ascontiguousarray(across[..., None])))
    return {
        "no mask": objective,
        "one painting, a soft mask": in_regions(objective, across),
        "two paintings side by side, each in its tiles": in_regions(objective, left, 1 - left),
        "two paintings that mix in every tile": in_regions(objective, 0.25 + across / 2, 0.75 - across / 2),
        "a mask of the content weight": replace(objective, content_weights=content),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    keep_freed_memory()
    config, side = Config(), 2 * options.tile
    extract = extractor(config).padded("zeros")
    content, style = picture("contents", "landscape", side, side), picture("styles", "flow_strokes", 512, 512)
    grid = make_grid(side, side, size=options.tile, stride=config.stride, overlap=overlap_of(config))
    found: dict[str, list[float]] = {}
    with torch.enable_grad():
        objectives = kinds(objective_for(extract, config, content, style, border=32))
        for _ in range(options.repeat + 1):  # the first one warms up
            for name, objective in objectives.items():
                current = Round(
                    canvas=content, content_canvas=content, objective=objective, grid=grid, measure_grid=grid,
                    coupling="balanced", optimizer=Optimizer(), steps=2, optimizer_canvases=OptimizerCanvases(),
                )  # fmt: skip
                began = time.process_time()
                refine_round(current)
                found.setdefault(name, []).append(time.process_time() - began)
    least = {name: min(taken[1:]) for name, taken in found.items()}
    plain = least["no mask"]
    report(
        "mask_cost",
        "What masks cost",
        ["masks", "seconds of CPU a megapixel and evaluation", "of the time without"],
        [
            [name, f"{taken / (2 * side**2) * 1e6:.3f}", f"{taken / plain:.2f}"]
            for name, taken in least.items()
        ],
        [f"A round of two steps in tiles of {options.tile} px, {side} x {side} px."],
        script="mask_cost",
    )  # fmt: skip


if __name__ == "__main__":
    main()
