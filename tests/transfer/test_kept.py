"""Activations that are kept."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import torch

from hires_nst.config import Optimizer
from hires_nst.transfer.kept import Activations, KeptActivations
from hires_nst.transfer.refine import refine_round
from hires_nst.transfer.rounds import Round
from hires_nst.transfer.tiles import make_grid
from tests.transfer.test_equivalence import problem


def test_what_fits_is_made_once_and_the_rest_each_time() -> None:
    kept, made = KeptActivations(100), list[str]()

    def make(name: str, floats: int) -> Activations:
        made.append(name)
        return {name: torch.zeros(floats)}

    for _ in range(2):
        for name, floats in (("a", 15), ("b", 20), ("c", 10)):  # 60, 80 and 40 bytes
            assert list(kept.get(name, partial(make, name, floats))) == [name]
    assert made == ["a", "b", "c", "b"]


def test_a_round_is_the_same_whether_they_are_kept_or_not() -> None:
    objective, content, canvas = problem(96, 112)
    grid = make_grid(96, 112, size=48, stride=16, overlap=16)
    results = []
    for most in (0, 10_000, 10**9):
        with_it = replace(objective, kept=KeptActivations(most))
        for _ in range(2):
            current = Round(
                canvas=canvas, content_canvas=content, objective=with_it, grid=grid, measure_grid=grid,
                coupling="balanced", optimizer=Optimizer(), steps=2,
            )  # fmt: skip
            results.append(refine_round(current).canvas.pixels)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_they_belong_to_one_canvas() -> None:
    objective, content, canvas = problem(64, 80)
    kept = replace(objective, kept=KeptActivations(10**9))
    window = canvas.image
    for image in (content, canvas, content):
        for layer, found in kept.content_features(image, window).items():
            assert torch.equal(found, objective.content_features(image, window)[layer])
