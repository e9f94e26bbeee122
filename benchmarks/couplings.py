"""Global losses and seams of the finished image: untiled, balanced, exact and independent, at equal evaluations.

python benchmarks/couplings.py [--width 1536 --height 1024 --tile 256] [--loss mean-covariance gram]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass

from common import PAIRS, extractor, objective_for, picture, report, scores, seams

from hires_nst.backbones.registry import BACKBONES
from hires_nst.config import Config, Coupling, Loss, Optimizer, OptimizerName
from hires_nst.imageio.resize import resize_pixels
from hires_nst.run.disk_space import AUTO_OVERLAP
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.refine import refine_round
from hires_nst.transfer.rounds import OptimizerCanvases, Round
from hires_nst.transfer.tiles import make_grid

UNTILED = 1 << 20
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
    parser.add_argument("--loss", nargs="+", default=["mean-covariance", "gram"])
    parser.add_argument("--only", nargs="+", help="methods whose names start with one of these")
    parser.add_argument("--pairs", type=int, default=len(PAIRS))
    options = parser.parse_args()
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
    for loss in options.loss:
        rows = []
        config = Config(loss=Loss(style=loss, content_weight=CONTENT_WEIGHTS[loss]))
        extract = extractor(config)
        for content_name, style_name in PAIRS[: options.pairs]:
            content = picture("contents", content_name, width, height)
            style = picture("styles", style_name, min(1024, width), min(1024, width))
            # The start: a finished level of half the size, enlarged, as in the program.
            half_content = picture("contents", content_name, width // 2, height // 2)
            half_style = picture("styles", style_name, min(1024, width) // 2, min(1024, width) // 2)
            half = objective_for(extract, config, half_content, half_style)
            coarse = Method(UNTILED, rounds=1, steps=options.coarse_steps)
            start, _ = coarse.refine(half, half_content, half_content)
            start = Canvas.of(resize_pixels(start.pixels, (width, height)))
            objective = objective_for(extract, config, content, style)
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
