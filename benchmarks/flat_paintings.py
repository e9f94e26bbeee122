"""The colours of pictures after paintings of little texture: one colour, nearly one, a gradient, two halves.

python benchmarks/flat_paintings.py [--size 128] [--set KEY=VALUE ...] [--pairs NAME ...] [--name flat_paintings]

Paints each pair's photograph after paintings that are made here. Pictures and paintings are kept in `--work`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import common
import numpy as np
from common import extractor, forward_grid, report
from pairs import SHARED, WORK, Pair, known_pairs, pixels_of, save, with_long_edge
from quality import Configuration
from sheets import jpeg, labelled, stacked
from skimage.color import rgb2lab

from hires_nst import evaluate
from hires_nst.config import Config
from hires_nst.evaluation import metrics
from hires_nst.imageio.picture import Floats
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.losses.style_loss import FLAT
from hires_nst.transfer.style import style_statistics
from hires_nst.transfer.weights import WeightedImage

SIDE = 256
BOUND_EDGE = 512
"""Pixels of the long edge of the paintings whose statistics are shown."""

RED, BLUE = (180, 60, 40), (40, 60, 160)


def uniform(*colour: float) -> Floats:
    """A painting of one colour, in 255ths."""
    return np.full((SIDE, SIDE, 3), np.array(colour, np.float32) / 255, np.float32)


def halves(first: tuple[int, int, int], second: tuple[int, int, int]) -> Floats:
    """A painting of two colours, side by side."""
    return np.concatenate([uniform(*first)[:, : SIDE // 2], uniform(*second)[:, SIDE // 2 :]], axis=1)


def gradient() -> Floats:
    """From yellow at the top to dark red at the bottom."""
    part: Floats = np.linspace(0, 1, SIDE, dtype=np.float32)[:, None, None]
    return (1 - part) * uniform(250, 200, 60) + part * uniform(140, 20, 20)


def nearly(colour: tuple[int, int, int]) -> Floats:
    """One colour with noise of a single step of 8 bits."""
    noise = np.random.default_rng(0).integers(-1, 2, (SIDE, SIDE, 3))
    pixels: Floats = np.clip(uniform(*colour) + noise.astype(np.float32) / 255, 0, 1)
    return pixels


def soft() -> Floats:
    """Two colours that flow into each other in waves."""
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    phase = 2 * np.pi * (3 * columns + np.sin(2 * np.pi * rows))
    part: Floats = (0.5 + 0.5 * np.sin(phase))[..., None].astype(np.float32)
    return part * uniform(30, 90, 120) + (1 - part) * uniform(230, 200, 150)


PAINTINGS: Mapping[str, Callable[[], Floats]] = {
    "red": lambda: uniform(*RED),
    "grey": lambda: uniform(128, 128, 128),
    "black": lambda: uniform(0, 0, 0),
    "white": lambda: uniform(255, 255, 255),
    "nearly-red": lambda: nearly(RED),
    "gradient": gradient,
    "waves": soft,
    "red-and-blue": lambda: halves(RED, BLUE),
    "black-and-white": lambda: halves((0, 0, 0), (255, 255, 255)),
}


def measured(file: Path, pair: Pair) -> tuple[float, float, float]:
    """The distances of a picture's mean colour and of its colours to the painting's, and its style loss."""
    picture, style = pixels_of(file), pixels_of(pair.style)
    means = [rgb2lab(pixels).mean((0, 1)) for pixels in (picture, style)]
    losses = evaluate(file, content=pair.content, styles=pair.style)
    return float(np.linalg.norm(means[0] - means[1])), metrics.palette_distance(picture, style), losses.style_loss


def bounds(paintings: Mapping[str, Floats]) -> list[list[str]]:
    """Rows of the least norm of a covariance over the squared norm of the mean, among the default loss's layers."""
    config = Config()
    extract = extractor(config)
    rows = []
    for name, pixels in paintings.items():
        canvas = Canvas.of(with_long_edge(pixels, min(BOUND_EDGE, max(pixels.shape[:2]))))
        found = style_statistics(
            extract, [(WeightedImage(canvas), 1.0)], layers=list(config.loss.style_layers), grid_of=forward_grid,
            loss=config.loss.style,
        )  # fmt: skip
        ratios = [float(s.covariance.norm() / s.mean.square().sum()) for s in found.values()]
        rows.append([name, f"{min(ratios):.3f}", "yes" if min(ratios) < FLAT else "no"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="pixels of the long edge")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings")
    parser.add_argument("--pairs", nargs="+", default=["landscape", "kodim04"], help="beginnings of the pairs' names")
    parser.add_argument("--paintings", nargs="+", choices=list(PAINTINGS), default=list(PAINTINGS))
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder with images/")
    parser.add_argument("--work", type=Path, default=WORK.parent / "flat_paintings", help="folder of the pictures")
    parser.add_argument("--name", default="flat_paintings", help="of the results")
    options = parser.parse_args()
    configuration = Configuration.of([options.name, *options.set])
    photographs = known_pairs(options.shared, options.pairs)
    rows, sheets = [], []
    for name in options.paintings:
        style = options.work / "paintings" / f"{name}.png"
        save(PAINTINGS[name](), style)
        found, shown = [], [labelled(name, pixels_of(style), options.size)]
        for photograph in photographs:
            pair = Pair(f"{photograph.content.stem}-{name}", photograph.content, style)
            file = options.work / str(options.size) / configuration.name / f"{pair.name}.png"
            configuration.paint(pair, file, options.size)
            found.append(measured(file, pair))
            shown.append(labelled(photograph.content.stem, pixels_of(file), options.size))
        (colour, colour_most), (palette, palette_most), (loss, _) = (
            (np.mean(values), np.max(values)) for values in zip(*found, strict=True)
        )
        cells = [f"{colour:.2f} ({colour_most:.2f})", f"{palette:.2f} ({palette_most:.2f})", f"{loss:.4f}"]
        rows.append([name, *cells])
        print(*rows[-1], flush=True)
        sheets.append(np.concatenate(shown, axis=1))
    (common.RESULTS / f"{options.name}.jpg").write_bytes(jpeg(stacked(sheets)))
    report(
        options.name,
        f"Paintings of little texture: {', '.join(p.content.stem for p in photographs)}, {options.size} px",
        ["painting", "mean colour", "palette", "style loss"],
        rows,
        [
            "Distances to the painting in CIELAB units, mean over the photographs and in brackets the largest: of the",
            "mean colours, and of the colours wherever they are. The style loss is that of `hires-nst evaluate`.",
        ],
        script="flat_paintings",
    )
    made = {name: PAINTINGS[name]() for name in options.paintings}
    others = {pair.style.stem: pixels_of(pair.style) for pair in known_pairs(options.shared, None)}
    report(
        f"{options.name}_bound",
        "Covariances of paintings, relative to their means",
        ["painting", "least of all layers", "below the bound"],
        bounds({**made, **others}),
        [
            "The norm of the covariance over the squared norm of the mean, in the layers of the default loss, of at",
            f"most {BOUND_EDGE} px. Below the bound of {FLAT}, the loss is relative to the mean.",
        ],
        script="flat_paintings",
    )


if __name__ == "__main__":
    main()
