"""How many rounds a level needs from different starts, and with different lengths of the first step.

python benchmarks/level_start.py [--size 384 --rounds 8] [--pairs kodim13 landscape] [--shared FOLDER] [--save FOLDER]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from common import extractor, objective_for, report, scores
from couplings import UNTILED, Method
from pairs import SHARED, Pair, known_pairs, pixels_of, save, with_long_edge

from hires_nst.config import Config, Optimizer
from hires_nst.evaluation.flaws import calm_noise
from hires_nst.imageio.picture import Floats
from hires_nst.imageio.resize import resize_pixels
from hires_nst.run.detail import PART
from hires_nst.transfer import lbfgs
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.levels import style_size
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.refine import refine_round
from hires_nst.transfer.rounds import OptimizerCanvases, Round
from hires_nst.transfer.tiles import make_grid

EXAMPLES = 8000
"""Patches of the painting among which the nearest is looked for."""

BLOCK = 8
"""Side of what is copied, in pixels; blocks overlap by half."""


@dataclass(frozen=True)
class LevelImages:
    """What a start is made of: the lower level's picture, the photograph and the painting at the size of the level."""

    lower: Floats
    content: Floats
    style: Floats

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the level."""
        return self.content.shape[1], self.content.shape[0]

    def at(self, pixels: Floats, share: float) -> Floats:
        """The frequencies up to a share of those of the level."""
        height, width = pixels.shape[:2]
        small = resize_pixels(pixels, (round(width * share), round(height * share)))
        return resize_pixels(small, (width, height))

    @property
    def factor(self) -> float:
        """Of the lower level's size to that of the level."""
        return len(self.lower) / len(self.content)


def enlarged(images: LevelImages) -> Floats:
    """The lower level's picture, enlarged."""
    return resize_pixels(images.lower, images.size)


def with_detail(images: LevelImages) -> Floats:
    """The same with detail of the photograph, as `levels.detail: auto` adds it."""
    part = images.factor + PART * (1 - images.factor)
    detail = images.at(images.content, part) - images.at(images.content, images.factor)
    new = [image - images.at(image, images.factor) for image in (images.style, images.content)]
    return enlarged(images) + min(1.0, float(new[0].std() / new[1].std())) * detail


def with_examples(images: LevelImages) -> Floats:
    """The same with the painting's new frequencies: those of its patch that is nearest to the picture's.

    After Freeman, Jones, Pasztor: Example-Based Super-Resolution (2002). Deviations: the nearest patch alone, in
    colour, blended with its neighbours by raised cosines instead of being chosen to fit them.
    """
    start, low, half = enlarged(images), images.at(images.style, images.factor), BLOCK // 2
    high, rng = images.style - low, np.random.default_rng(0)
    rows, columns = (rng.integers(half, side - half, EXAMPLES) for side in low.shape[:2])
    keys, inside = _patches(low, rows, columns), np.arange(-half, half)
    blocks = high[(rows[:, None] + inside)[:, :, None], (columns[:, None] + inside)[:, None]]
    height, width = start.shape[:2]
    grid = np.meshgrid(np.arange(0, height + half, half), np.arange(0, width + half, half), indexing="ij")
    rows, columns = (axis.ravel() for axis in grid)
    wanted = _patches(start, rows, columns)
    nearest = ((keys**2).sum(1) - 2 * wanted @ keys.T).argmin(1)
    wave = np.sin((np.arange(BLOCK) + 0.5) / BLOCK * np.pi) ** 2
    feather = np.outer(wave, wave)[..., None].astype(np.float32)
    band = np.zeros((height + 3 * BLOCK, width + 3 * BLOCK, 3), np.float32)
    for row, column, index in zip(rows + half, columns + half, nearest, strict=True):
        band[row : row + BLOCK, column : column + BLOCK] += feather * blocks[index]
    return start + band[BLOCK : BLOCK + height, BLOCK : BLOCK + width]


def _patches(image: Floats, rows: np.ndarray, columns: np.ndarray) -> Floats:
    """The 5 x 5 samples around positions, two pixels apart, one patch a row."""
    around = 2 * np.arange(-2, 3)
    down, across = (
        np.clip(at[:, None] + around, 0, side - 1)
        for at, side in zip((rows, columns), image.shape[:2], strict=True)
    )  # fmt: skip
    return image[down[:, :, None], across[:, None]].reshape(len(rows), -1)


@dataclass(frozen=True)
class Start:
    """A start, and the mean change of a pixel in the first step from it."""

    name: str
    make: Callable[[LevelImages], Floats]
    first_change: float


