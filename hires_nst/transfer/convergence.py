"""When a descent gains so little that it may end."""

from __future__ import annotations

import math
from collections.abc import Sequence

STEPS = 10
"""Steps over which the gain of a descent is taken: single values of L-BFGS and Adam go up and down."""

ROUNDS = 2
"""The same in rounds; two, because only every second round has the same tiles."""


def gains_less(values: Sequence[float], tolerance: float, *, over: int) -> bool:
    """Whether the last `over` values gained, on average, less than `tolerance` each, relative to the one before.

    With f the value before them and m the least of them: m >= f (1 - tolerance)^over. A last value above f, or one that
    is not finite, is a disturbance and no end; with a tolerance of 0, or fewer than over + 1 values, there is none.
    """
    if tolerance <= 0 or len(values) <= over:
        return False
    before, *last = values[-over - 1 :]
    if not all(map(math.isfinite, (before, *last))):
        return False
    return last[-1] <= before and min(last) >= before * (1 - tolerance) ** over


def step_tolerance(tolerance: float, *, steps: int) -> float:
    """The gain of a step, of which `steps` in succession gain `tolerance`."""
    return float(1 - (1 - tolerance) ** (1 / steps))
