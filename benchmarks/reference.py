"""Pictures by the schemes of three other programs, written plainly, with any of this program's networks.

python benchmarks/reference.py style-transfer-pytorch spst neural-style [--size 500] [--first-steps N --steps N]

`quality.py --also NAME` judges them next to this program's pictures: same network, same pairs, time beside quality.
The schemes are in pure PyTorch on whole pictures; of this program they use its networks, its reading and its resizing
of pictures only. Pictures that are in the folder with the same settings are not painted again.

style-transfer-pytorch (K. Crowson 2021, https://github.com/crowsonkb/style-transfer-pytorch)
    Wasserstein distance between Gaussians on five layers with weights 256:64:16:4:1, content 0.015 on conv4_2, total
    variation 2; levels by the root of two from 128 px, 1000 steps of Adam (0.02) at the first and 500 at each further
    one, whose state is enlarged with the level; an exponential average of the iterates (0.99) is the result.
    Deviations: exact roots of eigenvalues in place of 12 steps of Newton's method, Lanczos in place of bicubic
    resampling of the photograph and the painting, replicate padding in every layer and not in the first one only.
spst (Galerne, Raad, Lezama, Morel 2024: Scaling Painting Style Transfer, with its program's weights)
    1e3 / C^2 Gram matrices, 1e4 means and 1e4 standard deviations on five layers, content 1 on conv4_2; levels by two,
    the coarsest of 512 to 1023 px on the short side, 600 steps of L-BFGS there (history 100) and 300 at each further
    one (history 10), from the photograph. Deviation: the state of L-BFGS is that of one long run in each level.
neural-style (J. Johnson 2015, https://github.com/jcjohnson/neural-style)
    Gram matrices of weight 100 on five layers, content 5 on conv4_2, total variation 1e-3; one level, 1000 steps of
    L-BFGS, or of Adam (10), from grey with a trace of noise.

The last two are written for a network whose input is 0 to 255. Pixels are optimised in this unit here too, and the
activations are multiplied by 255 times the standard deviation by which the network divides its input in [0, 1]: but
for its biases, a rectifier network scales with its input.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import plain
import torch
import torch.nn.functional as F
from judges import tensor
from pairs import SHARED, WORK, Pair, known_pairs, painted, pixels_of, save, with_long_edge
from torch import Tensor

from hires_nst.backbones.network import Network
from hires_nst.backbones.registry import BACKBONES
from hires_nst.backbones.weights import load_network
from hires_nst.config import Config
from hires_nst.evaluation.metrics import reduced
from hires_nst.imageio.picture import Floats
from hires_nst.version import VERSION

LAYERS = {*plain.STYLE_LAYERS, plain.CONTENT_LAYER}
Features = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class StyleLoss:
    """A program's style loss, of Gaussians by layer.

    Attributes:
        of_layer: the loss of a layer.
        weights: of the layers.
        content_weight: of the content loss.
        style_weight: of this loss.
        caffe: it is written for activations of an input of 0 to 255.
    """

    of_layer: Callable[[plain.Gaussian, plain.Gaussian], Tensor]
    weights: Sequence[float] = (1.0,) * 5
    _: KW_ONLY
    content_weight: float
    style_weight: float = 1.0
    caffe: bool = True

    def unit(self, network: Network) -> float:
        """The factor on a network's activations."""
        return 255 * sum(network.backbone.std) / 3 if self.caffe else 1.0

    def statistics(self, features: Features) -> list[plain.Gaussian]:
        """Those of the style layers."""
        return [plain.Gaussian.of(features[layer]) for layer in plain.STYLE_LAYERS]

    def __call__(self, image: Sequence[plain.Gaussian], style: Sequence[plain.Gaussian]) -> Tensor:
        """The weighted sum over the layers."""
        terms = [w * self.of_layer(*pair) for w, *pair in zip(self.weights, image, style, strict=True)]
        return torch.stack(terms).sum()


def _johnson(image: plain.Gaussian, style: plain.Gaussian) -> Tensor:
    """The Gram matrices are divided by the number of channels as well."""
    return plain.gram(image, style) / len(image.mean) ** 2


