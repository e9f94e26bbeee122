from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hires_nst.transfer.losses import STYLE_LOSSES
from hires_nst.transfer.losses.wasserstein import gaussian_transport
from hires_nst.transfer.moments import Moments, Statistics
from tests.transfer.losses.plain import correlated, style_data, value_of

LOSS = STYLE_LOSSES["wasserstein"]


def closed_form(image: Tensor, style: Tensor) -> float:
    """W2^2 of the Gaussians over the style's mean |f|^2; the roots' trace by the eigenvalues of a product."""
    means, covariances = [], []
    for f in (image, style):
        flat = f[0].flatten(1).numpy()
        means.append(flat.mean(1))
        covariances.append(np.cov(flat, bias=True))
    roots = np.sqrt(np.maximum(np.linalg.eigvals(covariances[0] @ covariances[1]).real, 0)).sum()
    w2 = ((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * roots
    return float(w2 / (style**2).sum() * style[0, 0].numel())


def test_the_value_is_the_closed_form() -> None:
    image, style = correlated(seed=1), correlated(seed=2)
    assert float(value_of(LOSS, image, style_data(LOSS, style))) == pytest.approx(closed_form(image, style), rel=1e-9)


def test_the_gradient_is_that_of_the_closed_form() -> None:
    image, style = correlated(seed=1), correlated(seed=2)
    x = image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value_of(LOSS, x, style_data(LOSS, style)), x)
    generator = torch.Generator().manual_seed(3)
    for _ in range(4):
        direction = torch.rand(image.shape, generator=generator, dtype=torch.float64) - 0.5
        ahead, behind = (closed_form(image + s * direction, style) for s in (1e-4, -1e-4))
        assert (ahead - behind) / 2e-4 == pytest.approx(float((gradient * direction).sum()), rel=1e-5)


def test_the_map_carries_the_covariance_to_that_of_the_style() -> None:
    image, style = (Moments.of(correlated(seed=seed)).finalise() for seed in (1, 2))
    transport = gaussian_transport(image, style)
    matrix = transport["map"]
    torch.testing.assert_close(matrix @ image.covariance @ matrix, style.covariance)
    torch.testing.assert_close(matrix, matrix.T)


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_covariances_of_low_rank_have_finite_targets(rank: int) -> None:
    generator = torch.Generator().manual_seed(4)
    basis = torch.randn((5, rank), generator=generator, dtype=torch.float64)
    thin = (basis @ torch.randn((rank, 400), generator=generator, dtype=torch.float64)).view(1, 5, 20, 20) + 1
    for image, style in ((thin, correlated()), (correlated(), thin), (thin, 2 * thin)):
        x = image.clone().requires_grad_()
        value = value_of(LOSS, x, style_data(LOSS, style))
        (gradient,) = torch.autograd.grad(value, x)
        assert 0 <= value.item() < 100
        assert bool(gradient.isfinite().all())


def test_a_covariance_that_is_indefinite_by_rounding_has_a_finite_map() -> None:
    style = Moments.of(correlated(seed=2)).finalise()
    noise = 1e-12 * torch.eye(5, dtype=torch.float64)
    low = Statistics({"mean": style.mean, "second": torch.outer(style.mean, style.mean) - noise})
    assert bool(gaussian_transport(low, style)["map"].isfinite().all())
    assert bool(gaussian_transport(style, low)["map"].isfinite().all())
