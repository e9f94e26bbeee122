"""Frozen targets: where they are taken, how long they hold, and that tiles paint what one tile paints."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from hires_nst.config import Coupling, Loss, Optimizer, StyleLossName
from hires_nst.evaluation.metrics import seam_visibility
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.losses import STYLE_LOSSES
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.refine import refine_round, tile_gradient
from hires_nst.transfer.rounds import OptimizerCanvases, Round
from hires_nst.transfer.terms import WholeImage
from hires_nst.transfer.tiles import make_grid
from tests.conftest import random_canvas
from tests.transfer.losses.plain import value_of
from tests.transfer.test_equivalence import problem, relative, whole_image
from tests.transfer.test_weights import weighted

MATCHED: list[StyleLossName] = [name for name in get_args(StyleLossName) if STYLE_LOSSES[name].matching]


def style_only(name: StyleLossName) -> Loss:
    return Loss(style=name, style_layers={"conv1_1": 1.0, "conv3_1": 0.5}, content_weight=0)


def whole_of(objective: Objective, canvas: Canvas) -> WholeImage:
    grid = make_grid(objective.height, objective.width, size=64, stride=16)
    return objective.whole_image(objective.statistics(objective.measure(canvas, None, grid=grid).moments))


def plain_value(objective: Objective, x: Tensor, frozen: Tensor) -> float:
    """The style loss of a whole image, with targets that follow from another one."""
    network, total = objective.extract.network, 0.0
    features, start = network(x, objective.layers), network(frozen, objective.layers)
    for layer, style in objective.style.items():
        loss = STYLE_LOSSES[objective.loss.style]
        total += objective.loss.style_layers[layer] * float(value_of(loss, features[layer], style, frozen=start[layer]))
    return total


@pytest.mark.parametrize("name", MATCHED)
def test_targets_are_those_of_the_first_evaluation_where_the_whole_image_is_known(name: StyleLossName) -> None:
    objective, content, canvas = problem(64, 80, loss=style_only(name))
    tile = make_grid(64, 80, size=9999, stride=16).tiles[0]
    features = objective.content_features(content, tile.window)
    gradient = tile_gradient(objective, tile, content_features=features, start=whole_of(objective, canvas))
    first, second = whole_image(canvas), whole_image(random_canvas(64, 80, 9))
    value, _ = gradient(first.clone().requires_grad_())
    assert float(value) == pytest.approx(plain_value(objective, first, first))
    later, _ = gradient(second.clone().requires_grad_())
    assert float(later) == pytest.approx(plain_value(objective, second, first))
    assert abs(plain_value(objective, second, second) / float(later) - 1) > 0.01
    again, _ = gradient(first.clone().requires_grad_())
    assert float(again) == pytest.approx(float(value), rel=1e-12)


@pytest.mark.parametrize("name", MATCHED)
def test_a_window_by_itself_has_new_targets_at_each_evaluation(name: StyleLossName) -> None:
    objective, content, _ = problem(64, 80, loss=style_only(name))
    tile = make_grid(64, 80, size=9999, stride=16).tiles[0]
    features = objective.content_features(content, tile.window)
    gradient = tile_gradient(objective, tile, content_features=features, start=None)
    for seed in (3, 9):
        x = whole_image(random_canvas(64, 80, seed))
        value, _ = gradient(x.clone().requires_grad_())
        assert float(value) == pytest.approx(plain_value(objective, x, x))


def test_the_gradient_of_a_wasserstein_loss_is_that_of_its_closed_form_through_the_network() -> None:
    objective, content, canvas = problem(64, 80, loss=style_only("wasserstein"))
    value, gradient = objective.gradient(canvas, content, grid=make_grid(64, 80, size=32, stride=16))
    x = whole_image(canvas).requires_grad_()
    features = objective.extract.network(x, objective.layers)
    expected = torch.zeros((), dtype=torch.float64)
    for layer, style in objective.style.items():
        flat = features[layer][0].flatten(1)
        mean, covariance = flat.mean(1), torch.cov(flat, correction=0)
        values, vectors = torch.linalg.eigh(style.covariance)
        root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
        inner = torch.linalg.eigvalsh(root @ covariance @ root).clamp_min(1e-15).sqrt().sum()
        distance = (mean - style.mean).square().sum() + covariance.trace() + style.covariance.trace() - 2 * inner
        expected = expected + objective.loss.style_layers[layer] * distance / style.second.trace()
    (theirs,) = torch.autograd.grad(expected, x)
    assert float(value) == pytest.approx(expected.item(), rel=1e-5)
    assert relative(gradient, theirs) < 1e-4


@pytest.mark.parametrize("name", MATCHED)
def test_hidden_windows_and_all_couplings_work_with_targets(name: StyleLossName) -> None:
    objective, content, canvas = weighted(96, 112, loss=style_only(name))
    for coupling in get_args(Coupling):
        grid = make_grid(96, 112, size=32, stride=16, overlap=0 if coupling == "exact" else 16)
        result = refine_round(
            Round(
                canvas=canvas, content_canvas=content, objective=objective, grid=grid, measure_grid=grid,
                coupling=coupling, optimizer=Optimizer(), steps=8, optimizer_canvases=OptimizerCanvases(),
            )
        )  # fmt: skip
        before, after = (objective.losses(c, content, grid=grid)[0] for c in (canvas, result.canvas))
        assert after < before
        assert np.isfinite(result.loss)


def painted(objective: Objective, content: Canvas, canvas: Canvas, *, size: int, coupling: Coupling) -> Canvas:
    state: OptimizerCanvases | None = OptimizerCanvases()
    height, width = canvas.height, canvas.width
    for number in range(6):
        grid = make_grid(height, width, size=size, stride=16, overlap=32, shifted=number % 2 == 1)
        result = refine_round(
            Round(
                canvas=canvas, content_canvas=content, objective=objective, grid=grid,
                measure_grid=make_grid(height, width, size=64, stride=16), coupling=coupling, optimizer=Optimizer(),
                steps=2, optimizer_canvases=state,
            )
        )  # fmt: skip
        canvas, state = result.canvas, result.optimizer_canvases
    return canvas


def regions(canvas: Canvas) -> NDArray[np.float32]:
    """The mean colours of 16 x 16 pixels."""
    pixels = canvas.pixels
    means: NDArray[np.float32] = pixels.reshape(len(pixels) // 16, 16, -1, 16, 3).mean((1, 3))
    return means


@pytest.mark.parametrize("name", get_args(StyleLossName))
def test_tiles_paint_about_what_one_tile_paints(name: StyleLossName) -> None:
    loss = Loss(style=name, style_layers={"conv2_1": 1.0, "conv3_1": 1.0}, content_layers={})
    objective, content, start = problem(112, 128, dtype=torch.float32, loss=loss)
    whole = painted(objective, content, start, size=9999, coupling="balanced")
    tiled = painted(objective, content, start, size=32, coupling="balanced")
    grid = make_grid(112, 128, size=64, stride=16)
    before, untiled, ours = (objective.losses(c, content, grid=grid)[0] for c in (start, whole, tiled))
    change, difference = (np.abs(regions(a) - regions(whole)).mean() for a in (start, tiled))
    grids = [make_grid(112, 128, size=32, stride=16, shifted=shifted) for shifted in (False, True)]
    rows = sorted({cut for g in grids for cut in g.row_cuts[1:-1]})
    columns = sorted({cut for g in grids for cut in g.column_cuts[1:-1]})
    seams = [seam_visibility(c.pixels, rows=rows, columns=columns) for c in (whole, tiled)]
    assert ours < untiled + 0.05 * before
    assert difference < 0.7 * change
    assert seams[1] < 1.005 * seams[0]
