"""Tiled equals untiled with every kind of network."""

from __future__ import annotations

import pytest
import torch

from hires_nst.backbones.network import Padding
from hires_nst.config import Loss, Optimizer
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.extractor import Extractor
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.refine import refine_round, tile_gradient
from hires_nst.transfer.rounds import Round
from hires_nst.transfer.style import style_statistics
from hires_nst.transfer.sums import accumulate, content_norms
from hires_nst.transfer.tiles import make_grid
from hires_nst.transfer.weights import WeightedImage
from tests.backbones.networks import LAYERS, traced_network
from tests.conftest import random_canvas
from tests.transfer.test_equivalence import relative, untiled, whole_image

KINDS = tuple(LAYERS)
SIZES = [(112, 128), (101, 131)]


def problem(
    kind: str,
    size: tuple[int, int],
    *,
    padding: Padding = "replicate",
    border: int = 0,
    dtype: torch.dtype = torch.float64,
) -> tuple[Objective, Canvas, Canvas]:
    """Every layer of the network in the style loss, and the last one but one in the content loss."""
    extract = Extractor(traced_network(kind, padding=padding).to(dtype), dtype=dtype)
    layers = LAYERS[kind]
    loss = Loss(style_layers=dict.fromkeys(layers, 1.0), content_layers={layers[-2]: 1.0}, tv_weight=0.3)
    stride = extract.network.backbone.stride_of(layers)
    content = random_canvas(*size, 1)
    objective = Objective(
        extract=extract, loss=loss,
        style=style_statistics(
            extract, [(WeightedImage(random_canvas(90, 120, 2)), 1.0)], layers=layers, loss=loss.style,
            grid_of=lambda c: make_grid(c.height, c.width, size=64, stride=stride),
        ),
        content_norms=content_norms(
            extract, WeightedImage(content), layers=layers[-2:-1], grid=make_grid(*size, size=64, stride=stride)
        ),
        height=size[0], width=size[1], border=border,
    )  # fmt: skip
    return objective, content, random_canvas(*size, 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_moments_in_tiles_equal_untiled_moments(kind: str, size: tuple[int, int]) -> None:
    extract, canvas, layers = Extractor(traced_network(kind), dtype=torch.float64), random_canvas(*size), LAYERS[kind]
    stride = extract.network.backbone.stride_of(layers)
    tiled, whole = (
        accumulate(extract, canvas, layers=layers, grid=make_grid(*size, size=side, stride=stride))
        for side in (32, 9999)
    )
    for layer in layers:
        assert tiled[layer].count == whole[layer].count
        assert relative(tiled[layer].outer, whole[layer].outer) < 1e-12


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
@pytest.mark.parametrize(("size", "padding"), [(SIZES[0], "replicate"), (SIZES[1], "zeros"), (SIZES[1], "reflect")])
@pytest.mark.parametrize("kind", KINDS)
def test_exact_gradient_equals_the_untiled_one(
    kind: str, size: tuple[int, int], padding: Padding, dtype: torch.dtype, tolerance: float
) -> None:
    objective, content, canvas = problem(kind, size, padding=padding, dtype=dtype)
    grid = make_grid(*size, size=32, stride=objective.stride)
    assert len(grid.tiles) > 8
    value, gradient = objective.gradient(canvas, content, grid=grid)
    expected_value, expected = untiled(objective, content, whole_image(canvas, dtype))
    assert float(value) == pytest.approx(float(expected_value), rel=tolerance)
    assert relative(gradient, expected) < tolerance


@pytest.mark.parametrize("kind", KINDS)
def test_exact_gradient_with_a_working_border(kind: str) -> None:
    objective, content, canvas = problem(kind, (112, 128), padding="zeros", border=24)
    (_, tiled), (_, whole) = (
        objective.gradient(canvas, content, grid=make_grid(112, 128, size=side, stride=objective.stride))
        for side in (32, 9999)
    )
    assert relative(tiled, whole) < 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_balanced_tile_gradient_is_the_untiled_one_times_n_over_ni(kind: str) -> None:
    height, width = 197, 213
    objective, content, canvas = problem(kind, (height, width))
    backbone = objective.extract.network.backbone
    grid = make_grid(height, width, size=96, stride=objective.stride, overlap=2 * backbone.halo_of(objective.layers))
    sums = objective.measure(canvas, None, grid=make_grid(height, width, size=64, stride=objective.stride))
    start = objective.whole_image(objective.statistics(sums.moments))
    _, expected = untiled(objective, content, whole_image(canvas))
    assert len(grid.tiles) > 3
    for tile in grid.tiles:
        inside = objective.content_features(content, tile.window)
        x = objective.extract.read(canvas, tile.window).requires_grad_()
        _, gradient = tile_gradient(objective, tile, content_features=inside, start=start)(x)
        rows, columns = tile.owned.relative_to(tile.window).slices()
        ours = gradient[:, :, rows, columns]
        theirs = expected[:, :, tile.owned.top : tile.owned.bottom, tile.owned.left : tile.owned.right]
        assert relative(ours, theirs * (height * width / tile.window.area)) < 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_a_halo_smaller_than_the_receptive_field_would_show(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objective, content, canvas = problem(kind, (112, 128))
    monkeypatch.setitem(objective.extract.network.backbone.__dict__, "radius_of", lambda layers: 1)
    _, gradient = objective.gradient(canvas, content, grid=make_grid(112, 128, size=32, stride=objective.stride))
    assert relative(gradient, untiled(objective, content, whole_image(canvas))[1]) > 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_exact_rounds_are_the_untiled_optimisation(kind: str) -> None:
    objective, content, canvas = problem(kind, (96, 112))
    results = []
    for size in (32, 9999):
        grid = make_grid(96, 112, size=size, stride=objective.stride)
        current = Round(
            canvas=canvas, content_canvas=content, objective=objective, grid=grid, measure_grid=grid, coupling="exact",
            optimizer=Optimizer(), steps=4,
        )  # fmt: skip
        results.append(torch.from_numpy(refine_round(current).canvas.pixels.copy()))
    assert torch.allclose(results[0], results[1], atol=2e-5)
    assert (results[0] - torch.from_numpy(canvas.pixels.copy())).abs().max() > 0.01
