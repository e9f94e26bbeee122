"""The border around the picture, which is painted along and cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hires_nst
from hires_nst import Config, events
from hires_nst.config import Levels
from hires_nst.errors import Interrupted
from hires_nst.imageio import resize
from hires_nst.run.canvases import enlarged_canvas
from hires_nst.run.content import ContentImage
from hires_nst.run.context import RunContext, open_context
from hires_nst.run.output_size import OutputSize
from hires_nst.stopping import Stop
from hires_nst.transfer.levels import Level, schedule
from tests.conftest import random_canvas

SMALL: dict[str, Any] = {
    "loss": {"style_layers": {"conv1_1": 1.0, "conv2_1": 1.0, "conv3_1": 1.0}, "content_layers": {"conv3_1": 1.0}},
    "levels": {"min_size": 64, "coarse_steps": 3, "rounds": 2, "steps": 2, "border": 16},
    "tiles": {"size": 64, "overlap": 8},
}


def level(height: int, width: int, border: int = 16) -> Level:
    return Level(index=0, height=height, width=width, rounds=1, steps=1, border=border)


@pytest.fixture
def context() -> RunContext:
    return open_context(Config(), OutputSize(width=64, height=64, crop=(0, 0, 64, 64), dpi=None))


def content(pixels: np.ndarray, crop: tuple[int, int, int, int], alpha: np.ndarray | None = None) -> ContentImage:
    return ContentImage(pixels=pixels, alpha=alpha, crop=crop)


def save(path: Path, height: int, width: int, seed: int) -> Path:
    Image.fromarray(np.rint(random_canvas(height, width, seed).pixels * 255).astype(np.uint8)).save(path)
    return path


# What it shows.


def test_it_shows_what_surrounds_a_crop(context: RunContext) -> None:
    pixels = random_canvas(130, 140).pixels
    found = content(pixels, (30, 25, 64, 80)).at(level(80, 64), context).canvas.pixels
    np.testing.assert_array_equal(found, pixels[9:121, 14:110].astype(np.float16))


def test_it_mirrors_the_photograph_where_that_ends(context: RunContext) -> None:
    pixels = random_canvas(80, 64).pixels
    found = content(pixels, (0, 0, 64, 80)).at(level(80, 64), context).canvas.pixels
    expected = np.pad(pixels, ((16, 16), (16, 16), (0, 0)), mode="symmetric")
    np.testing.assert_array_equal(found, expected.astype(np.float16))


@pytest.mark.parametrize("factor", [0.5, 0.75, 2.0, 3.1])
def test_the_picture_in_it_is_the_photograph_at_that_size(factor: float, context: RunContext) -> None:
    pixels = random_canvas(96, 128).pixels
    height, width = round(96 * factor), round(128 * factor)
    found = content(pixels, (0, 0, 128, 96)).at(level(height, width), context).canvas.pixels[16:-16, 16:-16]
    plain = resize.resize_pixels(pixels, (width, height))
    inner = slice(int(3 * max(1, factor)) + 1, -int(3 * max(1, factor)) - 1)  # nearer, the kernel sees the mirror image
    np.testing.assert_allclose(found[inner, inner], plain[inner, inner], atol=3e-4)
    np.testing.assert_allclose(found, plain, atol=0.12)


def test_an_alpha_channel_reaches_into_it(context: RunContext) -> None:
    alpha = np.ones((80, 64), np.float32)
    alpha[:, :8] = 0
    weights = content(random_canvas(80, 64).pixels, (0, 0, 64, 80), alpha).weights_at(level(80, 64), context)
    assert weights is not None
    np.testing.assert_array_equal(weights.read(weights.image), np.pad(alpha, 16, mode="symmetric"))


def test_pixels_are_released_and_the_alpha_channel_is_not(context: RunContext) -> None:
    alpha = np.full((80, 64), 0.5, np.float32)
    image = content(random_canvas(80, 64).pixels, (0, 0, 64, 80), alpha)
    image.release()
    assert image.pixels is None
    assert image.weights_at(level(80, 64), context) is not None


@pytest.mark.parametrize(("before", "after"), [(16, 16), (16, 32), (32, 16), (0, 16), (16, 0), (0, 0)])
@pytest.mark.parametrize("factor", [2, 1.5])
def test_an_enlarged_canvas_keeps_the_picture_in_its_place(
    before: int, after: int, factor: float, context: RunContext
) -> None:
    lower, upper = level(64, 80, before), level(round(64 * factor), round(80 * factor), after)
    canvas = random_canvas(*lower.canvas_size)
    found = enlarged_canvas(canvas, lower=lower, level=upper, context=context)
    assert (found.height, found.width) == upper.canvas_size
    whole = resize.resize_pixels(canvas.pixels[lower.picture.slices()], (upper.width, upper.height))
    np.testing.assert_allclose(found.pixels[upper.picture.slices()][8:-8, 8:-8], whole[8:-8, 8:-8], atol=1e-5)


def test_the_border_is_at_most_an_eighth_of_a_small_level() -> None:
    def borders(height: int, width: int, border: int) -> list[int]:
        return [one.border for one in schedule(height, width, levels=Levels(border=border, min_size=32))]

    assert borders(512, 600, 32) == [0, 0, 16, 32, 32]
    assert borders(512, 600, 20) == [0, 0, 16, 20, 20]
    assert borders(512, 600, 0) == [0] * 5


# A run.


def paint(photo: Path, out: Path, painting: Path, **options: Any) -> list[events.Event]:
    seen: list[events.Event] = []

    def on_event(event: events.Event) -> None:
        seen.append(event)
        if (number := options.get("until")) and sum(isinstance(e, events.CheckpointWritten) for e in seen) == number:
            stop.request("the test")

    stop = Stop()
    config = Config.model_validate({**SMALL, **options.get("config", {})})
    hires_nst.stylize(photo, out, styles=painting, config=config, stop=stop, on_event=on_event)
    return seen


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    return save(tmp_path / "photo.png", 136, 168, 1), tmp_path / "out.png", save(tmp_path / "painting.png", 90, 96, 2)


@pytest.mark.parametrize("coupling", ["balanced", "independent", "exact"])
def test_a_resumed_run_gives_the_same_picture(coupling: str, files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    photo, out, painting = files
    config = {"tiles": {**SMALL["tiles"], "coupling": coupling}, "checkpoint": {"every_seconds": 0.001}}
    expected = tmp_path / "expected.png"
    written = sum(isinstance(e, events.CheckpointWritten) for e in paint(photo, expected, painting, config=config))
    for number in range(1, written - 1, 16):
        with pytest.raises(Interrupted):
            paint(photo, out, painting, config=config, until=number)
        hires_nst.resume(tmp_path / "out.png.run")
        assert np.array_equal(np.asarray(Image.open(out)), np.asarray(Image.open(expected)))
        out.unlink()


def test_tile_borders_are_told_in_pixels_of_the_picture(files: tuple[Path, Path, Path]) -> None:
    photo, out, painting = files
    started = [e for e in paint(photo, out, painting) if isinstance(e, events.RoundStarted)]
    assert [(e.row_borders, e.column_borders) for e in started[1:]] == [
        ((40, 96), (32, 84, 136)),
        ((12, 68, 124), (8, 60, 108, 160)),
    ]
    with Image.open(out) as picture:
        assert picture.size == (168, 136)


def test_without_rounds_the_picture_is_the_photograph(files: tuple[Path, Path, Path]) -> None:
    photo, out, painting = files
    nothing = [{"level": 0, "rounds": 0}, {"level": 1, "rounds": 0}]
    paint(photo, out, painting, config={"levels": {"min_size": 128, "overrides": nothing[:1], "border": 16}})
    assert np.array_equal(np.asarray(Image.open(out)), np.asarray(Image.open(photo)))


def test_the_work_that_is_told_is_the_work_that_is_done(files: tuple[Path, Path, Path]) -> None:
    photo, out, painting = files
    seen = paint(photo, out, painting)
    (started,) = (e for e in seen if isinstance(e, events.RunStarted))
    done = sum(e.pixel_evaluations for e in seen if isinstance(e, events.TileFinished))
    assert done == started.pixel_evaluations


def test_a_level_that_sees_nothing_of_a_photograph_ends(tmp_path: Path) -> None:
    pixels = np.rint(random_canvas(48, 64).pixels * 255).astype(np.uint8)
    alpha = np.zeros((48, 64, 1), np.uint8)
    alpha[36:] = 255  # below the only row of cells of the coarsest level
    photo, out, painting = tmp_path / "photo.png", tmp_path / "out.png", save(tmp_path / "painting.png", 64, 64, 2)
    Image.fromarray(np.concatenate([pixels, alpha], axis=2)).save(photo)
    levels = {"min_size": 24, "border": 0, "coarse_steps": 2, "rounds": 1}
    hires_nst.stylize(photo, out, styles=painting, config=Config.model_validate({"levels": levels}))
    with Image.open(out) as picture:
        assert picture.size == (64, 48)


def test_a_photograph_may_be_painted_without_a_painting(files: tuple[Path, Path, Path]) -> None:
    photo, out, _ = files
    hires_nst.stylize(
        photo, out, config=Config.model_validate({**SMALL, "loss": {**SMALL["loss"], "style_weight": 0.0}})
    )
    with Image.open(out) as picture:
        assert picture.size == (168, 136)
