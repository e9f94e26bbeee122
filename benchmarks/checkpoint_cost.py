"""The cost of checkpoints at the size of the demo (an A6 print at 300 dpi), and the time to resume.

python benchmarks/checkpoint_cost.py [--repeat 2] [--size 1748] [--set KEY=VALUE ...]

Runs with a checkpoint after every tile alternate, in one process, with runs that have them after levels only. The speed
of a machine varies by more than a checkpoint costs, so two times are measured inside a run as well: how long the
painting waited for files, and the CPU time of the thread that writes them, which other threads could have used. The
time until a resumed run has done its first step is that of a run that was stopped in the middle of the last level.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from common import ROOT, SAMPLES, report

from hires_nst import Config, events, resume, stylize
from hires_nst.config import gather, parse_config
from hires_nst.errors import Interrupted
from hires_nst.run import single_run
from hires_nst.run.context import open_context
from hires_nst.run.output_size import OutputSize
from hires_nst.run.write_behind import Write, WriteBehind, Written
from hires_nst.stopping import Stop

CONTENT, STYLE = SAMPLES / "contents" / "landscape.jpg", SAMPLES / "styles" / "flow_strokes.jpg"


class Timed(WriteBehind):
    """Adds up the cost of writing."""

    waited = 0.0
    """Seconds for which the painting waited, including the work that follows a write in the same thread."""
    worked = 0.0
    """CPU seconds of the writing thread."""

    def put(self, write: Write[Written], on_done: Callable[[Written], None]) -> None:
        def timed(check_stop: Callable[[], None]) -> Written:
            began = time.thread_time()
            written = write(check_stop)
            Timed.worked += time.thread_time() - began
            return written

        super().put(timed, on_done)

    def _first(self, timeout: float | None) -> None:
        began = time.monotonic()
        super()._first(timeout)
        Timed.waited += time.monotonic() - began


def timed(out: Path, config: Config) -> tuple[float, float, float]:
    """Seconds of a run, seconds that it waited for files, and CPU seconds spent on writing them."""
    Timed.waited = Timed.worked = 0.0

    def on_event(event: events.Event) -> None:
        if isinstance(event, events.CheckpointWritten) and event.kind not in ("tile", "round", "level"):
            Timed.waited += event.seconds  # small files, which are not written behind

    began = time.monotonic()
    stylize(CONTENT, out, styles=STYLE, config=config, on_event=on_event, overwrite=True)
    return time.monotonic() - began, Timed.waited, Timed.worked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--size", type=int, default=1748, help="pixels of the long edge")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings of the picture")
    options = parser.parse_args()

    def config(every: str) -> Config:
        own = [f"output.long_edge={options.size}", "tiles.size=512", f"checkpoint.every={every}"]
        return parse_config(gather(assignments=[*own, *options.set]))

    single_run.WriteBehind = Timed  # type: ignore[attr-defined]
    rows, resumed = [], 0.0
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as name:
        out = Path(name) / "out.png"
        times: dict[str, list[tuple[float, float, float]]] = {"level": [], "tile": []}
        for _ in range(options.repeat):
            for every, results in times.items():
                results.append(timed(out, config(every)))
                print(every, results[-1], flush=True)
        out.unlink()

        stop, tiles = Stop(), 0
        last = 0

        def on_event(event: events.Event) -> None:
            nonlocal tiles, last
            if isinstance(event, events.RunStarted):
                last = len(event.levels) - 1
            if isinstance(event, events.TileFinished) and event.level == last:
                tiles += 1
                if tiles == 3:
                    stop.request("the benchmark")

        try:
            stylize(CONTENT, out, styles=STYLE, config=config("tile"), stop=stop, on_event=on_event)
        except Interrupted as error:
            print(error)
        first: list[float] = []
        again = Stop()
        began = time.monotonic()

        def stepped(event: events.Event) -> None:
            if isinstance(event, events.StepFinished) and not first:
                first.append(time.monotonic() - began)
                again.request("the benchmark")

        try:
            resume(out.with_name("out.png.run"), stop=again, on_event=stepped)
        except Interrupted as error:
            print(error)
        began_loading = time.monotonic()
        open_context(config("tile"), OutputSize(width=options.size, height=options.size, crop=(0, 0, 1, 1), dpi=None))
        loading = time.monotonic() - began_loading
        resumed = first[0] - loading
    plain, threads = statistics.median(result[0] for result in times["level"]), torch.get_num_threads()
    for every, results in times.items():
        seconds, waited, worked = (statistics.median(part) for part in zip(*results, strict=True))
        share = (waited + worked / threads) / seconds
        cells = [f"{seconds:.1f}", f"{100 * (seconds / plain - 1):+.1f} %", f"{waited:.1f}", f"{worked:.1f}"]
        rows.append([every, *cells, f"{100 * share:.1f} %"])
    report(
        "checkpoint_cost",
        f"Checkpoints of a picture of {options.size} px in tiles of 512 px, median of {options.repeat} runs",
        ["every", "seconds", "relative to level", "waited, s", "writing thread's CPU, s", "cost"],
        rows,
        [
            "Cost: the time that the painting waited plus the writing thread's share of the CPUs, relative to the "
            "whole time.",
            "",
            f"Resuming in the last level: {resumed:.1f} s until the first step is done; loading the network is not "
            "counted.",
            *([f"With the settings {', '.join(options.set)}."] if options.set else []),
        ],
    )


if __name__ == "__main__":
    main()
