"""Regions: exact in tiles, nothing without a mask, and each painting counts where its mask says."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from hires_nst.backbones.description import Pooling
from hires_nst.config import Coupling, Loss, Optimizer, StyleLossName
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.moments import Moments, Statistics
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.refine import refine_round, tile_gradient
from hires_nst.transfer.regions import Region, layer_of, region_of, term_name
from hires_nst.transfer.rounds import OptimizerCanvases, Round
from hires_nst.transfer.style import style_statistics
from hires_nst.transfer.tiles import make_grid
from hires_nst.transfer.weights import LayerWeights, PixelWeights, WeightedImage
from tests.conftest import TINY, random_canvas
from tests.transfer.test_equivalence import LOSS, problem, relative, whole_image

HEIGHT, WIDTH = 101, 131


def ramp(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A soft edge from left to right: 0 in the left third, 1 in the right one."""
    across = np.clip(3 * np.arange(width) / width - 1, 0, 1).astype(np.float32)
    return np.ascontiguousarray(np.broadcast_to(across[None, :, None], (height, width, 1)))


def region(mask: np.ndarray) -> Region:
    return Region(PixelWeights.of(Canvas.of(np.ascontiguousarray(mask, np.float32))), float(mask.mean()))


def in_regions(
    *masks: np.ndarray,
    loss: Loss = LOSS,
    content: np.ndarray | None = None,
    border: int = 0,
    seeds: tuple[int, ...] = (2, 7),
    pooling: Pooling = "max",
) -> tuple[Objective, Canvas, Canvas]:
    """A problem with a region, and a painting of its own, for each mask."""
    height, width = masks[0].shape[:2]
    objective, photograph, canvas = problem(height, width, loss=loss, pooling=pooling)
    layers = [name for name in TINY.layer_names if name in loss.active_style_layers]
    style: dict[str, Statistics] = {}
    for number, _ in enumerate(masks):
        found = style_statistics(
            objective.extract, [(WeightedImage(random_canvas(90, 120, seeds[number])), 1.0)], layers=layers,
            loss=loss.style, grid_of=lambda c: make_grid(c.height, c.width, size=64, stride=16),
        )  # fmt: skip
        style |= {term_name(layer, number): statistics for layer, statistics in found.items()}
    weights = None if content is None else PixelWeights.of(Canvas.of(content))
    objective = replace(
        objective, style=style, regions=tuple(map(region, masks)), content_weights=weights, border=border
    )
    return objective, photograph, canvas


def untiled(objective: Objective, photograph: Canvas, x: Tensor) -> tuple[Tensor, Tensor]:
    """Value and gradient of the mean-covariance loss in regions, written down plainly for the whole image."""
    network, loss = objective.extract.network, objective.loss
    x = x.detach().clone().requires_grad_()
    features, target = network(x, objective.layers), network(whole_image(photograph), objective.layers)
    value = torch.zeros((), dtype=x.dtype)

    def of(weights: PixelWeights, layer: str) -> Tensor:
        pixels = torch.from_numpy(weights.read(weights.image).astype(np.float64))[None, None]
        return torch.nn.functional.avg_pool2d(pixels, TINY.stride(layer))[0, 0].flatten()

    for term, style in objective.style.items():
        one = objective.regions[region_of(term)]
        assert one.weights is not None
        weights, flat = of(one.weights, layer_of(term)), features[layer_of(term)][0].flatten(1)
        mean = flat @ weights / weights.sum()
        covariance = torch.cov(flat, correction=0, aweights=weights)
        error = (mean - style.mean).square().sum() / style.mean.square().sum()
        norm = max(style.covariance.norm(), 0.05 * style.mean.norm() ** 2)
        error = error + (covariance - style.covariance).square().sum() / norm**2
        value = value + loss.style_weight * loss.style_layers[layer_of(term)] * one.share * error
    for layer, weight in loss.content_layers.items():
        counts = torch.ones(()) if objective.content_weights is None else of(objective.content_weights, layer)
        error = ((features[layer] - target[layer]).flatten(2) * counts**0.5).square().sum()
        value = value + loss.content_weight * TINY.content_scale * weight * error / target[layer].square().sum()
    for image, factor in ((x, loss.tv_weight), (x - luma(x), loss.colour_tv_weight)):
        variation = image.diff(dim=2).square().sum() + image.diff(dim=3).square().sum()
        value = value + factor * variation / (x.shape[2] * x.shape[3])
    (gradient,) = torch.autograd.grad(value, x)
    return value.detach(), gradient


def luma(x: Tensor) -> Tensor:
    return 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]


@pytest.mark.parametrize("pooling", get_args(Pooling))
def test_exact_equals_untiled(pooling: Pooling) -> None:
    mask = ramp()
    objective, photograph, canvas = in_regions(mask, 1 - mask, content=0.25 + 0.75 * mask, pooling=pooling)
    value, gradient = objective.gradient(canvas, photograph, grid=make_grid(HEIGHT, WIDTH, size=32, stride=16))
    expected_value, expected = untiled(objective, photograph, whole_image(canvas))
    assert float(value) == pytest.approx(float(expected_value), rel=1e-9)
    assert relative(gradient, expected) < 1e-9


@pytest.mark.parametrize("name", get_args(StyleLossName))
@pytest.mark.parametrize("border", [0, 16])
def test_every_loss_is_exact_in_tiles(name: StyleLossName, border: int) -> None:
    loss = LOSS.model_copy(update={"style": name})
    objective, photograph, canvas = in_regions(ramp(), 1 - ramp(), loss=loss, border=border)
    tiled, whole = (
        objective.gradient(canvas, photograph, grid=make_grid(HEIGHT, WIDTH, size=size, stride=16))
        for size in (32, 9999)
    )
    assert float(tiled[0]) == pytest.approx(float(whole[0]), rel=1e-9)
    assert relative(tiled[1], whole[1]) < 1e-9


