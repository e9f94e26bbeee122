from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

from hires_nst.config import StyleLossName
from hires_nst.transfer.losses import STYLE_LOSSES, content_sum, gram, mean_covariance, variation_sum
from hires_nst.transfer.moments import Moments


def features(positions: int = 50, seed: int = 0) -> torch.Tensor:
    return torch.rand((1, 4, 5, positions // 5), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_moments_match_numpy() -> None:
    f = features()
    flat = f[0].flatten(1).numpy()
    statistics = Moments.of(f).finalise()
    np.testing.assert_allclose(statistics.mean, flat.mean(1))
    np.testing.assert_allclose(statistics.second, flat @ flat.T / flat.shape[1])
    np.testing.assert_allclose(statistics.covariance, np.cov(flat, bias=True), atol=1e-12)


def test_moments_add_over_any_partition() -> None:
    f = features()
    parts = Moments.of(f[..., :3]) + Moments.of(f[..., 3:7]) + Moments.of(f[..., 7:])
    whole = Moments.of(f)
    assert parts.count == whole.count
    torch.testing.assert_close(parts.total, whole.total)
    torch.testing.assert_close(parts.outer, whole.outer)


def test_half_precision_features_are_summed_in_float32_at_least() -> None:
    moments = Moments.of(torch.full((1, 1, 100, 100), 0.1, dtype=torch.bfloat16))
    assert moments.total.dtype in (torch.float32, torch.float64)
    assert moments.total.item() == pytest.approx(10_000 * float(torch.tensor(0.1, dtype=torch.bfloat16)), rel=1e-5)


def test_moments_of_nothing_cannot_be_finalised() -> None:
    with pytest.raises(ValueError, match="no positions"):
        Moments.of(torch.zeros((1, 3, 0, 4))).finalise()


def test_gram_is_the_papers_up_to_its_constants() -> None:
    # Gatys et al. 2015, equations 3 and 4: G = F F^T, E = sum (G - A)^2 / (4 N^2 M^2).
    image, style = features(seed=1), features(seed=2)
    channels, positions = 4, 50
    flat_image, flat_style = image[0].flatten(1), style[0].flatten(1)
    paper = (flat_image @ flat_image.T - flat_style @ flat_style.T).square().sum() / (4 * channels**2 * positions**2)
    ours = gram(Moments.of(image).finalise(), Moments.of(style).finalise())
    constant = (flat_style @ flat_style.T / positions).square().sum() / (4 * channels**2)
    torch.testing.assert_close(ours * constant, paper)


def test_mean_covariance_formula() -> None:
    image, style = Moments.of(features(seed=1)).finalise(), Moments.of(features(seed=2)).finalise()
    expected = (image.mean - style.mean).norm() ** 2 / style.mean.norm() ** 2
    expected += (image.covariance - style.covariance).norm() ** 2 / style.covariance.norm() ** 2
    torch.testing.assert_close(mean_covariance(image, style), expected)


@pytest.mark.parametrize("texture", [0.0, 1e-9, 1e-3])
def test_the_covariance_of_a_flat_style_does_not_outweigh_its_mean(texture: float) -> None:
    image = Moments.of(features(seed=1)).finalise()
    flat = Moments.of(0.5 + texture * features(seed=2)).finalise()
    expected = (image.mean - flat.mean).norm() ** 2 / flat.mean.norm() ** 2
    expected += (image.covariance - flat.covariance).norm() ** 2 / (0.05 * flat.mean.norm() ** 2) ** 2
    torch.testing.assert_close(mean_covariance(image, flat), expected)
    assert mean_covariance(image, flat) < 100


def test_the_configuration_knows_every_style_loss() -> None:
    assert set(get_args(StyleLossName)) == STYLE_LOSSES.keys()


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_every_style_loss_is_zero_at_its_target_and_about_one_without_features(name: str) -> None:
    target = Moments.of(features()).finalise()
    assert STYLE_LOSSES[name](target, target).item() == 0
    nothing = Moments.of(torch.zeros_like(features())).finalise()
    assert 0.5 < STYLE_LOSSES[name](nothing, target).item() <= 2.01


def test_content_and_variation_are_sums() -> None:
    a, b = features(seed=1), features(seed=2)
    torch.testing.assert_close(content_sum(a, b), (a - b).square().sum())
    image = torch.rand((1, 3, 7, 9), dtype=torch.float64)
    whole = variation_sum(image, owned_rows=slice(0, 7), owned_columns=slice(0, 9))
    torch.testing.assert_close(whole, image.diff(dim=2).square().sum() + image.diff(dim=3).square().sum())
    parts = variation_sum(image, owned_rows=slice(0, 4), owned_columns=slice(0, 9)) + variation_sum(
        image, owned_rows=slice(4, 7), owned_columns=slice(0, 9)
    )
    torch.testing.assert_close(parts, whole)


def test_the_covariance_of_nearly_constant_features_is_exact_in_float32_too() -> None:
    generator = torch.Generator().manual_seed(5)
    exact = 100 + 0.01 * torch.randn((1, 6, 40, 50), generator=generator, dtype=torch.float64)
    features = exact.float()
    expected = Moments.of(features.double()).finalise().covariance
    found = Moments.of(features).finalise().covariance
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.diagonal().mean()))
    plain = features[0].flatten(1)  # what is avoided: the sums themselves in float32
    naive = (plain @ plain.T) / plain.shape[1] - torch.outer(plain.mean(1), plain.mean(1))
    assert float((naive.double() - expected).abs().max()) > float(expected.diagonal().mean())


def test_the_gradient_of_moments_is_that_of_the_plain_sums() -> None:
    generator = torch.Generator().manual_seed(6)
    features = torch.rand((1, 4, 5, 7), generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.rand((4, 4), generator=generator, dtype=torch.float64)
    found = Moments.of(features)
    flat = features[0].flatten(1)
    for value, plain in (
        ((found.outer * weights).sum(), ((flat @ flat.T) * weights).sum()),
        ((found.total * weights[0]).sum(), (flat.sum(1) * weights[0]).sum()),
    ):
        (mine,), (theirs,) = (
            torch.autograd.grad(value, features, retain_graph=True),
            torch.autograd.grad(plain, features, retain_graph=True),
        )
        torch.testing.assert_close(value, plain)
        torch.testing.assert_close(mine, theirs)
