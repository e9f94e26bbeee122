"""Global losses and seams of the finished image: untiled, balanced, exact and independent, at equal evaluations.

python benchmarks/couplings.py [--width 1536 --height 1024 --tile 256] [--loss mean-covariance gram] [--every-loss]

`--every-loss` compares balanced tiles with the untiled picture for each style loss, or those of `--loss`, of the first
pair alone. `neighbours` takes long: it compares each position with thousands of examples.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from common import PAIRS, extractor, objective_for, picture, report, scores, seams
from skimage.color import rgb2lab

from hires_nst.backbones.registry import BACKBONES
from hires_nst.config import Config, Coupling, Loss, Optimizer, OptimizerName, StyleLossName
from hires_nst.imageio.picture import Floats
from hires_nst.imageio.resize import resize_pixels
from hires_nst.run.disk_space import AUTO_OVERLAP
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.refine import refine_round
from hires_nst.transfer.rounds import OptimizerCanvases, Round
from hires_nst.transfer.tiles import make_grid

UNTILED = 1 << 20
REGION = 64
"""Pixels of a side of the regions whose colours are compared."""

SCALE = BACKBONES[Config().model.name].content_scale
"""The factor on the default network's content loss."""

CONTENT_WEIGHTS = {"mean-covariance": Loss().content_weight, "gram": 0.01}
"""With the default weight, the content loss alone would decide how far a Gram loss falls, tiled or not."""


@dataclass(frozen=True)
class Method:
    """How a level is refined; the defaults are those of the program.

    Without `remember`, the optimiser starts over in each round.
    """

    tile: int
    coupling: Coupling = "balanced"
    optimizer: OptimizerName = "lbfgs"
    rounds: int = 16
    steps: int = 2
    remember: bool = True

    def refine(self, objective: Objective, canvas: Canvas, content: Canvas) -> tuple[Canvas, float]:
        """Refine a canvas as a level of the program does: the image, and the seconds that it took."""
        height, width = canvas.height, canvas.width
        measure_grid = make_grid(height, width, size=2 * self.tile, stride=16)
        optimizer_canvases = OptimizerCanvases() if self.remember else None
        began = time.monotonic()
        for number in range(self.rounds):
            grid = make_grid(
                height, width, size=self.tile, stride=16, overlap=AUTO_OVERLAP, shifted=number % 2 == 1
            )  # fmt: skip
            painted = refine_round(
                Round(
                    canvas=canvas, content_canvas=content, objective=objective, grid=grid, measure_grid=measure_grid,
                    coupling=self.coupling, optimizer=Optimizer(name=self.optimizer), steps=self.steps,
                    optimizer_canvases=optimizer_canvases,
                )
            )  # fmt: skip
            canvas, optimizer_canvases = painted.canvas, painted.optimizer_canvases
        return canvas, time.monotonic() - began


def losses(objective: Objective, style: float, content: float) -> list[str]:
    """Style loss, content loss and objective, as cells of a table."""
    total = objective.loss.style_weight * style + objective.content_weight * content
    return [f"{value:.4f}" for value in (style, content, total)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1536)
    parser.add_argument("--height", type=int, default=1024)
    parser.add_argument("--tile", type=int, default=256)
    parser.add_argument("--coarse-steps", type=int, default=80)
    parser.add_argument("--loss", nargs="+", choices=get_args(StyleLossName))
    parser.add_argument("--only", nargs="+", help="methods whose names start with one of these")
    parser.add_argument("--pairs", type=int, default=len(PAIRS))
    parser.add_argument("--every-loss", action="store_true")
    options = parser.parse_args()
    if options.every_loss:
        every_loss(options)
        return
    width, height, tile = options.width, options.height, options.tile
    methods = {
        "untiled, Adam, 32": Method(UNTILED, optimizer="adam", rounds=1, steps=32),
        "untiled, L-BFGS, 32": Method(UNTILED, rounds=1, steps=32),
        "**balanced, L-BFGS, 16 x 2** (default)": Method(tile),
        "exact, L-BFGS, 16 x 2": Method(tile, "exact"),
        "independent, L-BFGS, 16 x 2": Method(tile, "independent"),
    }
    if options.only:
        methods = {name: m for name, m in methods.items() if name.strip("*").startswith(tuple(options.only))}
    plain = make_grid(height, width, size=tile, stride=16, overlap=AUTO_OVERLAP)
    shifted = make_grid(height, width, size=tile, stride=16, overlap=AUTO_OVERLAP, shifted=True)
    for loss in options.loss or CONTENT_WEIGHTS:
        rows = []
        config = Config(loss=Loss(style=loss, content_weight=CONTENT_WEIGHTS[loss]))
        for content_name, style_name in PAIRS[: options.pairs]:
            problem = Problem.of(
                (content_name, style_name), config, width=width, height=height, coarse_steps=options.coarse_steps
            )
            objective, content, start = problem.objective, problem.content, problem.start
            pair = f"{content_name}, {style_name}"
            first = scores(objective, start, content)
            rows.append([pair, "start", "1", *losses(objective, *first), "", ""])
            untiled = 0.0
            for name, method in methods.items():
                result, _ = method.refine(objective, start, content)
                style_loss, content_loss = scores(objective, result, content)
                seam = seams(result, [plain, shifted])
                tiled = method.tile != UNTILED
                untiled = untiled if tiled else seam
                over = f"{seam / untiled:.3f}" if tiled and untiled else ""
                cells = [*losses(objective, style_loss, content_loss), f"{seam:.3f}", over]
                rows.append([pair, name, str(len(plain.tiles)) if tiled else "1", *cells])
                print(loss, rows[-1], flush=True)
        if not options.only:
            tell(loss, f"{width} x {height} px, tiles of {tile} px, overlap {AUTO_OVERLAP} px", rows)


