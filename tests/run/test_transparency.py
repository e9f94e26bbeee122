"""Transparent pictures: what is hidden in them is neither painted nor counted, nor does it come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hires_nst
from hires_nst import events
from hires_nst.errors import InputError, Interrupted
from hires_nst.evaluation.evaluate import evaluate
from hires_nst.imageio.images import to_picture
from hires_nst.imageio.picture import Picture
from hires_nst.imageio.transparency import fill_hidden
from hires_nst.run import pipeline
from hires_nst.stopping import Stop
from tests.conftest import random_canvas
from tests.run.test_pipeline import config, of

HEIGHT, WIDTH = 64, 80


def cut_out(seed: int, *, hidden: int = 0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Something visible with a soft edge in the right half, and other `hidden` colours around it: uint8 RGBA."""
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    alpha = np.clip(0.4 * height - np.hypot(across - 0.7 * width, down - height / 2), 0, 4) / 4
    colours, under = random_canvas(height, width, seed).pixels, random_canvas(height, width, 100 + hidden).pixels
    colours = np.where(alpha[..., None] > 0, colours, under)
    return np.asarray(np.rint(np.dstack([colours, alpha]) * 255), np.uint8)


def save(path: Path, samples: np.ndarray) -> Path:
    options: dict[str, Any] = {"lossless": True, "exact": True} if path.suffix == ".webp" else {}
    Image.fromarray(samples).save(path, **options)
    return path


PAINTING = np.rint(random_canvas(96, 90, 2).pixels * 255).astype(np.uint8)


def result(path: Path) -> Picture:
    return to_picture(path, max_megapixels=1)


def paint(content: Any, out: Path, styles: Any = PAINTING, **options: Any) -> list[str]:
    """The notices of a run."""
    seen: list[events.Event] = []
    options.setdefault("config", config())
    hires_nst.stylize(content, out, styles=styles, on_event=seen.append, **options)
    return [notice.message for notice in of(seen, events.Notice)]


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "memory"])
@pytest.mark.parametrize("size", [None, 100])
def test_hidden_colours_do_not_change_a_byte(suffix: str, size: int | None, tmp_path: Path) -> None:
    results = []
    for hidden in (1, 2):
        folder = tmp_path / str(hidden)
        folder.mkdir()
        images: list[Any] = [cut_out(seed, hidden=hidden) for seed in (3, 4, 5)]
        init = save(folder / ("init.png" if suffix == "memory" else f"init.{suffix}"), images[2])
        if suffix != "memory":
            images = [save(folder / f"{seed}.{suffix}", image) for seed, image in enumerate(images)]
        settings = config(init={"kind": "file", "file": str(init)}, output={"long_edge": size})
        notices = paint(images[0], folder / "out.png", images[1], config=settings)
        assert not any("transparent" in notice for notice in notices)
        results.append((folder / "out.png").read_bytes())
    assert results[0] == results[1]


def test_images_in_memory_are_painted_as_those_in_files(tmp_path: Path) -> None:
    photo, painting = cut_out(1), cut_out(2)
    paint(photo, tmp_path / "memory.png", painting)
    paint(save(tmp_path / "a.png", photo), tmp_path / "file.png", save(tmp_path / "b.png", painting))
    one, other = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("memory", "file"))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_the_result_has_the_transparency_of_the_photograph(suffix: str, tmp_path: Path) -> None:
    photo = cut_out(1)
    assert paint(photo, tmp_path / f"out.{suffix}") == []
    found = result(tmp_path / f"out.{suffix}")
    assert found.alpha is not None
    np.testing.assert_array_equal(np.rint(found.alpha * 255), photo[..., 3])


def test_hidden_pixels_of_the_result_have_the_colours_around_them(tmp_path: Path) -> None:
    paint(cut_out(1), tmp_path / "out.png")
    samples = np.asarray(Image.open(tmp_path / "out.png"))  # as another program reads it
    filled = (samples[..., :3] / np.float32(255)).astype(np.float32)
    fill_hidden(filled, samples[..., 3] / np.float32(255))
    outside = samples[..., 3] == 0
    assert np.abs(filled - samples[..., :3] / 255)[outside].mean() < 0.05
    assert np.abs(cut_out(1)[..., :3] / 255 - samples[..., :3] / 255)[outside].mean() > 0.1


