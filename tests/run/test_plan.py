"""What `plan` says of memory, of the photograph and of the painting."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

import hires_nst
from hires_nst import events
from hires_nst.batch import plan as batch_plan
from hires_nst.config import Config, Coupling
from hires_nst.run import estimate
from hires_nst.run import plan as planning
from hires_nst.run.context import RunContext, open_context
from hires_nst.run.output_size import OutputSize, output_size_of
from hires_nst.transfer.allocator import zeros
from hires_nst.transfer.levels import LevelPlan


def picture(path: Path, width: int, height: int) -> Path:
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def context_of(width: int, height: int, **settings: Any) -> tuple[RunContext, OutputSize]:
    size = OutputSize(width=width, height=height, crop=(0, 0, width, height), dpi=None)
    return open_context(Config.model_validate(settings), size), size


# Memory follows the area of a tile.

SHAPES = [(1600, 1600), (3200, 800), (8000, 400), (400, 8000), (16000, 300), (50 * 320, 320), (20000, 16)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tile", ["auto", 256])
def test_the_largest_window_is_measured_by_its_area(shape: tuple[int, int], tile: int | str) -> None:
    width, height = shape
    context, size = context_of(width, height, tiles={"size": tile})
    plans = planning.level_plans(context, size)
    for plan in plans:
        grids = [context.grid(*plan.canvas_size, size=plan.tile_size, shifted=shifted) for shifted in (False, True)]
        assert plan.window_area == max(tile.window.area for grid in grids for tile in grid.tiles)
        assert plan.window_area <= plan.canvas_area


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("side", [256, 512])
def test_an_evaluation_is_timed_on_a_tile_of_the_window_s_shape(shape: tuple[int, int], side: int) -> None:
    width, height = shape
    plan = LevelPlan(
        index=0, height=height, width=width, rounds=1, steps=1, tiles=1, tile_size=width, window_height=height,
        window_width=width,
    )  # fmt: skip
    rows, columns = estimate.measured_size(plan, side=side)
    assert rows <= height and columns <= width
    assert 0.99 * min(side**2, width * height) <= rows * columns <= side**2


@pytest.mark.parametrize("coupling", get_args(Coupling))
@pytest.mark.parametrize("name", ["mean-covariance", "sliced", "neighbours"])
def test_time_follows_the_work(coupling: Coupling, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the rounds take twice the time, but for what is measured once."""
    monkeypatch.setattr(estimate, "SIDE", 32)
    monkeypatch.setattr(estimate, "_least_seconds", lambda work, context: (work(), 1.0)[1])
    levels = {"min_size": 32, "coarse_steps": 2, "steps": 2, "decay": 1, "factor": 4}
    found = []
    for rounds in (0, 1, 2):
        overrides = [{"level": 1, "rounds": rounds}]
        context, size = context_of(
            128, 128, levels={**levels, "overrides": overrides}, loss={"style": name}, tiles={"coupling": coupling}
        )
        found.append(estimate.estimated_seconds(context, planning.level_plans(context, size))[1])
    assert 0 < found[2] - found[1] == pytest.approx(found[1] - found[0])


def test_a_tile_of_few_steps_needs_less_memory_than_one_of_many(tmp_path: Path) -> None:
    photo, painting = picture(tmp_path / "photo.png", 600, 300), picture(tmp_path / "painting.png", 64, 64)
    needed = [
        hires_nst.plan(
            photo, styles=painting, measure=False,
            config=Config.model_validate({"levels": {"coarse_steps": 2, "steps": steps, "min_size": 64}}),
        ).tile_bytes
        for steps in (2, 20, 100)
    ]  # fmt: skip
    assert needed[0] < 0.8 * needed[1]
    assert needed[1] == needed[2]  # as many as the history has pairs


# The photograph.


A4, A2 = {"paper": "A4"}, {"paper": "A2"}
SQUARE = {"paper": "10x10cm", "dpi": 72}


