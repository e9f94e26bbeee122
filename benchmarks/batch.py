"""A batch compared with single runs of the same pictures, and the cost of the ledger per job.

python benchmarks/batch.py [--pictures 20 --megapixels 1.0 --jobs 2000 --only pictures|ledger] [--set KEY=VALUE ...]

A batch saves the start of a process, the loading of the network and the painting's statistics: the same time for each
picture, however long it takes. `--set` makes the pictures, and so the benchmark, faster.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from common import SAMPLES, picture, report
from PIL import Image

from hires_nst.batch import api
from hires_nst.batch.job import Job
from hires_nst.batch.ledger import Ledger
from hires_nst.batch.ledger_schema import Outcome
from hires_nst.batch.options import BatchOptions
from hires_nst.batch.runner import run_batch
from hires_nst.batch.tasks import Painted, Task
from hires_nst.batch.workers import WorkerPool
from hires_nst.config import Batch, Config, Runtime
from hires_nst.events import OnEvent
from hires_nst.files import FileDigests, FileFingerprint, sha256_of
from hires_nst.stopping import Stop

STYLE = SAMPLES / "styles" / "flow_strokes.jpg"
CONTENTS = ("landscape", "astronaut")


class Nothing:
    """An engine that writes an empty file."""

    digests = FileDigests()

    def paint(self, task: Task, *, stop: Stop, on_event: OnEvent) -> Painted:
        task.picture.touch()
        return Painted(1, 1, sha256_of(task.picture))


def make_photographs(folder: Path, count: int, megapixels: float) -> None:
    """Write sample photographs of that size, all different."""
    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    for number in range(count):
        pixels = picture("contents", CONTENTS[number % len(CONTENTS)], round(height * 1.5), height).pixels
        shifted = np.roll(pixels, 37 * number, axis=1)
        Image.fromarray(np.rint(shifted * 255).astype(np.uint8)).save(folder / f"{number}.png")


def program(*arguments: str | Path) -> float:
    """Run the program; the seconds that it took."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "hires_nst", *map(str, arguments), "--quiet"], check=True)
    return time.monotonic() - began


def pictures(folder: Path, count: int, megapixels: float, settings: list[str]) -> list[list[str]]:
    """Rows of the table: the time of a batch and of single commands."""
    photos, single = folder / "photos", folder / "single"
    photos.mkdir()
    single.mkdir()
    make_photographs(photos, count, megapixels)
    sets = [part for setting in settings for part in ("--set", setting)]
    batch = program("batch", photos, STYLE, "-o", folder / "batch", "--no-report", *sets)
    paths = sorted(photos.iterdir())
    commands = sum(program("stylize", path, STYLE, "-o", single / path.name, *sets) for path in paths)
    what = f"{count} pictures of {megapixels:g} MP"
    rows = [("one batch", batch), ("one command `hires-nst stylize` for each", commands)]
    return [[what, name, f"{seconds:.1f}", f"{seconds / batch:.3f}"] for name, seconds in rows]


def ledger_alone(folder: Path, count: int) -> float:
    """Seconds to claim and finish jobs, without any work in between."""
    jobs = [Job(index=n, content=Path(f"{n}.jpg"), output=f"{n}.png", config=Config()) for n in range(count)]
    fingerprint = FileFingerprint(1, 1, "digest")
    outcome = Outcome(
        width=1,
        height=1,
        seconds=1.0,
        losses={"loss": 0.5},
        fingerprint="settings",
        inputs=(fingerprint,) * 2,
        picture=fingerprint,
    )
    with Ledger(folder, lease_seconds=60) as ledger:
        began = time.monotonic()
        ledger.enter(jobs, {job.id: ("waiting", None) for job in jobs}, seen={})
        ledger.set_queue(jobs)
        while (row := ledger.claim()) is not None:
            ledger.finish(row.id, outcome, publish=lambda: None)
        ledger.flush()
    return time.monotonic() - began


def whole_batch(folder: Path, count: int) -> float:
    """Seconds of a batch whose engine does nothing: ledger, logs, and the messages of a worker process."""
    photos = folder / "photos"
    photos.mkdir()
    for number in range(count):
        (photos / f"{number}.jpg").touch()
    out = folder / "out"
    began = time.monotonic()
    jobs = api.jobs(photos, out, styles=[STYLE])
    summary = run_batch(
        jobs, out, options=BatchOptions(batch=Batch(), runtime=Runtime()), stop=Stop(),
        make_executor=partial(WorkerPool, [Nothing], lease_seconds=60),
    )  # fmt: skip
    assert summary.counts["done"] == count
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--megapixels", type=float, default=1.0)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--only", choices=("pictures", "ledger"))
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings of the pictures")
    options = parser.parse_args()
    if options.only != "pictures":
        rows = []
        for name, measure in (("the ledger alone", ledger_alone), ("a batch of jobs that do nothing", whole_batch)):
            with tempfile.TemporaryDirectory() as folder:
                seconds = measure(Path(folder), options.jobs)
            rows.append([name, str(options.jobs), f"{seconds:.2f}", f"{1000 * seconds / options.jobs:.2f}"])
        header = ["what", "jobs", "seconds", "milliseconds per job"]
        report("batch_ledger", "The cost of the ledger of a batch", header, rows, script="batch")
    if options.only != "ledger":
        with tempfile.TemporaryDirectory() as folder:
            rows = pictures(Path(folder), options.pictures, options.megapixels, options.set)
        header = ["what", "how", "seconds", "relative to the batch"]
        saved = (float(rows[1][2]) - float(rows[0][2])) / options.pictures
        notes = [f"A batch saves {saved:.1f} seconds per picture, however long a picture takes."]
        notes += [f"With the settings {', '.join(options.set)}."] if options.set else []
        report("batch", "A batch compared with single runs", header, rows, notes)


if __name__ == "__main__":
    main()
