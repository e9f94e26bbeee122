"""Where things belong: what keeps a painting's suns and swirls off faces and grass at the coarsest level.

python benchmarks/composition.py [--size 384] [--min-size 96] [--configuration NAME [KEY=VALUE ...]] [--pairs NAME ...]

Paints photographs with calm and with busy parts in configurations that differ at the coarsest level only, where the
composition forms, and measures how much of the picture's outlines stand where the photograph has none. The program has
no loss of self-similarity (Kolkin, Salavon, Shakhnarovich 2019: Style Transfer by Relaxed Optimal Transport and
Self-Similarity, equation 5); for that row the coarsest level is painted in pure PyTorch, in plain pixels and without a
border, and the program goes on from there. The row `control` is the same without that loss.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import common
import numpy as np
import plain
import torch
import torch.nn.functional as F
from common import report
from judges import Judge, published, tensor
from pairs import DEMO, SHARED, WORK, Pair, chosen, pixels_of, save, shared_pair, with_long_edge
from quality import Configuration, painter
from reference import lbfgs
from sheets import jpeg, sheet, stacked
from skimage.color import rgb2gray
from skimage.filters import sobel
from torch import Tensor

from hires_nst.evaluation import metrics
from hires_nst.imageio.picture import Floats
from hires_nst.imageio.resize import resize_pixels

PAIRS = (
    ("kodim04", "van_gogh_starry_night"), ("kodim15", "van_gogh_starry_night"), ("kodim13", "van_gogh_starry_night"),
    ("kodim04", "delaunay_portrait"),
)  # fmt: skip
CONFIGURATIONS = (
    ("default",),
    ("plain pixels", "optimizer.pixels=plain"),
    ("content 0.4", 'levels.overrides=[{"level":0,"loss":{"content_weight":0.4}}]'),
    ("content conv5_1", 'levels.overrides=[{"level":0,"loss":{"content_layers":{"conv5_1":1.0}}}]'),
    ("content both", 'levels.overrides=[{"level":0,"loss":{"content_layers":{"conv4_2":1.0,"conv5_1":1.0}}}]'),
    (
        "neighbours",
        'levels.overrides=[{"level":0,"loss":{"style":"neighbours","style_layers":{"conv3_1":1.0,"conv4_1":1.0}}}]',
    ),
)
BLOCK = 16
CALM_SHARE = 0.25
SIMILARITY_WEIGHT = 0.5


def similarity(features: Sequence[Tensor]) -> Tensor:
    """Distances (n, n) between the places of a picture, each column divided by its sum.

    Cosine distances of the layers' activations, each layer averaged to the positions of the deepest and brought to a
    norm of one at each place.
    """
    size = (features[-1].shape[2], features[-1].shape[3])
    columns = [F.normalize(F.adaptive_avg_pool2d(f, size)[0].flatten(1), dim=0) for f in features]
    places = F.normalize(torch.cat(columns), dim=0)
    distances = 1 - places.T @ places
    return distances / distances.sum(0).clamp_min(1e-6)


def plain_coarse(pair: Pair, judge: Judge, *, size: int, weight: float, steps: int) -> Floats:
    """The coarsest level on the whole picture: the default losses, and `weight` times that of self-similarity."""
    network, layers = judge.network, ("conv3_1", "conv4_1")
    photograph = tensor(with_long_edge(pixels_of(pair.content), size))
    painting = tensor(metrics.reduced(pixels_of(pair.style), size))
    with torch.no_grad():
        styles = network(painting, plain.STYLE_LAYERS)
        targets = [plain.Gaussian.of(styles[layer]) for layer in plain.STYLE_LAYERS]
        own = network(photograph, [*layers, plain.CONTENT_LAYER])
        distances = similarity([own[layer] for layer in layers])

    def value(image: Tensor) -> Tensor:
        found = network(image, {*plain.STYLE_LAYERS, *layers, plain.CONTENT_LAYER})
        style = sum(
            plain.mean_covariance(plain.Gaussian.of(found[layer]), target)
            for layer, target in zip(plain.STYLE_LAYERS, targets, strict=True)
        )
        content = plain.relative(found[plain.CONTENT_LAYER], own[plain.CONTENT_LAYER])
        here = similarity([found[layer] for layer in layers])
        return style + 0.2 * content + weight * (here - distances).abs().sum(0).mean()

    return lbfgs(photograph, value, steps=steps, history=20)[0].clamp(0, 1).permute(1, 2, 0).numpy()


def calm_outlines(picture: Floats, content: Floats) -> float:
    """The mean strength of a picture's outlines where the photograph is calm, over that of the whole picture.

    The calm part is the quarter of the reduced photograph's blocks with the least deviation.
    """
    small = metrics.reduced(picture)
    grey = rgb2gray(resize_pixels(content, (small.shape[1], small.shape[0])))
    edges = np.asarray(sobel(rgb2gray(small)))  # type: ignore[no-untyped-call]
    rows, columns = (side // BLOCK for side in edges.shape)
    strength, spread = (
        part[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK) for part in (edges, grey)
    )
    blocks, deviations = strength.mean((1, 3)), spread.std((1, 3))
    return float(blocks[deviations <= np.quantile(deviations, CALM_SHARE)].mean() / blocks.mean())


def pictures(pair: Pair, options: argparse.Namespace, judge: Judge) -> dict[str, Floats]:
    """A pair's pictures by the name of the configuration."""
    folder = options.work / str(options.size)
    everywhere = [f"levels.min_size={options.min_size}", f"levels.coarse_steps={options.steps}"]
    configurations = [Configuration.of([*words, *everywhere]) for words in options.configuration or CONFIGURATIONS]
    for name, weight in (("control", 0.0), ("self-similarity", SIMILARITY_WEIGHT)):
        if options.configuration is None:
            start = folder / name / f"{pair.name}-coarse.png"
            if not start.is_file():
                save(plain_coarse(pair, judge, size=options.size // 2, weight=weight, steps=options.steps), start)
            file = ["init.kind=file", f"init.file={start.resolve()}", "init.level=coarsest"]
            settings = [*everywhere, "levels.coarse_steps=1", *file]
            configurations.append(Configuration.of([name, *settings]))
    return {
        c.name: pixels_of(c.paint(pair, folder / c.name / f"{pair.name}.png", options.size).file)
        for c in configurations
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=384, help="pixels of the long edge")
    parser.add_argument("--min-size", type=int, default=96, help="pixels of the coarsest level's short side")
    parser.add_argument("--steps", type=int, default=200, help="evaluations of the coarsest level")
    parser.add_argument("--configuration", nargs="+", action="append", metavar="WORD", help="a name, then KEY=VALUE")
    parser.add_argument("--pairs", nargs="+", help="beginnings of the pairs' names; all when not given")
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder with images/")
    parser.add_argument("--work", type=Path, default=WORK.parent / "composition", help="folder of the pictures")
    options = parser.parse_args()
    pairs = chosen([DEMO, *(shared_pair(options.shared, *names) for names in PAIRS)], options.pairs)
    judge, others = painter(), published(options.shared)
    found: dict[str, list[list[float]]] = {}
    sheets = []
    for pair in pairs:
        content, style = pixels_of(pair.content), pixels_of(pair.style)
        painted = pictures(pair, options, judge)
        for name, picture in painted.items():
            verdicts = [j(picture, content, style) for j in (judge, *others)]
            outlines = [calm_outlines(picture, content), metrics.outline_correlation(picture, content)]
            values = [*outlines, *(v for x in verdicts for v in (x.style, x.content))]
            found.setdefault(name, []).append(values)
            print(pair.name, name, *(f"{value:.3f}" for value in values), flush=True)
        sheets.append(sheet(content, style, painted))
    (common.RESULTS / "composition.jpg").write_bytes(jpeg(stacked(sheets)))
    report(
        "composition",
        f"Where things belong: {', '.join(pair.name for pair in pairs)}, {options.size} px",
        [
            "coarsest level",
            "outlines in calm parts",
            "outlines",
            *(f"{j.name}, {part}" for j in (judge, *others) for part in ("style", "content")),
        ],
        [[name, *(f"{value:.3f}" for value in np.mean(values, axis=0))] for name, values in found.items()],
        [
            "Means over the pairs. Outlines in calm parts: their mean strength in the quarter of blocks where the",
            "photograph is calmest, over that of the whole picture. Outlines: correlation with the photograph's. Style",
            "and content of a network as in quality.py.",
        ],
    )


if __name__ == "__main__":
    main()
