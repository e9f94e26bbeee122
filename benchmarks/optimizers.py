"""L-BFGS with and without whitening and the last round's pair, 32 evaluations in rounds of different lengths.

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
    parser.add_argument("--tile", type=int, default=256)
    options = parser.parse_args()
    width, height = options.width, options.height
    config = Config()
    extract = extractor(config)
    whitening = optimizers.WHITENING_POWER
    rows = []
    for content_name, style_name in PAIRS:
        half_content = picture("contents", content_name, width // 2, height // 2)
        half = objective_for(extract, config, half_content, picture("styles", style_name, width // 2, width // 2))
        start, _ = refine(half, half_content, half_content, tile=UNTILED, rounds=1, steps=80)
        start = Canvas(resize_pixels(start.pixels, width, height))
        content = picture("contents", content_name, width, height)
        objective = objective_for(extract, config, content, picture("styles", style_name, width, width))
        count = len(make_grid(height, width, size=options.tile, stride=16).tiles)
        methods = [(UNTILED, "adam", 0.0, False, 1, 32)]
        methods += [(UNTILED, "lbfgs", power, False, 1, 32) for power in (0.0, whitening)]
        for rounds, steps in ((4, 8), (8, 4), (16, 2), (32, 1)):
            methods += [(options.tile, "lbfgs", whitening, pair, rounds, steps) for pair in (False, True)]
        methods.append((options.tile, "lbfgs", 0.0, True, 16, 2))
        for tile, optimizer, power, pair, rounds, steps in methods:
            optimizers.WHITENING_POWER = power
            result, seconds = refine(
                objective, start, content, tile=tile, optimizer=optimizer, rounds=rounds, steps=steps, remember=pair
            )
            cells = losses(config, *scores(objective, result, content))
            about = ["1" if tile == UNTILED else str(count), optimizer, f"{power:g}", "yes" if pair else "no"]
            rows.append([f"{content_name}, {style_name}", *about, f"{rounds} x {steps}", *cells, f"{seconds:.0f}"])
            print(rows[-1], flush=True)
    report(
        "optimizers",
        f"Rounds of L-BFGS, {width} x {height} px, tiles of {options.tile} px, 32 evaluations",
        [
            "content, style", "tiles", "optimiser", "whitening", "pair of the last round", "rounds x steps",
            "style loss", "content loss", "objective", "seconds",
        ],
        rows,
        ["Balanced tiles, from an enlarged level of half the size. Each round measures the moments once more."],
    )  # fmt: skip


if __name__ == "__main__":
    main()
