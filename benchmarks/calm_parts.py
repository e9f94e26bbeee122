"""Total variation against noise in calm parts, of the pixels and of their colours alone.

python benchmarks/calm_parts.py [--size 512] [--min-size 256] [--configuration NAME [KEY=VALUE ...]] [--pairs NAME ...]

Paints each pair in several configurations, as benchmarks/quality.py does, and measures noise and grids where the
photograph is calm, beside the losses and the texture, which a blur would worsen. A short side of twice `--min-size`
gives two levels.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from common import report
from pairs import SHARED, WORK, Painted, Pair, known_pairs, pixels_of, with_long_edge
from quality import Configuration

from hires_nst import evaluate
from hires_nst.evaluation import flaws, metrics

CONFIGURATIONS = (
    ("none", "loss.colour_tv_weight=0.0", "loss.tv_weight=0.0"),
    ("colour_tv_weight 0.0001", "loss.colour_tv_weight=0.0001", "loss.tv_weight=0.0"),
    ("colour_tv_weight 0.2", "loss.colour_tv_weight=0.2", "loss.tv_weight=0.0"),
    ("colour_tv_weight 0.5", "loss.colour_tv_weight=0.5", "loss.tv_weight=0.0"),
    ("colour_tv_weight 0.5, tv_weight 0.1", "loss.colour_tv_weight=0.5", "loss.tv_weight=0.1"),
)
"""A weight of 0.0001 changes the rounding only: how far it is from none is how much is chance."""

MEASURES = {
    "noise": ".0f", "coloured noise": ".0f", **{f"squares of {p} px": ".2f" for p in flaws.GRID_PERIODS},
    "style loss": ".4f", "content loss": ".4f", "texture": ".3f", "palette": ".2f", "seconds of CPU": ".0f",
}  # fmt: skip


def measured(picture: Painted, pair: Pair) -> list[float]:
    """The measures of a picture, in the order of `MEASURES`."""
    pixels, content, style = pixels_of(picture.file), pixels_of(pair.content), pixels_of(pair.style)
    configured = evaluate(picture.file, content=pair.content, styles=pair.style)
    return [
        flaws.calm_noise(pixels, content), flaws.calm_colour_noise(pixels, content),
        *flaws.calm_grid(pixels, content).values(), configured.style_loss, configured.content_loss,
        metrics.texture_similarity(pixels, style), metrics.palette_distance(pixels, style),
        float("nan") if picture.cpu_seconds is None else picture.cpu_seconds,
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="pixels of the long edge")
    parser.add_argument("--min-size", type=int, default=256, help="pixels of the coarsest level's short side")
    parser.add_argument("--configuration", nargs="+", action="append", metavar="WORD", help="a name, then KEY=VALUE")
    parser.add_argument("--pairs", nargs="+", help="beginnings of the pairs' names; all when not given")
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder with images/")
    parser.add_argument("--work", type=Path, default=WORK.parent / "calm_parts", help="folder of the pictures")
    options = parser.parse_args()
    everywhere = f"levels.min_size={options.min_size}"
    configurations = [Configuration.of([*words, everywhere]) for words in options.configuration or CONFIGURATIONS]
    results: dict[str, list[list[float]]] = {}
    pairs = known_pairs(options.shared, options.pairs)
    for pair in pairs:
        # The painting with itself as its photograph: what its own calm parts have, at the size of the picture.
        painting = with_long_edge(pixels_of(pair.style), min(options.size, max(pixels_of(pair.style).shape[:2])))
        own = [flaws.calm_noise(painting, painting), flaws.calm_colour_noise(painting, painting)]
        results.setdefault("the painting itself", []).append(own)
        for configuration in configurations:
            file = options.work / str(options.size) / configuration.name / f"{pair.name}.png"
            values = measured(configuration.paint(pair, file, options.size), pair)
            results.setdefault(configuration.name, []).append(values)
            print(pair.name, configuration.name, *(f"{value:.4g}" for value in values), flush=True)
    rows = []
    for name, found in results.items():
        means = np.nanmean(found, axis=0)
        rows.append([name, *(format(value, digits) for value, digits in zip(means, MEASURES.values(), strict=False))])
        rows[-1] += [""] * (1 + len(MEASURES) - len(rows[-1]))
    report(
        "calm_parts",
        f"Calm parts: {', '.join(pair.name for pair in pairs)}, {options.size} px",
        ["configuration", *MEASURES],
        rows,
        [
            "Means over the pairs. Noise: power above three quarters of the Nyquist frequency in the quarter of blocks",
            "in which the photograph is calmest, times 1e6. Coloured noise: the same of what is left without",
            "brightness, above a quarter. Squares: power at the period of a grid over that expected there; 1 is none.",
            "Losses: of `hires-nst evaluate` with its defaults. A weight of 0.0001 shows how much is chance.",
        ],
    )


if __name__ == "__main__":
    main()
