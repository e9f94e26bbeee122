"""Scores of finished pictures with the bundled network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from hires_nst import Config, cli
from hires_nst.errors import ConfigError, InputError
from hires_nst.evaluation.evaluate import evaluate


def save(path: Path, height: int, width: int, seed: int) -> Path:
    small = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return save(tmp_path / "photo.png", 64, 96, seed=1)


@pytest.fixture
def painting(tmp_path: Path) -> Path:
    return save(tmp_path / "painting.png", 96, 96, seed=2)


def test_a_copy_of_the_photograph_has_lost_nothing_of_it(photo: Path, painting: Path) -> None:
    found = evaluate(photo, content=photo, styles=[painting])
    assert found.content_loss == pytest.approx(0, abs=1e-6)
    assert found.style_loss > 0.01
    scores = {score.name: score for score in found.scores}
    assert scores["Outlines"].value == pytest.approx(1)
    assert scores["Palette"].value == pytest.approx(scores["Palette"].before or 0, rel=1e-3)


def test_a_copy_of_the_painting_has_its_style_and_nothing_of_the_photograph(photo: Path, painting: Path) -> None:
    found = evaluate(painting, content=photo, styles=[painting])
    assert found.style_loss == pytest.approx(0, abs=1e-6)
    assert found.content_loss > 0.1
    scores = {score.name: score.value for score in found.scores}
    assert scores["Palette"] == pytest.approx(0, abs=1e-6)
    assert scores["Texture"] == pytest.approx(1)
    assert scores["Outlines"] < 0.5


def test_a_cropped_print_is_compared_with_the_part_that_it_shows(tmp_path: Path, photo: Path, painting: Path) -> None:
    with Image.open(photo) as whole:
        whole.crop((16, 0, 80, 64)).save(tmp_path / "square.png")
    assert evaluate(tmp_path / "square.png", content=photo, styles=[painting]).content_loss == pytest.approx(
        0, abs=1e-3
    )


def test_what_cannot_be_evaluated_is_said(tmp_path: Path, photo: Path, painting: Path) -> None:
    tiny = save(tmp_path / "tiny.png", 8, 8, seed=3)
    with pytest.raises((InputError, ConfigError), match="16 px"):
        evaluate(tiny, content=photo, styles=[painting])
    with pytest.raises(InputError, match=r"tiny\.png is 8 x 8 px"):
        evaluate(photo, content=photo, styles=[tiny])
    with pytest.raises(InputError, match="does not exist"):
        evaluate(photo, content=tmp_path / "none.png", styles=[painting])


def test_the_command(photo: Path, painting: Path) -> None:
    arguments = ["evaluate", str(photo), "--content", str(photo), "--style", str(painting)]
    shown = CliRunner().invoke(cli.app, arguments)
    assert shown.exit_code == 0
    for word in ("Style loss", "Content loss", "Outlines", "Palette", "Texture"):
        assert word in shown.stdout
    reported = json.loads(CliRunner().invoke(cli.app, [*arguments, "--json"]).stdout)
    assert reported["content_loss"] == pytest.approx(0, abs=1e-6)
    assert [score["name"] for score in reported["scores"]] == ["Outlines", "Palette", "Texture"]


def test_images_in_memory_score_as_their_files_do(photo: Path, painting: Path) -> None:
    from_files = evaluate(painting, content=photo, styles=[painting, photo])
    pillow = [Image.open(painting), Image.open(photo)]
    arrays = [np.asarray(image) for image in pillow]
    for images in (pillow, arrays, [np.float32(array / 255) for array in arrays]):
        found = evaluate(images[0], content=images[1], styles=images)
        assert found.style_loss == pytest.approx(from_files.style_loss, abs=1e-6)
        assert found.content_loss == pytest.approx(from_files.content_loss)
        assert [score.value for score in found.scores] == pytest.approx([score.value for score in from_files.scores])
    expected = [f"{score}, painting {number}" for number in (1, 2) for score in ("Palette", "Texture")]
    assert [score.name for score in found.scores] == ["Outlines", *expected]


def test_one_style_or_those_of_the_configuration(photo: Path, painting: Path) -> None:
    expected = evaluate(photo, content=photo, styles=[painting])
    assert evaluate(photo, content=photo, styles=painting) == expected
    assert evaluate(photo, content=photo, config=Config().with_styles([painting])) == expected
    with pytest.raises(ConfigError, match="no painting given"):
        evaluate(photo, content=photo)
    with pytest.raises(InputError, match="painting 1 has the shape"):
        evaluate(photo, content=photo, styles=np.zeros((4, 4, 9), np.uint8))


def test_paintings_of_a_folder_and_of_the_gallery(photo: Path, painting: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    files = [save(folder / name, 64, 64, seed=4 + number) for number, name in enumerate(("a.png", "b.png"))]
    together = Config.model_validate({"styles": [{"folder": folder}]})
    assert evaluate(painting, content=photo, config=together) == evaluate(painting, content=photo, styles=files)
    assert evaluate(painting, content=photo, styles="turner").style_loss > 0


def test_paintings_of_one_name_have_scores_each(photo: Path, painting: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / painting.name
    other.parent.mkdir()
    other.write_bytes(photo.read_bytes())
    found = evaluate(photo, content=photo, styles=[painting, other])
    assert [score.name for score in found.scores].count(f"Palette, {painting.name}") == 2
    assert len({score.value for score in found.scores if score.name.startswith("Palette")}) == 2
