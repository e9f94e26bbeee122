"""The networks by name, as a library has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hires_nst.backbones import models, weights
from hires_nst.backbones.description import Backbone
from hires_nst.backbones.registry import BACKBONES
from hires_nst.errors import ConfigError, WeightsError
from hires_nst.events import DownloadProgress, Event, OnEvent


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_list(home: Path) -> None:
    found = {model.name: model for model in models.list()}
    assert list(found) == list(BACKBONES)
    slim, full = found["vgg19-slim"], found["vgg19"]
    assert (slim.bundled, slim.present, slim.licence) == (True, True, "MIT")
    assert (full.bundled, full.present) == (False, False)
    assert full.file == home / "hub" / "checkpoints" / "vgg19-dcbb9e9d.pth"
    assert full.parameters == 20_024_384  # of torchvision's vgg19().features
    assert slim.multiply_adds < full.multiply_adds / 5


def test_verify() -> None:
    assert [(check.name, check.state) for check in models.verify()] == [
        ("vgg19-slim", "ok"), *((name, "missing") for name in list(BACKBONES)[1:]),
    ]  # fmt: skip
    (check,) = models.verify("vgg16")
    assert "run `hires-nst models fetch vgg16`" in check.message


def test_fetch_only_what_is_not_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(backbone: Backbone, *, on_event: OnEvent) -> None:
        on_event(DownloadProgress(backbone.weights.file, 1, 2))
        weights.cache_file(backbone).parent.mkdir(parents=True)
        weights.cache_file(backbone).write_bytes(b"x")

    monkeypatch.setattr(weights, "fetch", fetch)
    heard: list[Event] = []
    assert models.fetch("vgg19-slim", on_event=heard.append).present
    assert heard == []
    model = models.fetch("vgg16", on_event=heard.append)
    assert (model.name, model.present, len(heard)) == ("vgg16", True, 1)


def test_unknown_names_and_other_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'vgg1"):
        models.fetch("vgg18")
    with pytest.raises(ConfigError, match=r"there is no network 'alexnet'; known are .* registered in this process"):
        models.verify("alexnet")
    file = tmp_path / "w.pth"
    file.write_bytes(b"no weights")
    with pytest.raises(ConfigError):
        models.import_file(file, name="vgg18")
    with pytest.raises(WeightsError, match="is not the published file of vgg16"):
        models.import_file(str(file), name="vgg16")
    with pytest.raises(WeightsError):
        models.import_file(file)


def test_an_imported_file_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w.pth").write_bytes(b"no weights")
    read: list[Path] = []

    def sha256_of(file: Path) -> str:
        read.append(file)
        return BACKBONES["vgg16"].weights.sha256

    monkeypatch.setattr(weights, "sha256_of", sha256_of)
    with pytest.raises(WeightsError, match="is not a file of weights"):
        models.import_file(tmp_path / "w.pth")
    assert read == [tmp_path / "w.pth"]
