"""How long a level's first step should be: as the curvature of the level below predicts it, and as its own shows.

python benchmarks/first_step.py [--size 512 --min-size 128] [--set KEY=VALUE ...] [--pairs NAME ...]

L-BFGS guesses the inverse of the Hessian as a multiple of the identity, from the last step and the change of the
gradient along it. That guess times the gradient at a level's start is a step, whose mean change of a pixel is shown:
with the guess of the last steps of the level below, and with that after the level's first step, whose length is fixed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

from common import report
from pairs import SHARED, Pair, known_pairs
from torch import Tensor

import hires_nst
from hires_nst import events
from hires_nst.config import gather, parse_config
from hires_nst.transfer import lbfgs

LAST = 10
"""Steps of the level below whose median guess counts."""


@dataclass(frozen=True)
class Step:
    """A step of L-BFGS.

    Attributes:
        gradient: mean absolute change of a pixel by the preconditioned gradient of the sum over the pixels.
        guess: the inverse of the Hessian of that sum; None where there is no pair yet.
    """

    gradient: float
    guess: float | None


def steps_of(pair: Pair, size: int, *, assignments: list[str]) -> list[list[Step]]:
    """The steps of each level of a picture; its tiles must be one."""
    found: list[list[Step]] = []
    step = lbfgs._Descent._step

    def listen(event: events.Event) -> None:
        if isinstance(event, events.LevelStarted):
            found.append([])

    def recorded(descent: lbfgs._Descent) -> Tensor:
        value = step(descent)
        assert descent.before is not None
        pixels, scale = descent.task.start[0, 0].numel(), float(descent.loss_scale)
        change = float(descent.variables.change(descent.before[1]).abs().mean()) / scale * pixels
        guess = None if descent.pairs.scale is None else float(descent.pairs.scale) * scale / pixels
        found[-1].append(Step(change, guess))
        return value

    config = parse_config(gather(assignments=[f"output.long_edge={size}", *assignments]))
    with tempfile.TemporaryDirectory() as folder, patch.object(lbfgs._Descent, "_step", recorded):
        hires_nst.stylize(pair.content, f"{folder}/out.png", styles=pair.style, config=config, on_event=listen)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="long edge of the pictures, in pixels")
    parser.add_argument("--min-size", type=int, default=128, help="short side of the coarsest level, in pixels")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--pairs", nargs="+", help="those whose names begin like this")
    parser.add_argument("--shared", type=Path, default=SHARED)
    options = parser.parse_args()
    rows = []
    for pair in known_pairs(options.shared, options.pairs):
        levels = steps_of(pair, options.size, assignments=[f"levels.min_size={options.min_size}", *options.set])
        for number, (below, level) in enumerate(pairwise(levels), start=2):
            guess = statistics.median(step.guess for step in below[-LAST:] if step.guess is not None)
            first = level[0].gradient
            rows.append([pair.name, str(number), f"{guess * first:.4f}", f"{(level[1].guess or 0.0) * first:.4f}"])
            print(rows[-1], flush=True)
    report(
        "first_step",
        f"The first step of a level, for pictures of {options.size} px",
        ["pair", "level", "by the level below", "by its own first step"],
        rows,
        [f"Mean change of a pixel. The program's own first step is {lbfgs.FIRST_CHANGE:g}."],
    )


if __name__ == "__main__":
    main()
