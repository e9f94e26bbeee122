"""Images in memory: painted as those in files are, and resumed; pictures that are returned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

import hires_nst
from hires_nst import events
from hires_nst.errors import ConfigError, InputError, Interrupted
from hires_nst.run import pipeline
from hires_nst.stopping import Stop
from tests.conftest import random_canvas
from tests.run.test_pipeline import config


def levels_of(height: int, width: int, seed: int, peak: int) -> np.ndarray:
    pixels = random_canvas(height, width, seed).pixels
    return np.rint(pixels * peak).astype(np.uint8 if peak == 255 else np.uint16)


CONTENT, STYLE = levels_of(64, 80, 1, 255), levels_of(96, 90, 2, 255)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    Image.fromarray(CONTENT).save(tmp_path / "content.png")
    Image.fromarray(STYLE).save(tmp_path / "style.png")
    return tmp_path / "content.png", tmp_path / "style.png"


@pytest.mark.parametrize("kind", ["array", "Pillow", "mixed"])
def test_images_in_memory_are_painted_as_those_in_files(kind: str, files: tuple[Path, Path], tmp_path: Path) -> None:
    one, other = tmp_path / "one.png", tmp_path / "other.png"
    hires_nst.stylize(files[0], one, styles=[files[1]], config=config())
    content: Any = Image.fromarray(CONTENT) if kind == "Pillow" else CONTENT
    style: Any = {"array": STYLE, "Pillow": Image.fromarray(STYLE), "mixed": str(files[1])}[kind]
    result = hires_nst.stylize(content, other, styles=style, config=config())
    with Image.open(one) as of_files, Image.open(other) as of_memory:  # whose names differ
        assert of_memory.tobytes() == of_files.tobytes()
    assert (result.output, result.image) == (other, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["content.png", "one.png", "other.png", "style.png"]


@pytest.mark.parametrize("bit_depth", [8, 16])
@pytest.mark.parametrize("alpha", [False, True])
def test_a_returned_picture_is_the_one_that_would_be_written(bit_depth: int, alpha: bool, tmp_path: Path) -> None:
    settings = config(output={"bit_depth": bit_depth})
    content = np.dstack([CONTENT, np.full(CONTENT.shape[:2], 77, np.uint8)]) if alpha else CONTENT
    hires_nst.stylize(content, tmp_path / "out.tif", styles=STYLE, config=settings)
    result = hires_nst.stylize(content, styles=STYLE, config=settings)
    written = tifffile.imread(tmp_path / "out.tif")
    assert result.output is None
    assert result.image is not None
    assert result.image.dtype == written.dtype == (np.uint8 if bit_depth == 8 else np.uint16)
    assert result.image.shape == (64, 80, 4 if alpha else 3)
    np.testing.assert_array_equal(result.image, written)
    assert [path.name for path in tmp_path.iterdir()] == ["out.tif"]


@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize("how", ["resume", "stylize"])
def test_a_run_with_images_in_memory_is_resumed(how: str, written: bool, tmp_path: Path) -> None:
    place: dict[str, Any] = {"run_dir": tmp_path / "run", "config": config(), "styles": [STYLE]}
    if written:
        place["output"] = tmp_path / "out.png"
    expected = hires_nst.stylize(CONTENT, styles=STYLE, config=config()).image
    stop, seen = Stop(), list[events.Event]()

    def on_event(event: events.Event) -> None:
        if isinstance(event, events.TileFinished) and event.level == 1:
            stop.request("the test")

    with pytest.raises(Interrupted):
        hires_nst.stylize(CONTENT, stop=stop, on_event=on_event, **place)
    with pytest.raises(InputError, match=r"content\.png is not the .*content\.png with which the run in .* began"):
        hires_nst.stylize(255 - CONTENT, **place)
    (tmp_path / "moved").mkdir()
    if how == "resume" and not written:
        place["run_dir"] = (tmp_path / "run").rename(tmp_path / "moved" / "run")
    if how == "resume":
        result = pipeline.resume(place["run_dir"], on_event=seen.append)
    else:
        result = hires_nst.stylize(CONTENT, on_event=seen.append, **place)
    assert [event for event in seen if isinstance(event, events.RunResumed)]
    assert not place["run_dir"].exists()
    painted = np.asarray(Image.open(tmp_path / "out.png")) if written else result.image
    assert expected is not None
    np.testing.assert_array_equal(painted, expected)


@pytest.mark.parametrize(
    "samples",
    [
        levels_of(64, 80, 3, 65535),
        random_canvas(64, 80, 3).pixels,
        np.dstack([random_canvas(64, 80, 3).pixels, np.linspace(0, 1, 64 * 80, dtype=np.float32).reshape(64, 80)]),
    ],
    ids=["uint16", "float", "float with alpha"],
)
def test_images_in_memory_are_stored_without_loss(samples: np.ndarray, tmp_path: Path) -> None:
    from hires_nst.imageio.images import to_picture
    from hires_nst.run.image_files import image_files

    expected = to_picture(samples, max_megapixels=1)
    with image_files(samples, [], config=config(), on_event=events.ignore) as images:
        stored = to_picture(images.content, max_megapixels=1)
    np.testing.assert_array_equal(stored.pixels, expected.pixels)
    assert (stored.alpha is None) == (expected.alpha is None)
    if stored.alpha is not None and expected.alpha is not None:
        np.testing.assert_array_equal(stored.alpha, expected.alpha)
    assert not images.content.exists()


def test_a_run_that_cannot_begin_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        hires_nst.stylize(CONTENT, styles=STYLE, config=config(runtime={"device": "cuda:99"}), run_dir=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_no_note_is_about_the_files_of_images_in_memory() -> None:
    seen: list[events.Event] = []
    for image in (Image.fromarray(CONTENT).convert("CMYK"), CONTENT / 255):
        hires_nst.stylize(image, styles=STYLE, config=config(), on_event=seen.append)
    (notice,) = (event.message for event in seen if isinstance(event, events.Notice))
    assert notice.startswith("the photograph: the CMYK picture has no colour profile")


def test_a_plan_of_images_in_memory(files: tuple[Path, Path]) -> None:
    plans = [
        hires_nst.plan(content, styles=styles, config=config(), measure=False)
        for content, styles in ((CONTENT, STYLE), files)
    ]
    assert plans[0].levels == plans[1].levels
