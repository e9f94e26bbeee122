"""Runs with other losses: normalised as in a paper, balanced by gradients, with layers by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hires_nst import events
from hires_nst.imageio import reading
from hires_nst.run import level_objective
from hires_nst.transfer.balance import content_factor
from tests.run import test_resume
from tests.run.test_resume import interrupted, of, resume, run_of, settings, stylize

inputs = test_resume.inputs
GRAM: dict[str, Any] = {"style": "gram"}
LOSSES: list[dict[str, Any]] = [
    {**GRAM, "normalization": "gatys2015", "balance": "gradients"},
    {**GRAM, "normalization": "gatys2016", "content_weight": 0.01},
]


def pixels(path: Path) -> np.ndarray:
    return reading.read_picture(path, max_megapixels=1).pixels


@pytest.mark.parametrize("loss", LOSSES)
def test_resumed_and_with_workers_the_picture_is_the_same(loss: dict[str, Any], inputs: Path, tmp_path: Path) -> None:
    whole, out, config = tmp_path / "whole.png", tmp_path / "out.png", settings(loss=loss)
    stylize(inputs, whole, config)
    interrupted(inputs, out, events.StepFinished, 3, config)
    interrupted(inputs, out, events.TileFinished, 3, settings(loss=loss, runtime={"workers": 2}))
    resume(run_of(out))
    assert out.read_bytes() == whole.read_bytes()
    plain = tmp_path / "plain.png"
    stylize(inputs, plain, settings(loss={"style": loss.get("style", "mean-covariance")}))
    assert np.abs(pixels(whole) - pixels(plain)).mean() > 1e-3


def test_the_balance_outlives_a_damaged_file_in_the_middle_of_a_level(inputs: Path, tmp_path: Path) -> None:
    whole, out, config = tmp_path / "whole.png", tmp_path / "out.png", settings(loss={"balance": "gradients"})
    stylize(inputs, whole, config)
    interrupted(inputs, out, events.RoundFinished, 2, config)
    (file,) = (run_of(out) / "levels" / "01").glob("objective.safetensors")
    file.write_bytes(file.read_bytes()[:-9])
    seen = resume(run_of(out))
    assert [event for event in of(seen, events.Notice) if "is damaged" in event.message]
    assert out.read_bytes() == whole.read_bytes()


def test_the_balance_is_measured_once_a_level_and_only_where_it_is_asked_for(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[float] = []

    def measured(*arguments: Any, **options: Any) -> float:
        found.append(content_factor(*arguments, **options))
        return found[-1]

    monkeypatch.setattr(level_objective, "content_factor", measured)
    stylize(inputs, tmp_path / "plain.png")
    assert not found
    overrides = [{"level": 1, "loss": {"balance": "none"}}]
    stylize(inputs, tmp_path / "one.png", settings(loss={"balance": "gradients"}, levels={"overrides": overrides}))
    assert len(found) == 1
    stylize(inputs, tmp_path / "both.png", settings(loss={"balance": "gradients"}))
    assert len(found) == 3
    assert all(0 < one < float("inf") and one != 1 for one in found)


def test_layers_by_name_are_the_same_layers(inputs: Path, tmp_path: Path) -> None:
    by_name, given = tmp_path / "name.png", tmp_path / "given.png"
    layers = {"style_layers": {"conv1_1": 5 / 3, "conv2_1": 5 / 3, "conv3_1": 5 / 3}, "content_layers": {"conv4_2": 1}}
    base = settings()
    own = {key: value for key, value in base["loss"].items() if key not in layers}
    stylize(inputs, by_name, {**base, "loss": {**own, "layers": "shallow"}})
    stylize(inputs, given, {**base, "loss": {**own, **layers}})
    np.testing.assert_array_equal(pixels(by_name), pixels(given))
