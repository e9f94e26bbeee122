"""The references' formulas against SciPy and numbers by hand, and their schemes on tiny pictures."""

from __future__ import annotations

from functools import partial

import numpy as np
import plain
import pytest
import torch
from reference import (
    SCHEMES,
    STYLE_LOSSES,
    Average,
    Task,
    enlarged_state,
    halved_levels,
    lbfgs,
    root_two_levels,
)
from scipy.linalg import sqrtm
from torch import Tensor

from hires_nst.transfer.losses.second_moments import gram as own_gram
from hires_nst.transfer.moments import Moments
from tests.conftest import random_canvas, tiny_network


def features(channels: int = 5, seed: int = 0, *, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn((channels, channels), generator=generator, dtype=torch.float64)
    values = torch.randn((channels, 12 * 9), generator=generator, dtype=torch.float64)
    return (mixing @ values + shift).view(1, channels, 12, 9)


def gaussian(covariance: list[list[float]], mean: float = 0) -> plain.Gaussian:
    matrix = torch.tensor(covariance, dtype=torch.float64)
    return plain.Gaussian(torch.full((len(matrix),), float(mean), dtype=torch.float64), matrix)


def test_statistics_are_those_of_numpy_and_of_the_program() -> None:
    f = features(shift=3)
    found = plain.Gaussian.of(f)
    flat = f[0].flatten(1).numpy()
    np.testing.assert_allclose(found.mean, flat.mean(1))
    np.testing.assert_allclose(found.covariance, np.cov(flat, bias=True), atol=1e-12)
    np.testing.assert_allclose(found.deviation, flat.std(1))
    torch.testing.assert_close(found.second, Moments.of(f).finalise().second)


def test_wasserstein_is_that_of_scipy() -> None:
    image, style = plain.Gaussian.of(features(seed=1)), plain.Gaussian.of(features(seed=2, shift=0.5))
    first, second = image.covariance.numpy(), style.covariance.numpy()
    root = sqrtm(second)
    expected = np.square((image.mean - style.mean).numpy()).sum()
    expected += np.trace(first + second - 2 * sqrtm(root @ first @ root)).real
    assert float(plain.wasserstein(image, style)) == pytest.approx(expected / 5, rel=1e-9)


def test_wasserstein_of_gaussians_on_a_line() -> None:
    """In one dimension it is (m - m_s)^2 + (s - s_s)^2."""
    image, style = (
        plain.Gaussian(torch.tensor([m]).double(), torch.tensor([[v]]).double()) for m, v in ((1, 4), (3, 9))
    )
    assert float(plain.wasserstein(image, style)) == pytest.approx(4 + 1)
    assert float(plain.wasserstein(image, image, ridge=1e-4)) == pytest.approx(0, abs=1e-12)


def test_the_gradient_of_wasserstein_is_that_of_finite_differences() -> None:
    style = plain.Gaussian.of(features(3, seed=2))

    def loss(f: Tensor) -> Tensor:
        return plain.wasserstein(plain.Gaussian.of(f), style, ridge=1e-4)

    start = features(3, seed=1)[:, :, :3, :3].clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, (start,))


def test_the_gradient_exists_where_eigenvalues_coincide() -> None:
    style, image = (gaussian((factor * torch.eye(3)).tolist()) for factor in (1, 4))
    image.covariance.requires_grad_()
    plain.wasserstein(image, style).backward()  # type: ignore[no-untyped-call]
    assert image.covariance.grad is not None
    # d (s - 1)^2 / d s^2 = 1 - 1 / s, with s = 2
    torch.testing.assert_close(image.covariance.grad, style.covariance * (1 - 1 / 2) / 3)


def test_other_style_losses_by_numpy() -> None:
    image, style = plain.Gaussian.of(features(seed=1)), plain.Gaussian.of(features(seed=2, shift=1))
    second = np.square((image.second - style.second).numpy())
    means, deviations = (
        np.square((image.mean - style.mean).numpy()),
        np.square((image.deviation - style.deviation).numpy()),
    )
    assert float(plain.gram(image, style)) == pytest.approx(second.mean())
    expected = 1e3 / 25 * second.mean() + 1e4 * means.mean() + 1e4 * deviations.mean()
    assert float(plain.gram_mean_std(image, style)) == pytest.approx(expected)
    spread = np.square((image.covariance - style.covariance).numpy()).sum() / np.square(style.covariance.numpy()).sum()
    expected = means.sum() / np.square(style.mean.numpy()).sum() + spread
    assert float(plain.mean_covariance(image, style)) == pytest.approx(expected)


def test_the_program_s_gram_loss_is_the_plain_one_over_its_norm() -> None:
    image, style = features(seed=1), features(seed=2)
    own = own_gram(Moments.of(image).finalise(), Moments.of(style).finalise())
    found = plain.gram(plain.Gaussian.of(image), plain.Gaussian.of(style))
    torch.testing.assert_close(own, found / plain.Gaussian.of(style).second.square().mean())


