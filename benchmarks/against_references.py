"""The preset `best` with another program's own style loss, against that program's scheme: loss, content loss and time.

python benchmarks/against_references.py [--size 384] [--min-size 64] [--schemes NAME ...] [--pairs NAME ...]

The schemes are those of benchmarks/reference.py, with their own numbers of steps and weights of layers and content. The
program takes the loss of the same name with the same weights, which are converted from the units of the one to those of
the other by the norms of the painting's statistics; then the weight of its content loss is changed until its content
loss is within 5 % of the reference's, or `--tries` pictures are painted. Both pictures are measured plainly: by the
reference's own style loss, and by the mean of squared differences of the content's activations. The program paints
without a border, as the references do, since a border that is cut off takes a part of the statistics with it.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import plain
import torch
from common import report
from judges import tensor
from pairs import SHARED, WORK, Painted, Pair, kept, known_pairs, pixels_of, with_long_edge
from quality import Configuration, painter
from reference import STYLE_LOSSES, folder_of, paint

from hires_nst.backbones.network import Network
from hires_nst.evaluation.metrics import reduced

LOSSES = {"style-transfer-pytorch": "wasserstein", "spst": "gram+mean-std", "neural-style": "gram"}
COARSEST = {"style-transfer-pytorch": 128, "spst": 128, "neural-style": 0}
WITHIN = 0.05


@dataclass(frozen=True)
class Measured:
    """A picture's style loss by the reference's formula, its content loss, and what it took."""

    style: float
    content: float
    seconds: float


@torch.no_grad()
def measured(network: Network, scheme: str, picture: Painted, pair: Pair, size: int) -> Measured:
    """The losses of a picture at its full size."""
    loss = STYLE_LOSSES[scheme]
    unit = loss.unit(network)
    image = network(tensor(pixels_of(picture.file)), {*plain.STYLE_LAYERS, plain.CONTENT_LAYER})
    style = network(tensor(reduced(pixels_of(pair.style), size)), plain.STYLE_LAYERS)
    content = network(tensor(with_long_edge(pixels_of(pair.content), size)), [plain.CONTENT_LAYER])
    statistics = [loss.statistics({layer: f[layer] * unit for layer in plain.STYLE_LAYERS}) for f in (image, style)]
    difference = plain.content(image[plain.CONTENT_LAYER] * unit, content[plain.CONTENT_LAYER] * unit)
    return Measured(float(loss(*statistics)), float(difference), picture.cpu_seconds or math.nan)


@torch.no_grad()
def converted(network: Network, scheme: str, pair: Pair, size: int) -> tuple[dict[str, float], float]:
    """The reference's weights of layers, whose sum is 1, and of the content, for the program's losses.

    The program divides each layer's loss by the painting's own norm: tr R for `wasserstein`, |R|^2 for `gram`. In
    `gram+mean-std` the Gram matrices, by |R|^2, and means with standard deviations, by tr R, have one weight: it is the
    mean of what the two would need.
    """
    loss = STYLE_LOSSES[scheme]
    unit = loss.unit(network)
    style = network(tensor(reduced(pixels_of(pair.style), size)), plain.STYLE_LAYERS)
    weights = []
    for layer, weight in zip(plain.STYLE_LAYERS, loss.weights, strict=True):
        statistics = plain.Gaussian.of(style[layer] * unit)
        trace, channels = float(statistics.second.trace()), len(statistics.mean)
        norm = {
            "style-transfer-pytorch": trace / channels,
            "spst": 1e3 * float(statistics.second.square().sum()) / channels**4 / 2 + 1e4 * trace / channels / 2,
            "neural-style": loss.style_weight * float(statistics.second.square().sum()) / channels**4,
        }[scheme]
        weights.append(weight * norm)
    photograph = tensor(with_long_edge(pixels_of(pair.content), size))
    content = network(photograph, [plain.CONTENT_LAYER])[plain.CONTENT_LAYER] * unit
    own = loss.content_weight * float(content.square().mean()) / network.backbone.content_scale
    total = sum(weights)
    return {layer: w / total for layer, w in zip(plain.STYLE_LAYERS, weights, strict=True)}, own / total


def program(scheme: str, layers: Mapping[str, float], content: float, options: argparse.Namespace) -> Configuration:
    """The schedule of the preset `best` with a reference's loss."""
    layer_weights = json.dumps(
        {layer: float(f"{weight:.4g}") for layer, weight in layers.items()}, separators=(",", ":")
    )
    return Configuration.of(
        [
            f"{scheme}-loss-{content:.4g}", "preset=best", "levels.border=0", f"levels.min_size={options.min_size}",
            f"loss.style={LOSSES[scheme]}", "loss.palette_weight=0", "loss.tv_weight=0", "loss.colour_tv_weight=0",
            f"loss.style_layers={layer_weights}", f"loss.content_weight={content:.4g}", *options.set,
        ]
    )  # fmt: skip