@pytest.mark.parametrize("name", ["mean-covariance", "neighbours", "wasserstein"])
def test_at_the_start_of_a_round_a_tile_has_its_part_of_the_untiled_gradient(name: StyleLossName) -> None:
    loss = LOSS.model_copy(update={"style": name})
    mask = ramp(192, 208)
    objective, photograph, canvas = in_regions(mask, 1 - mask, loss=loss)
    grid = make_grid(192, 208, size=96, stride=16, overlap=2 * TINY.halo_of(objective.layers))
    start = objective.whole_image(objective.statistics(objective.measure(canvas, None, grid=grid).moments))
    _, expected = objective.gradient(canvas, photograph, grid=grid)
    for tile in grid.tiles:
        features = objective.content_features(photograph, tile.window)
        x = objective.extract.read(canvas, tile.window).requires_grad_()
        _, gradient = tile_gradient(objective, tile, content_features=features, start=start)(x)
        rows, columns = tile.owned.relative_to(tile.window).slices()
        ratio = objective.area / tile.window.area
        theirs = expected[:, :, tile.owned.top : tile.owned.bottom, tile.owned.left : tile.owned.right] * ratio
        assert relative(gradient[:, :, rows, columns], theirs) < 1e-9


def refined(
    objective: Objective, photograph: Canvas, canvas: Canvas, *, coupling: Coupling = "balanced", size: int = 48
) -> Canvas:
    grid = make_grid(canvas.height, canvas.width, size=size, stride=16, overlap=16)
    current = Round(
        canvas=canvas, content_canvas=photograph, objective=objective, grid=grid, measure_grid=grid,
        coupling=coupling, optimizer=Optimizer(), steps=2, optimizer_canvases=OptimizerCanvases(),
    )  # fmt: skip
    with torch.enable_grad():
        return refine_round(current).canvas


@pytest.mark.parametrize("coupling", get_args(Coupling))
def test_two_halves_with_one_painting_are_the_plain_run(coupling: Coupling) -> None:
    half = np.full((HEIGHT, WIDTH, 1), 0.5, np.float32)
    parts = in_regions(half, half, seeds=(2, 2))
    plain = problem(HEIGHT, WIDTH)
    one, other = refined(*parts, coupling=coupling), refined(*plain, coupling=coupling)
    assert np.abs(one.pixels - plain[2].pixels).max() > 0.01
    np.testing.assert_allclose(one.pixels, other.pixels, atol=1e-4)


@pytest.mark.parametrize("coupling", ["balanced", "independent"])
def test_one_tile_is_the_untiled_image(coupling: Coupling) -> None:
    mask = ramp()
    parts = in_regions(mask, 1 - mask)
    one, other = refined(*parts, coupling=coupling, size=160), refined(*parts, coupling="exact", size=160)
    np.testing.assert_allclose(one.pixels, other.pixels, atol=1e-5)


def test_tiles_outside_every_region_follow_the_photograph_alone() -> None:
    mask = np.zeros((96, 160, 1), np.float32)
    mask[:, :32] = 1
    objective, photograph, canvas = in_regions(mask, loss=Loss(content_layers={}))
    after = refined(objective, photograph, canvas, size=48)
    np.testing.assert_array_equal(after.pixels[:, 144:], canvas.pixels[:, 144:])
    assert np.abs(after.pixels[:, :32] - canvas.pixels[:, :32]).max() > 0.01


def test_a_small_region_has_steps_of_its_own_size() -> None:
    """In a tile that has all of a small region, its statistics are the region's own, not ten times their change."""
    mask = np.zeros((96, 160, 1), np.float32)
    mask[16:48, 16:48] = 1
    objective, *_ = in_regions(mask, 1 - mask)
    tile = make_grid(96, 160, size=64, stride=16, overlap=16).tiles[0]
    weights = objective.window_weights(tile.window, counted=tile.window)
    assert weights.regions[0].ratio == pytest.approx(1)
    ratio = objective.area / tile.window.area
    assert weights.emphasis(ratio)[0] == pytest.approx(ratio)
    assert weights.regions[1].ratio > 1.5


def test_too_small_regions_are_known() -> None:
    mask = np.zeros((96, 160, 1), np.float32)
    mask[:20, :20] = 1
    objective, *_ = in_regions(mask, 1 - mask)
    small = {term for term in objective.style if objective.is_too_small(term)}
    assert small == {"conv5_1"}


def test_names_of_style_terms() -> None:
    for region_number in (0, 1, 12):
        name = term_name("conv4_1", region_number)
        assert (layer_of(name), region_of(name)) == ("conv4_1", region_number)


def test_positions_that_weigh_nothing_are_left_out_of_sums() -> None:
    features = torch.randn((1, 5, 150, 130), dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    mask = torch.zeros((1, 1, 150, 130), dtype=torch.float64)
    mask[..., 20:60, 7:31] = torch.rand((40, 24), dtype=torch.float64)
    mask[..., 149, 129] = 0.5
    weights = LayerWeights.of(mask)
    area = sum((rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in weights.spans)
    assert area < 0.5 * mask.numel()
    found = {}
    for whole in (weights, replace(weights, spans=((slice(0, 150), slice(0, 130)),))):
        x = features.clone().requires_grad_()
        moments = Moments.of(x, whole)
        (gradient,) = torch.autograd.grad(moments.outer.square().sum() + moments.total.square().sum(), x)
        found[whole is weights] = moments.outer, moments.total, gradient
    for ours, theirs in zip(found[True], found[False], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
