"""Tiled equals untiled, identity survives blending, any order gives the same bits."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from hires_nst.backbones.description import PIXELS, Pooling
from hires_nst.config import Coupling, Loss, Optimizer, StyleLossName
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.extractor import Extractor
from hires_nst.transfer.minimise import minimise
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.optimizers import Minimisation
from hires_nst.transfer.refine import refine_in_parts, refine_round, refine_tile, tile_gradient
from hires_nst.transfer.rounds import OptimizerCanvases, Round
from hires_nst.transfer.style import style_statistics
from hires_nst.transfer.sums import accumulate, content_norms
from hires_nst.transfer.tiles import Grid, make_grid
from hires_nst.transfer.weights import WeightedImage
from tests.conftest import TINY, random_canvas, tiny_network

LOSS = Loss(content_layers={"conv4_2": 1.0, "conv2_1": 0.5}, tv_weight=0.3, colour_tv_weight=0.7)
SIZES = [(96, 112), (101, 131), (97, 160)]


def on_device(objective: Objective, device: torch.device) -> Objective:
    """The same objective with its network and its style's statistics on another device."""
    extract = replace(objective.extract, network=objective.extract.network.to(device), device=device)
    style = {term: statistics.to(device) for term, statistics in objective.style.items()}
    return replace(objective, extract=extract, style=style)


def problem(
    height: int,
    width: int,
    *,
    dtype: torch.dtype = torch.float64,
    pooling: Pooling = "max",
    loss: Loss = LOSS,
    palette: bool = False,
) -> tuple[Objective, Canvas, Canvas]:
    extract = Extractor(tiny_network(pooling=pooling, dtype=dtype), dtype=dtype)
    content, style = random_canvas(height, width, 1), random_canvas(90, 120, 2)
    layers = [name for name in TINY.layer_names if name in loss.active_style_layers]
    layers = [*([PIXELS] if palette else []), *layers]
    deep = [name for name in TINY.layer_names if name in loss.active_content_layers]
    objective = Objective(
        extract=extract, loss=loss,
        style=style_statistics(
            extract, [(WeightedImage(style), 1.0)], layers=layers, loss=loss.style,
            grid_of=lambda c: make_grid(c.height, c.width, size=64, stride=16),
        ),
        content_norms=content_norms(
            extract, WeightedImage(content), layers=deep, grid=make_grid(height, width, size=64, stride=16)
        ),
        height=height, width=width,
    )  # fmt: skip
    return objective, content, random_canvas(height, width, 3)


def untiled(objective: Objective, content: Canvas, x: Tensor) -> tuple[Tensor, Tensor]:
    """Value and gradient written down plainly, for the whole image at once, independent of tiles and moments."""
    network, loss = objective.extract.network, objective.loss
    x = x.detach().clone().requires_grad_()
    features = network(x, objective.layers)
    target = network(content.read(content.image, device=x.device, dtype=x.dtype), objective.layers)
    value = torch.zeros((), dtype=x.dtype)
    for layer, style in objective.style.items():
        flat = features[layer][0].flatten(1).double()
        mean, covariance = flat.mean(1), torch.cov(flat, correction=0)
        error = (mean - style.mean).square().sum() / style.mean.square().sum()
        norm = max(style.covariance.norm(), 0.05 * style.mean.norm() ** 2)
        error = error + (covariance - style.covariance).square().sum() / norm**2
        value = value + loss.style_weight * loss.style_layers[layer] * error
    for layer, weight in loss.content_layers.items():
        error = (features[layer] - target[layer]).square().sum() / target[layer].square().sum()
        value = value + loss.content_weight * network.backbone.content_scale * weight * error
    variation = x.diff(dim=2).square().sum() + x.diff(dim=3).square().sum()
    value = value + loss.tv_weight * variation / (x.shape[2] * x.shape[3])
    chroma = x - (0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:])
    variation = chroma.diff(dim=2).square().sum() + chroma.diff(dim=3).square().sum()
    value = value + loss.colour_tv_weight * variation / (x.shape[2] * x.shape[3])
    (gradient,) = torch.autograd.grad(value, x)
    return value.detach(), gradient


def relative(value: Tensor, expected: Tensor) -> float:
    return float((value - expected).norm() / expected.norm())


