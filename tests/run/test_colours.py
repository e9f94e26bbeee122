"""Whose colours a picture has, in whole runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

import hires_nst
from hires_nst import Config, events
from hires_nst.config import ColorMode, InitKind, Painting, StyleImage
from hires_nst.errors import ConfigError, InputError, Interrupted
from hires_nst.imageio.oklab import grey, oklab
from hires_nst.imageio.picture import Floats
from hires_nst.imageio.reading import read_picture
from hires_nst.imageio.recolour import ColourMoments, colour_moments, mean_moments
from hires_nst.imageio.resize import resize_pixels
from hires_nst.run import painter, restore, single_run
from hires_nst.run.cache import Cache
from hires_nst.run.canvases import read_styles
from hires_nst.run.colours import recolour_inputs
from hires_nst.run.content import read_content
from hires_nst.run.context import open_context
from hires_nst.run.output_size import output_size_of
from hires_nst.stopping import Stop
from hires_nst.transfer import refine
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.rounds import RoundResult
from hires_nst.transfer.weights import WeightedImage
from tests.cli.test_commands import run as command
from tests.conftest import random_canvas
from tests.run.test_pipeline import config, pixels, save
from tests.run.test_transparency import cut_out

MODES = get_args(ColorMode)
CHANGING = [mode for mode in MODES if mode != "painting"]
ROOT = Path(__file__).parents[2]
NO_ROUNDS = {"min_size": 512, "border": 0, "overrides": [{"level": 0, "rounds": 0}]}
"""One level without a round: the picture is what the run begins with."""


def pale(seed: int, height: int, width: int) -> Canvas:
    """Smooth, so that no colour is clipped where one is matched to another."""
    return Canvas.of(np.asarray(0.35 + 0.3 * random_canvas(height, width, seed).pixels, np.float32))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for name, size, seed in (("photo", (64, 80), 1), ("other", (64, 80), 7), ("a", (96, 90), 2), ("b", (50, 70), 3)):
        save(folder / f"{name}.png", pale(seed, *size))
    return folder


def settings(mode: str = "painting", strength: float = 1.0, **sections: Any) -> Config:
    sections.setdefault("output", {"bit_depth": 16})
    return config(colors={"mode": mode, "strength": strength}, **sections)


def paint(folder: Path, given: Config, *, photo: Any = "photo.png", styles: Any = ("a.png",), **options: Any) -> Floats:
    """The picture, (H, W, 3 | 4), in [0, 1]."""
    photo = folder / photo if isinstance(photo, str) else photo
    styles = [folder / style if isinstance(style, str) else style for style in styles]
    image = hires_nst.stylize(photo, styles=styles, config=given, **options).image
    assert image is not None
    return np.asarray(image / np.iinfo(image.dtype).max, np.float32)


def hues(picture: Floats) -> tuple[Floats, Floats]:
    """Hue and chroma."""
    lab = oklab(picture)
    return np.arctan2(lab[..., 2], lab[..., 1]), np.hypot(lab[..., 1], lab[..., 2])


def check_hues(found: Floats, expected: Floats) -> None:
    (first, chroma), (second, other) = hues(found), hues(expected)
    seen = (chroma > 0.02) & (other > 0.02)
    assert seen.mean() > 0.3
    assert np.abs((first - second + np.pi) % (2 * np.pi) - np.pi)[seen].max() < 0.05


def check_moments(found: ColourMoments, expected: ColourMoments, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(found.mean, expected.mean, atol=atol)
    np.testing.assert_allclose(found.covariance, expected.covariance, atol=atol)


# Each mode.


@pytest.fixture(scope="module")
def plain(folder: Path) -> Floats:
    return paint(folder, settings())


@pytest.mark.parametrize("mode", CHANGING)
def test_a_strength_of_0_is_the_painting_to_the_bit(mode: str, folder: Path, plain: Floats) -> None:
    np.testing.assert_array_equal(paint(folder, settings(mode, 0.0)), plain)


@pytest.mark.parametrize("mode", CHANGING)
def test_a_strength_in_between_lies_between(mode: str, folder: Path, plain: Floats) -> None:
    whole = np.abs(paint(folder, settings(mode)) - plain).mean()
    little = np.abs(paint(folder, settings(mode, 0.02)) - plain).mean()
    assert 0 < little < 0.5 * whole


def inputs(
    folder: Path, given: Config, *, photo: str = "photo.png", styles: Any = ("a.png",)
) -> tuple[Floats, list[tuple[WeightedImage, Painting]]]:
    """The painted part of the photograph, and the paintings, recoloured."""
    given = given.model_copy(update={"styles": tuple(StyleImage(image=folder / name) for name in styles)})
    size = output_size_of((80, 64), given, content="photo")
    context = open_context(given, size)
    content, found = read_content(folder / photo, size, context=context), read_styles(context)
    after = recolour_inputs(content, found, context=context)
    assert (after.style_key != context.style_key) == (given.colors.mode in ("match", "luminance"))
    return content.painted[0], found


def test_match_gives_each_painting_the_photograph_s_moments(folder: Path) -> None:
    photograph, styles = inputs(folder, settings("match"), styles=("a.png", "b.png"))
    np.testing.assert_array_equal(photograph, pixels(folder / "photo.png"))
    for image, _ in styles:
        check_moments(colour_moments(image.canvas.pixels), colour_moments(photograph))


def test_moments_are_those_of_the_part_that_is_painted(folder: Path) -> None:
    paper = {"print": {"paper": "40x80mm", "dpi": 20}}
    photograph, styles = inputs(folder, settings("match", output=paper))
    assert photograph.shape == (39, 80, 3)
    check_moments(colour_moments(styles[0][0].canvas.pixels), colour_moments(photograph))
    assert np.abs(colour_moments(photograph).mean - pixels(folder / "photo.png").mean((0, 1))).max() > 1e-3


def test_transparent_parts_do_not_count(folder: Path, tmp_path: Path) -> None:
    for name, seed in (("photo", 1), ("painting", 2)):
        samples = cut_out(seed).copy()
        samples[..., :3] = 90 + samples[..., :3] // 4
        Image.fromarray(samples).save(tmp_path / f"{name}.png")
    photo, painting = (read_picture(tmp_path / f"{name}.png", max_megapixels=1) for name in ("photo", "painting"))
    _, styles = inputs(tmp_path, settings("match"), styles=("painting.png",))
    found = styles[0][0].canvas.pixels
    check_moments(colour_moments(found, painting.alpha), colour_moments(photo.pixels, photo.alpha))
    assert np.abs(colour_moments(found).mean - colour_moments(photo.pixels).mean).max() > 1e-3


def test_luminance_gives_the_painting_s_lightness_mean_and_deviation(folder: Path) -> None:
    photograph, styles = inputs(folder, settings("luminance"))
    painting = styles[0][0].canvas.pixels
    for image in (photograph, painting):
        np.testing.assert_array_equal(image, image[..., :1].repeat(3, -1))
    expected = grey(pixels(folder / "photo.png"))
    np.testing.assert_allclose(photograph, expected, atol=1e-6)
    assert painting.mean() == pytest.approx(expected.mean(), abs=1e-4)
    assert painting.std() == pytest.approx(expected.std(), abs=1e-4)


def test_pre_match_gives_the_photograph_the_moments_of_the_paintings_together(folder: Path) -> None:
    photograph, styles = inputs(folder, settings("pre-match"), styles=("a.png", "b.png"))
    paintings = [pixels(folder / name) for name in ("a.png", "b.png")]
    for (image, _), painting in zip(styles, paintings, strict=True):
        np.testing.assert_array_equal(image.canvas.pixels, painting)
    check_moments(colour_moments(photograph), mean_moments([colour_moments(one) for one in paintings], [1, 1]))


def test_pre_match_needs_a_painting(folder: Path) -> None:
    bare = {"style_weight": 0.0}
    with pytest.raises(ConfigError, match="no painting given"):
        paint(folder, settings("pre-match", loss=bare), styles=())
    for mode in MODES:
        paint(folder, settings(mode, 0.0 if mode == "pre-match" else 1.0, loss=bare), styles=())


def test_photo_keeps_the_lightness_of_the_painting_and_the_hues_of_the_photograph(folder: Path, plain: Floats) -> None:
    found = paint(folder, settings("photo"))
    np.testing.assert_allclose(oklab(found)[..., 0], oklab(plain)[..., 0], atol=2e-3)
    check_hues(found, pixels(folder / "photo.png"))
    assert np.abs(found - plain).mean() > 0.01


@pytest.mark.parametrize("mode", ["photo", "luminance"])
def test_without_rounds_the_photograph_comes_back(mode: str, folder: Path) -> None:
    photograph = pixels(folder / "photo.png")
    np.testing.assert_allclose(paint(folder, settings(mode, levels=NO_ROUNDS)), photograph, atol=2e-3)
    larger = paint(folder, settings(mode, levels=NO_ROUNDS, output={"long_edge": 200, "bit_depth": 16}))
    np.testing.assert_allclose(larger, resize_pixels(photograph, (200, 160)), atol=6e-3)


def test_restored_colours_are_those_of_the_crop(folder: Path) -> None:
    paper = {"print": {"paper": "40x80mm", "dpi": 64}, "bit_depth": 16}
    plain, found = (paint(folder, settings(mode, levels=NO_ROUNDS, output=paper)) for mode in ("painting", "photo"))
    np.testing.assert_allclose(found, plain, atol=4e-3)


@pytest.mark.parametrize("coupling", ["balanced", "independent", "exact"])
@pytest.mark.parametrize("kind", get_args(InitKind))
def test_with_luminance_the_image_is_grey_throughout(
    kind: str, coupling: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: list[Floats] = []
    plain = refine.refine_round

    def refine_round(*arguments: Any, **options: Any) -> RoundResult:
        result = plain(*arguments, **options)
        rounds.append(result.canvas.pixels.copy())
        return result

    monkeypatch.setattr(painter, "refine_round", refine_round)
    init = {"kind": kind, **({"file": str(folder / "other.png"), "level": "coarsest"} if kind == "file" else {})}
    found = paint(folder, settings("luminance", init=init, tiles={"coupling": coupling}))
    assert len(rounds) > 2
    for image in rounds:
        np.testing.assert_array_equal(image, image[..., :1].repeat(3, -1))
    check_hues(found, pixels(folder / "photo.png"))


# With everything else.


@pytest.mark.parametrize("mode", CHANGING)
@pytest.mark.parametrize(("kind", "number"), [(events.StepFinished, 6), (events.LevelFinished, 2)])
def test_a_resumed_run_gives_the_same_bytes(
    mode: str, kind: type[Any], number: int, folder: Path, tmp_path: Path
) -> None:
    given = settings(mode, 0.8)
    whole, out = tmp_path / "whole.png", tmp_path / "out.png"
    hires_nst.stylize(folder / "photo.png", whole, styles=folder / "a.png", config=given)
    stop, seen = Stop(), list[Any]()

    def on_event(event: events.Event) -> None:
        seen.append(event)
        if sum(isinstance(one, kind) for one in seen) == number:
            stop.request("the test")

    with pytest.raises(Interrupted):
        hires_nst.stylize(
            folder / "photo.png", out, styles=folder / "a.png", config=given, stop=stop, on_event=on_event
        )
    with pytest.raises(ConfigError, match=r"colors.strength \(0.8, now 0.7\)"):
        hires_nst.stylize(folder / "photo.png", out, styles=folder / "a.png", config=settings(mode, 0.7))
    hires_nst.resume(tmp_path / "out.png.run")
    assert out.read_bytes() == whole.read_bytes()


def test_a_run_may_stop_while_colours_are_put_back(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, out, stop = paint(folder, settings("photo")), tmp_path / "out.png", Stop()
    plain = restore.restore

    def stopped(*arguments: Any, **options: Any) -> None:
        stop.request("the test")
        plain(*arguments, **options)

    monkeypatch.setattr(single_run, "restore", stopped)
    with pytest.raises(Interrupted):
        hires_nst.stylize(folder / "photo.png", out, styles=folder / "a.png", config=settings("photo"), stop=stop)
    monkeypatch.undo()
    hires_nst.resume(tmp_path / "out.png.run")
    np.testing.assert_allclose(pixels(out), expected, atol=1e-6)


def test_a_photograph_that_has_changed_meanwhile_is_refused(folder: Path, tmp_path: Path) -> None:
    photo, out = tmp_path / "photo.png", tmp_path / "out.png"
    before = (folder / "photo.png").read_bytes()
    photo.write_bytes(before)

    def on_event(event: events.Event) -> None:
        if isinstance(event, events.LevelFinished):
            photo.write_bytes((folder / "other.png").read_bytes())

    with pytest.raises(InputError, match=r"photo.png has changed since the run in .* began; put the old file back"):
        hires_nst.stylize(photo, out, styles=folder / "a.png", config=settings("photo"), on_event=on_event)
    photo.write_bytes(before)
    hires_nst.resume(tmp_path / "out.png.run")
    np.testing.assert_allclose(pixels(out), paint(folder, settings("photo")), atol=1e-6)


@pytest.mark.parametrize("mode", ["match", "luminance"])
def test_pictures_that_share_a_cache_are_those_without(mode: str, folder: Path) -> None:
    cache = Cache()
    for photo in ("photo.png", "other.png"):
        shared = paint(folder, settings(mode), photo=photo, cache=cache)
        np.testing.assert_array_equal(shared, paint(folder, settings(mode), photo=photo))


@pytest.mark.parametrize("mode", MODES)
def test_hidden_colours_change_nothing(mode: str, folder: Path) -> None:
    first, second = (
        paint(folder, settings(mode), photo=cut_out(1, hidden=hidden), styles=[cut_out(2, hidden=hidden)])
        for hidden in (1, 2)
    )
    assert first.shape[2] == 4
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("mode", CHANGING)
def test_canvases_on_disk_and_shares_of_detail(mode: str, folder: Path) -> None:
    pictures = {
        (place, detail): paint(folder, settings(mode, runtime={"canvas": place}, levels={"detail": detail}))
        for place, detail in (("memory", "auto"), ("disk", "auto"), ("memory", 0.5))
    }
    np.testing.assert_array_equal(pictures["disk", "auto"], pictures["memory", "auto"])
    assert np.isfinite(pictures["memory", 0.5]).all()


def test_a_photograph_without_colours_and_a_flat_painting(folder: Path, tmp_path: Path) -> None:
    flat, bare = np.full((64, 64, 3), (200, 30, 30), np.uint8), np.full((64, 80, 3), 128, np.uint8)
    for mode in MODES:
        for photo, style in (("photo.png", flat), (bare, "a.png"), (bare, flat)):
            assert np.isfinite(paint(folder, settings(mode), photo=photo, styles=[style])).all()


@pytest.mark.parametrize("mode", MODES)
def test_a_plan_of_it(mode: str, folder: Path) -> None:
    plan = hires_nst.plan(folder / "photo.png", styles=folder / "a.png", config=settings(mode), measure=False)
    assert (plan.width, plan.height) == (80, 64)


# The command line, and the recipes of the documentation.


def test_both_spellings(folder: Path, tmp_path: Path) -> None:
    for words in (["--colors", "match", "--color-strength", "0.5"], ["--colours=match", "--color-strength=0.5"]):
        done = command("config", "show", *words)
        assert done.exit_code == 0
        assert "mode: match" in done.stdout and "strength: 0.5" in done.stdout


def recipes() -> Iterator[str]:
    text = (ROOT / "docs" / "choosing.md").read_text(encoding="utf-8")
    for block in re.findall(r"```sh\n(.*?)```", text.partition("## Colours")[2].partition("\n## ")[0], re.DOTALL):
        yield from (line for line in block.replace("\\\n", " ").splitlines() if line.strip())


def recipe(folder: Path, tmp_path: Path, word: str, *more: str) -> Floats:
    (line,) = (line for line in recipes() if word in line)
    words = shlex.split(line)
    places = {"photo.jpg": folder / "photo.png", "painting.jpg": folder / "a.png", "autumn.jpg": folder / "b.png"}
    out = words[words.index("-o") + 1]
    done = command(*(str(places.get(w, tmp_path / w if w == out else w)) for w in words[1:]), *more)
    assert done.exit_code == 0, done.stderr
    return pixels(tmp_path / out)


def test_the_recipe_for_colours_only(folder: Path, tmp_path: Path) -> None:
    found = recipe(folder, tmp_path, "recoloured", "--size", "160")
    assert found.shape == (128, 160, 3)
    check_moments(colour_moments(found), colour_moments(pixels(folder / "a.png")), atol=5e-3)
    photograph = resize_pixels(pixels(folder / "photo.png"), (160, 128))
    outlines = [np.diff(grey(image)[..., 0], axis=1).ravel() for image in (found, photograph)]
    assert np.asarray(np.corrcoef(outlines))[0, 1] > 0.8, "nothing was painted"


def test_the_recipe_for_another_season(folder: Path, tmp_path: Path) -> None:
    quick = ["--set", "levels.coarse_steps=2", "--set", "levels.rounds=1", "--set", "levels.min_size=32"]
    assert recipe(folder, tmp_path, "autumn", *quick).shape == (64, 80, 3)
