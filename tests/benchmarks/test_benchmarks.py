"""The benchmarks run and write their tables; how fast anything is, is no matter here."""

from __future__ import annotations

import math
import os
import runpy
import sys
from pathlib import Path

import common
import pytest

from hires_nst.run import single_run
from hires_nst.transfer import lbfgs, parametrization

FOLDER = Path(__file__).parents[2] / "benchmarks"
SMALL = "--width 64 --height 32 --tile 32"
QUICK = ("levels.min_size=32", "levels.coarse_steps=2", "levels.rounds=2", "levels.decay=1")
COMMANDS = {
    "couplings": (f"{SMALL} --coarse-steps 2 --pairs 1", ["couplings-gram", "couplings-mean-covariance"]),
    "calm_parts": (
        "--size 96 --min-size 32 --pairs landscape --shared {folder}/none --work {folder}/work "
        "--configuration none levels.coarse_steps=2 levels.rounds=2 --configuration more levels.coarse_steps=2 "
        "levels.rounds=2 loss.tv_weight=0.1",
        ["calm_parts"],
    ),
    "level_start": (
        "--size 64 --rounds 2 --coarse-steps 2 --pairs landscape --shared {folder}/none --save {folder}",
        ["level_start"],
    ),
    "first_step": (
        "--size 96 --min-size 32 --pairs landscape --shared {folder}/none --set levels.coarse_steps=3 levels.rounds=1",
        ["first_step"],
    ),
    "optimizers": ("--width 48 --height 32 --tile 32 --pairs 1", ["optimizers"]),
    "pixels": ("--size 48 --evaluations 4 --pairs 1", ["pixels", "pixels_in_rounds"]),
    "memory_and_speed": (f"{SMALL} --sides 96 --shapes 96x32", ["memory", "memory_shapes", "speed"]),
    "checkpoint_cost": (f"--size 160 --repeat 1 --set tiles.size=64 {' '.join(QUICK)}", ["checkpoint_cost"]),
    "quality": (
        "--size 96 --configuration quick levels.min_size=32 levels.coarse_steps=2 levels.rounds=1 "
        "--shared {folder}/none --work {folder}/work --identity 64",
        ["quality", "quality_identity", "quality_likeness", "quality_losses"],
    ),
    "reference": ("spst --size 48 --first-steps 2 --shared {folder}/none --work {folder}/work", []),
    "flat_paintings": (
        "--size 48 --set levels.min_size=32 levels.coarse_steps=2 --pairs landscape --paintings red red-and-blue "
        "--shared {folder}/none --work {folder}/work",
        ["flat_paintings", "flat_paintings_bound"],
    ),
    "composition": (
        "--size 64 --min-size 32 --steps 2 --pairs landscape --shared {folder}/none --work {folder}/work",
        ["composition"],
    ),
    "against_references": (
        "--size 64 --min-size 32 --tries 1 --first-steps 2 --steps 2 --set levels.coarse_steps=2 levels.rounds=1 "
        "--pairs landscape --shared {folder}/none --work {folder}/work",
        ["against_references"],
    ),
    "choosing": (
        "start --size 64 --min-size 32 --set levels.coarse_steps=2 levels.rounds=1 --shared {folder}/none "
        "--work {folder}/work",
        ["choosing_start"],
    ),
    "bench_engine": ("--precisions float32 --tiles 128", ["bench_engine"]),
    "encoding": ("--megapixels 0.01 --repeat 1", ["encoding"]),
    "iterations": ("--sides 64", ["iterations"]),
    "sizes": ("--sides 64 --tile 64 --prints A10", ["sizes", "starts"]),
    "bench_job": (
        "--prints A8 --planned A7 --one-layer --set output.print.dpi=30 levels.min_size=32 levels.coarse_steps=2",
        ["bench_job"],
    ),
    "scaling": (
        "--side 64 --tile 32 --workers 2 --repeat 1 --megapixels 1 --sizes 256 --gpus 1 8",
        ["scaling", "scaling_256"],
    ),
    "gigapixel": ("--megapixels 0.01 --set levels.min_size=32 levels.coarse_steps=2", ["gigapixel"]),
    "mask_cost": ("--tile 32 --repeat 1", ["mask_cost"]),
    "gpu": ("--quick --only kill --seconds 120", ["gpu"]),
    "batch": (f"--pictures 1 --megapixels 0.01 --jobs 20 --set {' '.join(QUICK)}", ["batch", "batch_ledger"]),
}


SHARED = {"common", "judges", "pairs", "plain", "sheets"}


def test_every_benchmark_is_tried() -> None:
    assert {file.stem for file in FOLDER.glob("*.py")} == {*SHARED, *COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_benchmark_writes_its_tables(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, tables = COMMANDS[name]
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments.format(folder=tmp_path).split()])
    for module, changed in ((single_run, "WriteBehind"), (parametrization, "POWER"), (lbfgs, "FIRST_CHANGE")):
        monkeypatch.setattr(module, changed, getattr(module, changed))  # put back when this is over
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    assert sorted(file.stem.removesuffix("-cuda") for file in tmp_path.glob("*.md")) == tables
    for file in tmp_path.glob("*.md"):
        rows = [line for line in file.read_text().splitlines() if line.startswith("| ")]
        cells = [cell.strip(" %") for row in rows[2:] for cell in row.strip("|").split("|")]
        assert all(math.isfinite(float(cell)) for cell in cells if cell.lstrip("+-")[:1].isdigit() and " " not in cell)
        assert rows[2:]


def test_tiles_are_compared_with_every_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    arguments = f"--every-loss --loss sliced {SMALL} --height 64 --coarse-steps 2"
    monkeypatch.setattr(sys, "argv", ["couplings.py", *arguments.split()])
    runpy.run_path(str(FOLDER / "couplings.py"), run_name="__main__")
    rows = [line for line in (tmp_path / "couplings_losses.md").read_text().splitlines() if line.startswith("| ")]
    assert [row.split("|")[1].strip() for row in rows[2:]] == ["sliced"]


def test_a_print_says_how_busy_the_gpu_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "nvidia-smi"
    fake.write_text("#!/bin/sh\nwhile echo 80; do sleep 0.01; done\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    arguments = "--prints A8 --set output.print.dpi=30 levels.min_size=32 levels.coarse_steps=2"
    monkeypatch.setattr(sys, "argv", ["bench_job.py", *arguments.split()])
    module = runpy.run_path(str(FOLDER / "bench_job.py"))
    monkeypatch.setitem(module["busy"].__globals__, "LARGE", 100)
    module["main"]()
    row = next(line for line in (tmp_path / "bench_job.md").read_text().splitlines() if line.startswith("| A8"))
    assert row.split("|")[9].strip() == "80 %"
