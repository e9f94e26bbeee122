"""Everything that is to be tried on a GPU, the most important first, in a limited time.

python benchmarks/gpu.py [--seconds 300] [--only PART ...] [--quick]

Each part is a command with a limit of its own; what does not fit into the time any more is skipped with a line. The
tables go where each benchmark writes them, with `-cuda` in their names, and what all parts said to `gpu.md`. VGG-19 has
random weights, which take the same time. `--quick` runs the same parts with tiny pictures, also without a GPU.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import common
import torch
from common import ROOT, SAMPLES, random_weights, report
from safetensors.torch import save_file

from hires_nst.backbones.registry import VGG19

FILES = str(SAMPLES / "contents" / "landscape.jpg"), str(SAMPLES / "styles" / "flow_strokes.jpg")
TINY = ("output.print.dpi=20", "levels.min_size=32", "levels.coarse_steps=4", "levels.rounds=2")
LEAST = 5.0
"""Seconds that must be left for a part to begin."""

OK = "success"
"""How a part ended that did not fail."""


@dataclass(frozen=True)
class Part:
    """A command with the seconds that it may take."""

    name: str
    command: Sequence[str]
    limit: float


def parts(folder: Path, *, quick: bool) -> list[Part]:
    """All parts, the most important first."""
    here = ROOT / "benchmarks"

    def script(name: str, *arguments: str) -> list[str]:
        return [sys.executable, str(here / f"{name}.py"), *arguments]

    sets = ("--set", *TINY) if quick else ()
    tile, bytes_set = ("128", TINY) if quick else ("2048", ())
    weights = folder / "vgg19.safetensors"
    save_file(random_weights(VGG19), weights)
    vgg19 = ("model.name=vgg19", f"model.weights={weights}")
    networks = ("vgg19-slim",) if quick else ("vgg19-slim", "vgg19")
    precision = "float32" if quick else "bfloat16"
    prints = ["A8"] if quick else ["A4", "A3"]
    return [
        Part("tests", [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/run/test_cuda.py"], 60),
        Part("engine", script("bench_engine", "--networks", *networks, "--precisions", precision, "--tiles", tile), 60),
        Part("prints", script("bench_job", "--prints", *prints, *sets), 60),
        Part("kill", [sys.executable, __file__, "--kill", *(bytes_set or ("output.print.paper=A4",))], 60),
        Part("large-print", script("bench_job", "--prints", prints[0] if quick else "A0", "--name", "bench_job_a0",
                                   *sets), 120),
        Part(
            "prints-vgg19",
            script("bench_job", "--prints", prints[0] if quick else "A3", "--name", "bench_job_vgg19", "--set", *vgg19,
                   *(TINY if quick else ())),
            60,
        ),
        Part(
            "batch",
            script("batch", "--pictures", "1" if quick else "12", "--megapixels", "0.01" if quick else "2", "--jobs",
                   "20", "--only", "pictures", *(("--set", *TINY[1:]) if quick else ())),
            180,
        ),
    ]  # fmt: skip


def kill_and_resume(settings: Sequence[str]) -> None:
    """Kill a run at its second level, resume it, and compare with one that was left alone.

    Raises:
        SystemExit: the bytes differ, or the run was too short to be killed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = [text for setting in settings for text in ("--set", setting)]
        stylize = [sys.executable, "-m", "hires_nst", "stylize", *FILES, *options, "-o"]
        subprocess.run([*stylize, str(folder / "whole.png")], check=True, stdout=subprocess.DEVNULL)
        run_dir = folder / "killed.png.run"
        process = subprocess.Popen([*stylize, str(folder / "killed.png")], stdout=subprocess.DEVNULL)
        while process.poll() is None and not list(run_dir.glob("levels/01/rounds/*/*")):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            raise SystemExit("the run ended before it was killed; paint a larger picture")
        resume = [sys.executable, "-m", "hires_nst", "resume", str(run_dir)]
        subprocess.run(resume, check=True, stdout=subprocess.DEVNULL)
        first, second = ((folder / f"{name}.png").read_bytes() for name in ("whole", "killed"))
        if first != second:
            raise SystemExit("killed and resumed: other bytes")
        print("killed and resumed: the same bytes")


def run(part: Part, seconds: float) -> tuple[str, float, str]:
    """Run a part within its limit and the seconds that are left: how it ended, its seconds, and what it said."""
    limit, began = min(part.limit, seconds), time.monotonic()
    if limit < LEAST:
        return "skipped, no time left", 0.0, ""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HIRES_NST_RESULTS": str(common.RESULTS)}
    process = subprocess.Popen(
        part.command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        said, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with what it has started, which would keep the GPU
        said, _ = process.communicate()
        return "not finished", limit, said[-4000:]
    ended = OK if process.returncode == 0 else f"exit code {process.returncode}"
    return ended, time.monotonic() - began, said[-4000:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--only", nargs="+", metavar="PART")
    parser.add_argument("--quick", action="store_true", help="tiny pictures, also without a GPU")
    parser.add_argument("--kill", nargs="+", metavar="KEY=VALUE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.kill:
        kill_and_resume(options.kill)
        return
    if not (options.quick or torch.cuda.is_available()):
        raise SystemExit("there is no CUDA device here; --quick runs the same parts with tiny pictures")
    end, rows, said = time.monotonic() + options.seconds, [], []
    with tempfile.TemporaryDirectory() as folder:
        for part in parts(Path(folder), quick=options.quick):
            if options.only is None or part.name in options.only:
                ended, seconds, text = run(part, end - time.monotonic())
                rows.append([part.name, ended, f"{seconds:.0f}"])
                said += [f"## {part.name}", "", "```", text.strip(), "```", ""]
                print(*rows[-1], text, sep="\n", flush=True)
    report("gpu", "On a GPU", ["part", "it ended with", "seconds"], rows, said)
    if failed := [name for name, ended, _ in rows if ended != OK and not ended.startswith("skipped")]:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
