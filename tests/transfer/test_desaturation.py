"""The objective of an image's lightness alone: a grey image stays grey, in tiles and in workers too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from hires_nst.config import Coupling, Optimizer
from hires_nst.executors.pool import TilePool
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.losses.image_terms import desaturated
from hires_nst.transfer.minimise import minimise
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.optimizers import Minimisation
from hires_nst.transfer.refine import refine_round, refine_tile
from hires_nst.transfer.rounds import OptimizerCanvases, Round
from hires_nst.transfer.tasks import Executor
from hires_nst.transfer.tiles import make_grid
from tests.executors.fakes import FakeCrew, setup_for
from tests.transfer.test_equivalence import problem, relative, untiled, whole_image

SHARES = [0.4, 1.0]


def grey_problem(share: float, *, dtype: torch.dtype = torch.float64) -> tuple[Objective, Canvas, Canvas]:
    objective, content, canvas = problem(101, 131, dtype=dtype)
    return replace(objective, desaturation=share), content, canvas


def reference(objective: Objective, content: Canvas, *, image: Tensor) -> tuple[Tensor, Tensor]:
    """The untiled value and gradient, by the chain rule: the reduction is linear, and its own transpose."""
    value, gradient = untiled(objective, content, desaturated(image, objective.desaturation))
    return value, desaturated(gradient, objective.desaturation)


def grey(canvas: Canvas) -> Canvas:
    return Canvas.of(np.repeat(canvas.pixels[..., :1], 3, -1))


@pytest.mark.parametrize("share", SHARES)
def test_the_exact_gradient_is_the_untiled_one(share: float) -> None:
    objective, content, canvas = grey_problem(share)
    value, gradient = objective.gradient(canvas, content, grid=make_grid(101, 131, size=32, stride=16))
    expected_value, expected = reference(objective, content, image=whole_image(canvas))
    assert float(value) == pytest.approx(float(expected_value), rel=1e-9)
    assert relative(gradient, expected) < 1e-9
    assert relative(gradient, untiled(objective, content, whole_image(canvas))[1]) > 0.1


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("coupling", ["balanced", "independent"])
def test_one_tile_is_the_untiled_optimisation(coupling: Coupling, share: float) -> None:
    objective, content, canvas = grey_problem(share)
    expected = minimise(
        Minimisation(
            start=whole_image(canvas), gradient=lambda x: reference(objective, content, image=x),
            optimizer=Optimizer(), steps=5,
        )
    ).image  # fmt: skip
    grid = make_grid(101, 131, size=9999, stride=16)
    sums = objective.measure(canvas, None, grid=grid)
    start = objective.whole_image(objective.statistics(sums.moments)) if coupling == "balanced" else None
    current = Round(
        canvas=canvas, content_canvas=content, objective=objective, grid=grid, measure_grid=grid, coupling=coupling,
        optimizer=Optimizer(), steps=5,
    )  # fmt: skip
    result = refine_tile(current, grid.tiles[0], start=start)
    assert relative(result.step, expected - whole_image(canvas)) < 1e-6


def painted(optimizer: Optimizer, *, coupling: Coupling = "balanced", executor: Executor | None = None) -> Canvas:
    """Three rounds from a grey image."""
    objective, content, canvas = grey_problem(1.0, dtype=torch.float32)
    canvas, content, state = grey(canvas), grey(content), OptimizerCanvases()
    for shifted in (False, True, False):
        current = Round(
            canvas=canvas, content_canvas=content, objective=objective,
            grid=make_grid(101, 131, size=48, stride=16, overlap=16, shifted=shifted),
            measure_grid=make_grid(101, 131, size=64, stride=16), coupling=coupling, optimizer=optimizer, steps=3,
            optimizer_canvases=state,
        )  # fmt: skip
        result = refine_round(current, executor=executor)
        assert result.optimizer_canvases is not None
        canvas, state = result.canvas, result.optimizer_canvases
    return canvas


@pytest.mark.parametrize("coupling", ["balanced", "independent", "exact"])
@pytest.mark.parametrize(
    "optimizer", [Optimizer(), Optimizer(name="adam"), Optimizer(pixels="laplacian")], ids=["lbfgs", "adam", "pyramid"]
)
def test_a_grey_image_stays_grey_to_the_bit(optimizer: Optimizer, coupling: Coupling) -> None:
    found = painted(optimizer, coupling=coupling).pixels
    np.testing.assert_array_equal(found, found[..., :1].repeat(3, -1))
    assert np.abs(found - grey(problem(101, 131)[2]).pixels).max() > 0.05


def test_workers_do_the_same() -> None:
    setup = setup_for(grey_problem(1.0, dtype=torch.float32)[0].extract.network, torch.float32)
    with TilePool(FakeCrew(2, setup)) as pool:
        found = painted(Optimizer(), executor=pool)
    np.testing.assert_array_equal(found.pixels, painted(Optimizer()).pixels)
