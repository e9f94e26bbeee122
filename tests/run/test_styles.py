"""Styles of several pictures, scales and orientations: equivalences, and runs that are resumed or shared."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hires_nst
from hires_nst import events
from hires_nst.config import Config
from hires_nst.errors import InputError, Interrupted
from hires_nst.run import canvases, detail
from hires_nst.run.context import open_context
from hires_nst.run.memory import canvas_bytes
from hires_nst.run.output_size import OutputSize
from hires_nst.run.record import read_record
from hires_nst.stopping import Stop
from hires_nst.transfer.levels import Level, schedule
from tests.conftest import random_canvas
from tests.run.test_pipeline import SIZE, config, pixels, save


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`photo.png`; the folders `one` with a painting, `twins` with it twice, and `two` with it and another one."""
    folder = tmp_path_factory.mktemp("inputs")
    save(folder / "photo.png", random_canvas(SIZE[1], SIZE[0], 1))
    for name in ("one/a.png", "twins/a.png", "twins/b.png", "two/a.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        save(folder / name, random_canvas(96, 90, 2))
    save(folder / "two" / "b.png", random_canvas(70, 80, 3))
    return folder


def with_style(*styles: dict[str, Any], **sections: Any) -> Config:
    return Config.model_validate({**config(**sections).model_dump(mode="json"), "styles": styles})


def painted(inputs: Path, out: Path, *styles: dict[str, Any], **sections: Any) -> np.ndarray:
    hires_nst.stylize(inputs / "photo.png", out, config=with_style(*styles, **sections), overwrite=True)
    return pixels(out)


def test_a_folder_of_one_picture_is_that_picture(inputs: Path, tmp_path: Path) -> None:
    single = painted(inputs, tmp_path / "single.png", {"image": str(inputs / "one" / "a.png")})
    folder = painted(inputs, tmp_path / "folder.png", {"folder": str(inputs / "one")})
    assert np.array_equal(folder, single)


def test_two_equal_pictures_are_one(inputs: Path, tmp_path: Path) -> None:
    single = painted(inputs, tmp_path / "single.png", {"image": str(inputs / "one" / "a.png")})
    twins = painted(inputs, tmp_path / "twins.png", {"folder": str(inputs / "twins")})
    assert np.abs(twins - single).max() <= 1 / 255


def test_the_pictures_of_a_folder_are_paintings_that_share_its_weight(inputs: Path, tmp_path: Path) -> None:
    a, b = ({"image": str(inputs / "two" / name), "weight": 0.5} for name in ("a.png", "b.png"))
    single = painted(inputs, tmp_path / "a.png", a)
    folder = painted(inputs, tmp_path / "folder.png", {"folder": str(inputs / "two")})
    assert np.array_equal(folder, painted(inputs, tmp_path / "both.png", a, b))
    assert not np.array_equal(folder, single)


def test_one_scale_in_a_list_is_that_scale(inputs: Path, tmp_path: Path) -> None:
    painting = {"image": str(inputs / "one" / "a.png")}
    single = painted(inputs, tmp_path / "single.png", {**painting, "scale": 0.7})
    assert np.array_equal(painted(inputs, tmp_path / "list.png", {**painting, "scale": [0.7]}), single)
    assert np.array_equal(painted(inputs, tmp_path / "size.png", {**painting, "size": 56}), single)
    twice = painted(inputs, tmp_path / "twice.png", {**painting, "scale": [0.7, 0.7]})
    assert np.abs(twice - single).max() <= 1 / 255
    assert not np.array_equal(painted(inputs, tmp_path / "two.png", {**painting, "scale": [0.7, 1]}), single)


def symmetric(path: Path) -> Path:
    """A square painting that is the same in each rotation, and mirrored."""
    samples = random_canvas(64, 64, 4).pixels
    samples = np.mean([np.rot90(turned, k) for turned in (samples, samples[:, ::-1]) for k in range(4)], axis=0)
    Image.fromarray(np.rint(samples * 255).astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize(
    "turned", [{"rotations": [90, 180, 270]}, {"mirror": True}, {"rotations": [90], "mirror": True}]
)
@pytest.mark.parametrize("loss", ["mean-covariance", "neighbours"])
def test_rotations_of_a_symmetric_painting_change_nothing(
    inputs: Path, tmp_path: Path, turned: dict[str, Any], loss: str
) -> None:
    painting = {"image": str(symmetric(tmp_path / "symmetric.png"))}
    layers = {"style": loss, **({"style_layers": {"conv3_1": 1.0}} if loss == "neighbours" else {})}
    upright = painted(inputs, tmp_path / "upright.png", painting, loss=layers)
    found = painted(inputs, tmp_path / "turned.png", {**painting, **turned}, loss=layers)
    assert np.abs(found - upright).mean() < 0.2 / 255


def test_rotations_of_another_painting_change_the_picture(inputs: Path, tmp_path: Path) -> None:
    painting = {"image": str(inputs / "one" / "a.png")}
    upright = painted(inputs, tmp_path / "upright.png", painting)
    pictures = [upright]
    turns: list[dict[str, Any]] = [{"rotations": [90]}, {"rotations": [180]}, {"mirror": True}]
    for number, turned in enumerate(turns):
        pictures.append(painted(inputs, tmp_path / f"{number}.png", {**painting, **turned}))
    assert len({picture.tobytes() for picture in pictures}) == 4


def context_of(settings: Config, width: int, height: int) -> Any:
    return open_context(settings, OutputSize(width=width, height=height, crop=(0, 0, width, height), dpi=None))


def test_the_images_of_a_painting_and_their_shares(inputs: Path) -> None:
    style = {"image": str(inputs / "two" / "b.png"), "weight": 3, "scale": [0.5, 1], "rotations": [90], "mirror": True}
    context = context_of(with_style(style), 40, 40)
    ((source, painting),) = canvases.read_styles(context)
    level = Level(index=0, height=40, width=40, rounds=1, steps=1)
    found = canvases.style_images(source, painting, level=level, context=context)
    assert [image.size for image, _ in found] == [(18, 20), (20, 18)] * 2 + [(35, 40), (40, 35)] * 2
    assert [share for _, share in found] == [3 / 8] * 8
    upright, rotated, mirrored, both = (image.canvas.pixels for image, _ in found[4:])
    assert np.array_equal(rotated, np.rot90(upright))
    assert np.array_equal(mirrored, upright[:, ::-1])
    assert np.array_equal(both, np.rot90(mirrored))


def test_what_is_transparent_turns_with_the_painting(tmp_path: Path) -> None:
    samples = np.full((48, 32, 4), 255, np.uint8)
    samples[:16, :, 3] = 0
    Image.fromarray(samples).save(tmp_path / "a.png")
    context = context_of(with_style({"image": str(tmp_path / "a.png"), "rotations": [90]}), 48, 48)
    ((source, painting),) = canvases.read_styles(context)
    level = Level(index=0, height=48, width=48, rounds=1, steps=1)
    (upright, _), (rotated, _) = canvases.style_images(source, painting, level=level, context=context)
    assert upright.weights is not None and rotated.weights is not None
    assert np.array_equal(
        rotated.weights.read(rotated.canvas.image), np.rot90(upright.weights.read(upright.canvas.image))
    )
    assert rotated.weights.total() == upright.weights.total() == 32 * 32


def test_a_size_in_pixels_is_that_of_the_finest_level(inputs: Path) -> None:
    context = context_of(with_style({"image": str(inputs / "one" / "a.png"), "size": 60}), 200, 100)
    ((source, painting),) = canvases.read_styles(context)
    edges = [
        max(canvases.style_images(source, painting, level=level, context=context)[0][0].size)
        for level in schedule(100, 200, levels=Config().levels.model_copy(update={"min_size": 25}))
    ]
    assert edges == [15, 30, 60]


def test_the_memory_of_all_images_is_planned(inputs: Path) -> None:
    level = Level(index=0, height=40, width=40, rounds=1, steps=1)
    painting = {"image": str(inputs / "two" / "b.png")}

    def planned(**style: Any) -> int:
        settings = with_style({**painting, **style}, levels={"detail": 0.0})
        return canvas_bytes(settings, level, styles=[(70, 80)])

    upright = 35 * 40 * 12
    assert planned(rotations=[90, 180, 270], mirror=True) - planned() == 7 * upright
    assert planned(scale=[0.5, 1]) - planned() == 18 * 20 * 12


def test_automatic_detail_is_the_mean_over_scales(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    plain = canvases.style_image

    def style_image(source: Any, scale: float, **others: Any) -> Any:
        asked.append(scale)
        return plain(source, scale, **others)

    monkeypatch.setattr(detail, "style_image", style_image)
    style = {"image": str(inputs / "one" / "a.png"), "scale": [0.5, 1], "rotations": [90]}
    hires_nst.stylize(inputs / "photo.png", config=with_style(style))
    assert asked == [0.5, 1]


@pytest.mark.parametrize(
    ("style", "option"), [({"scale": [0.5, 2]}, "--style-scale"), ({"size": 160}, "--style-size"), ({"size": 90}, "")]
)
def test_a_painting_that_is_too_small_for_its_scale(inputs: Path, style: dict[str, Any], option: str) -> None:
    settings = with_style({"image": str(inputs / "one" / "a.png"), **style})
    plan = hires_nst.plan(inputs / "photo.png", config=settings, measure=False)
    told = [note for note in plan.notes if "is not enlarged" in note]
    assert [option in note for note in told] == ([True] if option else [])


def test_statistics_are_shared_by_equal_styles_only(inputs: Path) -> None:
    painting = {"image": str(inputs / "one" / "a.png")}
    twin = {"image": str(inputs / "twins" / "a.png")}
    others: list[dict[str, Any]] = [
        {}, {"scale": 0.5}, {"scale": [0.5, 1]}, {"rotations": [90]}, {"rotations": [180]}, {"mirror": True},
        {"rotations": [90], "mirror": True}, {"weight": 2.0},
    ]  # fmt: skip
    keys = [context_of(with_style({**painting, **other}), 80, 64).style_key for other in others]
    assert len({*keys}) == len(others)
    assert context_of(with_style(twin), 80, 64).style_key == keys[0]
    assert context_of(with_style({**painting, "scale": [1.0]}), 80, 64).style_key == keys[0]
    assert context_of(with_style({**painting, "size": 40}), 80, 64).style_key == keys[1]
    two, one = (
        context_of(with_style({"folder": str(inputs / name), "images": [*map(str, files)]}), 80, 64).style_key
        for name, files in (("two", sorted((inputs / "two").iterdir())), ("one", [inputs / "one" / "a.png"]))
    )
    assert one == keys[0] != two


# Runs that are interrupted.


@pytest.fixture
def copied(inputs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(inputs, tmp_path / "in"))


def interrupted(inputs: Path, out: Path, settings: Config) -> None:
    stop, rounds = Stop(), [0]

    def on_event(event: events.Event) -> None:
        rounds[0] += isinstance(event, events.RoundFinished)
        if rounds[0] == 2:
            stop.request("the test")

    with pytest.raises(Interrupted):
        hires_nst.stylize(inputs / "photo.png", out, config=settings, stop=stop, on_event=on_event)


def test_a_run_goes_on_with_the_pictures_that_the_folder_had(copied: Path, tmp_path: Path) -> None:
    settings, out = (
        with_style({"folder": str(copied / "two"), "rotations": [90], "scale": [0.5, 1]}),
        tmp_path / "o.png",
    )
    hires_nst.stylize(copied / "photo.png", tmp_path / "expected.png", config=settings)
    expected = (tmp_path / "expected.png").read_bytes()
    for resume in (False, True):
        interrupted(copied, out, settings)
        names = [file.path.name for file in read_record(tmp_path / "o.png.run").inputs if file.role == "painting"]
        assert names == ["a.png", "b.png"]
        added = save(copied / "two" / "aa.png", random_canvas(40, 40, 9))
        seen: list[events.Event] = []
        if resume:
            hires_nst.resume(tmp_path / "o.png.run", on_event=seen.append)
        else:
            hires_nst.stylize(copied / "photo.png", out, config=settings, on_event=seen.append)
        assert out.read_bytes() == expected
        told = [event.message for event in seen if isinstance(event, events.Notice)]
        assert ("a folder of paintings has other pictures now; the run goes on with those it had" in told) != resume
        added.unlink()
        out.unlink()


def test_pictures_that_are_named_are_those_of_the_run(copied: Path, tmp_path: Path) -> None:
    def settings(*names: str) -> Config:
        folder = copied / "two"
        return with_style({"folder": str(folder), "images": [str(folder / name) for name in names]})

    interrupted(copied, tmp_path / "o.png", settings("a.png"))
    with pytest.raises(InputError, match=r"the number of paintings has changed since .* \(1, now 2\)"):
        hires_nst.stylize(copied / "photo.png", tmp_path / "o.png", config=settings("a.png", "b.png"))
    hires_nst.stylize(copied / "photo.png", tmp_path / "o.png", config=settings("a.png"))


def test_a_run_is_refused_after_a_picture_of_its_folder_changed(copied: Path, tmp_path: Path) -> None:
    settings, out = with_style({"folder": str(copied / "two")}), tmp_path / "o.png"
    interrupted(copied, out, settings)
    painting = (copied / "two" / "b.png").read_bytes()
    save(copied / "two" / "b.png", random_canvas(70, 80, 8))
    with pytest.raises(InputError, match=r"the painting .*b\.png has changed since the run"):
        hires_nst.resume(tmp_path / "o.png.run")
    with pytest.raises(InputError, match=r"the painting .*b\.png has changed since the run"):
        hires_nst.stylize(copied / "photo.png", out, config=settings)
    (copied / "two" / "b.png").unlink()
    with pytest.raises(InputError, match=r"b\.png of the run in .* no longer exists"):
        hires_nst.resume(tmp_path / "o.png.run")
    with pytest.raises(InputError, match=r"\(2, now 1\); put the pictures of the folder back"):
        hires_nst.stylize(copied / "photo.png", out, config=settings)
    (copied / "two" / "b.png").write_bytes(painting)
    hires_nst.resume(tmp_path / "o.png.run")


def test_workers_give_the_same_bytes(inputs: Path, tmp_path: Path) -> None:
    style = {"folder": str(inputs / "two"), "rotations": [180], "mirror": True, "scale": [0.5, 1]}
    painted(inputs, tmp_path / "one.png", style)
    painted(inputs, tmp_path / "two.png", style, runtime={"workers": 2})
    assert (tmp_path / "two.png").read_bytes() == (tmp_path / "one.png").read_bytes()


def test_a_painting_of_the_gallery_by_words(inputs: Path, tmp_path: Path) -> None:
    out = hires_nst.stylize(inputs / "photo.png", f"{tmp_path}/", styles="gogh starry", config=config()).output
    assert out == tmp_path / "photo-van_gogh_starry_night.png"
    info = hires_nst.show(out)
    assert info.styles == ("van_gogh_starry_night.jpg",)


def test_a_folder_gives_the_result_its_name_and_no_place_of_this_machine(inputs: Path, tmp_path: Path) -> None:
    settings = with_style({"folder": str(inputs / "two")})
    out = hires_nst.stylize(inputs / "photo.png", f"{tmp_path}/", config=settings).output
    assert out == tmp_path / "photo-two.png"
    info = hires_nst.show(out, config=tmp_path / "again.yaml")
    assert info.styles == ("a.png", "b.png")
    assert str(inputs) not in (tmp_path / "again.yaml").read_text()