def whole_image(canvas: Canvas, dtype: torch.dtype = torch.float64) -> Tensor:
    return canvas.read(canvas.image, device=torch.device("cpu"), dtype=dtype)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("pooling", ["max", "average", "l2"])
def test_moments_in_tiles_equal_untiled_moments(height: int, width: int, pooling: Pooling) -> None:
    extract = Extractor(tiny_network(pooling=pooling), dtype=torch.float64)
    canvas = random_canvas(height, width)
    tiled = accumulate(extract, canvas, layers=TINY.layer_names, grid=make_grid(height, width, size=32, stride=16))
    whole = accumulate(extract, canvas, layers=TINY.layer_names, grid=make_grid(height, width, size=9999, stride=16))
    for layer in TINY.layer_names:
        assert tiled[layer].count == whole[layer].count
        assert relative(tiled[layer].total, whole[layer].total) < 1e-12
        assert relative(tiled[layer].outer, whole[layer].outer) < 1e-12


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@pytest.mark.parametrize("pooling", ["max", "average", "l2"])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_exact_gradient_equals_the_untiled_one(
    height: int, width: int, pooling: Pooling, dtype: torch.dtype, tolerance: float
) -> None:
    objective, content, canvas = problem(height, width, dtype=dtype, pooling=pooling)
    value, gradient = objective.gradient(canvas, content, grid=make_grid(height, width, size=32, stride=16))
    expected_value, expected = untiled(objective, content, whole_image(canvas, dtype))
    assert float(value) == pytest.approx(float(expected_value), rel=tolerance)
    assert relative(gradient, expected) < tolerance


def test_a_halo_smaller_than_the_receptive_field_would_show() -> None:
    objective, content, canvas = problem(96, 128)
    object.__setattr__(objective.extract.network.backbone, "radius_of", lambda layers: 8)
    try:
        _, gradient = objective.gradient(canvas, content, grid=make_grid(96, 128, size=32, stride=16))
        assert relative(gradient, untiled(objective, content, whole_image(canvas))[1]) > 1e-6
    finally:
        del objective.extract.network.backbone.__dict__["radius_of"]


@pytest.mark.parametrize(
    "loss",
    [
        *(Loss(style=name, content_layers={}) for name in get_args(StyleLossName)),
        Loss(style_layers={}),
        Loss(style_layers={}, content_layers={}, tv_weight=1),
        Loss(style_layers={}, content_layers={}, colour_tv_weight=1),
    ],
)
def test_exact_gradient_without_some_of_the_terms(loss: Loss) -> None:
    objective, content, canvas = problem(70, 90, loss=loss)
    _, tiled = objective.gradient(canvas, content, grid=make_grid(70, 90, size=32, stride=16))
    _, whole = objective.gradient(canvas, content, grid=make_grid(70, 90, size=9999, stride=16))
    assert relative(tiled, whole) < 1e-9


@pytest.mark.parametrize(("height", "width"), [(192, 208), (197, 223)])
def test_balanced_tile_gradient_is_the_untiled_one_times_n_over_ni(height: int, width: int) -> None:
    # Where the window ends inside the image, pixels nearer than two halos to its end see less of it.
    objective, content, canvas = problem(height, width)
    grid = make_grid(height, width, size=96, stride=16, overlap=2 * TINY.halo_of(objective.layers))
    sums = objective.measure(canvas, None, grid=make_grid(height, width, size=64, stride=16))
    start = objective.whole_image(objective.statistics(sums.moments))
    _, expected = untiled(objective, content, whole_image(canvas))
    assert len(grid.tiles) > 3
    for tile in grid.tiles:
        inside = objective.content_features(content, tile.window)
        x = objective.extract.read(canvas, tile.window).requires_grad_()
        _, gradient = tile_gradient(objective, tile, content_features=inside, start=start)(x)
        rows, columns = tile.owned.relative_to(tile.window).slices()
        ratio = height * width / tile.window.area
        ours = gradient[:, :, rows, columns]
        theirs = expected[:, :, tile.owned.top : tile.owned.bottom, tile.owned.left : tile.owned.right] * ratio
        assert relative(ours, theirs) < 1e-9