def compared(
    scheme: str, pair: Pair, network: Network, options: argparse.Namespace
) -> tuple[Measured, Measured, float]:
    """The reference, the program at about its content loss, and the factor on the converted content weight."""
    own = argparse.Namespace(**{**vars(options), "coarsest": COARSEST[scheme], "content_factor": 1.0})
    paint(scheme, pair, network, own)
    picture = kept(options.work / str(options.size) / folder_of(scheme, own) / f"{pair.name}.png")
    assert picture is not None
    reference = measured(network, scheme, picture, pair, options.size)
    layers, converted_weight = converted(network, scheme, pair, options.size)
    found: list[tuple[float, Measured]] = []
    factor = 1.0
    for _ in range(options.tries):
        configuration = program(scheme, layers, converted_weight * factor, options)
        file = options.work / str(options.size) / configuration.name / f"{pair.name}.png"
        ours = measured(network, scheme, configuration.paint(pair, file, options.size), pair, options.size)
        found.append((factor, ours))
        print(pair.name, scheme, f"{factor:.3g}", ours, "against", reference, flush=True)
        if abs(ours.content / reference.content - 1) <= WITHIN:
            break
        factor = _next(found, reference.content)
    factor, ours = min(found, key=lambda f: abs(math.log(f[1].content / reference.content)))
    return reference, ours, factor


def _next(found: list[tuple[float, Measured]], goal: float) -> float:
    """The next factor: by a power law through the last two pictures, or of exponent -0.4 after the first one."""
    (factor, last), exponent = found[-1], -0.4
    if len(found) > 1:
        before, earlier = found[-2]
        slope = math.log(last.content / earlier.content) / math.log(factor / before)
        exponent = min(-0.1, max(-1.5, slope))
    step = math.log(goal / last.content) / exponent
    return factor * math.exp(max(-2.5, min(2.5, step)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schemes", nargs="+", choices=list(LOSSES), default=list(LOSSES))
    parser.add_argument("--size", type=int, default=384, help="pixels of the long edge")
    parser.add_argument("--min-size", type=int, default=64, help="pixels of the program's coarsest level's short side")
    parser.add_argument("--tries", type=int, default=4, help="the most pictures for a content loss")
    parser.add_argument("--first-steps", type=int, help="evaluations at the coarsest level; the reference's own")
    parser.add_argument("--steps", type=int, help="evaluations at each further level; the reference's own")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="other settings of the program")
    parser.add_argument("--pairs", nargs="+", default=["landscape", "kodim04"], help="beginnings of the pairs' names")
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder with images/")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of the pictures")
    options = parser.parse_args()
    network = painter().network
    options.model = network.backbone.name
    rows = []
    for pair in known_pairs(options.shared, options.pairs):
        for scheme in options.schemes:
            reference, ours, factor = compared(scheme, pair, network, options)
            rows.append(
                [
                    pair.name, scheme, *(f"{value:.4g}" for m in (reference, ours) for value in (m.style, m.content)),
                    f"{ours.style / reference.style:.2f}", f"{ours.content / reference.content:.2f}",
                    f"{reference.seconds:.0f}", f"{ours.seconds:.0f}", f"{factor:.2g}",
                ]
            )  # fmt: skip
    report(
        "against_references",
        f"`best` with the reference's own style loss, {options.size} px",
        [
            "pair", "reference", "its style loss", "its content loss", "style loss of `best`", "content loss of `best`",
            "style, ratio", "content, ratio", "its seconds of CPU", "seconds of CPU of `best`", "content weight",
        ],
        rows,
        [
            "Losses by the reference's formulas, at the full size of the pictures. Content weight: a factor on the",
            f"reference's own. The coarsest level of `best` has {options.min_size} or more on the short side; it",
            "has no border, as the references have none. style-transfer-pytorch begins at 128 of the long side, and",
            "SPST at 128 of the short side, as pictures are small here (its own is 512); neural-style has one level.",
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