@pytest.mark.parametrize(
    ("output", "size", "use", "advice"),
    [
        ({}, (400, 300), "keeps its size", ""),
        ({"scale": 0.31}, (4000, 3000), "is reduced to 31 %", ""),
        ({"long_edge": 1000}, (400, 300), "is enlarged 2.5 times", ""),
        ({"long_edge": 1600}, (400, 300), "is enlarged 4 times", "a smaller --size"),
        ({"print": A4}, (4960, 310), "91 % is cropped, and the rest is enlarged 8 times", "--fit contain"),
        ({"print": A2}, (40, 30), "7 % is cropped, and the rest is enlarged 177 times", "a smaller paper"),
        ({"print": {**A2, "fit": "contain"}}, (40, 30), "is enlarged 165 times", "a smaller paper"),
        ({"print": SQUARE}, (420, 280), "33 % is cropped, and the rest keeps its size", "--fit contain"),
        ({"print": {**A4, "dpi": 72}}, (900, 600), "6 % is cropped, and the rest keeps its size", ""),
    ],
)
def test_what_becomes_of_the_photograph(output: dict[str, Any], size: tuple[int, int], use: str, advice: str) -> None:
    config = Config.model_validate({"output": output})
    found = output_size_of(size, config, content="photo.jpg")
    assert found.use == use
    said = found.loss(config) or ""
    assert bool(said) == bool(advice)
    assert not advice or (use in said and advice in said)


def test_plan_stylize_and_the_plan_of_a_batch_tell_large_losses(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    photo, painting = picture(tmp_path / "in" / "photo.png", 320, 20), picture(tmp_path / "in" / "painting.png", 48, 48)
    config = Config.model_validate(
        {
            "styles": [{"image": str(painting)}],
            "output": {"print": {"paper": "A10", "dpi": 60}},
            "levels": {"min_size": 16, "coarse_steps": 1, "rounds": 1},
        }
    )
    said: list[events.Event] = []
    plan = hires_nst.plan(photo, config=config, measure=False, on_event=said.append)
    assert not said  # the plan has the notes, which are not told twice
    hires_nst.stylize(photo, tmp_path / "out.png", config=config, on_event=said.append)
    (sentence,) = (text for text in plan.notes if "of the photograph" in text)
    assert sentence.startswith("of the photograph, 91 % is cropped, and the rest is enlarged ")
    assert events.Notice(sentence) in said
    assert (round(plan.cropped, 2), plan.enlarged > 3) == (0.91, True)
    whole = batch_plan(tmp_path / "in", config=config, measure=False)
    assert (whole.cropped, whole.enlarged) == (1, 1)


def test_a_painting_that_is_too_small_is_told_by_plan_and_stylize_alike(tmp_path: Path) -> None:
    photo, painting = picture(tmp_path / "photo.png", 64, 64), picture(tmp_path / "painting.png", 32, 32)
    config = Config.model_validate(
        {"styles": [{"image": str(painting)}], "levels": {"min_size": 16, "coarse_steps": 1, "rounds": 1}}
    )
    said: list[events.Event] = []
    plan = hires_nst.plan(photo, config=config, measure=False)
    hires_nst.stylize(photo, tmp_path / "out.png", config=config, on_event=said.append)
    (sentence,) = (text for text in plan.notes if "the painting is smaller than 64 x 64 px" in text)
    assert said.count(events.Notice(sentence)) == 1


@pytest.mark.parametrize("scale", [0.2, 1.0, 2.0])
def test_canvases_take_at_most_what_is_planned(scale: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = most = 0

    def counted(size: int) -> np.ndarray:
        nonlocal taken, most

        def free() -> None:
            nonlocal taken
            taken -= size

        array = zeros(size)
        weakref.finalize(array, free)
        taken += size
        most = max(most, taken)
        return array

    photo, painting = picture(tmp_path / "photo.png", 128, 48), picture(tmp_path / "painting.png", 300, 300)
    config = Config.model_validate(
        {
            "styles": [{"image": painting, "scale": scale}],
            "loss": {"style_layers": {"conv1_1": 1.0}, "content_layers": {"conv2_1": 1.0}},
            "levels": {"min_size": 24, "coarse_steps": 2, "rounds": 2},
        }
    )
    planned = hires_nst.plan(photo, config=config, measure=False).canvas_bytes
    monkeypatch.setattr("hires_nst.transfer.canvas.zeros", counted)
    hires_nst.stylize(photo, tmp_path / "out.png", config=config)
    assert planned / 2 < most <= planned
