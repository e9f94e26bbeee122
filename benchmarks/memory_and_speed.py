"""Peak memory for growing pictures with a fixed tile size, and the time of an evaluation in tiles relative to untiled.

python benchmarks/memory_and_speed.py [--sides 2048 4096 6144] [--tile 512]

Each row on memory is measured in a process of its own with a short schedule: one coarse step, and two rounds of one
step at each finer level. The pictures are square, with sides that are multiples of the tile size, so that all tiles
have the same size.
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
from PIL import Image

from hires_nst.config import Config, Optimizer
from hires_nst.run.context import CANVASES
from hires_nst.run.disk_space import AUTO_OVERLAP
from hires_nst.transfer.canvas import BYTES_PER_PIXEL
from hires_nst.transfer.refine import refine_round
from hires_nst.transfer.rounds import OptimizerCanvases, Round
from hires_nst.transfer.tiles import make_grid


def peak(side: int, tile: int) -> float:
    """Run side x side pixels in this process; its peak resident memory in bytes."""
    from hires_nst import stylize

    config = Config.model_validate(
        {
            "output": {"long_edge": side},
            "levels": {"coarse_steps": 1, "rounds": 2, "steps": 1, "decay": 1.0, "factor": 4.0},
            "tiles": {"size": tile},
            "runtime": {"canvas": "memory"},
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        photograph = Path(folder) / "photograph.png"
        image = Image.open(SAMPLES / "contents" / "landscape.jpg")
        image.crop((0, 0, min(image.size), min(image.size))).save(photograph)
        image.close()
        style = SAMPLES / "styles" / "flow_strokes.jpg"
        stylize(photograph, Path(folder) / "out.png", styles=style, config=config)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def seconds_per_evaluation(width: int, height: int, tile: int, *, rounds: int, steps: int) -> float:
    """Seconds per evaluation of the whole image: all that a round does, divided by its evaluations."""
    config = Config()
    extract = extractor(config)
    content = picture("contents", "landscape", width, height)
    objective = objective_for(extract, config, content, picture("styles", "flow_strokes", 1024, 1024))
    canvas, optimizer_canvases = content, OptimizerCanvases()
    seconds = 0.0
    for number in range(rounds + 1):  # the first one warms up
        grid = make_grid(height, width, size=tile, stride=16, overlap=AUTO_OVERLAP, shifted=number % 2 == 1)
        began = time.monotonic()
        painted = refine_round(
            Round(
                canvas=canvas, content_canvas=content, objective=objective, grid=grid,
                measure_grid=make_grid(height, width, size=2 * tile, stride=16), coupling="balanced",
                optimizer=Optimizer(), steps=steps, optimizer_canvases=optimizer_canvases,
            )
        )  # fmt: skip
        canvas, optimizer_canvases = painted.canvas, painted.optimizer_canvases or optimizer_canvases
        seconds += time.monotonic() - began if number else 0.0
    return seconds / (rounds * steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="*", default=[2048, 4096, 6144], help="without values: speed only")
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--width", type=int, default=1536)
    parser.add_argument("--height", type=int, default=2048)
    parser.add_argument("--no-speed", action="store_true")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(peak(options.one, options.tile))
        return
    rows = []
    canvas_count = CANVASES[Optimizer().name]
    for side in options.sides:
        command = [sys.executable, __file__, "--one", str(side), "--tile", str(options.tile)]
        used = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
        canvases = side * side * BYTES_PER_PIXEL * canvas_count
        cells = [f"{value / 1e9:.2f}" for value in (used, canvases, used - canvases)]
        rows.append([f"{side} x {side}", f"{side * side / 1e6:.1f}", *cells])
        print(rows[-1], flush=True)
    if rows:
        report(
            "memory",
            f"Peak memory of a run, tiles of {options.tile} px, overlap {AUTO_OVERLAP} px",
            ["pixels", "megapixels", "peak, GB", f"{canvas_count} canvases, GB", "rest, GB"],
            rows,
            [
                f"A canvas is float32, {BYTES_PER_PIXEL} bytes per pixel. The finest level has {canvas_count}: "
                "the photograph, the image before and after a round, where the last round started, and the gradient "
                "there and at this round's start."
            ],
            script="memory_and_speed",
        )
    if options.no_speed:
        return
    width, height, steps = options.width, options.height, Config().levels.steps
    untiled = seconds_per_evaluation(width, height, 1 << 20, rounds=3, steps=steps)
    rows = [["untiled", "1", f"{untiled / (width * height / 1e6):.3f}", "1.00"]]
    for tile in (options.tile, 2 * options.tile):
        tiled = seconds_per_evaluation(width, height, tile, rounds=3, steps=steps)
        count = len(make_grid(height, width, size=tile, stride=16).tiles)
        cells = [f"{tiled / (width * height / 1e6):.3f}", f"{tiled / untiled:.2f}"]
        rows.append([f"tiles of {tile} px, overlap {AUTO_OVERLAP} px", str(count), *cells])
        print(rows[-1], flush=True)
    report(
        "speed",
        f"Time of an evaluation at {width} x {height} px, rounds of {steps}",
        ["method", "tiles", "seconds per evaluation and megapixel", "relative to untiled"],
        rows,
        ["The times include all parts of a round: global moments, the photograph's activations, overlap, blending."],
        script="memory_and_speed",
    )


if __name__ == "__main__":
    main()
