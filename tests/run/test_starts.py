"""What painting begins with, and at which level: every initial image, and a finished picture carried on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hires_nst
from hires_nst import Config, events
from hires_nst.config import Init, Levels, StyleImage, to_yaml
from hires_nst.errors import ConfigError, Interrupted
from hires_nst.imageio import reading
from hires_nst.run import canvases
from hires_nst.run.context import RunContext, open_context
from hires_nst.run.output_size import OutputSize
from hires_nst.run.progress import RunState
from hires_nst.stopping import Stop
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.levels import Level, first_level, schedule
from hires_nst.transfer.weights import PixelWeights, WeightedImage
from tests.cli.test_commands import run as command
from tests.conftest import random_canvas
from tests.run.test_pipeline import SIZE, config, paint, pixels, save


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def photo(folder: Path) -> Path:
    return save(folder / "photo.png", random_canvas(SIZE[1], SIZE[0], 1))


@pytest.fixture(scope="module")
def painting(folder: Path) -> Path:
    return save(folder / "painting.png", random_canvas(96, 90, 2))


def context_of(settings: Config) -> RunContext:
    return open_context(settings, OutputSize(width=SIZE[0], height=SIZE[1], crop=(0, 0, *SIZE), dpi=None))


def start(kind: str, styles: Sequence[tuple[WeightedImage, float]] = (), *, side: int = 128, **more: Any) -> np.ndarray:
    """The start of a level of side x side pixels."""
    context = context_of(config(init={"kind": kind, **more.pop("init", {})}, **more))
    level, content = Level(index=0, height=side, width=side, rounds=1, steps=1), random_canvas(side, side, 5)
    images = [(image, StyleImage(image=Path("x.png"), weight=weight).paintings[0]) for image, weight in styles]
    return canvases.first_canvas(content, images, level=level, context=context).pixels


def colours(seed: int, height: int = 60, width: int = 70) -> Canvas:
    """An image of correlated colours, far from black and white."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(height, width, 3)) @ rng.normal(size=(3, 3)) * 0.04 + rng.uniform(0.4, 0.6, 3)
    return Canvas.of(mixed.astype(np.float32))


