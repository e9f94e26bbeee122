from __future__ import annotations

import numpy as np
import pytest
import torch

from hires_nst.transfer.moments import Moments, central
from hires_nst.transfer.weights import LayerWeights
from tests.transfer.losses.plain import features


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


@pytest.mark.parametrize("weighted", [False, True])
def test_powers_match_numpy_and_have_the_gradient_of_plain_sums(weighted: bool) -> None:
    f = (3 + features(seed=8)).requires_grad_()
    m = torch.rand((1, 1, 5, 10), generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    weights = LayerWeights.of(m) if weighted else None
    m = m if weighted else torch.ones_like(m)
    found = Moments.by_channel(f, weights, order=5)
    plain = torch.stack([(m * f**k).sum((0, 2, 3)) for k in range(1, 6)])
    torch.testing.assert_close(found.sums["powers"], plain)
    factors = torch.rand((5, 4), generator=torch.Generator().manual_seed(10), dtype=torch.float64)
    (mine,) = torch.autograd.grad((found.sums["powers"] * factors).sum(), f)
    (theirs,) = torch.autograd.grad((plain * factors).sum(), f)
    torch.testing.assert_close(mine, theirs)


def test_central_moments_of_raw_ones() -> None:
    f = features()
    flat = f[0].flatten(1).numpy()
    found = central(Moments.by_channel(f, order=5).finalise()["powers"])
    np.testing.assert_allclose(found[0], flat.mean(1))
    for k in range(2, 6):
        np.testing.assert_allclose(found[k - 1], ((flat - flat.mean(1, keepdims=True)) ** k).mean(1), atol=1e-12)
