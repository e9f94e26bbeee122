"""Pictures made with a network, and their scores in networks that did not make them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hires_nst.backbones.vgg import VGG
from hires_nst.config import Levels, Loss, Optimizer
from hires_nst.evaluation.metrics import roughness
from hires_nst.imageio.reading import read_picture
from hires_nst.imageio.resize import resize_pixels
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.extractor import Extractor
from hires_nst.transfer.levels import schedule
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.refine import refine_round
from hires_nst.transfer.rounds import OptimizerCanvases, Round
from hires_nst.transfer.style import style_statistics
from hires_nst.transfer.sums import content_norms
from hires_nst.transfer.tiles import Grid, make_grid
from hires_nst.transfer.weights import WeightedImage

SHALLOW = ("conv1_1", "conv2_1", "conv3_1")
DEEP = ("conv4_1", "conv5_1")
PAIRS = (
    ("kodim08", "munch_the_scream"),
    ("kodim23", "munch_the_scream"),
    ("kodim19", "turner_shipwreck"),
    ("kodim04", "turner_shipwreck"),
)
"""Contents and styles that were not trained on."""

UNTILED = 1 << 20
STRIDE = 16


@dataclass(frozen=True)
class Pair:
    """A photograph and a painting, at their own sizes."""

    name: str
    content: Canvas
    style: Canvas

    @staticmethod
    def read(shared: Path, content: str, style: str) -> Pair:
        """Read both from the shared folder."""
        photo, painting = (
            Canvas.of(read_picture(shared / "images" / file, max_megapixels=100).pixels)
            for file in (f"photos/{content}.png", f"paintings/{style}.jpg")
        )
        return Pair(f"{content}, {style}", photo, painting)

    def content_at(self, size: int) -> Canvas:
        """The photograph, size x size (these photographs are square)."""
        return Canvas.of(resize_pixels(self.content.pixels, (size, size)))

    def style_at(self, size: int) -> Canvas:
        """The painting with a long edge of `size` (never enlarged), as the program scales it."""
        factor = min(1.0, size / max(self.style.height, self.style.width))
        return Canvas.of(
            resize_pixels(self.style.pixels, (round(self.style.width * factor), round(self.style.height * factor)))
        )


def whole(canvas: Canvas, *, shifted: bool = False) -> Grid:
    """A grid of one tile."""
    return make_grid(canvas.height, canvas.width, size=UNTILED, stride=STRIDE, shifted=shifted)


def objective_at(network: VGG, loss: Loss, pair: Pair, size: int) -> Objective:
    """The objective of a pair at a level of size x size pixels."""
    extract = Extractor(network)
    content = pair.content_at(size)
    norms = content_norms(extract, WeightedImage(content), layers=list(loss.active_content_layers), grid=whole(content))
    style = [(WeightedImage(pair.style_at(size)), 1.0)]
    layers = list(loss.active_style_layers)
    statistics = style_statistics(extract, style, layers=layers, grid_of=whole, loss=loss.style)
    return Objective(extract=extract, loss=loss, style=statistics, content_norms=norms, height=size, width=size)


def stylized(network: VGG, loss: Loss, pair: Pair, size: int, levels: Levels, optimizer: Optimizer) -> Canvas:
    """The pair's picture, made with a network as the program does it: all levels, each in one tile."""
    canvas: Canvas | None = None
    for level in schedule(size, size, levels=levels):
        content = pair.content_at(level.width)
        canvas = content if canvas is None else Canvas.of(resize_pixels(canvas.pixels, (level.width, level.height)))
        canvas.clip()
        objective = objective_at(network, loss, pair, level.width)
        optimizer_canvases: OptimizerCanvases | None = OptimizerCanvases()
        for _ in range(level.rounds):
            grid = whole(canvas)
            painted = refine_round(
                Round(
                    canvas=canvas, content_canvas=content, objective=objective, grid=grid, measure_grid=grid,
                    coupling="balanced", optimizer=optimizer, steps=level.steps, optimizer_canvases=optimizer_canvases,
                )
            )  # fmt: skip
            canvas, optimizer_canvases = painted.canvas, painted.optimizer_canvases
    assert canvas is not None
    return canvas


def colour_noise(pair: Pair, size: int) -> Canvas:
    """Pixels of the painting in random order: exactly its palette, and no structure."""
    palette = pair.style_at(size).pixels.reshape(-1, 3)
    chosen = np.random.default_rng(0).integers(len(palette), size=(size, size))
    return Canvas.of(palette[chosen])


@dataclass(frozen=True)
class Verdict:
    """The scores of a picture in the judging networks.

    Attributes:
        shallow: mean-covariance loss over conv1_1, conv2_1 and conv3_1 of the original VGG-19.
        deep: the same over conv4_1 and conv5_1 of the 16x encoder.
        content: normalised error of the encoder's conv4_2.
        roughness: power above three quarters of the Nyquist frequency.
    """

    shallow: float
    deep: float
    content: float
    roughness: float


class Judges:
    """The original VGG-19 and the 16x encoder, which score pictures of one pair."""

    def __init__(self, vgg: VGG, encoder: VGG, pair: Pair, size: int) -> None:
        shallow = Loss(style_layers=dict.fromkeys(SHALLOW, 1.0), content_weight=0)
        deep = Loss(style_layers=dict.fromkeys(DEEP, 1.0))
        self.shallow = objective_at(vgg, shallow, pair, size)
        self.deep = objective_at(encoder, deep, pair, size)
        self.content = pair.content_at(size)

    def __call__(self, canvas: Canvas) -> Verdict:
        """The scores of a picture."""
        shallow = self.shallow.measure(canvas, self.content, grid=whole(canvas))
        deep = self.deep.measure(canvas, self.content, grid=whole(canvas))
        return Verdict(
            float(self.shallow.style_value(self.shallow.statistics(shallow.moments))),
            float(self.deep.style_value(self.deep.statistics(deep.moments))),
            float(deep.content_loss),
            roughness(canvas.pixels),
        )


def style_gradient(network: VGG, pair: Pair, size: int) -> torch.Tensor:
    """The gradient of the shallow style loss at the photograph, where a coarse level starts."""
    loss = Loss(style_layers=dict.fromkeys(SHALLOW, 1.0), content_weight=0)
    content = pair.content_at(size)
    objective = objective_at(network, loss, pair, size)
    _, gradient = objective.gradient(content, content, grid=whole(content))
    return gradient


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    """Cosine similarity of two gradients."""
    return float(torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0))
