"""Peak memory at growing sizes with a fixed tile, and the time of an evaluation in tiles over the untiled one.

python benchmarks/memory_and_speed.py [--megapixels 4 16 36] [--tile 512]

Each memory row is a process of its own with a short schedule (one coarse step, one round of one step above it).
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import SAMPLES, extractor, objective_for, picture, report

from hires_nst.config import Config, Optimizer
from hires_nst.job import AUTO_OVERLAP
from hires_nst.refine import refine_round
from hires_nst.tiles import make_grid


def peak(megapixels: float, tile: int) -> float:
    """Peak resident bytes of a run of `megapixels`, in this process."""
    from hires_nst import stylize

    config = Config.model_validate(
        {
            "output": {"megapixels": megapixels},
            "levels": {"coarse_steps": 1, "rounds": 1, "steps": 1},
            "tiles": {"size": tile},
            "runtime": {"canvas": "memory"},
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        stylize(
            SAMPLES / "contents" / "landscape.jpg",
            Path(folder) / "out.png",
            style=SAMPLES / "styles" / "flow_strokes.jpg",
            config=config,
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def seconds_per_evaluation(width: int, height: int, tile: int, *, rounds: int, steps: int) -> float:
    """Seconds of one evaluation of the whole image: everything a round does, divided by its evaluations."""
    config = Config()
    extract = extractor(config)
    content = picture("contents", "landscape", width, height)
    objective = objective_for(extract, config, content, picture("styles", "flow_strokes", 1024, 1024))
    canvas = content
    seconds = 0.0
    for number in range(rounds + 1):  # the first one warms up
        grid = make_grid(height, width, size=tile, stride=16, overlap=AUTO_OVERLAP, shifted=number % 2 == 1)
        began = time.monotonic()
        canvas, _ = refine_round(
            canvas,
            content,
            objective,
            grid,
            measure_grid=make_grid(height, width, size=2 * tile, stride=16),
            coupling="balanced",
            optimizer=Optimizer(),
            steps=steps,
        )
        seconds += time.monotonic() - began if number else 0.0
    return seconds / (rounds * steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, nargs="*", default=[4, 16, 36], help="none: speed only")
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--width", type=int, default=1536)
    parser.add_argument("--height", type=int, default=2048)
    parser.add_argument("--one", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(peak(options.one, options.tile))
        return
    rows = []
    previous: tuple[float, float] | None = None
    for megapixels in options.megapixels:
        command = [sys.executable, __file__, "--one", str(megapixels), "--tile", str(options.tile)]
        bytes_used = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
        slope = "" if previous is None else f"{(bytes_used - previous[1]) / ((megapixels - previous[0]) * 1e6):.0f}"
        rows.append([f"{megapixels:g}", f"{bytes_used / 1e9:.2f}", slope])
        previous = (megapixels, bytes_used)
        print(rows[-1], flush=True)
    if rows:
        report(
            "memory",
            f"Peak memory of a run, tiles of {options.tile} px",
            ["megapixels", "peak, GB", "bytes per further pixel"],
            rows,
            [
                "Canvases are float32, 12 bytes per pixel: at the finest level the photograph, the image before and "
                "after a round, which makes 36 in this schedule of one round (with more rounds the level's start "
                "stays too: 48), and for a moment the coarser level's. Tiles are cut equally, at most of the size "
                "named: at 4 megapixels they have 421 px, at 16 481 and at 36 505."
            ],
            script="memory_and_speed",
        )
    width, height, steps = options.width, options.height, Config().levels.steps
    untiled = seconds_per_evaluation(width, height, 1 << 20, rounds=2, steps=steps)
    rows = [["untiled", "1", f"{untiled / (width * height / 1e6):.3f}", "1.00"]]
    for tile in (options.tile, 2 * options.tile):
        tiled = seconds_per_evaluation(width, height, tile, rounds=2, steps=steps)
        count = len(make_grid(height, width, size=tile, stride=16).tiles)
        cells = [f"{tiled / (width * height / 1e6):.3f}", f"{tiled / untiled:.2f}"]
        rows.append([f"tiles of {tile} px, overlap {AUTO_OVERLAP} px", str(count), *cells])
        print(rows[-1], flush=True)
    report(
        "speed",
        f"Time of an evaluation at {width} x {height} px, rounds of {steps}",
        ["method", "tiles", "seconds per evaluation and megapixel", "over untiled"],
        rows,
        ["Everything in a round counts: global moments, the photograph's activations, overlap, blending."],
        script="memory_and_speed",
    )


if __name__ == "__main__":
    main()
