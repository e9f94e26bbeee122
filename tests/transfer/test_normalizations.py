"""The papers' normalisations, against their formulas written down plainly for whole images."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from hires_nst.backbones.vgg import VGG
from hires_nst.config import Loss, Normalization
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.extractor import Extractor
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.refine import tile_gradient
from hires_nst.transfer.style import normalised_filters, style_statistics, with_filters
from hires_nst.transfer.sums import content_norms
from hires_nst.transfer.tiles import Grid, make_grid
from hires_nst.transfer.weights import WeightedImage
from tests.conftest import TINY, random_canvas, tiny_network
from tests.transfer.test_equivalence import relative, whole_image

ALPHA, BETA = 0.3, 7.0
"""Of the content and of the style."""

STYLE, CONTENT = {"conv1_1": 0.5, "conv3_1": 1.5, "conv5_1": 1.0}, {"conv4_2": 2.0, "conv2_1": 1.0}
PAPERS: list[Normalization] = ["gatys2015", "gatys2016", "johnson2016"]


def network(*, rescaled: bool = False) -> VGG:
    """A network without silent filters, whose mean activation of 0 could not be scaled to 1.

    Args:
        rescaled: with another scale of each filter, which the next layer takes back, see Gatys et al. 2016.
    """
    weights, before = dict(tiny_network().state_dict()), torch.ones(3, dtype=torch.float64)
    for conv in TINY.convolutions:
        after = torch.linspace(0.5, 3.0, conv.out_channels, dtype=torch.float64) if rescaled else torch.ones(())
        weight, bias = (weights[f"operations.{conv.name}.{part}"] for part in ("weight", "bias"))
        weights[f"{conv.name}.weight"] = 0.3 * weight * after.reshape(-1, 1, 1, 1) / before.reshape(1, -1, 1, 1)
        weights[f"{conv.name}.bias"] = (bias + 0.7) * after
        before = after
    return VGG(TINY, weights, pooling="max").to(torch.float64)


def loss_of(normalization: Normalization) -> Loss:
    return Loss(
        style="gram", normalization=normalization, style_layers=STYLE, content_layers=CONTENT, style_weight=BETA,
        content_weight=ALPHA,
    )  # fmt: skip


def objective_of(net: VGG, content: Canvas, painting: Canvas, *, loss: Loss) -> Objective:
    extract, photograph = Extractor(net, dtype=torch.float64), WeightedImage(content)
    styles = [(WeightedImage(painting), 2.0)]

    def grid_of(canvas: Canvas) -> Grid:
        return make_grid(canvas.height, canvas.width, size=48, stride=16)

    style = style_statistics(extract, styles, layers=list(STYLE), loss="gram", grid_of=grid_of)
    filters = normalised_filters(extract, photograph, styles=styles, loss=loss, grid_of=grid_of)
    norms = content_norms(
        extract, photograph, layers=list(CONTENT), normalization=loss.normalization, filters=filters,
        grid=grid_of(content),
    )  # fmt: skip
    return Objective(
        extract=extract, loss=loss, style=with_filters(style, filters), content_norms=norms, height=content.height,
        width=content.width,
    )  # fmt: skip


def three(height: int, width: int) -> tuple[Canvas, Canvas, Canvas]:
    """A photograph, a painting and an image of one size."""
    return random_canvas(height, width, 1), random_canvas(height, width, 2), random_canvas(height, width, 3)


def matrices(net: VGG, image: Canvas | Tensor) -> dict[str, Tensor]:
    """The features of each layer, filters x positions."""
    pixels = whole_image(image) if isinstance(image, Canvas) else image
    return {layer: f[0].flatten(1) for layer, f in net(pixels, {*STYLE, *CONTENT}).items()}


def gatys(net: VGG, x: Tensor, *, content: Canvas, painting: Canvas, normalised: bool = False) -> Tensor:
    """alpha L_content + beta L_style of equations 1 to 7 (2015), for images of one size."""
    f, p, a = (matrices(net, image) for image in (x, content, painting))

    def mean(one: dict[str, Tensor], other: dict[str, Tensor], layer: str) -> Tensor:
        """Of each filter over the images, of one size, and their positions."""
        return torch.cat((one[layer], other[layer]), 1).mean(1, keepdim=True)

    value = torch.zeros((), dtype=x.dtype)
    for layer, weight in CONTENT.items():
        scale = mean(p, a, layer) if normalised else 1.0
        value = value + ALPHA * weight * 0.5 * ((f[layer] - p[layer]) / scale).pow(2).sum()
    for layer, weight in STYLE.items():
        scale = mean(p, a, layer) if normalised else 1.0
        own, target = f[layer] / scale, a[layer] / scale
        filters, positions = own.shape
        difference = own @ own.T - target @ target.T
        value = value + BETA * weight * difference.pow(2).sum() / (4 * filters**2 * positions**2)
    return value


def johnson(net: VGG, y: Tensor, *, content: Canvas, painting: Canvas) -> Tensor:
    """lambda_c l_feat + lambda_s l_style of equations 2 to 4, for images of any size."""
    f, c, s = (matrices(net, image) for image in (y, content, painting))
    value = torch.zeros((), dtype=y.dtype)
    for layer, weight in CONTENT.items():
        value = value + ALPHA * weight * (f[layer] - c[layer]).pow(2).mean()
    for layer, weight in STYLE.items():
        own, target = (m[layer] @ m[layer].T / m[layer].numel() for m in (f, s))
        value = value + BETA * weight * torch.linalg.matrix_norm(own - target).pow(2)
    return value


def formula(normalization: Normalization, x: Tensor, *, content: Canvas, painting: Canvas) -> Tensor:
    if normalization == "johnson2016":
        return johnson(network(), x, content=content, painting=painting)
    normalised = normalization == "gatys2016"
    return gatys(network(), x, content=content, painting=painting, normalised=normalised)


@pytest.mark.parametrize(
    ("normalization", "size"),
    [("gatys2015", (96, 112)), ("gatys2016", (96, 112)), ("johnson2016", (96, 112)), ("johnson2016", (90, 70))],
)
@pytest.mark.parametrize("tile", [32, 9999])
def test_value_and_gradient_are_the_paper_s(normalization: Normalization, size: tuple[int, int], tile: int) -> None:
    """`size` is the painting's; that of the image is (96, 112), and the same in Gatys et al."""
    content, _, canvas = three(96, 112)
    painting = random_canvas(*size, 2)
    objective = objective_of(network(), content, painting, loss=loss_of(normalization))
    x = whole_image(canvas).requires_grad_()
    expected = formula(normalization, x, content=content, painting=painting)
    (expected_gradient,) = torch.autograd.grad(expected, x)
    value, gradient = objective.gradient(canvas, content, grid=make_grid(96, 112, size=tile, stride=16))
    assert float(value) == pytest.approx(float(expected), rel=1e-9)
    assert relative(gradient, expected_gradient) < 1e-8


