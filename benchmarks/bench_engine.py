"""What the engine takes: seconds a megapixel and evaluation, and bytes a pixel, of the evaluation alone and of a round.

python benchmarks/bench_engine.py [--networks vgg19-slim ...] [--precisions bfloat16 ...] [--tiles 1024 ...]

The evaluation is the value and gradient of one tile that is as large as the tile size. The round is one of two steps on
a picture of four tiles, with its border and the optimiser's memory, without checkpoints. The same with a network of one
layer is the engine's own cost. Each row runs in a process of its own, for its memory. A network whose weights are not
there has random ones, which take the same time.
"""

from __future__ import annotations

import argparse
import cProfile
import itertools
import json
import pstats
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from common import objective_for, picture, random_weights, report

from hires_nst.backbones.network import Network
from hires_nst.backbones.registry import VGGS
from hires_nst.backbones.vgg import VGG
from hires_nst.backbones.vgg_layers import ConvLayer
from hires_nst.backbones.weights import own_file
from hires_nst.config import Config, Coupling, Optimizer
from hires_nst.run.disk_space import overlap_of
from hires_nst.transfer.allocator import keep_freed_memory
from hires_nst.transfer.device import choose_device, precision_of, synchronise
from hires_nst.transfer.extractor import Extractor, network_of
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.refine import refine_round, tile_gradient
from hires_nst.transfer.rounds import OptimizerCanvases, Round
from hires_nst.transfer.tiles import make_grid

BORDER = 32
ONE_LAYER = {"style_layers": {"conv1_1": 1.0}, "content_layers": {}}
REPEATS = 5


def network(name: str, config: Config, device: torch.device) -> Network:
    """The network, with random weights where its own are not there."""
    backbone = VGGS[name]
    if backbone.is_bundled or own_file(backbone).is_file():
        return network_of(config, device)
    result = VGG(backbone, random_weights(backbone), pooling=backbone.pooling)
    return result.in_precision(precision_of(config.runtime.precision, device)).to(device)


def seconds(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """The least time of some calls, after one to warm up."""
    found = []
    for _ in range(repeats + 1):
        began = time.monotonic()
        work()
        synchronise(choose_device("auto"))
        found.append(time.monotonic() - began)
    return min(found[1:])


def matrix_rate(dtype: torch.dtype, device: torch.device) -> float:
    """Measured multiplications and additions a second, in square matrices."""
    side = 8192 if device.type == "cuda" else 2048
    first = torch.rand((side, side), device=device).to(dtype)
    return 2 * side**3 / seconds(lambda: first @ first)


def arithmetic(config: Config, name: str) -> float:
    """Multiplications and additions of the convolutions for a pixel, forward and backward."""
    backbone, left, stride, total = VGGS[name], set(config.layers), 1, 0.0
    for step in backbone.steps:
        if not left:
            break
        if isinstance(step, ConvLayer):
            total += 2 * 9 * step.in_channels * step.out_channels / stride**2
            left.discard(step.name)
        else:
            stride *= 2
    return 2 * total


def measure(name: str, precision: str, tile: int, coupling: Coupling, *, profile: bool = False) -> dict[str, float]:
    """One row, in this process."""
    keep_freed_memory()
    device = choose_device("auto")
    found: dict[str, float] = {}
    for part, loss in (("", {}), ("one layer ", ONE_LAYER)):
        config = Config.model_validate(
            {"model": {"name": name}, "runtime": {"precision": precision}, **({"loss": loss} if loss else {})}
        )
        extract = Extractor(network(name, config, device).padded("zeros"), device=device)
        side = 2 * tile - 2 * BORDER
        content, style = picture("contents", "landscape", side, side), picture("styles", "flow_strokes", 1024, 1024)
        with torch.enable_grad():
            if not part:
                found |= evaluation(extract, config, tile)
                found["share"] = arithmetic(config, name) / found["evaluation"] * 1e6
                found["share"] /= matrix_rate(extract.network.precision, device)
            objective = objective_for(extract, config, content, style, border=BORDER)
            found[f"{part}round"] = a_round(objective, config, tile, coupling, profile=profile)
    return found


def evaluation(extract: Extractor, config: Config, tile: int) -> dict[str, float]:
    """Seconds a megapixel, and bytes a pixel, of the value and gradient of one tile."""
    content, style = picture("contents", "landscape", tile, tile), picture("styles", "flow_strokes", 1024, 1024)
    objective = objective_for(extract, config, content, style)
    (whole,) = make_grid(tile, tile, size=tile, stride=config.stride).tiles
    features = objective.content_features(content, whole.window)
    gradient = tile_gradient(objective, whole, content_features=features, start=None)
    image = extract.read(content, whole.window)
    before = memory()
    taken = seconds(lambda: gradient(image.clone().requires_grad_()))
    return {"evaluation": taken / tile**2 * 1e6, "bytes": (memory() - before) / tile**2}


def memory() -> float:
    """The most bytes so far: of the device, or of this process."""
    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def a_round(
    objective: Objective, config: Config, tile: int, coupling: Coupling, *, profile: bool, rounds: int = 4
) -> float:
    """Seconds a megapixel and evaluation of a round of two steps: the least, after two to warm up."""
    side = objective.height
    content = picture("contents", "landscape", side, side)
    canvas, carried, taken = content, OptimizerCanvases(), []
    for number in range(rounds):
        grid = make_grid(
            side, side, size=tile, stride=config.stride, overlap=overlap_of(config), shifted=number % 2 == 1
        )
        current = Round(
            canvas=canvas, content_canvas=content, objective=objective, grid=grid,
            measure_grid=make_grid(side, side, size=2 * tile, stride=config.stride), coupling=coupling,
            optimizer=Optimizer(), steps=2, optimizer_canvases=carried,
        )  # fmt: skip
        with cProfile.Profile() as profiler:
            if not profile:
                profiler.disable()
            began = time.monotonic()
            painted = refine_round(current)
            synchronise(objective.extract.device)
            taken.append(time.monotonic() - began)
        canvas, carried = painted.canvas, painted.optimizer_canvases or carried
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)
    return min(taken[2:]) / 2 / side**2 * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["vgg19-slim"])
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--tiles", nargs="+", type=int, default=[512, 1024])
    parser.add_argument("--couplings", nargs="+", default=["balanced"])
    parser.add_argument("--profile", action="store_true", help="print where the rounds' time goes in Python")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, precision, tile, coupling = options.one
        print(json.dumps(measure(name, precision, int(tile), coupling, profile=options.profile)))
        return
    rows = []
    for case in itertools.product(options.networks, options.precisions, map(str, options.tiles), options.couplings):
        if options.profile:
            subprocess.run([sys.executable, __file__, "--one", *case, "--profile"], check=True)
            continue
        command = [sys.executable, __file__, "--one", *case]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        rows.append(
            [
                *case, f"{found['evaluation']:.4f}", f"{found['share']:.0%}", f"{found['bytes']:.0f}",
                f"{found['round']:.4f}", f"{found['round'] / found['evaluation']:.2f}",
                f"{found['one layer round']:.4f}",
            ]
        )  # fmt: skip
        print(*rows[-1], flush=True)
    if rows:
        report(
            "bench_engine",
            "The engine: an evaluation with gradient, and a round of two steps",
            [
                "network", "precision", "tile", "coupling", "evaluation, s/MP", "of the matrix rate", "bytes a pixel",
                "round, s/MP and evaluation", "over the evaluation", "round with one layer",
            ],
            rows,
            ["Seconds a megapixel of the picture. The matrix rate is that of square matrices in the same precision."],
        )  # fmt: skip


if __name__ == "__main__":
    main()
