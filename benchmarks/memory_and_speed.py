"""Peak memory for growing pictures with a fixed tile size, and the time of an evaluation in tiles relative to untiled.

python benchmarks/memory_and_speed.py [--sides 2048 4096 6144] [--tile 512] [--shapes 8000x160 ...]

Each row on memory is measured in a process of its own with a short schedule. For `--sides`: one coarse step, and two
rounds of one step at each finer level; the pictures are square, with sides that are multiples of the tile size, so that
all tiles have the same size. For `--shapes`: enough coarse steps to fill L-BFGS's history, which is shorter than usual,
and tiles as the program chooses them; the peak, less what the program takes before it paints, is compared with `plan`.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from common import SAMPLES, extractor, objective_for, picture, report
from PIL import Image

from hires_nst.config import Config, Optimizer
from hires_nst.run.disk_space import AUTO_OVERLAP
from hires_nst.run.memory import pixel_bytes
from hires_nst.transfer.refine import refine_round
from hires_nst.transfer.rounds import OptimizerCanvases, Round
from hires_nst.transfer.tiles import make_grid

HISTORY = 6
"""Of L-BFGS in runs of different shapes, so that few steps fill it."""


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


def shape_peak(width: int, height: int) -> tuple[float, float, float, str]:
    """Run that size in this process: its peak memory less that before, the plan's for canvases and tile, and a tile."""
    from hires_nst import plan, stylize

    config = Config.model_validate(
        {
            "levels": {"coarse_steps": HISTORY + 2, "rounds": 2, "steps": 2, "decay": 1.0, "factor": 4.0},
            "optimizer": {"history": HISTORY},
            "runtime": {"canvas": "memory"},
            "images": {"max_megapixels": 1000},
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        photograph = Path(folder) / "photograph.png"
        with Image.open(SAMPLES / "contents" / "landscape.jpg") as image:
            image.resize((width, height)).save(photograph)
        style = SAMPLES / "styles" / "flow_strokes.jpg"
        planned = plan(photograph, styles=style, config=config, measure=False)  # loads torch and the network
        before = psutil.Process().memory_info().rss
        stylize(photograph, Path(folder) / "out.png", styles=style, config=config)
    largest = max(planned.levels, key=lambda level: level.window_area)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0 - before
    return used, planned.canvas_bytes, planned.tile_bytes, f"{largest.window_width} x {largest.window_height}"


def measure_shapes(shapes: Sequence[str]) -> None:
    """Peak memory and the plan's estimate for each of the shapes, such as `8000x160`."""
    rows = []
    for shape in shapes:
        width, height = map(int, shape.split("x"))
        command = [sys.executable, __file__, "--one-shape", shape]
        cells = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split(maxsplit=3)
        used, canvases, tile = map(float, cells[:3])
        numbers = [f"{value / 1e9:.2f}" for value in (used, canvases, tile)]
        proportion = f"{max(width, height) / min(width, height):.0f} : 1"
        rows.append([f"{width} x {height}", proportion, cells[3].strip(), *numbers, f"{(canvases + tile) / used:.2f}"])
        print(rows[-1], flush=True)
    report(
        "memory_shapes",
        "Peak memory of a run, and what `plan` says",
        [
            "pixels", "shape", "largest window", "measured, GB", "plan: canvases, GB", "plan: tile, GB",
            "plan / measured",
        ],
        rows,
        [f"L-BFGS with a history of {HISTORY}. Measured is the peak less the memory of the program before it paints."],
        script="memory_and_speed",
    )  # fmt: skip


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
    parser.add_argument("--shapes", nargs="*", default=[], help="such as 8000x160")
    parser.add_argument("--one-shape", help=argparse.SUPPRESS)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(peak(options.one, options.tile))
        return
    if options.one_shape:
        print(*shape_peak(*map(int, options.one_shape.split("x"))))
        return
    if options.shapes:
        measure_shapes(options.shapes)
    rows = []
    per_pixel = pixel_bytes(Config())
    for side in options.sides:
        command = [sys.executable, __file__, "--one", str(side), "--tile", str(options.tile)]
        used = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
        canvases = side * side * per_pixel
        cells = [f"{value / 1e9:.2f}" for value in (used, canvases, used - canvases)]
        rows.append([f"{side} x {side}", f"{side * side / 1e6:.1f}", *cells])
        print(rows[-1], flush=True)
    if rows:
        report(
            "memory",
            f"Peak memory of a run, tiles of {options.tile} px, overlap {AUTO_OVERLAP} px",
            ["pixels", "megapixels", "peak, GB", "canvases, GB", "rest, GB"],
            rows,
            [
                f"The canvases take {per_pixel} bytes a pixel at the finest level: the image in float32; in half "
                "precision the photograph, its change in the last round and in this one, and the gradients where they "
                "began."
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
