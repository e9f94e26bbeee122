"""Gradients that are recorded once and then repeated by the device alone, where steps are many."""

from __future__ import annotations

import torch
from torch import Tensor

from hires_nst.transfer import device
from hires_nst.transfer.optimizers import Gradient

LEAST_STEPS = 16
"""Evaluations for which a recording pays: it takes the time of about three."""


def captured(gradient: Gradient, *, steps: int) -> Gradient:
    """The same gradient, for so many evaluations at images of one shape, repeated as `device.capture` recorded it.

    The first two evaluations are done as they are: the first one may make what all others use, and the second is what a
    repetition must give to the bit, or else nothing is repeated. In a repetition `check_stop` is not called: a run
    stops between evaluations then.
    """
    if steps < LEAST_STEPS:
        return gradient
    evaluations, repeat = 0, None

    def evaluated(x: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal evaluations, repeat
        if repeat is not None:
            value, result = repeat(x.detach())
            return value, result
        found = gradient(x)
        evaluations += 1
        if evaluations == 2:
            repeat = _recorded(gradient, x.detach(), expected=found)
        return found

    return evaluated


def _recorded(gradient: Gradient, x: Tensor, *, expected: tuple[Tensor, Tensor]) -> device.Repeat | None:
    """A recording that gives the expected value and gradient at `x`; None where there is none."""
    repeat = device.capture(lambda image: gradient(image.detach().requires_grad_()), x)
    if repeat is None or not all(torch.equal(*pair) for pair in zip(repeat(x), expected, strict=True)):
        return None
    return repeat