@pytest.mark.parametrize(
    ("name", "background", "notice", "colour"),
    [
        ("out.jpg", None, "a JPEG cannot, so the result is flattened onto white; choose another colour with", 1.0),
        ("out.jpg", "black", "the result is flattened onto black", 0.0),
        ("out.png", "#808080", "the result is flattened onto #808080", 128 / 255),
    ],
)
def test_a_result_on_a_background(
    name: str, background: str | None, notice: str, colour: float, tmp_path: Path
) -> None:
    (told,) = paint(cut_out(1), tmp_path / name, config=config(output={"background": background}))
    assert notice in told
    found = result(tmp_path / name)
    assert found.alpha is None
    np.testing.assert_allclose(found.pixels[:, :20], colour, atol=0.02)
    opaque = np.dstack([cut_out(1)[..., :3], np.full((HEIGHT, WIDTH), 255, np.uint8)])
    assert paint(opaque, tmp_path / name, overwrite=True) == []


def test_hidden_parts_of_a_painting_do_not_count(tmp_path: Path) -> None:
    """A red painting with a hidden blue half gives the same as the red half alone."""
    red = cut_out(2, height=96, width=96)
    red[..., 1:3] //= 8
    red[..., 3] = 255
    half = red.copy()
    half[:, 48:] = (0, 0, 255, 0)
    found, settings = {}, config(loss={"content_weight": 0.0})
    for name, painting in (("red", red[:, :48, :3]), ("half", half), ("blue", half[..., :3])):
        paint(cut_out(1)[..., :3], tmp_path / f"{name}.png", painting.copy(), config=settings)
        found[name] = result(tmp_path / f"{name}.png").pixels.mean((0, 1))
    assert np.abs(found["half"] - found["red"]).max() < 0.05
    assert found["blue"][2] - found["half"][2] > 0.1


@pytest.mark.parametrize("coupling", ["balanced", "independent", "exact"])
def test_a_resumed_run_is_the_uninterrupted_one(coupling: str, tmp_path: Path) -> None:
    settings = config(tiles={"coupling": coupling})
    paint(cut_out(1), tmp_path / "whole.png", cut_out(2), config=settings)
    stop = Stop()

    def on_event(event: events.Event) -> None:
        if isinstance(event, events.StepFinished) and (event.level, event.round, event.step) == (1, 1, 1):
            stop.request("the test")

    with pytest.raises(Interrupted):
        hires_nst.stylize(
            cut_out(1), tmp_path / "out.png", styles=cut_out(2), config=settings, stop=stop, on_event=on_event
        )
    pipeline.resume(tmp_path / "out.png.run")
    assert (tmp_path / "out.png").read_bytes() == (tmp_path / "whole.png").read_bytes()


def test_a_crop_in_which_nothing_is_visible_is_refused(tmp_path: Path) -> None:
    photo = cut_out(1, width=400)
    photo[:, :, 3] = 0
    photo[:, :8, 3] = 255
    settings = config(output={"print": {"paper": "10x10cm", "dpi": 16}})
    with pytest.raises(InputError, match=r"what would be used of .*content.* is transparent"):
        paint(photo, tmp_path / "out.png", config=settings)


def test_canvases_on_disk_give_the_same_picture(tmp_path: Path) -> None:
    for place in ("memory", "disk"):
        paint(cut_out(1), tmp_path / f"{place}.png", cut_out(2), config=config(runtime={"canvas": place}))
    assert (tmp_path / "memory.png").read_bytes() == (tmp_path / "disk.png").read_bytes()


def test_scores_leave_out_what_is_transparent(tmp_path: Path) -> None:
    photo, painting = cut_out(1), cut_out(2)
    paint(photo, tmp_path / "out.png", painting)
    found = evaluate(tmp_path / "out.png", content=photo, styles=[painting])
    loud = [cut_out(seed, hidden=9) for seed in (1, 2)]
    other = np.asarray(Image.open(tmp_path / "out.png")).copy()
    other[other[..., 3] == 0] = (255, 0, 255, 0)
    assert evaluate(other, content=loud[0], styles=[loud[1]]) == found
    # Flattened, it is still the photograph that says what counts.
    alpha = photo[..., 3:] / 255
    flat = np.rint(other[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    scores = evaluate(flat, content=photo, styles=[painting]).scores
    for score, expected in zip(scores, found.scores, strict=True):
        if score.name != "Outlines":  # the edge of the background is one
            assert score.value == pytest.approx(expected.value, rel=0.5, abs=0.1), score.name
        assert score.before == pytest.approx(expected.before, rel=0.05)