@dataclass(frozen=True)
class Problem:
    """A level to refine: its images and where it starts, from a finished level of half the size, enlarged."""

    objective: Objective
    content: Canvas
    start: Canvas

    @staticmethod
    def of(pair: tuple[str, str], config: Config, *, width: int, height: int, coarse_steps: int) -> Problem:
        """That of a sample photograph and painting."""

        def level(part: int) -> tuple[Objective, Canvas]:
            side = min(1024, width) // part
            content = picture("contents", pair[0], width // part, height // part)
            return objective_for(extract, config, content, picture("styles", pair[1], side, side)), content

        extract = extractor(config)
        half, half_content = level(2)
        start, _ = Method(UNTILED, rounds=1, steps=coarse_steps).refine(half, half_content, half_content)
        objective, content = level(1)
        return Problem(objective, content, Canvas.of(resize_pixels(start.pixels, (width, height))))


def region_colours(canvas: Canvas) -> Floats:
    """The mean CIELAB colours of squares of `REGION` pixels."""
    rows, columns = canvas.height // REGION, canvas.width // REGION
    lab = rgb2lab(canvas.pixels[: rows * REGION, : columns * REGION])
    means: Floats = lab.reshape(rows, REGION, columns, REGION, 3).mean((1, 3))
    return means


def every_loss(options: argparse.Namespace) -> None:
    """The table of all style losses."""
    width, height, tile = options.width, options.height, options.tile
    grids = [
        make_grid(height, width, size=tile, stride=16, overlap=AUTO_OVERLAP, shifted=shifted)
        for shifted in (False, True)
    ]
    rows = []
    for loss in options.loss or get_args(StyleLossName):
        weight = CONTENT_WEIGHTS.get(loss, Loss().content_weight)
        problem = Problem.of(
            PAIRS[0], Config(loss=Loss(style=loss, content_weight=weight)), width=width, height=height,
            coarse_steps=options.coarse_steps,
        )  # fmt: skip
        noise = np.random.default_rng(0).uniform(-0.5 / 255, 0.5 / 255, problem.start.pixels.shape)
        disturbed = Canvas.of((problem.start.pixels + noise).clip(0, 1).astype(np.float32))
        whole, again, tiled = (
            method.refine(problem.objective, start, problem.content)[0]
            for method, start in (
                (Method(UNTILED), problem.start), (Method(UNTILED), disturbed), (Method(tile), problem.start)
            )
        )  # fmt: skip
        found = [scores(problem.objective, c, problem.content)[0] for c in (problem.start, whole, tiled)]
        seam = seams(tiled, grids) / seams(whole, grids)
        apart = [np.linalg.norm(region_colours(c) - region_colours(whole), axis=2).mean() for c in (again, tiled)]
        rows.append([loss, *(f"{value:.4f}" for value in found), f"{seam:.3f}", *(f"{value:.2f}" for value in apart)])
        print(*rows[-1], flush=True)
    report(
        "couplings_losses",
        f"Balanced tiles beside the untiled picture: {width} x {height} px, {len(grids[0].tiles)} tiles of {tile} px",
        [
            "loss", "style loss at the start", "untiled", "balanced", "seams", "colours, disturbed",
            "colours, balanced",
        ],
        rows,
        [
            f"{', '.join(PAIRS[0])}; 16 rounds of 2 steps each. Seams as in the tables of couplings, relative to those",
            "of the untiled picture. Colours: the mean CIELAB distance of the mean colours of squares of",
            f"{REGION} px from the untiled picture's; disturbed is an untiled picture from a start with noise of half",
            "a step of 8 bits.",
        ],
        script="couplings",
    )  # fmt: skip


def tell(loss: str, sizes: str, rows: Sequence[Sequence[str]]) -> None:
    """Write the table of one style loss."""
    report(
        f"couplings-{loss}",
        f"Couplings at equal evaluations, {loss}, content weight {CONTENT_WEIGHTS[loss]:g} times {SCALE:g}: {sizes}",
        [
            "content, style",
            "method",
            "tiles",
            "style loss",
            "content loss",
            "objective",
            "seams",
            "relative to untiled",
        ],
        rows,
        [
            "32 evaluations per pixel each (`exact` needs one more forward pass for each), from an enlarged finished "
            "level of half the size. Losses are those of the whole blended image, measured untiled. Seams: the mean "
            "absolute second difference across the tile borders of both grids, relative to that elsewhere. A picture "
            "has structure of its own along these lines, so untiled results are measured there too; the last column is "
            "relative to untiled L-BFGS."
        ],
        script="couplings",
    )


if __name__ == "__main__":
    main()
