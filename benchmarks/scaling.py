"""One picture on many devices: measured with processes on this machine, and simulated for many GPUs.

    python benchmarks/scaling.py

The first table times a round of two steps by one process as usual, and by 1, 2 and 4 worker processes, with one thread
each. The second simulates a round of a very large picture on 8 to 256 GPUs: with the time of an evaluation on one GPU,
which is an option, and with what a tile costs the main process, measured here: reading its windows, packing and
unpacking messages of their true sizes, and blending. As in the program, each worker has a tile in work and one waiting,
a thread for each reads and sends, torch's threads blend, and one writes the checkpoints; only the network and the disk
are speeds that are given.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import psutil
import torch
from common import extractor, objective_for, picture, report

from hires_nst.config import Config, Coupling, Optimizer
from hires_nst.executors.messages import packed, size_of, unpacked
from hires_nst.executors.pool import TilePool
from hires_nst.executors.processes import ProcessCrew
from hires_nst.executors.worker import Setup
from hires_nst.run.disk_space import overlap_of
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.optimizers import OptimizerState
from hires_nst.transfer.refine import refine_round
from hires_nst.transfer.rounds import OptimizerCanvases, Round, tile_result
from hires_nst.transfer.tasks import Finished, MakeTask
from hires_nst.transfer.terms import WholeImage
from hires_nst.transfer.tiles import Grid, Tile, make_grid

STEPS = 2
FORWARD = 1 / 3
"""Of an evaluation with its gradient."""

PIXEL = 12
"""Bytes of three float32 samples."""


def first_round(config: Config, side: int, tile: int, *, coupling: Coupling = "balanced") -> Round:
    """A round on a sample picture, in the middle of a level."""
    extract = extractor(config).padded("zeros")
    content, style = picture("contents", "landscape", side, side), picture("styles", "flow_strokes", side, side)
    objective = objective_for(extract, config, content, style, border=config.levels.border)
    grid = make_grid(side, side, size=tile, stride=config.stride, overlap=overlap_of(config))
    state = OptimizerCanvases({"step": content.blank("float16"), "gradient": content.blank("bfloat16")}, STEPS)
    return Round(
        canvas=content, content_canvas=content, objective=objective, grid=grid, coupling=coupling,
        measure_grid=make_grid(side, side, size=2 * tile, stride=config.stride), optimizer=Optimizer(), steps=STEPS,
        optimizer_canvases=state, half=True,
    )  # fmt: skip


def fastest(work: Callable[[], object], pids: Sequence[int], repeat: int) -> tuple[float, float, float]:
    """Run something several times, after once to warm up.

    Returns:
        The fewest seconds, those of this process's CPU, and those of the busiest other process.
    """
    found = []
    others = [psutil.Process(pid) for pid in pids]

    def used() -> list[float]:
        return [sum(process.cpu_times()[:2]) for process in (psutil.Process(), *others)]

    for _ in range(1 + repeat):
        began, before = time.perf_counter(), used()
        work()
        mine, *theirs = (after - earlier for after, earlier in zip(used(), before, strict=True))
        found.append((time.perf_counter() - began, mine, max(theirs, default=0.0)))
    return tuple(map(min, zip(*found[1:], strict=True)))


def measured(options: argparse.Namespace) -> None:
    """The table of worker processes on this machine."""
    torch.set_num_threads(1)
    config = Config.model_validate({"runtime": {"device": "cpu", "precision": "float32"}})
    current = first_round(config, options.side, options.tile)
    extract = current.objective.extract
    setup = Setup(network=extract.network, device="cpu", dtype=extract.dtype, deterministic=True, threads=1)
    alone, own, _ = fastest(partial(refine_round, current), (), options.repeat)
    rows = [["this process", f"{alone:.2f}", f"{own:.2f}", "", "1.00"]]
    for workers in options.workers:
        crew = ProcessCrew([setup] * workers, lease_seconds=60)
        with TilePool(crew) as pool:
            taken, mine, theirs = fastest(partial(refine_round, current, executor=pool), crew.pids, options.repeat)
        name = f"{workers} worker process{'es' * (workers > 1)}"
        rows.append([name, f"{taken:.2f}", f"{mine:.2f}", f"{theirs:.2f}", f"{own / max(mine, theirs):.2f}"])
    report(
        "scaling", f"A round of {STEPS} steps, {options.side} px square, {len(current.grid.tiles)} tiles",
        ["by", "seconds", "CPU seconds of this process", "of the busiest worker", "times as fast with a core for each"],
        rows,
        [
            "One thread each; the bundled network in float32; the pass for the moments is shared out too. The last "
            "column follows from the CPU seconds: this machine has two cores, which others use too."
        ],
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
        """Send each task to nobody, and return its image as the change."""
        for tile in tiles:
            began = time.process_time()
            task: Any = make(tile, lambda key: True)
            there = packed(task)
            self.sending += time.process_time() - began
            state = OptimizerState({"gradient": task.image.clone()}, STEPS)
            back = packed(tile_result(task.image, loss=0.0, state=state, steps=STEPS, half=task.half))
            self.there, self.back = self.there + size_of(there), self.back + size_of(back)
            self.pixels += tile.window.area
            yield Finished(tile, unpacked(back), 0.0)


def costs(options: argparse.Namespace) -> Costs:
    """The costs of the main process, measured."""
    config = Config.model_validate({"runtime": {"device": "cpu", "precision": "float32"}})
    current = first_round(config, 2 * options.tile, options.tile, coupling="independent")
    best: Costs | None = None
    for _ in range(3):
        echo, began = Echo(), time.process_time()
        refine_round(current, executor=echo)
        whole = time.process_time() - began
        began = time.process_time()
        current.canvas.copy().clip()
        current.canvas.blank()
        around = time.process_time() - began
        windows, area = echo.pixels / 1e6, current.canvas.image.area / 1e6
        found = Costs(
            send=echo.sending / windows, receive=(whole - echo.sending - around) / windows, round=around / area,
            there=echo.there / echo.pixels, back=echo.back / echo.pixels,
        )  # fmt: skip
        best = found if best is None or found.send + found.receive < best.send + best.receive else best
    assert best is not None
    return best


@dataclass(frozen=True, kw_only=True)
class Work:
    """Seconds that a tile takes: of a thread that reads and packs its windows, of the network, of a GPU, of the network
    again, and of the main process."""

    read: float
    there: float
    work: float
    back: float
    blend: float


@dataclass
class Busy:
    """When each part of a simulated machine is free again, and how long each has worked."""

    threads: list[float]
    gpus: list[float]
    network: float = 0.0
    main: float = 0.0

    def sent(self, now: float, tile: Work) -> float:
        """When the tile's windows, asked for now, have arrived."""
        done = max(heapq.heappop(self.threads), now) + tile.read
        heapq.heappush(self.threads, done)
        self.network = max(self.network, done) + tile.there
        return self.network

    def handled(self, now: float, tile: Work) -> None:
        """A GPU is done with the tile: its result travels back and is blended."""
        self.network = max(self.network, now) + tile.back
        self.main = max(self.main, self.network) + tile.blend


