"""A picture of hundreds of megapixels within a few gigabytes of memory.

python benchmarks/gigapixel.py [--megapixels 400] [--limit "4 GB"] [--group FOLDER] [--set KEY=VALUE ...]

The program paints the sample photograph at that size on a short schedule, in a process that the system refuses more
than the limit: by RLIMIT_DATA, which counts its heap and its private maps, used or not; or by a memory control group,
which the process joins, for example /sys/fs/cgroup/memory/NAME with the limit in its memory.limit_in_bytes. What the
process had at most is read from the system while it works. Canvases are on disk.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from common import ROOT, SAMPLES, report

from hires_nst.quantities import parse_amount

SHORT = (
    "levels.rounds=1", "levels.steps=1", "levels.coarse_steps=20", "levels.factor=4", "checkpoint.every=level",
)  # fmt: skip
"""The schedule: every kind of work is done, once."""


def high_water(found: dict[str, int], ended: threading.Event) -> None:
    """Keep the largest values of this process's memory, in bytes, until it has ended."""
    while not ended.wait(0.2):
        for line in Path("/proc/self/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in ("VmData", "RssAnon", "RssFile", "RssShmem"):
                found[name] = max(found.get(name, 0), int(value.split()[0]) * 1024)


def paint(megapixels: float, limit: str, *, group: Path | None, settings: list[str]) -> None:
    """Paint within the limit, and print what it took, as JSON."""
    if group is None:
        resource.setrlimit(resource.RLIMIT_DATA, (parse_amount(limit),) * 2)
    else:
        (group / "cgroup.procs").write_text(str(os.getpid()))
    import hires_nst
    from hires_nst.config import gather, parse_config

    photograph = SAMPLES / "contents" / "landscape.jpg"
    width, height = 3, 2
    edge = math.ceil(math.sqrt(megapixels * 1e6 * width / height))
    config = parse_config(
        gather(assignments=[f"output.long_edge={edge}", f"runtime.memory={limit}", *SHORT, *settings])
    )  # fmt: skip
    found: dict[str, int] = {}
    ended, began = threading.Event(), time.monotonic()
    watcher = threading.Thread(target=high_water, args=(found, ended), daemon=True)
    watcher.start()
    with tempfile.TemporaryDirectory() as folder:
        result = hires_nst.stylize(
            photograph, Path(folder) / "out.tif", styles=SAMPLES / "styles" / "flow_strokes.jpg", config=config,
            on_event=lambda event: print(type(event).__name__, getattr(event, "message", ""), file=sys.stderr),
        )  # fmt: skip
        size = (Path(folder) / "out.tif").stat().st_size
    ended.set()
    watcher.join()
    print(
        json.dumps({**found, "seconds": time.monotonic() - began, "size": [result.width, result.height], "file": size})
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, default=400.0)
    parser.add_argument("--limit", default="4 GB")
    parser.add_argument("--group", type=Path, metavar="FOLDER", help="a memory control group, in place of RLIMIT_DATA")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--paint", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.paint:
        paint(options.megapixels, options.limit, group=options.group, settings=options.set)
        return
    command = [sys.executable, __file__, *sys.argv[1:], "--paint"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    width, height = found["size"]
    gigabytes = [f"{found[name] / 1e9:.2f}" for name in ("VmData", "RssAnon")]
    report(
        "gigapixel",
        "A large picture in little memory",
        ["pixels", "megapixels", "limit", "VmData, GB", "RssAnon, GB", "seconds", "file, GB"],
        [
            [
                f"{width} x {height}", f"{width * height / 1e6:.0f}",
                f"{options.limit}, {'RLIMIT_DATA' if options.group is None else 'control group'}", *gigabytes,
                f"{found['seconds']:.0f}",
                f"{found['file'] / 1e9:.2f}",
            ]
        ],
        [
            "VmData is the heap and all private maps that can be written, RssAnon the part of them that was in memory.",
            "Canvases are on disk. Schedule: " + ", ".join(SHORT) + ".",
        ],
        script="gigapixel",
    )  # fmt: skip


if __name__ == "__main__":
    main()
