from __future__ import annotations

import numpy as np
import pytest
import torch

from hires_nst.transfer.losses import STYLE_LOSSES
from hires_nst.transfer.losses.channel_moments import gram_mean_std, mean_std
from hires_nst.transfer.losses.second_moments import gram
from hires_nst.transfer.moments import Moments, Statistics
from tests.transfer.losses.plain import correlated, features, style_data, value_of


def test_mean_std_formula() -> None:
    image, style = features(seed=1), features(seed=2)
    means, deviations = zip(*((f.mean((2, 3)), f.std((2, 3), correction=0)) for f in (image, style)), strict=True)
    difference = (means[0] - means[1]).square().sum() + (deviations[0] - deviations[1]).square().sum()
    expected = difference / (means[1].square().sum() + deviations[1].square().sum())
    powers = [Moments.by_channel(f, order=2).finalise() for f in (image, style)]
    torch.testing.assert_close(mean_std(*powers), expected)
    whole = [Moments.of(f).finalise() for f in (image, style)]
    torch.testing.assert_close(gram_mean_std(*whole), gram(*whole) + expected)


def test_a_virtual_variance_below_zero_has_no_gradient() -> None:
    style = Moments.by_channel(features(), order=2).finalise()
    powers = (style["powers"] - torch.tensor([[0.0], [10.0]], dtype=torch.float64)).requires_grad_()
    value = mean_std(Statistics({"powers": powers}), style)
    (gradient,) = torch.autograd.grad(value, powers)
    assert float(value.detach()) < 1
    torch.testing.assert_close(gradient, torch.zeros_like(gradient))


def test_central_moments_formula() -> None:
    image, style = correlated(seed=1).numpy(), correlated(seed=2).numpy()
    scale = np.sqrt((style**2).mean((2, 3), keepdims=True))
    expected = 0.0
    squashed = [(2 / (1 + np.exp(-f / scale)) - 1)[0].reshape(5, -1) for f in (image, style)]
    for k in range(1, 6):
        ours, theirs = (f.mean(1) if k == 1 else ((f - f.mean(1, keepdims=True)) ** k).mean(1) for f in squashed)
        expected += ((ours - theirs) ** 2).sum() / (theirs**2).sum() / 5
    loss = STYLE_LOSSES["central-moments"]
    found = value_of(loss, torch.from_numpy(image), style_data(loss, torch.from_numpy(style)))
    assert float(found) == pytest.approx(expected)
