"""Weighted statistics: tiled equals untiled under any mask, and what weighs nothing neither counts nor changes."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hires_nst.config import Coupling, Loss, Optimizer, StyleLossName
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.losses import STYLE_LOSSES
from hires_nst.transfer.losses.image_terms import variation_sum
from hires_nst.transfer.moments import Moments
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.refine import refine_in_parts, refine_round, refine_tile, tile_gradient
from hires_nst.transfer.rounds import OptimizerCanvases, Round
from hires_nst.transfer.sums import content_norms
from hires_nst.transfer.tiles import Rect, make_grid
from hires_nst.transfer.weights import LayerWeights, PixelWeights, WeightedImage
from tests.conftest import TINY
from tests.transfer.losses.plain import value_of
from tests.transfer.test_equivalence import LOSS, problem, relative, whole_image


def random_weights(height: int, width: int, seed: int = 0) -> PixelWeights:
    """Soft weights with a hidden corner that is larger than a tile, and hidden specks."""
    rng = np.random.default_rng(seed)
    values = rng.random((height, width, 1), np.float32)
    values[rng.random(values.shape) < 0.2] = 0
    values[: height // 2, : width // 2] = 0
    return PixelWeights.of(Canvas.of(values))


CASES = pytest.mark.parametrize(
    ("alpha", "border"), [(True, 0), (False, 16), (True, 16), (False, 21)], ids=["alpha", "border", "both", "21"]
)


def weighted(
    height: int, width: int, *, loss: Loss = LOSS, alpha: bool = True, border: int = 0
) -> tuple[Objective, Canvas, Canvas]:
    objective, content, canvas = problem(height, width, loss=loss)
    weights = random_weights(height, width) if alpha else None
    norms = content_norms(
        objective.extract, WeightedImage(content, weights), layers=list(objective.content_norms),
        grid=make_grid(height, width, size=48, stride=16),
    )  # fmt: skip
    return replace(objective, weights=weights, content_norms=norms, border=border), content, canvas


def position_weights(weights: PixelWeights, stride: int) -> Tensor:
    """The means over cells, written down plainly."""
    values = weights.read(weights.image).astype(np.float64)
    rows, columns = values.shape[0] // stride, values.shape[1] // stride
    cells = values[: rows * stride, : columns * stride].reshape(rows, stride, columns, stride)
    return torch.from_numpy(cells.mean((1, 3)))


def untiled(objective: Objective, content: Canvas, x: Tensor) -> tuple[Tensor, Tensor]:
    """Value and gradient written down plainly, for the whole image at once, independent of tiles and moments."""
    network, loss = objective.extract.network, objective.loss
    alpha = torch.ones(x.shape[2:], dtype=x.dtype)
    if objective.weights is not None:
        alpha = torch.from_numpy(objective.weights.read(content.image)).to(x.dtype)
    rise = torch.ones(x.shape[2:], dtype=x.dtype)
    for index in range(objective.border):
        rise[[index, -1 - index]] *= ((index + 0.5) / objective.border) ** 2
        rise[:, [index, -1 - index]] *= ((index + 0.5) / objective.border) ** 2
    x = x.detach().clone().requires_grad_()
    features = network(x, objective.layers)
    target = network(whole_image(content), objective.layers)
    value = torch.zeros((), dtype=x.dtype)
    for layer, style in objective.style.items():
        m = F.avg_pool2d((alpha * rise)[None, None], TINY.stride(layer))
        error = value_of(STYLE_LOSSES[loss.style], features[layer], style, weights=m)
        value = value + loss.style_weight * loss.style_layers[layer] * error
    for layer, weight in loss.active_content_layers.items():
        m = F.avg_pool2d(alpha[None, None], TINY.stride(layer))
        error = (m * (features[layer] - target[layer]).square()).sum() / (m * target[layer].square()).sum()
        value = value + loss.content_weight * TINY.content_scale * weight * error
    m = alpha
    chroma = x - (0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:])
    for image, weight in ((x, loss.tv_weight), (chroma, loss.colour_tv_weight)):
        variation = (image.diff(dim=2).square() * torch.minimum(m[1:], m[:-1])).sum()
        variation = variation + (image.diff(dim=3).square() * torch.minimum(m[:, 1:], m[:, :-1])).sum()
        value = value + weight * variation / m.sum()
    (gradient,) = torch.autograd.grad(value, x)
    return value.detach(), gradient


def test_weighted_moments_are_those_of_repeated_positions() -> None:
    features = torch.rand((1, 3, 4, 5), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    times = torch.arange(20).reshape(4, 5) % 4
    repeated = features.flatten(2).repeat_interleave(times.flatten(), dim=2)[..., None]
    found = Moments.of(features, LayerWeights.of(times[None, None].double() / 3)).finalise()
    expected = Moments.of(repeated).finalise()
    torch.testing.assert_close(found.mean, expected.mean)
    torch.testing.assert_close(found.second, expected.second)


@pytest.mark.parametrize(("height", "width"), [(96, 112), (101, 131)])
def test_weights_of_positions_add_over_tiles(height: int, width: int) -> None:
    weights = random_weights(height, width)
    strides = {"conv1_1": 1, "conv2_1": 2, "conv5_1": 16}
    grid = make_grid(height, width, size=32, stride=16)
    for layer, stride in strides.items():
        whole = position_weights(weights, stride)
        assert weights.total(stride) == pytest.approx(float(whole.sum()))
        total = 0.0
        for tile in grid.tiles:
            part = weights.of_layers(
                tile.owned, strides=strides, device=torch.device("cpu"), dtype=torch.float64
            )[layer]  # fmt: skip
            torch.testing.assert_close(part.values[0, 0], whole[tile.owned.positions(stride).slices()])
            assert part.total == pytest.approx(weights.within(tile.owned, stride))
            total += part.total
        assert total == pytest.approx(weights.total(stride))


@CASES
@pytest.mark.parametrize("style", get_args(StyleLossName))
@pytest.mark.parametrize(("height", "width"), [(96, 112), (101, 131)])
def test_exact_value_and_gradient_are_the_untiled_ones(
    height: int, width: int, style: StyleLossName, alpha: bool, border: int
) -> None:
    loss = LOSS.model_copy(update={"style": style})
    objective, content, canvas = weighted(height, width, loss=loss, alpha=alpha, border=border)
    grid = make_grid(height, width, size=32, stride=16)
    value, gradient = objective.gradient(canvas, content, grid=grid)
    expected_value, expected = untiled(objective, content, whole_image(canvas))
    assert float(value) == pytest.approx(float(expected_value), rel=1e-9)
    style_loss, content_loss = objective.losses(canvas, content, grid=grid)
    variation = objective.measure(canvas, None, grid=grid).variation / objective.area
    total = style_loss + objective.content_weight * content_loss + float(variation)
    assert total == pytest.approx(float(value))
    assert relative(gradient, expected) < 1e-9


@CASES
@pytest.mark.parametrize("style", get_args(StyleLossName))
def test_the_balanced_gradient_of_a_tile_is_the_untiled_one_times_the_ratio_of_weights(
    style: StyleLossName, alpha: bool, border: int
) -> None:
    loss = LOSS.model_copy(update={"style": style})
    objective, content, canvas = weighted(192, 208, loss=loss, alpha=alpha, border=border)
    grid = make_grid(192, 208, size=96, stride=16, overlap=2 * TINY.halo_of(objective.layers))
    sums = objective.measure(canvas, None, grid=make_grid(192, 208, size=64, stride=16)).moments
    start = objective.whole_image(objective.statistics(sums))
    _, expected = untiled(objective, content, whole_image(canvas))
    for tile in grid.tiles:
        inside = objective.content_features(content, tile.window)
        x = objective.extract.read(canvas, tile.window).requires_grad_()
        _, gradient = tile_gradient(objective, tile, content_features=inside, start=start)(x)
        ratio = objective.area / objective.area_of(tile.window)
        rows, columns = tile.owned.relative_to(tile.window).slices()
        owned_rows, owned_columns = tile.owned.slices()
        assert relative(gradient[:, :, rows, columns], expected[:, :, owned_rows, owned_columns] * ratio) < 1e-9


@pytest.mark.parametrize("style", get_args(StyleLossName))
def test_weights_of_one_are_no_weights_within_rounding(style: StyleLossName) -> None:
    plain, content, canvas = problem(101, 131, loss=LOSS.model_copy(update={"style": style}))
    ones = replace(plain, weights=PixelWeights.of(Canvas.of(np.ones((101, 131, 1), np.float32))))
    grid = make_grid(101, 131, size=48, stride=16)
    (value, gradient), (expected_value, expected) = (
        objective.gradient(canvas, content, grid=grid) for objective in (ones, plain)
    )
    assert float(value) == pytest.approx(float(expected_value), rel=1e-12)
    tolerance = 1e-10 if style == "wasserstein" else 1e-12  # roots of small eigenvalues enlarge what rounding did
    assert relative(gradient, expected) < tolerance


def test_a_uniform_weight_changes_nothing() -> None:
    plain, content, canvas = problem(96, 112)
    faint = PixelWeights.of(Canvas.of(np.full((96, 112, 1), 0.25, np.float32)))
    grid = make_grid(96, 112, size=48, stride=16)
    norms = content_norms(plain.extract, WeightedImage(content, faint), layers=list(plain.content_norms), grid=grid)
    value, gradient = replace(plain, weights=faint, content_norms=norms).gradient(canvas, content, grid=grid)
    expected_value, expected = plain.gradient(canvas, content, grid=grid)
    assert float(value) == pytest.approx(float(expected_value), rel=1e-9)
    assert relative(gradient, expected) < 1e-9


@pytest.mark.parametrize(
    "optimizer", [Optimizer(), Optimizer(name="adam"), Optimizer(pixels="laplacian")], ids=["lbfgs", "adam", "pyramid"]
)
@pytest.mark.parametrize("coupling", get_args(Coupling))
def test_hidden_pixels_stay_as_they_are_and_the_others_do_not(coupling: Coupling, optimizer: Optimizer) -> None:
    objective, content, canvas = weighted(96, 112)
    assert objective.weights is not None
    hidden = objective.weights.read(canvas.image) == 0
    before, optimizer_canvases = canvas, OptimizerCanvases()
    grid = make_grid(96, 112, size=32, stride=16, overlap=0 if coupling == "exact" else 16)
    for _ in range(2):
        result = refine_round(
            Round(
                canvas=canvas, content_canvas=content, objective=objective, grid=grid, measure_grid=grid,
                coupling=coupling, optimizer=optimizer, steps=2, optimizer_canvases=optimizer_canvases,
            )
        )  # fmt: skip
        assert np.isfinite(result.loss)
        assert result.optimizer_canvases is not None
        canvas, optimizer_canvases = result.canvas, result.optimizer_canvases
    np.testing.assert_array_equal(canvas.pixels[hidden], before.pixels[hidden])
    assert (np.abs(canvas.pixels - before.pixels)[~hidden].max(1) > 0).mean() > 0.9


def test_a_hidden_window_is_skipped_also_in_parts() -> None:
    objective, content, canvas = weighted(96, 112)
    grid = make_grid(96, 112, size=32, stride=16)
    current = Round(
        canvas=canvas, content_canvas=content, objective=objective, grid=grid, measure_grid=grid, coupling="balanced",
        optimizer=Optimizer(), steps=1, optimizer_canvases=OptimizerCanvases(),
    )  # fmt: skip
    result = refine_tile(current, grid.tiles[0], start=None)
    assert (result.loss, result.state) == (0.0, None)
    assert not result.step.any()
    # Of a window that is hidden in part, the hidden parts are skipped.
    whole = make_grid(96, 112, size=999, stride=16).tiles[0]
    found = refine_in_parts(current, whole, parts=grid, start=None)
    assert np.isfinite(found.loss) and found.state is not None


def test_a_difference_between_neighbours_weighs_the_smaller_of_their_weights() -> None:
    image = torch.tensor([[[[0.0, 1.0, 3.0]]]])
    weights = torch.tensor([[[[1.0, 0.5, 0.25]]]])
    whole = variation_sum(image, owned_rows=slice(0, 1), owned_columns=slice(0, 3), weights=weights)
    assert float(whole) == 0.5 * 1 + 0.25 * 4
    parts = [
        variation_sum(image, owned_rows=slice(0, 1), owned_columns=columns, weights=weights)
        for columns in (slice(0, 1), slice(1, 3))
    ]
    assert float(sum(parts)) == float(whole)


def test_an_area_by_weight() -> None:
    objective, _, _ = weighted(96, 112)
    assert objective.weights is not None
    rect = Rect(32, 48, 96, 80)
    assert objective.area_of(rect) == pytest.approx(float(objective.weights.read(rect).sum()))
    assert replace(objective, weights=None).area_of(rect) == 64 * 32


@pytest.mark.parametrize("border", [16, 21])
def test_a_border_weighs_less_and_less_towards_the_edge(border: int) -> None:
    weights = PixelWeights(96, 112, border=border)
    values = weights.read(weights.image)
    assert (values[border:-border, border:-border] == 1).all()
    assert values[0, 0] == values.min() > 0
    np.testing.assert_allclose(values[:border, 56], ((np.arange(border) + 0.5) / border) ** 2, rtol=1e-6)
    np.testing.assert_array_equal(values, values[::-1, ::-1])
    inside = Rect(border, border, 96 - border, 112 - border)
    assert weights.is_full(inside)
    assert not weights.is_full(inside.moved(0, 1)) and not weights.is_full(weights.image)
    for stride in (1, 16):
        assert weights.total(stride) == pytest.approx(float(position_weights(weights, stride).sum()))
