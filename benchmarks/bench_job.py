"""Whole prints, from the files to the picture: seconds of each stage, memory, and the estimate of `plan`.

python benchmarks/bench_job.py [--prints A6 A5 A4] [--set KEY=VALUE ...] [--one-layer]
                               [--against CHECKOUT [--own KEY=VALUE ...]]

Each print is painted in a process of its own, from the sample photograph and painting. `--against` paints the same with
the program in another checkout, alternately, and gives the ratio; `--own` are settings that only this program gets, as
those that the other does not know. `--one-layer` is a network of one layer, whose own
evaluation is small: what is left is the program around it. `--planned` adds larger prints by the estimate of `plan`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common import ROOT, SAMPLES, report

ONE_LAYER = ("loss.style_layers={conv1_1: 1}", "loss.content_layers={}")

PAINT = """
import json, os, resource, shutil, subprocess, sys, threading, time
began = time.monotonic()
import torch
imported = time.monotonic()
import hires_nst
from hires_nst import events
from hires_nst.config import gather, parse_config
print_size, photograph, painting, out, *settings = sys.argv[1:]
config = parse_config(gather(assignments=[f"output.print.paper={print_size}", *settings]))
planned = hires_nst.plan(photograph, styles=painting, config=config)
planned_at = time.monotonic()
stages = {"import torch": imported - began}
pixels, busy = 0, []
def watch():
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
    command = f"nvidia-smi --id={gpu} --query-gpu=utilization.gpu --format=csv,noheader,nounits --loop-ms=200".split()
    for line in subprocess.Popen(command, stdout=subprocess.PIPE, text=True).stdout:
        busy.append((pixels, float(line)))
if shutil.which("nvidia-smi"):
    threading.Thread(target=watch, daemon=True).start()
def listen(event):
    global pixels
    if isinstance(event, events.LevelStarted):
        pixels = event.width * event.height
    if isinstance(event, events.LevelFinished):
        pixels = 0
        stages[f"level {event.index + 1}"] = event.seconds
cpu = time.process_time()
result = hires_nst.stylize(photograph, out, styles=painting, config=config, on_event=listen)
total = time.monotonic() - planned_at
stages["around the levels"] = total - sum(s for name, s in stages.items() if name.startswith("level"))
print(json.dumps({
    "stages": stages, "seconds": total, "cpu": time.process_time() - cpu, "planned": planned.seconds,
    "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, "busy": busy,
    "evaluations": sum(p.width * p.height * p.rounds * p.steps for p in planned.levels) / 1e6,
}))
"""


LARGE = 4e6
"""Pixels of a level above which a GPU should be busy."""


def painted(size: str, checkout: Path, settings: Sequence[str]) -> Mapping[str, Any]:
    """Paint a print with the program of a checkout, in another process."""
    with tempfile.TemporaryDirectory() as folder:
        files = [SAMPLES / "contents" / "landscape.jpg", SAMPLES / "styles" / "flow_strokes.jpg"]
        command = [sys.executable, "-c", PAINT, size, *map(str, files), f"{folder}/out.png", *settings]
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        done = subprocess.run(command, env=environment, cwd=checkout, check=True, stdout=subprocess.PIPE, text=True)
    found: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def busy(found: Mapping[str, Any]) -> str:
    """The share of the time of large levels in which a GPU worked, as nvidia-smi says every 200 ms."""
    shares = [share for pixels, share in found["busy"] if pixels > LARGE]
    return f"{sum(shares) / len(shares):.0f} %" if shares else ""


def planned(size: str, settings: Sequence[str]) -> float:
    """Seconds of a print by the estimate of `plan`."""
    from hires_nst import plan
    from hires_nst.config import gather, parse_config

    config = parse_config(gather(assignments=[f"output.print.paper={size}", *settings]))
    found = plan(SAMPLES / "contents" / "landscape.jpg", styles=SAMPLES / "styles" / "flow_strokes.jpg", config=config)
    return found.seconds or 0.0


def commit(checkout: Path) -> str:
    """The commit of a checkout, shortened."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def stages_of(found: Mapping[str, Any]) -> str:
    """The stages in one line."""
    stages: Mapping[str, float] = found["stages"]
    return ", ".join(f"{name} {seconds:.1f}" for name, seconds in stages.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prints", nargs="+", default=["A6", "A5", "A4"])
    parser.add_argument("--planned", nargs="*", default=[], help="prints whose time is that of plan")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--one-layer", action="store_true")
    parser.add_argument("--against", type=Path, help="another checkout of the program")
    parser.add_argument("--own", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--name", default="bench_job")
    options = parser.parse_args()
    shared = [*options.set, *(ONE_LAYER if options.one_layer else ())]
    own = [*shared, *options.own]
    sides: dict[str, tuple[Path, list[str]]] = {"this": (ROOT, own)}
    if options.against is not None:
        sides["the other"] = options.against.resolve(), shared
    rows = []
    for size in options.prints:
        found = {name: painted(size, checkout, settings) for name, (checkout, settings) in sides.items()}
        for name, one in found.items():
            rows.append(
                [
                    size, name, f"{one['seconds']:.0f}", f"{one['cpu']:.0f}", f"{one['memory']:.1f}",
                    f"{one['seconds'] / one['evaluations']:.2f}", f"{one['planned']:.0f}",
                    f"{found['the other']['seconds'] / one['seconds']:.2f}" if len(found) > 1 else "", busy(one),
                    stages_of(one),
                ]
            )  # fmt: skip
            print(*rows[-1], flush=True)
    for size in options.planned:
        rows.append([size, "this", "", "", "", "", f"{planned(size, own):.0f}", "", "", ""])
    report(
        options.name,
        "Whole prints at 300 dpi",
        [
            "print", "program", "seconds", "of CPU", "GB", "s a megapixel and evaluation", "planned, s",
            "times as fast as the other", "GPU busy", "stages, s",
        ],
        rows,
        [
            "From the start of `stylize` to the written picture, without the import of torch; megapixels and",
            "evaluations are those of the picture's levels, without border and overlap. A GPU is busy in levels of",
            f"more than {LARGE / 1e6:.0f} megapixels, as nvidia-smi says.",
            *([] if options.against is None else [f"The other is commit {commit(options.against)}."]),
            *([f"Settings: {' '.join(shared)}."] if shared else []),
            *([f"Settings of this program alone: {' '.join(options.own)}."] if options.own else []),
        ],
        script="bench_job",
    )  # fmt: skip


if __name__ == "__main__":
    main()