STYLE_LOSSES: Mapping[str, StyleLoss] = {
    "style-transfer-pytorch": StyleLoss(
        partial(plain.wasserstein, ridge=1e-4),
        [w / 341 for w in (256, 64, 16, 4, 1)],
        content_weight=0.015,
        caffe=False,
    ),
    "spst": StyleLoss(plain.gram_mean_std, content_weight=1.0),
    "neural-style": StyleLoss(_johnson, content_weight=5.0, style_weight=100.0),
}


@dataclass(frozen=True, eq=False)
class Task:
    """A picture to be painted.

    Attributes:
        content, style: at their own sizes, (H, W, 3).
        size: pixels of the long edge.
        first_steps, steps: evaluations at the coarsest level and at each further one.
        content_factor: on the program's own weight of the content.
        coarsest: pixels of the coarsest level: at least that many of the long edge for style-transfer-pytorch, and of
            the short one for SPST.
    """

    network: Network
    content: Floats
    style: Floats
    size: int
    first_steps: int
    steps: int = 0
    content_factor: float = 1.0
    coarsest: int = 0

    def level(self, loss: StyleLoss, size: int) -> Level:
        """The targets at a long edge of `size`; the painting is never enlarged."""
        with torch.no_grad():
            unit, photograph = loss.unit(self.network), tensor(with_long_edge(self.content, size))
            style = self.network(tensor(reduced(self.style, size)), plain.STYLE_LAYERS)
            content = self.network(photograph, [plain.CONTENT_LAYER])[plain.CONTENT_LAYER] * unit
            scaled = {layer: f * unit for layer, f in style.items()}
            return Level(self.network, loss, unit, photograph, loss.statistics(scaled), content)


@dataclass(frozen=True, eq=False)
class Level:
    """What the losses of one level need; `photograph` is (1, 3, h, w)."""

    network: Network
    loss: StyleLoss
    unit: float
    photograph: Tensor
    style: Sequence[plain.Gaussian]
    content: Tensor

    def value(self, image: Tensor, *, style_weight: float, content_weight: float) -> Tensor:
        """The weighted sum of style and content loss."""
        features = {layer: f * self.unit for layer, f in self.network(image, LAYERS).items()}
        style = self.loss(self.loss.statistics(features), self.style)
        return style_weight * style + content_weight * plain.content(features[plain.CONTENT_LAYER], self.content)


@dataclass
class Average:
    """An exponential average of tensors, without the bias of its start (Kingma, Ba 2015, algorithm 1)."""

    decay: float
    total: Tensor | None = None
    weight: float = 0.0

    def add(self, value: Tensor) -> None:
        """Add one more tensor."""
        new = (1 - self.decay) * value.detach()
        self.total = new if self.total is None else self.decay * self.total + new
        self.weight = self.decay * self.weight + 1 - self.decay

    @property
    def value(self) -> Tensor:
        """The average."""
        assert self.total is not None
        return self.total / self.weight


def root_two_levels(size: int, coarsest: int) -> list[int]:
    """size / 2^(k/2), rounded, from the smallest that is at least `coarsest` to `size`."""
    levels = [size]
    while (smaller := round(size / 2 ** (len(levels) / 2))) >= max(coarsest, 1):
        levels.append(smaller)
    return levels[::-1]


