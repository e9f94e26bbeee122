"""L-BFGS with and without whitening, and 32 evaluations in rounds of different lengths, untiled and in tiles.

python benchmarks/optimizers.py [--width 768 --height 512 --tile 128]
"""

from __future__ import annotations

import argparse

from common import PAIRS, extractor, objective_for, picture, report, scores
from couplings import UNTILED, losses, refine

import hires_nst.optimizers as optimizers
from hires_nst.canvas import Canvas
from hires_nst.config import Config
from hires_nst.images import resize_pixels
from hires_nst.tiles import make_grid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--tile", type=int, default=128)
    options = parser.parse_args()
    width, height = options.width, options.height
    config = Config()
    extract = extractor(config)
    content_name, style_name = PAIRS[0]
    half_content = picture("contents", content_name, width // 2, height // 2)
    half = objective_for(extract, config, half_content, picture("styles", style_name, width // 2, width // 2))
    start, _ = refine(half, half_content, half_content, tile=UNTILED, rounds=1, steps=80)
    start = Canvas(resize_pixels(start.pixels, width, height))
    content = picture("contents", content_name, width, height)
    objective = objective_for(extract, config, content, picture("styles", style_name, width, width))
    rows = []
    default = optimizers.WHITENING_POWER
    for tile in (UNTILED, options.tile):
        count = len(make_grid(height, width, size=tile, stride=16).tiles)
        for power, rounds, steps in ((0.0, 4, 8), (0.0, 8, 4), (default, 4, 8), (default, 8, 4)):
            optimizers.WHITENING_POWER = power
            result, seconds = refine(objective, start, content, tile=tile, rounds=rounds, steps=steps)
            cells = losses(config, *scores(objective, result, content))
            rows.append([str(count), f"{power:g}", f"{rounds} x {steps}", *cells, f"{seconds:.0f}"])
            print(rows[-1], flush=True)
    report(
        "optimizers",
        f"L-BFGS with and without whitening, {width} x {height} px, tiles of {options.tile} px, 32 evaluations",
        ["tiles", "whitening", "rounds x steps", "style loss", "content loss", "objective", "seconds"],
        rows,
    )


if __name__ == "__main__":
    main()