@pytest.mark.parametrize("optimizer", [Optimizer(name="lbfgs"), Optimizer(name="adam")])
def test_balanced_with_one_tile_is_the_untiled_optimisation_step_for_step(optimizer: Optimizer) -> None:
    objective, content, canvas = problem(67, 83)
    seen: list[float] = []
    task = Minimisation(
        start=whole_image(canvas), gradient=lambda x: untiled(objective, content, x), optimizer=optimizer, steps=6,
        on_step=lambda step, value: seen.append(value),
    )  # fmt: skip
    expected = minimise(task).image
    grid = make_grid(67, 83, size=9999, stride=16, overlap=32)
    sums = objective.measure(canvas, None, grid=grid)
    steps: list[float] = []
    result = refine_tile(
        Round(
            canvas=canvas, content_canvas=content, objective=objective, grid=grid, measure_grid=grid,
            coupling="balanced", optimizer=optimizer, steps=6,
        ),
        grid.tiles[0],
        start=objective.whole_image(objective.statistics(sums.moments)),
        on_step=lambda step, value: steps.append(value),
    )  # fmt: skip
    assert steps == pytest.approx(seen, rel=1e-7)
    assert relative(result.step, expected - whole_image(canvas)) < 1e-6


def rounds(grid: Grid, order: list[int] | None, optimizer: Optimizer, coupling: Coupling = "balanced") -> Canvas:
    objective, content, canvas = problem(grid.height, grid.width, dtype=torch.float32)
    optimizer_canvases: OptimizerCanvases | None = OptimizerCanvases()
    for _ in range(3):
        current = Round(
            canvas=canvas, content_canvas=content, objective=objective, grid=grid,
            measure_grid=make_grid(grid.height, grid.width, size=64, stride=16),
            coupling=coupling, optimizer=optimizer, steps=2, optimizer_canvases=optimizer_canvases,
        )  # fmt: skip
        result = refine_round(current, order=order)
        canvas, optimizer_canvases = result.canvas, result.optimizer_canvases
    return canvas


@pytest.mark.parametrize("optimizer", [Optimizer(name="lbfgs"), Optimizer(name="adam")])
@pytest.mark.parametrize("coupling", ["balanced", "independent"])
def test_the_blend_does_not_depend_on_the_order_of_tiles(optimizer: Optimizer, coupling: Coupling) -> None:
    grid = make_grid(101, 131, size=48, stride=16, overlap=16)
    order = list(range(len(grid.tiles)))
    random.Random(0).shuffle(order)
    assert order != sorted(order)
    expected = rounds(grid, None, optimizer, coupling).pixels
    np.testing.assert_array_equal(rounds(grid, order, optimizer, coupling).pixels, expected)
    np.testing.assert_array_equal(rounds(grid, order[::-1], optimizer, coupling).pixels, expected)


def test_an_identity_refinement_returns_the_canvas_unchanged() -> None:
    objective, content, canvas = problem(101, 131, dtype=torch.float32)
    grid = make_grid(101, 131, size=48, stride=16, overlap=32, shifted=True)
    before = canvas.pixels.copy()
    current = Round(
        canvas=canvas, content_canvas=content, objective=objective, grid=grid, measure_grid=grid, coupling="balanced",
        optimizer=Optimizer(), steps=0,
    )  # fmt: skip
    np.testing.assert_array_equal(refine_round(current).canvas.pixels, before)
    np.testing.assert_array_equal(canvas.pixels, before)


def test_exact_rounds_are_the_untiled_optimisation() -> None:
    objective, content, canvas = problem(96, 112)
    results = []
    for size in (32, 9999):
        grid = make_grid(96, 112, size=size, stride=16)
        current = Round(
            canvas=canvas, content_canvas=content, objective=objective, grid=grid, measure_grid=grid, coupling="exact",
            optimizer=Optimizer(), steps=5,
        )  # fmt: skip
        results.append(refine_round(current).canvas.pixels)
    np.testing.assert_allclose(results[0], results[1], atol=2e-5)
    assert np.abs(results[0] - canvas.pixels).max() > 0.01


