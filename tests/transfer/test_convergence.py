"""When a descent gains so little that it ends."""

from __future__ import annotations

import math

import pytest

from hires_nst.transfer.convergence import gains_less, step_tolerance


@pytest.mark.parametrize(
    ("values", "tolerance", "ends"),
    [
        ((1.0, 0.9, 0.81), 0.1001, True),
        ((1.0, 0.9, 0.81), 0.0999, False),
        ((9.0, 1.0, 0.99, 0.985), 0.05, True),  # only the last two gains count
        ((1.0, 0.5, 0.999), 0.05, False),  # one of them gained
        ((1.0, 1.5, 1.2), 0.05, False),  # a disturbance is no end
        ((1.0, 1.5, 0.99), 0.05, True),
        ((1.0, 0.99), 0.05, False),  # too few
        ((), 0.05, False),
        ((0.0, 0.0, 0.0), 0.05, True),
        ((1.0, 1.0, 1.0), 0.0, False),
        ((1.0, math.nan, 0.99), 0.05, False),
        ((math.inf, 1.0, 0.99), 0.05, False),
    ],
)
def test_the_mean_gain_of_the_last_values_decides(values: tuple[float, ...], tolerance: float, ends: bool) -> None:
    assert gains_less(values, tolerance, over=2) is ends


def test_the_gains_of_the_steps_are_that_of_their_round() -> None:
    assert (1 - step_tolerance(0.19, steps=2)) ** 2 == pytest.approx(1 - 0.19)
    assert step_tolerance(0.3, steps=1) == pytest.approx(0.3)
    assert step_tolerance(0.0, steps=2) == 0
