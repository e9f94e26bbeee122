"""The pyramid that stands for the pixels."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from hires_nst.config import Optimizer
from hires_nst.transfer.minimise import minimise
from hires_nst.transfer.optimizers import Minimisation
from hires_nst.transfer.parametrization import LEVELS, Parametrization


def test_plain_pixels_are_themselves() -> None:
    plain, image = Parametrization(7, 9, "plain"), torch.rand(1, 3, 7, 9)
    assert torch.equal(plain.change(image.flatten()), image)
    assert torch.equal(plain.transpose(image), image.flatten())
    assert torch.equal(plain.lift(image), image.flatten())


@pytest.mark.parametrize(("height", "width"), [(64, 48), (33, 17), (5, 3)])
def test_constants_of_all_levels_add_up(height: int, width: int) -> None:
    pyramid = Parametrization(height, width, "laplacian")
    assert len(pyramid.sizes) == LEVELS
    z = torch.cat([torch.full((3 * h * w,), value) for value, (h, w) in zip(range(1, 6), pyramid.sizes, strict=True)])
    assert z.shape == (pyramid.length,)
    torch.testing.assert_close(pyramid.change(z.float()), torch.full((1, 3, height, width), 15.0))


def test_pulling_back_is_the_transpose_of_the_change_and_lifting_a_right_inverse() -> None:
    torch.manual_seed(0)
    pyramid = Parametrization(20, 24, "laplacian")
    z, gradient = torch.randn(pyramid.length, dtype=torch.float64), torch.randn(1, 3, 20, 24, dtype=torch.float64)
    torch.testing.assert_close((pyramid.change(z) * gradient).sum(), (z * pyramid.transpose(gradient)).sum())
    torch.testing.assert_close(pyramid.change(pyramid.lift(gradient)), gradient)


def test_pulling_back_imports_nothing_that_takes_long() -> None:
    code = (
        "import sys, torch; from hires_nst.transfer.parametrization import Parametrization; "
        "Parametrization(8, 8, 'laplacian').transpose(torch.zeros(1, 3, 8, 8)); print('sympy' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "False"


def test_the_pyramid_moves_large_shapes_where_only_differences_of_neighbours_count() -> None:
    rows, columns = torch.meshgrid(torch.linspace(0, 3, 48), torch.linspace(0, 2, 40), indexing="ij")
    goal = (0.5 + 0.3 * torch.sin(rows) * torch.cos(columns)).expand(1, 3, -1, -1)

    def gradient(x: Tensor) -> tuple[Tensor, Tensor]:
        error = x - goal
        value = error.diff(dim=2).square().sum() + error.diff(dim=3).square().sum()
        return value.detach(), torch.autograd.grad(value, x)[0]

    def left(pixels: str) -> float:
        optimizer = Optimizer.model_validate({"pixels": pixels})
        start = torch.full_like(goal, 0.5)
        task = Minimisation(start=start, gradient=gradient, optimizer=optimizer, steps=8)
        result = minimise(task).image
        return float(gradient(result.requires_grad_())[0])

    assert left("laplacian") < 0.5 * left("plain")
