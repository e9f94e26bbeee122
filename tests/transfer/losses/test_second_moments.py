from __future__ import annotations

import pytest
import torch

from hires_nst.transfer.losses.second_moments import gram, mean_covariance
from hires_nst.transfer.moments import Moments
from tests.transfer.losses.plain import features


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