def halved_levels(size: int, short: int, *, coarsest: int) -> list[int]:
    """Long edges from coarse to fine, each half the next, until the short side has fewer than twice `coarsest`."""
    levels = [size]
    while short >= 2 * coarsest:
        levels, short = [*levels, levels[-1] // 2], short // 2
    return levels[::-1]


def enlarged_state(adam: torch.optim.Adam, size: tuple[int, int]) -> dict[str, Any]:
    """The state of Adam at the size of the next level; a second moment stays positive."""
    state = adam.state_dict()
    moments = dict(state["state"][0])
    moments["exp_avg"] = F.interpolate(moments["exp_avg"], size, mode="bicubic")
    moments["exp_avg_sq"] = F.interpolate(moments["exp_avg_sq"], size, mode="bilinear").relu()
    return {**state, "state": {0: moments}}


def style_transfer_pytorch(task: Task) -> Tensor:
    """See the module's docstring; (1, 3, h, w) in [0, 1]."""
    result: Tensor | None = None
    adam: torch.optim.Adam | None = None
    for size in root_two_levels(task.size, task.coarsest):
        level = task.level(STYLE_LOSSES["style-transfer-pytorch"], size)
        shape = (level.photograph.shape[2], level.photograph.shape[3])
        image = level.photograph if result is None else F.interpolate(result, shape, mode="bicubic").clamp(0, 1)
        image = image.clone().requires_grad_()
        finer = torch.optim.Adam([image], lr=0.02, betas=(0.9, 0.99))
        if adam is not None and adam.state:
            finer.load_state_dict(enlarged_state(adam, shape))
        adam, average = finer, Average(0.99)
        average.add(image)
        for _ in range(task.first_steps if result is None else task.steps):
            value = level.value(
                image,
                style_weight=level.loss.style_weight,
                content_weight=level.loss.content_weight * task.content_factor,
            )
            adam.zero_grad()
            (value + 2 * plain.variation(image)).backward()  # type: ignore[no-untyped-call]
            adam.step()
            with torch.no_grad():
                image.clamp_(0, 1)
            average.add(image)
        result = average.value
    assert result is not None
    return result.clamp(0, 1)


def lbfgs(start: Tensor, value: Callable[[Tensor], Tensor], *, steps: int, history: int) -> Tensor:
    """The image after so many evaluations of L-BFGS without line search, in pixels of 0 to 255, not clamped."""
    pixels = (start * 255).clone().requires_grad_()
    method = torch.optim.LBFGS(
        [pixels], max_iter=steps, max_eval=steps, history_size=history, tolerance_grad=0, tolerance_change=0
    )

    def closure() -> Tensor:
        method.zero_grad()
        total = value(pixels / 255)
        total.backward()  # type: ignore[no-untyped-call]
        return total

    method.step(closure)  # type: ignore[no-untyped-call]
    return pixels.detach() / 255


def spst(task: Task) -> Tensor:
    """See the module's docstring; (1, 3, h, w) in [0, 1]."""
    result: Tensor | None = None
    long, short = max(task.content.shape[:2]), min(task.content.shape[:2])
    for size in halved_levels(task.size, round(task.size * short / long), coarsest=task.coarsest):
        level = task.level(STYLE_LOSSES["spst"], size)
        value = partial(
            level.value,
            style_weight=level.loss.style_weight,
            content_weight=level.loss.content_weight * task.content_factor,
        )
        if result is None:
            result = lbfgs(level.photograph, value, steps=task.first_steps, history=100)
            continue
        shape = (level.photograph.shape[2], level.photograph.shape[3])
        start = F.interpolate(result.clamp(0, 1), shape, mode="bicubic")
        result = lbfgs(start, value, steps=task.steps, history=10)
    assert result is not None
    return result.clamp(0, 1)


def neural_style(task: Task, *, optimizer: str = "lbfgs") -> Tensor:
    """See the module's docstring; (1, 3, h, w) in [0, 1]."""
    level = task.level(STYLE_LOSSES["neural-style"], task.size)
    grey = torch.tensor([123.68, 116.779, 103.939]).view(1, 3, 1, 1) / 255
    noise = torch.randn(level.photograph.shape, generator=torch.Generator().manual_seed(0))
    start = grey + noise * 1e-3 / 255

    def value(image: Tensor) -> Tensor:
        differences = (image.diff(dim=2)[..., :-1], image.diff(dim=3)[:, :, :-1])
        variation = sum((255 * d).square().sum() for d in differences) / 2
        losses = level.value(
            image, style_weight=level.loss.style_weight, content_weight=level.loss.content_weight * task.content_factor
        )
        return losses + 1e-3 * variation

    if optimizer == "lbfgs":
        return lbfgs(start, value, steps=task.first_steps, history=100).clamp(0, 1)
    pixels = (start * 255).requires_grad_()
    adam = torch.optim.Adam([pixels], lr=10.0)
    for _ in range(task.first_steps):
        adam.zero_grad()
        value(pixels / 255).backward()  # type: ignore[no-untyped-call]
        adam.step()
    return (pixels.detach() / 255).clamp(0, 1)


@dataclass(frozen=True)
class Scheme:
    """A program's way to paint with its own numbers of steps; `steps` is 0 where there is one level."""

    paint: Callable[[Task], Tensor]
    first_steps: int
    steps: int
    coarsest: int


SCHEMES: Mapping[str, Scheme] = {
    "style-transfer-pytorch": Scheme(style_transfer_pytorch, 1000, 500, 128),
    "spst": Scheme(spst, 600, 300, 512),
    "neural-style": Scheme(neural_style, 1000, 0, 0),
    "neural-style-adam": Scheme(partial(neural_style, optimizer="adam"), 1000, 0, 0),
}


def steps_of(name: str, options: argparse.Namespace) -> tuple[int, int]:
    """The numbers of steps at the coarsest level and at each further one."""
    scheme = SCHEMES[name]
    first = scheme.first_steps if options.first_steps is None else options.first_steps
    return first, scheme.steps if options.steps is None or scheme.steps == 0 else options.steps


def folder_of(name: str, options: argparse.Namespace) -> str:
    """The name of the folder of a scheme's pictures, which says what is not the program's own."""
    first, steps = steps_of(name, options)
    own = (first, steps) == (SCHEMES[name].first_steps, SCHEMES[name].steps)
    folder = name if own else f"{name}-{first}-{steps}"
    return folder if options.content_factor == 1 else f"{folder}-content-{options.content_factor:g}"


def paint(name: str, pair: Pair, network: Network, options: argparse.Namespace) -> None:
    """Paint a pair by a scheme, unless its picture is there."""
    scheme = SCHEMES[name]
    first, steps = steps_of(name, options)
    folder = folder_of(name, options)
    settings = {
        "scheme": name, "size": options.size, "first_steps": first, "steps": steps, "model": options.model,
        "coarsest": scheme.coarsest if options.coarsest is None else options.coarsest,
        "content_factor": options.content_factor, "version": VERSION, **pair.digests,
    }  # fmt: skip

    def into(file: Path, _same: bool) -> bool:
        task = Task(
            network, pixels_of(pair.content), pixels_of(pair.style), size=options.size, first_steps=first, steps=steps,
            content_factor=options.content_factor, coarsest=settings["coarsest"],
        )  # fmt: skip
        save(scheme.paint(task)[0].permute(1, 2, 0).numpy(), file)
        return False

    found = painted(options.work / str(options.size) / folder / f"{pair.name}.png", settings, into)
    print(f"{folder}, {pair.name}: {found.seconds or 0:.0f} s, {found.cpu_seconds or 0:.0f} s of CPU", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("schemes", nargs="+", choices=list(SCHEMES), help="the programs' names")
    parser.add_argument("--size", type=int, default=500, help="pixels of the long edge")
    parser.add_argument("--first-steps", type=int, help="evaluations at the coarsest level; the program's own")
    parser.add_argument("--steps", type=int, help="evaluations at each further level; the program's own")
    parser.add_argument("--coarsest", type=int, help="pixels of the coarsest level; the program's own")
    parser.add_argument("--content-factor", type=float, default=1.0, help="on the program's own content weight")
    parser.add_argument("--model", choices=list(BACKBONES), default=Config().model.name)
    parser.add_argument("--pairs", nargs="+", help="beginnings of the pairs' names; all when not given")
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder with images/")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of the pictures")
    options = parser.parse_args()
    backbone = BACKBONES[options.model]
    network = load_network(backbone, pooling=backbone.pooling, padding="replicate")
    for pair in known_pairs(options.shared, options.pairs):
        for name in options.schemes:
            paint(name, pair, network, options)


if __name__ == "__main__":
    main()
