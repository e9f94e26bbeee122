"""What holds for every style loss."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from hires_nst.config import StyleLossName
from hires_nst.transfer.losses import STYLE_LOSSES
from hires_nst.transfer.moments import Moments, Statistics
from hires_nst.transfer.weights import LayerWeights
from tests.transfer.losses.plain import correlated, features, style_data, value_of

NAMES = list(STYLE_LOSSES)


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_is_zero_at_its_target_and_about_one_without_features(name: str) -> None:
    loss, style = STYLE_LOSSES[name], correlated()
    data = style_data(loss, style)
    assert float(value_of(loss, style, data)) == pytest.approx(0, abs=1e-5)
    assert 0.3 < float(value_of(loss, torch.zeros_like(style), data)) <= 2.01


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("texture", [0.0, 1e-9, 1e-3, 0.03])
def test_a_flat_style_has_a_finite_loss_that_draws_to_its_mean(name: str, texture: float) -> None:
    loss, image = STYLE_LOSSES[name], 0.3 * correlated(seed=1)
    level = torch.tensor([0.3, 0.6, 0.5, 0.2, 0.9], dtype=torch.float64)[None, :, None, None]
    flat = (level + texture * correlated(seed=2)).expand_as(image)
    data = style_data(loss, flat)
    x = image.clone().requires_grad_()
    value = value_of(loss, x, data)
    (gradient,) = torch.autograd.grad(value, x)
    assert bool(gradient.isfinite().all())
    assert 0.1 < value.item() < 1000
    assert float(value_of(loss, flat.contiguous(), data)) < (0.01 if loss.bank == 0 else 1.01)
    towards = value_of(loss, image + 0.01 * (flat - image), data)
    assert float(towards) < value.item()


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_numbers_of_positions(name: str) -> None:
    loss, data = STYLE_LOSSES[name], style_data(STYLE_LOSSES[name], correlated(seed=3))
    image, times = correlated(100, seed=4), torch.arange(100).view(1, 1, 20, 5) % 4
    repeated = image.flatten(2).repeat_interleave(times.flatten(), dim=2)[..., None]
    found = value_of(loss, image, data, weights=times.double() / 3)
    torch.testing.assert_close(found, value_of(loss, repeated, data))


@pytest.mark.parametrize("name", NAMES)
def test_sums_add_over_parts_and_are_linear_in_the_weights(name: str) -> None:
    loss, style = STYLE_LOSSES[name], correlated(seed=3)
    data, image = style_data(loss, style), correlated(seed=4)
    parts = loss.sums(image[..., :7], None, style=data) + loss.sums(image[..., 7:], None, style=data)
    whole = loss.sums(image, None, style=data)
    faint = LayerWeights.of(torch.full((1, 1, 20, 20), 0.25, dtype=torch.float64))
    for found in (parts.finalise(), loss.sums(image, faint, style=data).finalise()):
        for key, tensor in whole.finalise().tensors.items():
            torch.testing.assert_close(found[key], tensor)


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_that_of_finite_differences_with_frozen_targets(name: str) -> None:
    loss = STYLE_LOSSES[name]
    data, image = style_data(loss, correlated(60, seed=5)), correlated(60, seed=6) + 0.01
    x = image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value_of(loss, x, data), x)
    direction = torch.rand(image.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64) - 0.5
    step = 1e-5
    ahead, behind = (value_of(loss, image + s * direction, data, frozen=image) for s in (step, -step))
    assert float((ahead - behind) / (2 * step)) == pytest.approx(float((gradient * direction).sum()), rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_float32_features_give_nearly_the_same(name: str) -> None:
    loss = STYLE_LOSSES[name]
    data, image = style_data(loss, correlated(seed=5)), correlated(seed=6)
    assert float(value_of(loss, image.float(), data)) == pytest.approx(float(value_of(loss, image, data)), rel=1e-3)


def test_statistics_are_added_and_scaled_by_name() -> None:
    one, two = (Moments.of(features(seed=seed)).finalise() for seed in (1, 2))
    mixed = one * 0.5 + two * 0.5 - one
    torch.testing.assert_close(mixed.mean, (two.mean - one.mean) / 2)
    torch.testing.assert_close(mixed.second, (two.second - one.second) / 2)
    assert (Statistics({"a": one.mean}) | Statistics({"b": two.mean})).tensors.keys() == {"a", "b"}


def test_the_configuration_knows_every_style_loss() -> None:
    assert set(get_args(StyleLossName)) == STYLE_LOSSES.keys()
