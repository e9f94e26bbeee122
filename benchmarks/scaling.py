"""One picture on many devices: measured with processes on this machine, and simulated for many GPUs.

    python benchmarks/scaling.py

The first table times a round of two steps by one process as usual, and by 1, 2 and 4 worker processes, with one thread
each. The second simulates a round of a very large picture on 8 to 256 GPUs: with the time of an evaluation on one GPU,
which is an option, and with what a tile costs the main process, measured here: reading its windows, packing and
unpacking messages of their true sizes, and blending. The main process does one thing at a time, each worker has a tile
in work and one waiting, and one thread writes the checkpoints, as in the program; only the network and the disk are
speeds that are given.
"""

from __future__ import annotations

import argparse
import heapq
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from common import extractor, objective_for, picture, report

from hires_nst.config import Config, Optimizer
from hires_nst.executors.messages import packed, size_of, unpacked
from hires_nst.executors.pool import TilePool
from hires_nst.executors.processes import ProcessCrew
from hires_nst.executors.worker import Setup
from hires_nst.run.disk_space import overlap_of
from hires_nst.transfer.objective import Objective, WholeImage
from hires_nst.transfer.optimizers import OptimizerState
from hires_nst.transfer.refine import refine_round
from hires_nst.transfer.rounds import OptimizerCanvases, Round, TileResult
from hires_nst.transfer.tasks import Executor, Finished, MakeTask
from hires_nst.transfer.tiles import Grid, Tile, make_grid

STEPS = 2
FORWARD = 1 / 3
"""Of an evaluation with its gradient."""

PIXEL = 12
"""Bytes of three float32 samples."""


def first_round(config: Config, side: int, tile: int, *, coupling: str = "balanced") -> Round:
    """A round on a sample picture, in the middle of a level."""
    extract = extractor(config).padded("zeros")
    content, style = picture("contents", "landscape", side, side), picture("styles", "flow_strokes", side, side)
    objective = objective_for(extract, config, content, style, border=config.levels.border)
    grid = make_grid(side, side, size=tile, stride=config.stride, overlap=overlap_of(config))
    state = OptimizerCanvases({"start": content, "gradient": content.blank()}, STEPS)
    return Round(
        canvas=content, content_canvas=content, objective=objective, grid=grid, coupling=coupling,  # type: ignore[arg-type]
        measure_grid=make_grid(side, side, size=2 * tile, stride=config.stride), optimizer=Optimizer(), steps=STEPS,
        optimizer_canvases=state,
    )  # fmt: skip


def seconds_of(current: Round, executor: Executor | None, repeat: int) -> float:
    """The fastest of several rounds, after one in which the photograph's activations are made."""
    taken = []
    for _ in range(1 + repeat):
        began = time.perf_counter()
        with torch.enable_grad():
            refine_round(current, executor=executor)
        taken.append(time.perf_counter() - began)
    return min(taken[1:])


def measured(options: argparse.Namespace) -> None:
    """The table of worker processes on this machine."""
    torch.set_num_threads(1)
    config = Config.model_validate({"runtime": {"device": "cpu", "precision": "float32"}})
    current = first_round(config, options.side, options.tile)
    extract = current.objective.extract
    setup = Setup(network=extract.network, device="cpu", dtype=extract.dtype, deterministic=True, threads=1)
    alone = seconds_of(current, None, options.repeat)
    rows = [["this process", f"{alone:.2f}", "1.00"]]
    for workers in options.workers:
        with TilePool(ProcessCrew([setup] * workers)) as pool:
            taken = seconds_of(current, pool, options.repeat)
        rows.append([f"{workers} worker processes", f"{taken:.2f}", f"{alone / taken:.2f}"])
    report(
        "scaling", f"A round of {STEPS} steps, {options.side} px square, {len(current.grid.tiles)} tiles",
        ["by", "seconds", "times as fast"], rows,
        ["One thread each; the bundled network in float32; the pass for the moments is shared out too."],
    )  # fmt: skip