def simulate(tiles: list[Work], gpus: int, threads: int) -> float:
    """Seconds until the last result is blended: each GPU has a tile in work and one waiting, in the order of tiles."""
    busy, left = Busy([0.0] * threads, [0.0] * gpus), deque(tiles)
    order, given = itertools.count(), [0] * gpus
    queue: list[tuple[float, int, int, Work | None]] = [
        (0.0, next(order), number, None) for _ in range(2) for number in range(gpus)
    ]
    while queue:
        now, _, number, tile = heapq.heappop(queue)
        if tile is not None:
            busy.handled(now, tile)
            given[number] -= 1
        if not left or (given[number] and len(left) <= gpus):
            continue  # no tile waits at a GPU while others have none
        given[number] += 1
        following = left.popleft()
        start = max(busy.gpus[number], busy.sent(now, following))
        busy.gpus[number] = start + following.work
        heapq.heappush(queue, (busy.gpus[number], next(order), number, following))
    return busy.main


def a_round(grid: Grid, measure: Grid, gpus: int, *, cost: Costs, options: argparse.Namespace) -> list[str]:
    """The row of a number of GPUs."""
    network, evaluation = options.bandwidth * 1e9, options.evaluation / 1e9  # bytes a second; seconds a pixel

    def refining(pixels: int) -> Work:
        return Work(
            read=pixels * cost.send / 1e6, there=pixels * cost.there / network, work=pixels * STEPS * evaluation,
            back=pixels * cost.back / network, blend=pixels * cost.receive / 1e6 / options.blend_threads,
        )  # fmt: skip

    def measuring(pixels: int) -> Work:
        share = PIXEL / cost.there
        return Work(
            read=pixels * cost.send / 1e6 * share, there=pixels * PIXEL / network, back=0.0, blend=0.0,
            work=pixels * FORWARD * evaluation,
        )  # fmt: skip

    passes = [[kind(tile.window.area) for tile in cut.tiles] for kind, cut in ((measuring, measure), (refining, grid))]
    around = grid.image.area / 1e6 * cost.round / options.blend_threads
    everything = [tile for tiles in passes for tile in tiles]
    disk = (sum(tile.window.area for tile in grid.tiles) * cost.back + grid.image.area * 2 * PIXEL) / options.disk / 1e9
    computed = sum(simulate(tiles, gpus, options.threads) for tiles in passes) + around
    whole, work = max(computed, disk), sum(tile.work for tile in everything)
    waves = sum(math.ceil(len(tiles) / gpus) * max(tile.work for tile in tiles) for tiles in passes)
    shares = {
        "blending": sum(tile.blend for tile in everything) + around,
        "the network": sum(tile.there + tile.back for tile in everything),
        "reading": sum(tile.read for tile in everything) / options.threads,
        "checkpoints": disk,
        "the GPUs": waves,
    }
    most, second = sorted(shares, key=lambda name: -shares[name])[:2]
    return [
        str(gpus), f"{whole:.1f}", f"{work / whole:.1f}", f"{work / gpus / whole:.0%}", f"{len(grid.tiles) / gpus:.1f}",
        f"{most} {shares[most]:.1f} s, {second} {shares[second]:.1f} s",
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
            ["GPUs", "seconds", "times a GPU that never waits", "GPUs busy", "tiles each", "what takes most"],
            rows,
            [
                f"Given: evaluations of {options.evaluation:g} ms a megapixel; {options.bandwidth:g} GB/s between the "
                f"main process and workers; checkpoints at {options.disk:g} GB/s; {options.threads} threads that read, "
                f"{options.blend_threads} over which blending is shared out.",
                f"Measured on this machine, milliseconds of one thread for a megapixel of a window: "
                f"{cost.send * 1e3:.1f} to read and pack, {cost.receive * 1e3:.1f} to unpack and blend; "
                f"{cost.round * 1e3:.1f} a round for a megapixel of the picture; {cost.there:.0f} bytes a pixel travel "
                f"there and {cost.back:.0f} back, in the first round of a level 12 more there.",
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
    parser.add_argument("--threads", type=int, default=16, help="of the main process's machine, which read windows")
    parser.add_argument("--blend-threads", type=int, default=16, help="over which torch shares out blending")
    parser.add_argument("--only", choices=("measured", "simulated"))
    options = parser.parse_args()
    if options.only != "simulated":
        measured(options)
    if options.only == "measured":
        return
    options.tile = max(options.tile, 512) if options.side >= 512 else options.tile
    simulated(options)


if __name__ == "__main__":
    main()
