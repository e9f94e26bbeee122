from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hires_nst.transfer.losses import STYLE_LOSSES
from hires_nst.transfer.losses.sliced import directions
from tests.transfer.losses.plain import correlated, style_data, value_of

LOSS = STYLE_LOSSES["sliced"]


def sorted_form(image: Tensor, style: Tensor) -> Tensor:
    """The loss by sorting, for as many positions of both (Heitz et al. 2021)."""
    axes = directions(image.shape[1])
    ours, theirs = ((axes @ f[0].flatten(1)).sort(1).values for f in (image, style))
    return (ours - theirs).square().sum() / style.square().sum()


@pytest.mark.parametrize("channels", [1, 5, 64])
def test_directions_are_a_fixed_rotation(channels: int) -> None:
    axes = directions(channels)
    torch.testing.assert_close(axes @ axes.T, torch.eye(channels, dtype=torch.float64))
    assert torch.equal(axes, directions(channels))


def continuous(seed: int) -> Tensor:
    """Features without equal ones: sorting gives equal ones any order, where a map takes all to one place."""
    noise = torch.randn((1, 5, 20, 1000), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return correlated(20_000, seed=seed) + 0.2 * noise


def test_the_value_and_the_gradient_are_nearly_those_by_sorting() -> None:
    image, style = 0.5 * continuous(1), continuous(2)
    found, expected = image.clone().requires_grad_(), image.clone().requires_grad_()
    value, by_sorting = value_of(LOSS, found, style_data(LOSS, style)), sorted_form(expected, style)
    assert value.item() == pytest.approx(by_sorting.item(), rel=0.01)
    (ours,), (theirs,) = torch.autograd.grad(value, found), torch.autograd.grad(by_sorting, expected)
    assert float((ours - theirs).norm() / theirs.norm()) < 0.02


def test_targets_have_the_distribution_of_the_style_along_each_direction() -> None:
    image, style = 0.5 * continuous(1), continuous(2)
    data = style_data(LOSS, style)
    assert LOSS.matching is not None
    transport = LOSS.matching.transport(LOSS.sums(image, None, style=data).finalise(), data)
    targets = LOSS.matching.targets(image, transport, style=data)
    expected = (directions(5) @ style[0].flatten(1)).sort(1).values
    assert float((targets.sort(1).values - expected).abs().mean()) < 0.01 * float(expected.std())


def test_values_beyond_the_range_of_the_style_are_drawn_into_it() -> None:
    style = correlated(seed=2)
    data = style_data(LOSS, style)
    far = 100 + correlated(seed=1)
    x = far.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value_of(LOSS, x, data), x)
    nearer = far - 0.1 * gradient * far.numel()
    assert float(sorted_form(nearer, style)) < float(sorted_form(far, style))
