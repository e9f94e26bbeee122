from __future__ import annotations

import pytest
import torch

from hires_nst.transfer.losses import STYLE_LOSSES, neighbours
from tests.transfer.losses.plain import correlated, style_data, value_of

LOSS = STYLE_LOSSES["neighbours"]


def test_the_value_is_the_cosine_distance_to_the_nearest_one() -> None:
    image, style = correlated(200, seed=1), correlated(300, seed=2)
    ours, theirs = (f[0].flatten(1).T - f[0].flatten(1).T.mean(0) for f in (image, style))
    cosines = torch.nn.functional.cosine_similarity(ours[:, None], theirs[None], dim=2)
    means = [f.mean((2, 3)) for f in (image, style)]
    expected = (1 - cosines.max(1).values).mean() + (means[0] - means[1]).square().sum() / means[1].square().sum()
    assert float(value_of(LOSS, image, style_data(LOSS, style))) == pytest.approx(float(expected), rel=1e-4)


def test_blocks_of_positions_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    image, data = correlated(200, seed=1), style_data(LOSS, correlated(300, seed=2))
    whole = value_of(LOSS, image, data)
    monkeypatch.setattr(neighbours, "BLOCK", 7)
    torch.testing.assert_close(value_of(LOSS, image, data), whole)


def test_features_of_no_length_have_a_bounded_gradient() -> None:
    x = torch.zeros((1, 5, 20, 20), dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(value_of(LOSS, x, style_data(LOSS, correlated(seed=2))), x)
    assert float(gradient.abs().max()) * 400 < 2000
