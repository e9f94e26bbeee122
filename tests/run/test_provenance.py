"""Metadata through whole runs, and how a picture was made, read from it again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import hires_nst
from hires_nst import Config, events, show
from hires_nst.cli import app
from hires_nst.config import FREE_SETTINGS, flatten, load_config, parse_config
from hires_nst.errors import ConfigError, InputError, Interrupted, OutputError
from hires_nst.gallery import resolved
from hires_nst.imageio.metadata.embedded import read_metadata
from hires_nst.imageio.metadata.record import Metadata
from hires_nst.imageio.metadata.xmp import Origin, Xmp
from hires_nst.imageio.writing import Encoding, write_picture
from hires_nst.run.provenance import portable_settings
from tests.conftest import random_canvas
from tests.imageio.metadata.samples import AUTHOR, COPYRIGHT, DATE, DESCRIPTION, PLACES, photograph
from tests.imageio.metadata.test_metadata import all_bytes
from tests.run.test_pipeline import save
from tests.test_public import interrupting

SETTINGS: dict[str, Any] = {
    "output": {"long_edge": 48, "dpi": 200},
    "levels": {"min_size": 32, "coarse_steps": 4, "rounds": 1, "steps": 2},
    "checkpoint": {"every": "round"},
    "runtime": {"device": "cpu"},
}
FACTS = {"author": AUTHOR, "date": DATE, "copyright": COPYRIGHT, "description": DESCRIPTION}


@pytest.fixture
def painting(tmp_path: Path) -> Path:
    return save(tmp_path / "starry & night.png", random_canvas(40, 44, 2))


def settings(**output: Any) -> Config:
    return Config.model_validate({**SETTINGS, "output": {**SETTINGS["output"], **output}})


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp"])
def test_a_picture_says_how_it_was_made(tmp_path: Path, painting: Path, name: str) -> None:
    seen: list[events.Event] = []
    photo, out = photograph(tmp_path / "photo.jpg"), tmp_path / name
    hires_nst.stylize(photo, out, styles=[painting], config=settings(), on_event=seen.append)
    notices = [event.message for event in seen if isinstance(event, events.Notice)]
    assert any("author, date, copyright" in text and "--keep-location keeps it" in text for text in notices)
    data = all_bytes(out)
    assert not [place for place in (*PLACES, str(tmp_path)) if place.encode() in data]

    info = show(out, config=tmp_path / "again.yaml")
    assert (info.width, info.height, info.dpi) == (36, 48, 200)  # upright
    assert (info.version, info.styles) == (hires_nst.__version__, ("starry & night.png",))
    assert info.facts == FACTS
    assert info.changed["output.long_edge"] == 48 and "loss.content_weight" not in info.changed
    config = load_config(tmp_path / "again.yaml")
    assert [style.image for style in config.styles] == [painting]  # beside the file
    assert config.picture_fingerprint() == settings().with_styles([painting]).picture_fingerprint()

    again = tmp_path / f"again{out.suffix}"
    hires_nst.stylize(photo, again, config=config)
    assert again.read_bytes() == out.read_bytes()


def test_strip_leaves_nothing(tmp_path: Path, painting: Path) -> None:
    photo = photograph(tmp_path / "photo.tif")
    for name in ("a.png", "a.webp"):
        seen: list[events.Event] = []
        config = settings(metadata="strip", keep_location=True)
        hires_nst.stylize(photo, tmp_path / name, styles=[painting], config=config, on_event=seen.append)
        data = all_bytes(tmp_path / name)
        words = (AUTHOR, COPYRIGHT, DESCRIPTION, *PLACES, "hires", "starry", "xmpmeta")
        assert not [word for word in words if word.encode() in data]
        assert not read_metadata(tmp_path / name)
        with pytest.raises(InputError, match="does not say how it was made"):
            show(tmp_path / name)


def test_a_resumed_run_and_an_image_in_memory_keep_metadata(tmp_path: Path, painting: Path) -> None:
    photo, config = photograph(tmp_path / "photo.png"), settings(keep_location=True)
    whole, resumed, memory = (tmp_path / f"{name}.png" for name in ("whole", "resumed", "memory"))
    hires_nst.stylize(photo, whole, styles=[painting], config=config)
    stop, on_event = interrupting()
    with pytest.raises(Interrupted):
        hires_nst.stylize(photo, resumed, styles=[painting], config=config, stop=stop, on_event=on_event)
    hires_nst.resume(tmp_path / "resumed.png.run")
    assert resumed.read_bytes() == whole.read_bytes()

    with Image.open(photo) as image:
        hires_nst.stylize(image, memory, styles=[painting], config=config)
    assert show(memory).facts == FACTS
    assert read_metadata(memory).exif == read_metadata(whole).exif
    with Image.open(memory) as one, Image.open(whole) as other:
        assert one.tobytes() == other.tobytes()


def test_only_what_makes_the_picture_is_written() -> None:
    config = Config.model_validate(
        {
            "styles": [{"image": "/data/ann/a.jpg"}, {"image": "/data/b.jpg", "weight": 2.0}],
            "init": {"kind": "file", "file": "/data/ann/start.png"},
            "model": {"weights": "/data/ann/w.pth"},
            "checkpoint": {"directory": "/data/ann/runs"},
            "jobs": [{"content": "/data/ann/x.jpg"}],
            "runtime": {"device": "cuda:1", "seed": 3},
        }
    )
    portable = portable_settings(config)
    assert "/" not in json.dumps(portable)
    keys = flatten(portable)
    assert keys["runtime.seed"] == 3 and keys["styles.1.weight"] == 2.0
    assert not [key for key in keys for free in FREE_SETTINGS if f"{key}.".startswith(f"{free}.")]
    again = Config.model_validate(portable)
    assert again.picture_fingerprint() == config.picture_fingerprint()
    assert portable_settings(again) == portable


def picture(path: Path, origin: Origin | None) -> Path:
    encoding = Encoding(dpi=None, bit_depth=8, quality=95, compression="deflate")
    packet = Xmp(b"").packet({"author": "A\x1b[31m\nB"}, origin)
    write_picture(path, np.zeros((4, 5, 3), np.float32), encoding=encoding, metadata=Metadata(xmp=packet))
    return path


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no settings, or damaged ones"),
        ("[" * 10_000, "no settings, or damaged ones"),
        ("[1]", "no settings, or damaged ones"),
        ('{"loss": {"invented": 1}}', "version 9, .* understand its settings: .*invented"),
        ('{"output": {"long_edge": 1e400}}', "does not understand its settings"),
    ],
)
def test_settings_in_a_picture_are_not_trusted(tmp_path: Path, text: str, sentence: str) -> None:
    path = picture(tmp_path / "a.png", Origin("9", ("x.jpg",), text))
    assert show(path).styles == ("x.jpg",)
    with pytest.raises(ConfigError, match=sentence):
        show(path, config=tmp_path / "a.yaml")
    assert not (tmp_path / "a.yaml").exists()
    printed = CliRunner().invoke(app, ["show", str(path)]).stdout
    assert "\x1b" not in printed and len(printed) < 3000


def test_a_written_configuration_names_no_other_files(tmp_path: Path) -> None:
    evil = {"styles": [{"image": "/etc/a.jpg"}], "checkpoint": {"directory": "/etc"}, "batch": {"recursive": True}}
    path = picture(tmp_path / "a.png", Origin("9", (), json.dumps(evil)))
    show(path, config=tmp_path / "a.yaml")
    config = load_config(tmp_path / "a.yaml")
    assert config.styles[0].image == tmp_path / "a.jpg"
    assert config.model_copy(update={"styles": ()}) == Config()
    with pytest.raises(OutputError, match="already exists; use --overwrite"):
        show(path, config=tmp_path / "a.yaml")
    show(path, config=tmp_path / "a.yaml", overwrite=True)


def test_a_picture_of_another_program(tmp_path: Path) -> None:
    photograph(tmp_path / "photo.jpg")
    result = CliRunner().invoke(app, ["show", str(tmp_path / "photo.jpg"), "--json"])
    assert result.exit_code == 3
    assert json.loads(result.stdout)["message"].startswith(f"{tmp_path / 'photo.jpg'} does not say how it was made")
    for path in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(InputError):
            show(path)


def test_paintings_of_the_gallery_and_of_folders_are_named_as_they_are_found(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    save(tmp_path / "mine" / "a.png", random_canvas(40, 50))
    styles = [{"image": "great wave", "mirror": True}, {"folder": str(tmp_path / "mine"), "weight": 2}]
    named = resolved(parse_config({"styles": styles}))
    assert named.styles[0].image != Path("great wave") and named.styles[1].images
    again = parse_config(portable_settings(named))
    assert [(style.image, style.folder, style.images) for style in again.styles] == [
        (Path("hokusai great wave"), None, ()), (None, Path("mine"), ())
    ]  # fmt: skip
    assert resolved(again.with_styles(["hokusai great wave"])).styles[0].image == named.styles[0].image
