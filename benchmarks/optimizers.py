"""L-BFGS with and without preconditioner and previous round's pair; 32 evaluations in rounds of different lengths.

python benchmarks/optimizers.py [--width 768 --height 512 --tile 128]
"""

from __future__ import annotations

import argparse
from functools import partial

from common import PAIRS, extractor, objective_for, picture, report, scores
from couplings import UNTILED, Method, losses

from hires_nst.config import Config
from hires_nst.imageio.resize import resize_pixels
from hires_nst.transfer import parametrization
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.tiles import make_grid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--tile", type=int, default=256)
    parser.add_argument("--pairs", type=int, default=len(PAIRS))
    options = parser.parse_args()
    width, height = options.width, options.height
    config = Config()
    extract = extractor(config)
    usual = parametrization.POWER
    rows = []
    for content_name, style_name in PAIRS[: options.pairs]:
        half_content = picture("contents", content_name, width // 2, height // 2)
        half = objective_for(extract, config, half_content, picture("styles", style_name, width // 2, width // 2))
        start, _ = Method(UNTILED, rounds=1, steps=80).refine(half, half_content, half_content)
        start = Canvas.of(resize_pixels(start.pixels, (width, height)))
        content = picture("contents", content_name, width, height)
        objective = objective_for(extract, config, content, picture("styles", style_name, width, width))
        count = len(make_grid(height, width, size=options.tile, stride=16).tiles)
        untiled = partial(Method, UNTILED, rounds=1, steps=32, remember=False)
        methods = [(untiled(optimizer="adam"), 0.0), (untiled(), 0.0), (untiled(), usual)]
        for rounds, steps in ((4, 8), (8, 4), (16, 2), (32, 1)):
            for pair in (False, True):
                methods.append((Method(options.tile, rounds=rounds, steps=steps, remember=pair), usual))
        methods.append((Method(options.tile), 0.0))
        for method, power in methods:
            parametrization.POWER = power
            result, seconds = method.refine(objective, start, content)
            tiles = "1" if method.tile == UNTILED else str(count)
            about = [tiles, method.optimizer, f"{power:g}", "yes" if method.remember else "no"]
            about.append(f"{method.rounds} x {method.steps}")
            cells = losses(objective, *scores(objective, result, content))
            rows.append([f"{content_name}, {style_name}", *about, *cells, f"{seconds:.0f}"])
            print(rows[-1], flush=True)
    report(
        "optimizers",
        f"Rounds of L-BFGS, {width} x {height} px, tiles of {options.tile} px, 32 evaluations",
        [
            "content, style", "tiles", "optimiser", "preconditioner", "pair of the previous round", "rounds x steps",
            "style loss", "content loss", "objective", "seconds",
        ],
        rows,
        ["Balanced tiles, from an enlarged level of half the size. Each round needs one more pass for the moments."],
    )  # fmt: skip


if __name__ == "__main__":
    main()
