"""Sums that do not depend on the number of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from hires_nst.config import Config, Optimizer
from hires_nst.transfer import device
from hires_nst.transfer.extractor import Extractor, network_of
from hires_nst.transfer.moments import Moments
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.parametrization import Parametrization
from hires_nst.transfer.reductions import inner, total, transposed_product
from hires_nst.transfer.refine import refine_round
from hires_nst.transfer.rounds import OptimizerCanvases, Round
from hires_nst.transfer.style import style_layers_of, style_statistics
from hires_nst.transfer.sums import content_norms
from hires_nst.transfer.tiles import make_grid
from hires_nst.transfer.weights import WeightedImage
from tests.conftest import random_canvas

SIZES = pytest.mark.parametrize("size", [1, 7, 2048, 40_001, 99_991, 655_363])
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def with_threads(work: Callable[[], Tensor]) -> list[Tensor]:
    """The results of the same work with one thread and with more."""
    results = []
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        results.append(work())
    return results


def numbers(size: int, seed: int = 0) -> Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(seed)) - 0.3


@pytest.mark.parametrize("size", [(213, 300), (437, 310), (67, 1000)])
def test_a_pyramid_of_pixels_is_the_same_with_any_number_of_threads(size: tuple[int, int]) -> None:
    pyramid = Parametrization(*size, "laplacian")
    image = numbers(3 * size[0] * size[1]).view(1, 3, *size)
    for work in (lambda: pyramid.change(numbers(pyramid.length)), lambda: pyramid.transpose(image)):
        found = with_threads(work)
        assert all(torch.equal(found[0], other) for other in found)
    assert torch.get_num_threads() == 5  # as it was


@SIZES
def test_sums_are_the_same_with_any_number_of_threads(size: int) -> None:
    first, second = numbers(size), numbers(size, 1)
    for work, plain in (
        (lambda: total(first), first.double().sum()),
        (lambda: inner(first, second), first.double().dot(second.double())),
    ):
        found = with_threads(work)
        assert all(torch.equal(found[0], other) for other in found)
        assert float(found[0]) == pytest.approx(float(plain), rel=1e-4, abs=1e-4)


def test_a_total_has_the_gradient_of_a_sum() -> None:
    values = numbers(50_000).view(10, 5000).requires_grad_()
    (gradient,) = torch.autograd.grad(total(values), values)
    assert torch.equal(gradient, torch.ones_like(gradient))


@pytest.mark.parametrize("rows", [1, 100, 256, 1024, 8192, 3000])
def test_products_are_the_same_with_any_number_of_threads(rows: int) -> None:
    first, second = numbers(rows * 16).view(rows, 16), numbers(rows * 16, 1).view(rows, 16)
    found = with_threads(lambda: transposed_product(first, second))
    assert all(torch.equal(found[0], other) for other in found)
    assert torch.allclose(found[0].double(), first.double().T @ second.double(), rtol=1e-4, atol=1e-4)


def test_moments_are_the_same_with_any_number_of_threads() -> None:
    features = numbers(16 * 96 * 104).view(1, 16, 96, 104)
    found = with_threads(lambda: Moments.of(features).outer)
    assert all(torch.equal(found[0], other) for other in found)


@pytest.mark.skipif(not device._multiplies_in_bfloat16(CPU), reason="the processor does not multiply in bfloat16")
def test_a_round_is_the_same_with_any_number_of_threads() -> None:
    """In half precision; in float32 oneDNN chooses another algorithm for another number of threads."""
    config = Config.model_validate({"runtime": {"precision": "bfloat16"}, "loss": {"colour_tv_weight": 0.2}})
    extract = Extractor(network_of(config, CPU).padded("zeros"))
    content, style, canvas = (random_canvas(208, 240, seed) for seed in range(3))
    layers = style_layers_of(config.loss, config.layers)

    def painted() -> Tensor:
        grid = make_grid(208, 240, size=112, stride=16, overlap=32)
        objective = Objective(
            extract=extract, loss=config.loss, height=208, width=240, border=16,
            style=style_statistics(
                extract, [(WeightedImage(style), 1.0)], layers=layers, loss=config.loss.style, grid_of=lambda _: grid
            ),
            content_norms=content_norms(
                extract, WeightedImage(content), layers=list(config.loss.active_content_layers), grid=grid
            ),
        )  # fmt: skip
        result, carried = canvas, OptimizerCanvases()
        for _ in range(2):
            found = refine_round(
                Round(
                    canvas=result, content_canvas=content, objective=objective, grid=grid, measure_grid=grid,
                    coupling="balanced", optimizer=Optimizer(), steps=2, optimizer_canvases=carried,
                )
            )  # fmt: skip
            assert found.optimizer_canvases is not None
            result, carried = found.canvas, found.optimizer_canvases
        return torch.from_numpy(result.pixels)

    with torch.enable_grad():
        found = with_threads(painted)
    assert all(torch.equal(found[0], other) for other in found)
    assert not torch.equal(found[0], torch.from_numpy(canvas.pixels))
