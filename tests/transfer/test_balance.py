"""The balance of content and style by their gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from torch import Tensor

from hires_nst.config import Loss
from hires_nst.transfer.balance import content_factor
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.kept import KeptActivations
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.tiles import make_grid
from hires_nst.transfer.weights import PixelWeights
from tests.conftest import random_canvas
from tests.transfer.test_equivalence import LOSS, problem, untiled, whole_image

SIZE = (96, 112)


def no_noise() -> Canvas:
    raise AssertionError("the start is far from the photograph")


def factor_of(
    objective: Objective, start: Canvas, content: Canvas, *, size: int = 9999, noise: Callable[[], Canvas] = no_noise
) -> float:
    return content_factor(objective, start, content=content, noise=noise, grid=make_grid(*SIZE, size=size, stride=16))


def gradient_of(loss: Loss, canvas: Canvas) -> Tensor:
    objective, content, _ = problem(*SIZE, loss=loss)
    return untiled(objective, content, whole_image(canvas))[1]


@pytest.mark.parametrize("weights", [(1.0, 0.2), (30.0, 4.0)])
def test_the_gradients_have_the_ratio_of_their_weights(weights: tuple[float, float]) -> None:
    style, content_weight = weights
    loss = Loss(style_weight=style, content_weight=content_weight, tv_weight=0.3)
    objective, content, start = problem(*SIZE, loss=loss)
    scaled = loss.with_content(factor_of(objective, start, content))
    none = {"tv_weight": 0.0}
    of_style = gradient_of(scaled.model_copy(update={**none, "content_layers": {}}), start).norm()
    of_content = gradient_of(scaled.model_copy(update={**none, "style_layers": {}}), start).norm()
    assert float(of_content / of_style) == pytest.approx(content_weight / style, rel=1e-9)


def test_in_tiles_the_factor_is_the_untiled_one() -> None:
    objective, content, start = problem(*SIZE)
    assert factor_of(objective, start, content, size=32) == pytest.approx(factor_of(objective, start, content))


def test_the_factor_does_not_depend_on_the_weights_and_the_network_s_scale() -> None:
    found = []
    for style_weight, content_weight in ((1.0, 0.2), (5.0, 0.01)):
        loss = Loss(style_weight=style_weight, content_weight=content_weight)
        objective, content, start = problem(*SIZE, loss=loss)
        found.append(factor_of(objective, start, content))
    assert found[0] == pytest.approx(found[1])


def test_at_the_photograph_the_gradients_are_those_at_noise() -> None:
    objective, content, _ = problem(*SIZE)
    noise = random_canvas(*SIZE, 7)
    found = factor_of(objective, content.copy(), content, noise=lambda: noise)
    assert found == factor_of(objective, noise, content)


def test_pixels_that_cannot_change_do_not_count() -> None:
    objective, content, start = problem(*SIZE)
    alpha = Canvas.empty(*SIZE, channels=1)
    alpha.pixels[:] = 1
    alpha.pixels[:, :48] = 0
    hidden = replace(objective, weights=PixelWeights.of(alpha))
    alone = {"style_weight": 1.0, "content_weight": 1.0, "tv_weight": 0.0, "colour_tv_weight": 0.0}
    of_style, of_content = (
        replace(one, loss=LOSS.model_copy(update=alone)).gradient(
            start, content, grid=make_grid(*SIZE, size=9999, stride=16)
        )[1][..., 48:]
        for one in (replace(hidden, content_norms={}), replace(hidden, style={}))
    )
    assert factor_of(hidden, start, content) == pytest.approx(float(of_style.norm() / of_content.norm()))


@pytest.mark.parametrize("loss", [Loss(style_layers={}), Loss(content_layers={})])
def test_one_loss_alone_is_left_as_it_is(loss: Loss) -> None:
    objective, content, start = problem(*SIZE, loss=loss)
    assert factor_of(objective, start, content) == 1.0


def test_what_the_whole_objective_keeps_is_left_alone() -> None:
    objective, content, start = problem(*SIZE)
    kept = KeptActivations(10**9)
    factor_of(replace(objective, kept=kept), start, content)
    grid = make_grid(*SIZE, size=9999, stride=16)
    value, _ = replace(objective, kept=kept).gradient(start, content, grid=grid)
    assert float(value) == float(objective.gradient(start, content, grid=grid)[0])
