"""Words and folders in a configuration become files, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from hires_nst import events
from hires_nst.config import Config, load_config, parse_config
from hires_nst.errors import InputError
from hires_nst.gallery import painting_file, resolved
from hires_nst.gallery.paintings import BUNDLED
from tests.gallery.test_search import folder_of

STARRY = BUNDLED / "van_gogh_starry_night.jpg"


def test_a_file_that_exists_always_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert painting_file(Path("van gogh")) == STARRY
    Path("van gogh").write_bytes(b"")
    assert painting_file(Path("van gogh")) == Path("van gogh")


@pytest.mark.parametrize("path", ["van gogh.jpg", "paintings/van gogh", "/gogh"])
def test_a_path_is_never_looked_up(path: str) -> None:
    assert painting_file(Path(path)) == Path(path)


def test_words_that_no_painting_has() -> None:
    with pytest.raises(InputError, match=r"^van goth does not exist; did you mean 'van gogh starry night'\?$"):
        painting_file(Path("van goth"))
    with pytest.raises(InputError, match=r"^xyz does not exist; `hires-nst styles list` shows what there is$"):
        painting_file(Path("xyz"))


def test_words_in_a_file_of_settings_are_no_path_in_its_folder(tmp_path: Path) -> None:
    mine, file = folder_of(tmp_path / "mine", "boat.jpg"), tmp_path / "a.yaml"
    text = "gallery: mine\nstyles: [{image: gogh}, {image: boat}, {image: x.jpg}]\njobs: [{content: a, style: boat}]\n"
    file.write_text(text)
    config = load_config(file)
    assert config.gallery_folders == (mine,)
    assert [str(style.image) for style in config.styles] == ["gogh", "boat", str(tmp_path / "x.jpg")]
    assert str(config.jobs[0].style) == "boat"
    assert [one.image for one in resolved(config).paintings] == [STARRY, mine / "boat.jpg", tmp_path / "x.jpg"]
    (tmp_path / "gogh").write_bytes(b"")
    assert load_config(file).styles[0].image == tmp_path / "gogh"


def test_the_pictures_of_a_folder_share_its_weight_in_natural_order(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "some", "b10.jpg", "b9.jpg", "A.jpg", ".hidden.jpg")
    (folder / "notes.txt").write_text("nothing")
    (folder / "old.psd").write_bytes(b"8BPS" + bytes(100))
    seen: list[events.Event] = []
    config = resolved(parse_config({"styles": [{"folder": str(folder), "weight": 6}]}), emit=seen.append)
    assert [(one.image.name, one.weight) for one in config.paintings] == [("A.jpg", 2), ("b9.jpg", 2), ("b10.jpg", 2)]
    assert [file.path for file in config.files()] == [one.image for one in config.paintings]
    assert [event.message for event in seen if isinstance(event, events.Notice)] == [
        f"{folder}: left out 1 Photoshop picture: save it as TIFF, PNG or JPEG"
    ]
    folder_of(folder, "c.jpg")
    assert resolved(config) == config, "the list stays"
    assert len(resolved(parse_config({"styles": [{"folder": str(folder)}]})).paintings) == 4


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    sentences = {
        tmp_path: "there is no picture in the folder",
        tmp_path / "none": "not exist",
        STARRY: "is not a folder",
    }
    for path, sentence in sentences.items():
        with pytest.raises(InputError, match=sentence):
            resolved(Config.model_validate({"styles": [{"folder": path}]}))
