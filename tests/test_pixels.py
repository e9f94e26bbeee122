"""The pyramid that stands for the pixels."""

import pytest
import torch

from hires_nst.config import Optimizer
from hires_nst.optimizers import minimise
from hires_nst.pixels import LEVELS, change, coefficients, pull_back


def test_plain_pixels_are_themselves() -> None:
    (z,) = coefficients(torch.rand(1, 3, 7, 9), "plain")
    assert z.shape == (1, 3, 7, 9)
    assert change([z]) is z


@pytest.mark.parametrize(("height", "width"), [(64, 48), (33, 17), (5, 3)])
def test_a_pyramid_begins_with_no_change_and_constants_add_up(height: int, width: int) -> None:
    z = coefficients(torch.rand(1, 3, height, width), "laplacian")
    assert len(z) == LEVELS
    assert not change(z).any()
    levels = [torch.full_like(level, value) for value, level in zip((1.0, 2.0, 3.0, 4.0, 5.0), z, strict=True)]
    torch.testing.assert_close(change(levels), torch.full((1, 3, height, width), 15.0))


def test_pulling_back_is_the_transpose_of_the_change() -> None:
    torch.manual_seed(0)
    z = coefficients(torch.rand(1, 3, 20, 24, dtype=torch.float64), "laplacian")
    direction = [torch.randn_like(level) for level in z]
    pull = torch.randn(1, 3, 20, 24, dtype=torch.float64)
    pulled = pull_back(change(z), z, pull)
    left = (change(direction) * pull).sum()
    torch.testing.assert_close(left, torch.stack([(a * b).sum() for a, b in zip(direction, pulled, strict=True)]).sum())


def test_the_pyramid_moves_large_shapes_where_only_differences_of_neighbours_count() -> None:
    rows, columns = torch.meshgrid(torch.linspace(0, 3, 48), torch.linspace(0, 2, 40), indexing="ij")
    goal = (0.5 + 0.3 * torch.sin(rows) * torch.cos(columns)).expand(1, 3, -1, -1)

    def gradient(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        error = x - goal
        value = error.diff(dim=2).square().sum() + error.diff(dim=3).square().sum()
        return value.detach(), torch.autograd.grad(value, x)[0]

    def left(pixels: str) -> float:
        optimizer = Optimizer.model_validate({"pixels": pixels})
        return float(
            gradient(minimise(torch.full_like(goal, 0.5), gradient, optimizer=optimizer, steps=8).requires_grad_())[0]
        )

    assert left("laplacian") < 0.5 * left("plain")
