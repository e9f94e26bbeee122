"""The time of an iteration at one size: this program's, and those of three schemes written plainly.

python benchmarks/iterations.py [--sides 1024 2048] [--model vgg19-slim] [--only NAME ...]

An iteration is a value and gradient of the whole picture with the step of its optimiser. All have the same network, the
same layers, and the photograph's activations at hand.

this program             a round of two steps in tiles of 1024 px, its moments, border, overlap and L-BFGS in it
plain Gatys              the picture at once in float32, Gram matrices, torch's L-BFGS with a history of 10
published tiled scheme   SPST (Galerne et al. 2024): blocks of 512 px with 256 px on each side, one pass over all blocks
                         for the statistics and one for the gradient, in float32, with its loss and torch's L-BFGS
style-transfer-pytorch   its loss on the picture at once in float32, Adam and the average of the iterates
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import plain
import torch
from bench_engine import BORDER, a_round
from common import objective_for, picture, report
from reference import LAYERS, STYLE_LOSSES, Average, StyleLoss
from torch import Tensor

from hires_nst.backbones.network import Network
from hires_nst.backbones.registry import BACKBONES
from hires_nst.backbones.weights import load_network
from hires_nst.config import Config
from hires_nst.transfer.allocator import keep_freed_memory
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.device import choose_device, synchronise
from hires_nst.transfer.extractor import load_extractor

BLOCK, MARGIN = 512, 256
HISTORY = 10
WARM_UP, TIMED = 2, 4
PAINTING = 1024

Value = tuple[Tensor, Tensor]
"""A loss and its gradient."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A picture to optimise; images are (1, 3, h, w)."""

    network: Network
    loss: StyleLoss
    photograph: Tensor
    style: Sequence[plain.Gaussian]

    @staticmethod
    def of(name: str, model: str, side: int) -> Problem:
        """That of the samples with the loss of a scheme."""
        backbone, device = BACKBONES[model], choose_device("auto")
        network = load_network(backbone, pooling=backbone.pooling, padding="replicate").to(device)

        def tensor(canvas: Canvas) -> Tensor:
            return canvas.samples.permute(2, 0, 1)[None].contiguous().to(device)

        loss = STYLE_LOSSES[name]
        painting = tensor(picture("styles", "flow_strokes", PAINTING, PAINTING))
        with torch.no_grad():
            style = loss.statistics(scaled(network(painting, plain.STYLE_LAYERS), loss.unit(network)))
        return Problem(network, loss, tensor(picture("contents", "landscape", side, side)), style)

    def features(self, image: Tensor) -> Mapping[str, Tensor]:
        """The activations of all layers, in the loss's unit."""
        return scaled(self.network(image, LAYERS), self.loss.unit(self.network))

    def content(self, image: Tensor) -> Tensor:
        """Those of the content's layer, without a graph."""
        with torch.no_grad():
            found = self.network(image, [plain.CONTENT_LAYER])
        return scaled(found, self.loss.unit(self.network))[plain.CONTENT_LAYER]


def scaled(features: Mapping[str, Tensor], unit: float) -> dict[str, Tensor]:
    """Activations times a number."""
    return {layer: f * unit for layer, f in features.items()}


def at_once(problem: Problem) -> Callable[[Tensor], Value]:
    """The value and gradient of the picture in one piece."""
    target = problem.content(problem.photograph)

    def gradient(image: Tensor) -> Value:
        x = image.detach().requires_grad_()
        features = problem.features(x)
        style = problem.loss.style_weight * problem.loss(problem.loss.statistics(features), problem.style)
        value = style + problem.loss.content_weight * plain.content(features[plain.CONTENT_LAYER], target)
        (result,) = torch.autograd.grad(value, x)
        return value.detach(), result.contiguous()

    return gradient