def test_variation_of_a_ramp_and_a_flat_image() -> None:
    assert float(plain.variation(torch.full((1, 3, 6, 7), 0.3))) == 0
    ramp = torch.arange(100.0).view(1, 1, 1, 100).expand(1, 3, 80, 100)  # far from the edges, 1 a pixel
    assert float(plain.variation(ramp)) == pytest.approx(2 * (1 / 3 + 2 / 12), rel=0.05)


@pytest.mark.parametrize(
    ("size", "coarsest", "expected"),
    [(512, 128, [128, 181, 256, 362, 512]), (500, 128, [177, 250, 354, 500]), (100, 128, [100]), (128, 128, [128])],
)
def test_levels_by_the_root_of_two(size: int, coarsest: int, expected: list[int]) -> None:
    assert root_two_levels(size, coarsest) == expected


@pytest.mark.parametrize(
    ("size", "short", "expected"),
    [(500, 500, [500]), (1500, 1023, [1500]), (1500, 1024, [750, 1500]), (6000, 4000, [1500, 3000, 6000])],
)
def test_levels_by_two(size: int, short: int, expected: list[int]) -> None:
    assert halved_levels(size, short, coarsest=512) == expected


def test_an_average_of_equal_iterates_is_they_and_of_others_leans_to_the_last() -> None:
    average = Average(0.9)
    for _ in range(3):
        average.add(torch.tensor(2.0))
    assert float(average.value) == pytest.approx(2)
    average.add(torch.tensor(4.0))
    weights = [0.9**3, 0.9**2, 0.9, 1]
    assert float(average.value) == pytest.approx(np.average([2, 2, 2, 4], weights=weights))


def test_the_state_of_adam_is_enlarged() -> None:
    image = torch.full((1, 3, 4, 4), 0.5, requires_grad=True)
    adam = torch.optim.Adam([image], lr=0.02, betas=(0.9, 0.99))
    (3 * image).sum().backward()  # type: ignore[no-untyped-call]
    adam.step()
    larger = torch.full((1, 3, 6, 8), 0.5, requires_grad=True)
    finer = torch.optim.Adam([larger], lr=0.02, betas=(0.9, 0.99))
    finer.load_state_dict(enlarged_state(adam, (6, 8)))
    state = finer.state[larger]
    torch.testing.assert_close(state["exp_avg"], torch.full((1, 3, 6, 8), 0.3))
    torch.testing.assert_close(state["exp_avg_sq"], torch.full((1, 3, 6, 8), 0.09))


def test_lbfgs_evaluates_as_often_as_told_and_descends() -> None:
    goal, calls = torch.rand((1, 3, 4, 4), generator=torch.Generator().manual_seed(0)), []

    def value(image: Tensor) -> Tensor:
        calls.append(1)
        return (255 * (image - goal)).square().sum()

    result = lbfgs(torch.zeros_like(goal), value, steps=6, history=5)
    assert len(calls) == 6
    torch.testing.assert_close(result, goal, atol=1e-3, rtol=0)


def task(first_steps: int, steps: int = 0, *, coarsest: int, size: int = 48) -> Task:
    content, style = (random_canvas(48, 36, seed).pixels for seed in (1, 2))
    return Task(
        tiny_network(dtype=torch.float32), content, style, size=size, first_steps=first_steps, steps=steps,
        coarsest=coarsest,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("scheme", "loss", "coarsest", "counts"),
    [
        ("style-transfer-pytorch", "style-transfer-pytorch", 34, (1, 40)),
        ("spst", "spst", 18, (1, 40)),
        ("neural-style", "neural-style", 0, (1, 40)),
        ("neural-style-adam", "neural-style", 0, (20, 150)),  # its steps of 10 of 255 overshoot at first
    ],
)
def test_a_scheme_lowers_its_own_style_loss(scheme: str, loss: str, coarsest: int, counts: tuple[int, int]) -> None:
    few, many = (SCHEMES[scheme].paint(task(steps, steps, coarsest=coarsest)) for steps in counts)
    level = task(0, coarsest=coarsest).level(STYLE_LOSSES[loss], 48)
    value = partial(level.value, style_weight=1.0, content_weight=0.0)
    assert many.shape == (1, 3, 48, 36)
    assert 0 <= float(many.min()) <= float(many.max()) <= 1
    with torch.no_grad():
        assert float(value(many)) < 0.7 * float(value(few))


def test_the_painting_itself_has_no_style_loss() -> None:
    canvas = random_canvas(48, 36, 3).pixels
    network = tiny_network(dtype=torch.float32)
    for loss in STYLE_LOSSES.values():
        level = Task(network, canvas, canvas, size=48, first_steps=0).level(loss, 48)
        itself = float(level.value(level.photograph, style_weight=1.0, content_weight=1.0))
        other = float(level.value(1 - level.photograph, style_weight=1.0, content_weight=1.0))
        assert itself < 1e-4 * other


def test_activations_are_brought_to_an_input_of_0_to_255() -> None:
    network = tiny_network()
    assert STYLE_LOSSES["spst"].unit(network) == pytest.approx(255 * 0.25)
    assert STYLE_LOSSES["style-transfer-pytorch"].unit(network) == 1