@pytest.mark.parametrize("normalization", ["gatys2015", "gatys2016"])
def test_where_sizes_differ_each_gram_matrix_is_divided_by_its_own_positions(normalization: Normalization) -> None:
    """A painting beside its mirror image has about the statistics of the painting alone, whatever its size."""
    content, painting, canvas = three(96, 112)
    double = Canvas.of(np.concatenate((painting.pixels, painting.pixels[:, ::-1]), 1))
    grid = make_grid(96, 112, size=9999, stride=16)
    one, two = (
        objective_of(network(), content, style, loss=loss_of(normalization)).gradient(canvas, content, grid=grid)
        for style in (painting, double)
    )
    assert float(two[0]) == pytest.approx(float(one[0]), rel=0.2)


@pytest.mark.parametrize("normalization", PAPERS)
def test_a_balanced_tile_s_gradient_is_the_untiled_one_times_the_ratio_of_areas(normalization: Normalization) -> None:
    content, painting, canvas = three(192, 208)
    objective = objective_of(network(), content, painting, loss=loss_of(normalization))
    grid = make_grid(192, 208, size=96, stride=16, overlap=2 * TINY.halo_of(objective.layers))
    sums = objective.measure(canvas, None, grid=make_grid(192, 208, size=64, stride=16))
    start = objective.whole_image(objective.statistics(sums.moments))
    _, expected = objective.gradient(canvas, content, grid=make_grid(192, 208, size=9999, stride=16))
    for tile in grid.tiles:
        x = objective.extract.read(canvas, tile.window).requires_grad_()
        inside = objective.content_features(content, tile.window)
        _, gradient = tile_gradient(objective, tile, content_features=inside, start=start)(x)
        rows, columns = tile.owned.relative_to(tile.window).slices()
        theirs = expected[:, :, tile.owned.top : tile.owned.bottom, tile.owned.left : tile.owned.right]
        assert relative(gradient[:, :, rows, columns], theirs * 192 * 208 / tile.window.area) < 1e-9


def test_the_network_s_own_scale_of_the_content_is_not_the_papers() -> None:
    content, painting, _ = three(96, 112)
    weights = {
        name: objective_of(network(), content, painting, loss=loss_of(name)).content_weight
        for name in get_args(Normalization)
    }
    assert weights == {"relative": ALPHA * TINY.content_scale, **dict.fromkeys(PAPERS, ALPHA)}


@pytest.mark.parametrize("normalization", PAPERS)
def test_the_scale_of_filters_counts_only_without_the_normalised_network(normalization: Normalization) -> None:
    content, painting, canvas = three(96, 112)
    grid = make_grid(96, 112, size=9999, stride=16)
    objectives = [
        objective_of(net, content, painting, loss=loss_of(normalization)) for net in (network(), network(rescaled=True))
    ]
    values = [float(objective.gradient(canvas, content, grid=grid)[0]) for objective in objectives]
    if normalization == "gatys2016":
        assert values[1] == pytest.approx(values[0], rel=1e-6)
    else:
        assert values[1] != pytest.approx(values[0], rel=0.1)


def test_a_silent_filter_is_not_divided_by_nothing() -> None:
    content, painting, canvas = three(96, 112)
    objective = objective_of(tiny_network(), content, painting, loss=loss_of("gatys2016"))
    features = matrices(tiny_network(), content)
    assert any(float(features[layer].mean(1).min()) == 0 for layer in STYLE), "otherwise this shows nothing"
    value, gradient = objective.gradient(canvas, content, grid=make_grid(96, 112, size=9999, stride=16))
    assert bool(torch.isfinite(value)) and bool(torch.isfinite(gradient).all())
    for layer in STYLE:
        filters = objective.style[layer]["filters"]
        assert float(filters.min()) >= 0.05 * float(filters.mean()) * 0.9