def test_adam_kept_on_canvases_with_one_tile_is_uninterrupted_adam() -> None:
    objective, content, canvas = problem(64, 80)
    grid = make_grid(64, 80, size=9999, stride=16)
    optimizer_canvases: OptimizerCanvases | None = OptimizerCanvases()
    optimizer, painted = Optimizer(name="adam"), canvas
    for _ in range(3):
        current = Round(
            canvas=painted, content_canvas=content, objective=objective, grid=grid, measure_grid=grid,
            coupling="balanced", optimizer=optimizer, steps=4, optimizer_canvases=optimizer_canvases,
        )  # fmt: skip
        result = refine_round(current)
        painted, optimizer_canvases = result.canvas, result.optimizer_canvases
    task = Minimisation(
        start=whole_image(canvas), gradient=lambda x: untiled(objective, content, x), optimizer=optimizer, steps=12
    )
    expected = minimise(task).image[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(painted.pixels, expected, atol=1e-4)
    assert optimizer_canvases is not None and optimizer_canvases.steps == 12


@pytest.mark.parametrize(("coupling", "size", "tolerance"), [("balanced", 9999, 1e-5), ("exact", 32, 1e-5)])
def test_lbfgs_remembers_what_a_round_changed_and_the_untiled_gradient_there(
    coupling: Coupling, size: int, tolerance: float
) -> None:
    objective, content, canvas = problem(96, 112)
    grid = make_grid(96, 112, size=size, stride=16, overlap=32)
    current = Round(
        canvas=canvas, content_canvas=content, objective=objective, grid=grid, measure_grid=grid, coupling=coupling,
        optimizer=Optimizer(), steps=2, optimizer_canvases=OptimizerCanvases(),
    )  # fmt: skip
    result = refine_round(current)
    optimizer_canvases = result.optimizer_canvases
    _, gradient = untiled(objective, content, whole_image(canvas))
    assert optimizer_canvases is not None and optimizer_canvases.canvases["step"] is result.step
    np.testing.assert_allclose(result.canvas.pixels - canvas.pixels, result.step.pixels, atol=1e-6)
    assert relative(whole_image(optimizer_canvases.canvases["gradient"]), gradient) < tolerance
    assert optimizer_canvases.steps == 2


def test_the_gradients_that_tiles_remember_blend_to_about_the_untiled_one() -> None:
    objective, content, canvas = problem(160, 176)
    grid = make_grid(160, 176, size=64, stride=16, overlap=48, shifted=True)
    assert len(grid.tiles) > 4
    current = Round(
        canvas=canvas, content_canvas=content, objective=objective, grid=grid, measure_grid=grid, coupling="balanced",
        optimizer=Optimizer(), steps=1, optimizer_canvases=OptimizerCanvases(),
    )  # fmt: skip
    optimizer_canvases = refine_round(current).optimizer_canvases
    _, gradient = untiled(objective, content, whole_image(canvas))
    assert optimizer_canvases is not None
    # The difference is what a window lacks beyond its edge.
    assert relative(whole_image(optimizer_canvases.canvases["gradient"]), gradient) < 0.25


@pytest.mark.parametrize("name", ["lbfgs", "adam"])
def test_a_tile_in_one_part_is_the_tile(name: str) -> None:
    objective, content, canvas = problem(101, 131, dtype=torch.float32)
    grid = make_grid(101, 131, size=48, stride=16, overlap=16)
    tile, optimizer = grid.tiles[4], Optimizer(name=name)
    first = Round(
        canvas=canvas, content_canvas=content, objective=objective, grid=grid, measure_grid=grid,
        coupling="independent", optimizer=optimizer, steps=1, optimizer_canvases=OptimizerCanvases(),
    )  # fmt: skip
    optimizer_canvases = refine_round(first).optimizer_canvases
    one = make_grid(tile.window.height, tile.window.width, size=999, stride=16, overlap=16)
    second = replace(first, steps=2, optimizer_canvases=optimizer_canvases)
    expected = refine_tile(second, tile, start=None)
    found = refine_in_parts(second, tile, parts=one, start=None)
    torch.testing.assert_close(found.step, expected.step, rtol=0, atol=1e-6)
    assert found.loss == pytest.approx(expected.loss)
    assert found.state is not None
    assert expected.state is not None
    for kept, tensor in expected.state.tensors.items():
        torch.testing.assert_close(found.state.tensors[kept], tensor, rtol=1e-5, atol=1e-9)
    assert set(found.state.tensors) == set(expected.state.tensors)
    assert found.state.steps == expected.state.steps == 3
    assert optimizer_canvases is not None and optimizer_canvases.steps == 1