@dataclass(kw_only=True)
class Costs:
    """What the main process does for a tile: seconds per million pixels of its window, and bytes a pixel.

    Attributes:
        send: reading the windows and packing them.
        receive: unpacking, and blending.
        round: the rest of a round, per million pixels of the picture.
        there, back: the bytes that travel.
    """

    send: float
    receive: float
    round: float
    there: float
    back: float


class Echo:
    """An executor whose workers take no time: what is left is the main process."""

    def __init__(self) -> None:
        self.there = self.back = self.pixels = 0
        self.sending = 0.0

    def run(
        self,
        objective: Objective,
        tiles: Iterable[Tile],
        *,
        make: MakeTask,
        start: WholeImage | None = None,
        on_step: Callable[[Tile, int, float], None] = lambda tile, step, loss: None,
    ) -> Iterator[Finished]:
        """Send each task to nobody, and return its image as the result."""
        for tile in tiles:
            began = time.perf_counter()
            task: Any = make(tile, lambda key: True)
            there = packed(task)
            self.sending += time.perf_counter() - began
            state = OptimizerState({"gradient": task.image}, STEPS)
            back = packed(TileResult(image=task.image, loss=0.0, state=state, steps=STEPS))
            self.there, self.back = self.there + size_of(there), self.back + size_of(back)
            self.pixels += tile.window.area
            yield Finished(tile, unpacked(back), 0.0)


def costs(options: argparse.Namespace) -> Costs:
    """The costs of the main process, measured."""
    config = Config.model_validate({"runtime": {"device": "cpu", "precision": "float32"}})
    current = first_round(config, 2 * options.tile, options.tile, coupling="independent")
    best: Costs | None = None
    for _ in range(3):
        echo, began = Echo(), time.perf_counter()
        refine_round(current, executor=echo)
        whole = time.perf_counter() - began
        began = time.perf_counter()
        current.canvas.copy().clip()
        current.canvas.blank()
        around = time.perf_counter() - began
        windows, area = echo.pixels / 1e6, current.canvas.image.area / 1e6
        found = Costs(
            send=echo.sending / windows, receive=(whole - echo.sending - around) / windows, round=around / area,
            there=echo.there / echo.pixels, back=echo.back / echo.pixels,
        )  # fmt: skip
        best = found if best is None or found.send + found.receive < best.send + best.receive else best
    assert best is not None
    return best


def simulate(jobs: list[tuple[float, float, float]], workers: int) -> tuple[float, float, float]:
    """Share jobs out, in order.

    Args:
        jobs: seconds of the main process to send each, of a worker to do it, and of the main process for its result.

    Returns:
        Seconds until the last result is handled; those in which the main process works; those of a mean worker.
    """
    upcoming, busy = iter(jobs), [0.0] * workers
    events = [(0.0, number, -1.0) for _ in range(2) for number in range(workers)]  # time, worker, cost of a result
    heapq.heapify(events)
    main = main_busy = working = 0.0
    left = len(jobs)
    given = dict.fromkeys(range(workers), 0)
    while events:
        now, number, result = heapq.heappop(events)
        if result >= 0:
            main = max(main, now) + result
            main_busy += result
            given[number] -= 1
        if given[number] and left <= workers:
            continue  # no tile waits at a worker while others have none
        job = next(upcoming, None)
        if job is None:
            continue
        left -= 1
        main = max(main, now) + job[0]
        main_busy += job[0]
        given[number] += 1
        busy[number] = max(busy[number], main) + job[1]
        working += job[1]
        heapq.heappush(events, (busy[number], number, job[2]))
    return main, main_busy, working / workers