@dataclass(frozen=True)
class Block:
    """A block's own pixels, and those with its margin; slices of rows and columns."""

    inner: tuple[slice, slice]
    outer: tuple[slice, slice]

    def of(self, image: Tensor) -> Tensor:
        """Its part of an image, with the margin."""
        return image[:, :, self.outer[0], self.outer[1]]

    def own(self, features: Tensor) -> Tensor:
        """The activations at its own pixels, of those with its margin."""
        stride = (self.outer[1].stop - self.outer[1].start) // features.shape[3]
        rows, columns = (
            slice((i.start - o.start) // stride, (i.stop - o.start) // stride)
            for i, o in zip(self.inner, self.outer, strict=True)
        )
        return features[:, :, rows, columns]


def blocks(height: int, width: int) -> Iterator[Block]:
    """The blocks of an image."""

    def cuts(length: int) -> Iterator[tuple[slice, slice]]:
        for start in range(0, length, BLOCK):
            stop = min(start + BLOCK, length)
            yield slice(start, stop), slice(max(0, start - MARGIN), min(length, stop + MARGIN))

    for row in cuts(height):
        for column in cuts(width):
            yield Block((row[0], column[0]), (row[1], column[1]))


def in_blocks(problem: Problem) -> Callable[[Tensor], Value]:
    """The value and gradient of the picture block by block: statistics first, then their gradient."""
    height, width = problem.photograph.shape[2:]
    parts = [(block, problem.content(block.of(problem.photograph))) for block in blocks(height, width)]
    values = sum(block.own(target).numel() for block, target in parts)

    def sums(features: Mapping[str, Tensor], part: Callable[[Tensor], Tensor]) -> list[tuple[int, Tensor, Tensor]]:
        flats = [part(features[layer])[0].flatten(1) for layer in plain.STYLE_LAYERS]
        return [(flat.shape[1], flat.sum(1).double(), (flat @ flat.T).double()) for flat in flats]

    def statistics(image: Tensor) -> list[tuple[int, Tensor, Tensor]]:
        with torch.no_grad():
            found = [sums(problem.features(block.of(image)), block.own) for block, _ in parts]
        by_layer = [tuple(zip(*layer, strict=True)) for layer in zip(*found, strict=True)]
        return [(sum(n), torch.stack(s).sum(0), torch.stack(p).sum(0)) for n, s, p in by_layer]

    def gradient(image: Tensor) -> Value:
        total = statistics(image)
        leaves = [((s / n).requires_grad_(), (p / n).requires_grad_()) for n, s, p in total]
        gaussians = [plain.Gaussian(mean, second - torch.outer(mean, mean)) for mean, second in leaves]
        value = problem.loss.style_weight * problem.loss(gaussians, problem.style)
        found = iter(torch.autograd.grad(value, [leaf for pair in leaves for leaf in pair]))
        cotangents = [(n, next(found), next(found)) for n, _, _ in total]
        result, value = torch.zeros_like(image), value.detach()
        for block, target in parts:
            x = block.of(image).detach().requires_grad_()
            features = problem.features(x)
            errors = (features[plain.CONTENT_LAYER] - target).square() / values
            value = value + problem.loss.content_weight * block.own(errors).detach().sum().double()
            # Outputs in the margin are others' too, but only with them is the gradient at the block's own pixels whole.
            local = problem.loss.content_weight * errors.sum().double()
            for (_, s, p), (n, first, second) in zip(sums(features, lambda f: f), cotangents, strict=True):
                local = local + (first @ s + (second * p).sum()) / n
            (part,) = torch.autograd.grad(local, x)
            own = tuple(
                slice(i.start - o.start, i.stop - o.start) for i, o in zip(block.inner, block.outer, strict=True)
            )
            result[:, :, block.inner[0], block.inner[1]] = part[:, :, own[0], own[1]]
        return value, result

    return gradient


def with_lbfgs(problem: Problem, gradient: Callable[[Tensor], Value]) -> Callable[[], object]:
    """An iteration of torch's L-BFGS, without line search."""
    image = problem.photograph.clone().requires_grad_()
    method = torch.optim.LBFGS(
        [image], lr=1e-3, max_iter=1, max_eval=2, history_size=HISTORY, tolerance_grad=0, tolerance_change=0
    )

    def closure() -> float:
        value, image.grad = gradient(image)
        return float(value)

    return lambda: method.step(closure)  # type: ignore[no-untyped-call]


def with_adam(problem: Problem, gradient: Callable[[Tensor], Value]) -> Callable[[], object]:
    """An iteration of Adam with an average of the iterates."""
    image, average = problem.photograph.clone().requires_grad_(), Average(0.99)
    method = torch.optim.Adam([image], lr=0.02, betas=(0.9, 0.99))

    def iteration() -> None:
        _, image.grad = gradient(image)
        method.step()
        with torch.no_grad():
            image.clamp_(0, 1)
        average.add(image)

    return iteration


SCHEMES: Mapping[str, Callable[[str, int], Callable[[], object]]] = {
    "plain Gatys": lambda model, side: with_lbfgs(p := Problem.of("neural-style", model, side), at_once(p)),
    "published tiled scheme": lambda model, side: with_lbfgs(p := Problem.of("spst", model, side), in_blocks(p)),
    "style-transfer-pytorch": lambda model, side: with_adam(
        p := Problem.of("style-transfer-pytorch", model, side), at_once(p)
    ),
}
OURS = "this program"


def measure(name: str, model: str, side: int) -> tuple[float, float]:
    """Seconds of an iteration by the clock, and of CPU time; the least of some."""
    if name == OURS:
        return ours(model, side)
    iteration, found = SCHEMES[name](model, side), []
    for _ in range(WARM_UP + TIMED):
        wall, cpu = time.monotonic(), time.process_time()
        iteration()
        synchronise(choose_device("auto"))
        found.append((time.monotonic() - wall, time.process_time() - cpu))
    return min(found[WARM_UP:])


def ours(model: str, side: int) -> tuple[float, float]:
    """The same of this program, as it runs by default."""
    keep_freed_memory()
    config = Config.model_validate({"model": {"name": model}})
    extract = load_extractor(config).padded("zeros")
    content, style = (
        picture("contents", "landscape", side, side), picture("styles", "flow_strokes", PAINTING, PAINTING)
    )  # fmt: skip
    objective = objective_for(extract, config, content, style, border=BORDER)
    area, cpu = side**2 / 1e6, time.process_time()
    rounds = 4
    with torch.enable_grad():
        wall = a_round(objective, config, 1024, "balanced", profile=False) * area
    return wall, (time.process_time() - cpu) / rounds / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", nargs="+", type=int, default=[1024, 2048], help="pixels of the square picture")
    parser.add_argument("--model", default=Config().model.name, choices=list(BACKBONES))
    parser.add_argument("--only", nargs="+", choices=[OURS, *SCHEMES], default=[OURS, *SCHEMES], metavar="NAME")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], options.model, int(options.one[1]))))
        return
    rows, fastest = [], 0.0
    for side in options.sides:
        for name in options.only:
            command = [sys.executable, __file__, "--one", name, str(side), "--model", options.model]
            wall, cpu = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
            fastest = wall if name == options.only[0] else fastest
            area = side**2 / 1e6
            rows.append([str(side), name, f"{wall / area:.2f}", f"{cpu / area:.2f}", f"{wall / fastest:.2f}"])
            print(*rows[-1], flush=True)
    report(
        "iterations",
        "An iteration of this program, and of others' schemes",
        ["side, px", "scheme", "s a megapixel", "of CPU", f"times {options.only[0]}'s"],
        rows,
        [f"The least of {TIMED}, each scheme in a process of its own; the network is {options.model}."],
    )


if __name__ == "__main__":
    main()