def statistics(pixels: np.ndarray, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of colours."""
    flat = pixels.reshape(-1, 3).astype(np.float64)
    aweights = None if weights is None else weights.reshape(-1)
    return np.average(flat, axis=0, weights=aweights), np.cov(flat.T, aweights=aweights, ddof=0)


def test_grey_is_half_of_white_with_faint_noise() -> None:
    found = start("grey")
    assert found.mean() == pytest.approx(0.5, abs=1e-3)
    assert found.std() == pytest.approx(canvases.GREY_NOISE, rel=0.05)
    np.testing.assert_array_equal(found, start("grey"))
    assert np.any(found != start("grey", runtime={"seed": 1}))


def test_style_noise_has_the_mean_and_covariance_of_the_painting_s_colours() -> None:
    painting = colours(3)
    found = start("style-noise", [(WeightedImage(painting), 1.0)], side=256)
    (mean, covariance), (expected, of_painting) = statistics(found), statistics(painting.pixels)
    np.testing.assert_allclose(mean, expected, atol=0.002)
    np.testing.assert_allclose(covariance, of_painting, atol=0.02 * float(np.trace(of_painting)))
    neighbours = np.corrcoef(found[:, :-1, 0].ravel(), found[:, 1:, 0].ravel())[0, 1]
    assert abs(neighbours) < 0.02, "its pixels are drawn one by one"


def test_style_noise_counts_each_painting_by_its_weight_and_each_pixel_by_its_alpha() -> None:
    one, other = colours(3), colours(4, 50, 40)
    alpha = Canvas.empty(60, 70, channels=1)
    alpha.pixels[:30] = 1
    alpha.pixels[30:40] = 0.25
    one.pixels[40:] = 0.9  # hidden
    (mean, square), (mean_other, square_other) = (
        (m, c + np.outer(m, m)) for m, c in (statistics(one.pixels, alpha.pixels[..., 0]), statistics(other.pixels))
    )
    expected = 0.75 * mean + 0.25 * mean_other
    covariance = 0.75 * square + 0.25 * square_other - np.outer(expected, expected)
    images = [(WeightedImage(one, PixelWeights.of(alpha)), 3.0), (WeightedImage(other), 1.0)]
    found_mean, found_covariance = statistics(start("style-noise", images, side=256))
    np.testing.assert_allclose(found_mean, expected, atol=0.003)
    np.testing.assert_allclose(found_covariance, covariance, atol=0.02 * float(np.trace(covariance)))


def test_a_painting_of_one_colour_gives_that_colour() -> None:
    flat = Canvas.of(np.full((40, 40, 3), (0.2, 0.5, 0.7), np.float32))
    found = start("style-noise", [(WeightedImage(flat), 1.0)])
    np.testing.assert_allclose(found, np.broadcast_to(flat.pixels[0, 0], found.shape), atol=1e-4)


@pytest.mark.parametrize("kind", ["grey", "style-noise"])
def test_noise_is_mixed_into_other_starts_by_its_share(kind: str) -> None:
    styles = [(WeightedImage(colours(3)), 1.0)]
    noise = start("noise")
    mixed = start(kind, styles, init={"noise": 1.0})
    np.testing.assert_array_equal(mixed, noise)
    half = start(kind, styles, init={"noise": 0.5})
    assert np.abs(half - start(kind, styles)).mean() < np.abs(noise - start(kind, styles)).mean()


def test_style_noise_needs_a_painting() -> None:
    nothing: dict[str, Any] = {"loss": {"style_weight": 0.0}}
    assert not Config.model_validate(nothing).needs_style
    assert Config.model_validate({**nothing, "init": {"kind": "style-noise"}}).needs_style


# The level that painting begins at.

LEVELS = schedule(667, 1000, levels=Levels(min_size=100))
"""167, 333, and 667 pixels high, 250, 500, and 1000 wide."""


@pytest.mark.parametrize(
    ("file_size", "first"),
    [
        ((500, 333), 2), ((500, 334), 2), ((499, 333), 2), ((501, 334), 2), ((400, 267), 1), ((600, 400), 2),
        ((250, 167), 1), ((100, 67), 0), ((1000, 667), 2), ((3000, 2000), 2), ((500, 500), 2), ((300, 2000), 1),
    ],
)  # fmt: skip
def test_a_file_is_the_picture_of_the_level_below_that_at_which_painting_begins(
    file_size: tuple[int, int], first: int
) -> None:
    assert [level.width for level in LEVELS] == [250, 500, 1000]
    init = Init(kind="file", file=Path("start.png"))
    assert first_level(LEVELS, init, file_size=file_size) == first


def test_the_level_can_be_chosen() -> None:
    file = {"kind": "file", "file": "start.png"}
    for level, expected in (("coarsest", 0), (0, 0), (1, 1), (2, 2)):
        assert first_level(LEVELS, Init.model_validate({**file, "level": level}), file_size=(500, 333)) == expected
    assert first_level(LEVELS, Init(level=1), file_size=None) == 1
    assert first_level(LEVELS, Init(), file_size=None) == 0
    with pytest.raises(ConfigError, match=r"init.level is 3, but this size has the levels 0 to 2; choose one of them"):
        first_level(LEVELS, Init(level=3), file_size=None)


def test_skipped_levels_have_no_rounds_and_the_others_are_as_always() -> None:
    levels = Levels(min_size=100)
    for plain, level in zip(LEVELS, schedule(667, 1000, levels=levels, first=1), strict=True):
        assert level.skipped == (level.index < 1)
        assert level.canvas_size == plain.canvas_size
        assert level.evaluations == (0 if level.skipped else plain.evaluations)


# A finished picture carried on.


@pytest.fixture(scope="module")
def small(photo: Path, painting: Path, folder: Path) -> Path:
    """The result of a run of half the size."""
    out = folder / "small.png"
    paint(photo, out, painting, config(output={"long_edge": SIZE[0] // 2, "bit_depth": 16}))
    return out


def carried(small: Path, *, level: str | int = "auto", **sections: Any) -> Config:
    return config(init={"kind": "file", "file": str(small), "level": level}, **sections)


def plan_of(photo: Path, painting: Path, settings: Config) -> hires_nst.Plan:
    return hires_nst.plan(photo, styles=painting, config=settings, measure=False)


def test_a_smaller_run_is_carried_on_at_the_level_above_its_own(
    photo: Path, painting: Path, small: Path, tmp_path: Path
) -> None:
    whole, larger = tmp_path / "whole.png", tmp_path / "larger.png"
    paint(photo, whole, painting, config(output={"bit_depth": 16}))
    seen = paint(photo, larger, painting, carried(small, output={"bit_depth": 16}))
    assert [level.index for level in seen if isinstance(level, events.LevelStarted)] == [1]
    state = RunState()
    for event in seen:
        state.update(event, 0.0)
    assert [level.number for level in state.history.levels] == [2]
    assert state.done == state.total
    own, other = plan_of(photo, painting, config()).levels, plan_of(photo, painting, carried(small)).levels
    assert [(a.width, a.height) for a in own] == [(a.width, a.height) for a in other] == [(40, 32), SIZE]
    assert [level.skipped for level in other] == [True, False]
    assert other[1] == own[1]
    # 16 bits are rounded, and nothing else differs without a border.
    np.testing.assert_allclose(pixels(larger), pixels(whole), atol=0.02)
    assert np.abs(pixels(larger) - pixels(whole)).mean() < 1e-3
    assert np.abs(pixels(photo) - pixels(whole)).mean() > 0.02


def test_a_file_is_the_picture_of_a_level_of_its_own_size(small: Path) -> None:
    assert reading.read_header(small, max_megapixels=1).size == (40, 32)
    settings = config(init={"kind": "file", "file": str(small)}, levels={"border": 16})
    level = Level(index=1, height=64, width=80, rounds=1, steps=1, border=16)
    lower = canvases.level_of_file(level, context_of(settings))
    assert lower is not None
    assert (lower.index, lower.height, lower.width, lower.border) == (0, 32, 40, 16)
    for other in (replace(level, height=32, width=40), replace(level, index=0)):
        assert canvases.level_of_file(other, context_of(settings)) is None


@pytest.mark.parametrize("level", ["coarsest", 0])
def test_a_file_may_begin_the_coarsest_level(
    level: str | int, photo: Path, painting: Path, small: Path, tmp_path: Path
) -> None:
    seen = paint(photo, tmp_path / "out.png", painting, carried(small, level=level))
    assert [event.index for event in seen if isinstance(event, events.LevelStarted)] == [0, 1]


def test_other_starts_may_begin_at_a_later_level(photo: Path, painting: Path, tmp_path: Path) -> None:
    seen = paint(photo, tmp_path / "out.png", painting, config(init={"level": 1}))
    assert [event.index for event in seen if isinstance(event, events.LevelStarted)] == [1]
    with pytest.raises(ConfigError, match=r"init.level is 2, but this size has the levels 0 to 1"):
        paint(photo, tmp_path / "other.png", painting, config(init={"level": 2}))
    assert not (tmp_path / "other.png").exists() and not (tmp_path / "other.png.run").exists()


def test_the_plan_and_the_run_say_where_painting_begins(
    photo: Path, painting: Path, small: Path, tmp_path: Path
) -> None:
    sentence = f"painting begins at level 2 of 2, 80 x 64 px, from {small}; --init-level coarsest begins at the first"
    assert sentence in plan_of(photo, painting, carried(small)).notes
    assert not [note for note in plan_of(photo, painting, config()).notes if "begins" in note]
    seen = paint(photo, tmp_path / "out.png", painting, carried(small))
    assert events.Notice(sentence) in seen
    started = next(event for event in seen if isinstance(event, events.RunStarted))
    assert started.pixel_evaluations == sum(w * h * rounds * steps for w, h, rounds, steps, _ in started.levels)
    assert started.levels[0][2] == 0


def stopped(photo: Path, out: Path, painting: Path, settings: Config, *, after: int) -> None:
    """A run that is stopped after so many checkpoints."""
    stop, written = Stop(), list[events.Event]()

    def on_event(event: events.Event) -> None:
        if isinstance(event, events.CheckpointWritten):
            written.append(event)
            if len(written) == after:
                stop.request("the test")

    with pytest.raises(Interrupted):
        hires_nst.stylize(photo, out, styles=painting, config=settings, stop=stop, on_event=on_event)


def test_the_table_of_the_plan_shows_what_is_skipped(photo: Path, painting: Path, small: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(to_yaml(config()), encoding="utf-8")
    words: list[str | Path] = ["plan", photo, painting, "--config", tmp_path / "c.yaml", "--no-measure"]
    assert "skipped" not in command(*words).stdout
    carried_on = command(*words, "--init", small)
    assert carried_on.exit_code == 0, carried_on.stderr
    (row,) = [line for line in carried_on.stdout.splitlines() if "skipped" in line]
    assert "40 x 32" in row
    assert "painting begins at level 2 of 2" in carried_on.stdout
    assert "skipped" not in command(*words, "--init", small, "--init-level", "coarsest").stdout
    wrong = command(*words, "--init", small, "--init-level", "3")
    assert wrong.exit_code == 2 and "init.level is 3, but this size has the levels 0 to 1" in wrong.stderr


@pytest.mark.parametrize("after", [1, 2, 4])
def test_a_run_that_begins_later_is_resumed(
    after: int, photo: Path, painting: Path, small: Path, tmp_path: Path
) -> None:
    expected, out = tmp_path / "expected.png", tmp_path / "out.png"
    paint(photo, expected, painting, carried(small))
    stopped(photo, out, painting, carried(small), after=after)
    seen = paint(photo, out, painting, carried(small))
    resumed = next(event for event in seen if isinstance(event, events.RunResumed))
    assert resumed.level == 1
    assert out.read_bytes() == expected.read_bytes()


def test_another_file_is_another_run(photo: Path, painting: Path, small: Path, tmp_path: Path) -> None:
    changed = tmp_path / "start.png"
    changed.write_bytes(small.read_bytes())
    settings, out = carried(changed), tmp_path / "out.png"
    stopped(photo, out, painting, settings, after=1)
    save(changed, random_canvas(32, 40, 8))
    with pytest.raises(hires_nst.HiresNstError, match="initial image"):
        hires_nst.stylize(photo, out, styles=painting, config=settings)