def a_round(grid: Grid, measure: Grid, workers: int, *, cost: Costs, options: argparse.Namespace) -> list[str]:
    """The row of a number of workers."""
    network, evaluation = options.bandwidth * 1e9, options.evaluation / 1e9  # bytes a second; seconds a pixel

    def refining(pixels: int) -> tuple[float, float, float]:
        return (
            pixels * (cost.send / 1e6 + cost.there / network), pixels * STEPS * evaluation,
            pixels * (cost.receive / 1e6 + cost.back / network),
        )  # fmt: skip

    def measuring(pixels: int) -> tuple[float, float, float]:
        share = PIXEL / cost.there
        return pixels * (cost.send / 1e6 * share + PIXEL / network), pixels * FORWARD * evaluation, 0.0

    parts = [
        simulate([measuring(tile.window.area) for tile in measure.tiles], workers),
        simulate([refining(tile.window.area) for tile in grid.tiles], workers),
    ]
    around = grid.image.area / 1e6 * cost.round
    windows = sum(tile.window.area for tile in grid.tiles)
    disk = (windows * cost.back + grid.image.area * 3 * PIXEL) / (options.disk * 1e9)  # tiles, then canvases
    computed = sum(part[0] for part in parts) + around
    whole = max(computed, disk if options.checkpoints else 0.0)
    main, work = sum(part[1] for part in parts) + around, sum(part[2] for part in parts)
    waves = math.ceil(len(grid.tiles) / workers) * workers / len(grid.tiles)
    shares = {"the main process": main, "the disk": disk * options.checkpoints, "the workers": work * waves}
    reason = max(shares, key=lambda name: shares[name])
    return [
        str(workers), f"{whole:.1f}", f"{work * workers / whole:.1f}", f"{work / whole:.0%}", f"{main / whole:.0%}",
        f"{len(grid.tiles) / workers:.1f}", reason,
    ]  # fmt: skip


def simulated(options: argparse.Namespace) -> None:
    """The table of many GPUs."""
    cost, config = costs(options), Config()
    side = math.isqrt(int(options.megapixels * 1e6))
    for size in options.sizes:
        grid = make_grid(side, side, size=size, stride=config.stride, overlap=overlap_of(config))
        measure = make_grid(side, side, size=2 * size, stride=config.stride)
        rows = [a_round(grid, measure, workers, cost=cost, options=options) for workers in options.gpus]
        report(
            f"scaling_{size}",
            f"Simulated: {STEPS} steps at {options.megapixels:g} megapixels, {len(grid.tiles)} tiles of {size} px",
            ["GPUs", "seconds", "times one GPU alone", "GPUs busy", "main process busy", "tiles each", "bound by"],
            rows,
            [
                f"Given: evaluations of {options.evaluation:g} ms a megapixel, {options.bandwidth:g} GB/s between the "
                f"main process and workers, checkpoints {f'at {options.disk:g} GB/s' * options.checkpoints or 'off'}.",
                f"Measured on this machine, main process, one thread, milliseconds a megapixel of a window: "
                f"{cost.send * 1e3:.1f} to read and pack, {cost.receive * 1e3:.1f} to unpack and blend; "
                f"{cost.there:.0f} bytes a pixel travel there and {cost.back:.0f} back.",
                "Nothing of this ran on more than one GPU.",
            ],
            script="scaling",
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=768, help="of the picture that is painted here")
    parser.add_argument("--tile", type=int, default=192, help="of its tiles, and of those that costs are measured with")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--megapixels", type=float, default=1000.0, help="of the picture that is simulated")
    parser.add_argument("--sizes", type=int, nargs="+", default=[2048, 1024], help="of its tiles")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 16, 32, 64, 128, 256])
    parser.add_argument(
        "--evaluation", type=float, default=4.8,
        help="milliseconds a megapixel on a GPU; the default was measured on an H200 with the bundled network in bf16",
    )  # fmt: skip
    parser.add_argument("--bandwidth", type=float, default=3.0, help="GB/s between the main process and the workers")
    parser.add_argument("--disk", type=float, default=2.0, help="GB/s of checkpoints")
    parser.add_argument("--checkpoints", action=argparse.BooleanOptionalAction, default=True, help="of every tile")
    options = parser.parse_args()
    measured(options)
    options.tile = max(options.tile, 512) if options.side >= 512 else options.tile
    simulated(options)


if __name__ == "__main__":
    main()
