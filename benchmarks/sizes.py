"""Whether the program's own cost grows with the picture: rounds at several sizes, and the start of a run.

python benchmarks/sizes.py [--sides 2048 4096 8192] [--tile 1024] [--prints A6 A3]

A round is one of two steps, in tiles, with border and moments and the optimiser's memory, in a process of its own. The
start is that of a print from the sample photograph and painting, in the precision that the device would take, given by
name so that it is not checked first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import torch
from bench_engine import BORDER, a_round
from common import SAMPLES, objective_for, picture, report

import hires_nst
from hires_nst import events
from hires_nst.config import Config, gather, parse_config
from hires_nst.transfer.allocator import keep_freed_memory
from hires_nst.transfer.device import choose_device, precision_of
from hires_nst.transfer.extractor import load_extractor

PAINTING = 1024


def a_size(side: int, tile: int) -> float:
    """Seconds a megapixel and evaluation of a round at a size."""
    keep_freed_memory()
    config = Config()
    extract = load_extractor(config).padded("zeros")
    style = picture("styles", "flow_strokes", PAINTING, PAINTING)
    objective = objective_for(extract, config, picture("contents", "landscape", side, side), style, border=BORDER)
    with torch.enable_grad():
        return a_round(objective, config, tile, "balanced", profile=False, rounds=3)


def a_start(paper: str) -> dict[str, float]:
    """CPU seconds of a print until its first level starts, and until its first evaluation is done."""
    precision = str(precision_of("auto", choose_device("auto"))).removeprefix("torch.")
    config = parse_config(gather(assignments=[f"output.print.paper={paper}", f"runtime.precision={precision}"]))
    found: dict[str, float] = {}
    began = time.process_time()

    class Enough(Exception):
        """The first evaluation is done."""

    def listen(event: events.Event) -> None:
        if isinstance(event, events.LevelStarted):
            found["level"] = time.process_time() - began
        if isinstance(event, events.StepFinished):
            found["evaluation"] = time.process_time() - began
            raise Enough

    files = SAMPLES / "contents" / "landscape.jpg", SAMPLES / "styles" / "flow_strokes.jpg"
    with tempfile.TemporaryDirectory() as folder:
        try:
            hires_nst.stylize(files[0], f"{folder}/out.png", styles=files[1], config=config, on_event=listen)
        except Enough:
            return found
    raise SystemExit("the run ended without an evaluation")


def alone(*arguments: str) -> str:
    """What this script says with other arguments, in a process of its own."""
    return subprocess.run([sys.executable, __file__, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def report_sizes(sides: Sequence[int], tile: int) -> None:
    """The table of rounds."""
    taken = {side: float(alone("--one-size", str(side), "--tile", str(tile))) for side in sides}
    rows = [
        [str(side), f"{side**2 / 1e6:.1f}", f"{seconds:.3f}", f"{seconds / min(taken.values()):.2f}"]
        for side, seconds in taken.items()
    ]
    header = ["side, px", "megapixels", "s/MP and evaluation", "ratio"]
    report("sizes", f"Rounds of two steps in tiles of {tile} px", header, rows)


def report_starts(prints: Sequence[str]) -> None:
    """The table of starts."""
    rows = []
    for paper in prints:
        found = json.loads(alone("--one-start", paper))
        rows.append([paper, f"{found['level']:.2f}", f"{found['evaluation']:.2f}"])
    report(
        "starts", "CPU seconds from the start of a run", ["print", "first level begins", "first evaluation is done"],
        rows, ["Without the imports. What comes before the first level: files are read, the network is loaded, the",
               "photograph is brought to the size of the level, the painting is measured."],
        script="sizes",
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", nargs="+", type=int, default=[2048, 4096, 8192], help="pixels of square pictures")
    parser.add_argument("--tile", type=int, default=1024)
    parser.add_argument("--prints", nargs="+", default=["A6", "A3"])
    parser.add_argument("--one-size", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--one-start", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one_size:
        print(a_size(options.one_size, options.tile))
    elif options.one_start:
        print(json.dumps(a_start(options.one_start)))
    else:
        report_sizes(options.sides, options.tile)
        report_starts(options.prints)


if __name__ == "__main__":
    main()