STARTS = (
    Start("enlarged", enlarged, 0.0075), Start("enlarged", enlarged, 0.015),
    Start("with the photograph's detail", with_detail, 0.0075),
    Start("with the photograph's detail", with_detail, 0.015),
    Start("with the photograph's detail", with_detail, 0.03),
    Start("with the painting's detail", with_examples, 0.015),
)  # fmt: skip


def course(
    objective: Objective, start: Canvas, content: Canvas, *, rounds: int
) -> tuple[Canvas, list[tuple[float, float]]]:
    """The picture after some rounds, and style and content loss before the first and after each."""
    canvas, carried, found = start, OptimizerCanvases(), [scores(objective, start, content)]
    grid = make_grid(start.height, start.width, size=UNTILED, stride=16)
    for _ in range(rounds):
        painted = refine_round(
            Round(
                canvas=canvas, content_canvas=content, objective=objective, grid=grid, measure_grid=grid,
                coupling="balanced", optimizer=Optimizer(), steps=2, optimizer_canvases=carried,
            )
        )  # fmt: skip
        canvas, carried = painted.canvas, painted.optimizer_canvases or carried
        found.append(scores(objective, canvas, content))
    return canvas, found


def rounds_to(wanted: float, values: list[float]) -> float:
    """The rounds after which a value was reached, with fractions; NaN where it was not."""
    for number, (before, after) in enumerate(pairwise(values)):
        if after <= wanted:
            return number + max(0.0, (before - wanted) / (before - after))
    return math.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=384, help="long edge of the level, in pixels")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--coarse-steps", type=int, default=150)
    parser.add_argument("--pairs", nargs="+", help="those whose names begin like this")
    parser.add_argument("--shared", type=Path, default=SHARED)
    parser.add_argument("--save", type=Path, help="a folder for the pictures")
    options = parser.parse_args()
    rows: list[list[str]] = []
    for pair in known_pairs(options.shared, options.pairs):
        rows += _rows(pair, options)
    report(
        "level_start",
        f"Starts of a level of {options.size} px, from one of {options.size // 2} px",
        [
            "pair", "start", "first step", "objective at the start", "after 2 rounds", "after 4",
            f"after {options.rounds}", "style loss", "content loss", "rounds to the first row's objective", "noise",
        ],
        rows,
        [
            f"Rounds of 2 evaluations, untiled. The lower level has {options.coarse_steps} evaluations. The first step "
            "is the mean change of a pixel in it. Style and content loss, and noise, are those after "
            f"{options.rounds} rounds; noise is that of `benchmarks/quality.py`."
        ],
    )  # fmt: skip


def _rows(pair: Pair, options: argparse.Namespace) -> list[list[str]]:
    """The table's rows of a pair."""
    config = Config()
    extract, painting = extractor(config), pixels_of(pair.style)

    def level(size: int) -> tuple[Objective, Canvas, Canvas]:
        content = Canvas.of(with_long_edge(pixels_of(pair.content), size))
        height, width = style_size(
            (len(painting), painting.shape[1]), (content.height, content.width), scale=1.0, config=config
        )  # fmt: skip
        style = Canvas.of(resize_pixels(painting, (width, height)))
        return objective_for(extract, config, content, style), content, style

    lbfgs.FIRST_CHANGE = STARTS[0].first_change
    objective, content, _ = level(options.size // 2)
    lower, _ = Method(UNTILED, rounds=1, steps=options.coarse_steps).refine(objective, content, content)
    objective, content, style = level(options.size)
    images = LevelImages(lower.pixels, content.pixels, style.pixels)
    rows, wanted = [], math.nan
    for number, start in enumerate(STARTS):
        lbfgs.FIRST_CHANGE = start.first_change
        picture = Canvas.of(np.clip(start.make(images), 0, 1))
        painted, found = course(objective, picture, content, rounds=options.rounds)
        totals = [config.loss.style_weight * s + objective.content_weight * c for s, c in found]
        wanted = wanted if number else totals[-1]
        noise = calm_noise(painted.pixels, content.pixels)
        numbers = [totals[0], *(totals[min(at, options.rounds)] for at in (2, 4)), totals[-1], *found[-1]]
        needed = rounds_to(wanted, totals)
        cells = [f"{value:.4f}" for value in numbers]
        cells += [f"over {options.rounds}" if math.isnan(needed) else f"{needed:.1f}", f"{noise:.0f}"]
        rows.append([pair.name, start.name, f"{start.first_change:g}", *cells])
        print(rows[-1], flush=True)
        if options.save:
            save(painted.pixels, options.save / f"{pair.name}-{number}.png")
    return rows


if __name__ == "__main__":
    main()
