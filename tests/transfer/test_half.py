"""What a round carries in half precision."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hires_nst.config import Coupling, Optimizer
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.refine import refine_round
from hires_nst.transfer.rounds import OptimizerCanvases, Round, RoundListener
from hires_nst.transfer.tiles import make_grid
from tests.transfer.test_equivalence import problem


class Losses(RoundListener):
    """The style losses at the starts of rounds."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def round_started(self, style_loss: float | None) -> None:
        """See `RoundListener`."""
        if style_loss is not None:
            self.values.append(style_loss)


def painted(current: Round, losses: Losses, *, rounds: int = 3) -> tuple[Canvas, OptimizerCanvases | None]:
    for _ in range(rounds):
        result = refine_round(current, listener=losses)
        current = replace(current, canvas=result.canvas, optimizer_canvases=result.optimizer_canvases)
    return current.canvas, current.optimizer_canvases


def round_of(
    objective: Objective, content: Canvas, canvas: Canvas, *, coupling: Coupling = "balanced", name: str = "lbfgs"
) -> Round:
    grid = make_grid(canvas.height, canvas.width, size=48, stride=16, overlap=16)
    return Round(
        canvas=canvas, content_canvas=content, objective=objective, grid=grid, measure_grid=grid, coupling=coupling,
        optimizer=Optimizer.model_validate({"name": name}), steps=2, optimizer_canvases=OptimizerCanvases(),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["lbfgs", "adam"])
@pytest.mark.parametrize("coupling", ["balanced", "independent", "exact"])
def test_half_precision_paints_the_same_picture(name: str, coupling: Coupling) -> None:
    objective, content, canvas = problem(96, 112, dtype=torch.float32)
    current = round_of(objective, content, canvas, coupling=coupling, name=name)
    full, half = Losses(), Losses()
    before, _ = painted(current, full)
    after, carried = painted(replace(current, half=True), half)
    changed = np.abs(before.pixels - canvas.pixels).mean()
    assert np.abs(after.pixels - before.pixels).mean() < 0.1 * changed  # L-BFGS magnifies what is rounded
    assert half.values == pytest.approx(full.values, rel=0.01)
    assert carried is not None
    types = {key: each.sample for key, each in carried.canvases.items()}
    halves = {"step": "float16", "gradient": "bfloat16"}
    assert types == (halves if name == "lbfgs" else {"mean": "float32", "square": "float32"})


def test_a_canvas_that_is_changed_in_place_is_the_one_that_a_copy_becomes() -> None:
    objective, content, canvas = problem(96, 112, dtype=torch.float32)
    current = replace(round_of(objective, content, canvas), half=True)
    copied = refine_round(current).canvas
    assert not np.array_equal(copied.pixels, canvas.pixels)
    changed = refine_round(replace(current, in_place=True)).canvas
    assert changed is canvas
    np.testing.assert_array_equal(changed.pixels, copied.pixels)
