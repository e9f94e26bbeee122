"""The judging of pictures: what is kept, what is compared, and how the tables are written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import quality
import torch
from judges import Judge, published
from pairs import Pair, kept, known_pairs, painted, pixels_of, save
from sheets import jpeg, places, sheet, stacked

from hires_nst.errors import ConfigError
from hires_nst.imageio.picture import Floats
from tests.conftest import random_canvas, tiny_network

LAYERS = {"style_layers": ("conv1_1", "conv3_1"), "content_layers": ("conv2_1",)}


def picture(seed: int, height: int = 80, width: int = 96) -> Floats:
    return random_canvas(height, width, seed).pixels


def test_pairs_that_are_not_there_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (demo,) = known_pairs(tmp_path)
    assert demo.name == "landscape-flow_strokes"
    assert capsys.readouterr().out.count("is left out") == 6
    with pytest.raises(SystemExit, match="no pair"):
        known_pairs(tmp_path, ["kodim01"])


def test_the_seven_pairs(tmp_path: Path) -> None:
    for name in ("kodim01", "kodim04"):
        save(picture(1), tmp_path / f"images/photos/{name}.png")
    for name in ("kandinsky_composition_vii", "delaunay_portrait"):
        save(picture(2), tmp_path / f"images/paintings/{name}.jpg")
    assert [pair.name for pair in known_pairs(tmp_path, ["kodim"])] == [
        "kodim01-kandinsky_composition_vii", "kodim04-delaunay_portrait",
    ]  # fmt: skip


# The folder of pictures


def test_a_picture_is_painted_once_for_the_same_settings(tmp_path: Path) -> None:
    calls: list[bool] = []

    def paint(file: Path, same: bool) -> bool:
        calls.append(same)
        save(picture(1), file)
        return False

    file = tmp_path / "folder" / "a.png"
    first = painted(file, {"steps": 3, "layers": ("a", "b")}, paint)
    assert painted(file, {"steps": 3, "layers": ("a", "b")}, paint) == first == kept(file)
    assert calls == [False]
    painted(file, {"steps": 4}, paint)
    file.unlink()
    painted(file, {"steps": 4}, paint)
    assert calls == [False, False, True]


def test_the_time_of_a_continued_picture_is_not_known(tmp_path: Path) -> None:
    def interrupted(file: Path, same: bool) -> bool:
        raise KeyboardInterrupt

    def continued(file: Path, same: bool) -> bool:
        save(picture(1), file)
        return same

    file = tmp_path / "a.png"
    with pytest.raises(KeyboardInterrupt):
        painted(file, {"steps": 3}, interrupted)
    assert kept(file) is None
    assert painted(file, {"steps": 3}, continued).seconds is None


def test_a_configuration_from_words() -> None:
    found = quality.Configuration.of(["quick", "levels.rounds=3", "preset=draft"])
    config = found.config(200)
    assert (found.name, config.levels.rounds, config.levels.coarse_steps) == ("quick", 3, 80)
    assert config.output.long_edge == 200
    with pytest.raises(ConfigError, match="preset"):
        quality.Configuration.of(["quick", "preset=drft"]).config(200)


def test_a_configuration_paints_again_only_for_other_settings(tmp_path: Path) -> None:
    for name, seed in (("photo", 1), ("painting", 2)):
        save(picture(seed, 48, 40), tmp_path / f"{name}.png")
    pair, file = Pair("pair", tmp_path / "photo.png", tmp_path / "painting.png"), tmp_path / "work" / "pair.png"
    words = ["a", "levels.min_size=32", "levels.coarse_steps=2", "levels.rounds=1"]
    quality.Configuration.of(words).paint(pair, file, 48)
    before = file.stat().st_mtime_ns
    quality.Configuration.of(words).paint(pair, file, 48)
    assert file.stat().st_mtime_ns == before
    quality.Configuration.of([*words, "loss.content_weight=0.5"]).paint(pair, file, 48)
    assert file.stat().st_mtime_ns > before


def test_a_configuration_may_scale_the_painting(tmp_path: Path) -> None:
    for name, seed in (("photo", 1), ("painting", 2)):
        save(picture(seed, 48, 40), tmp_path / f"{name}.png")
    pair = Pair("pair", tmp_path / "photo.png", tmp_path / "painting.png")
    words = ["levels.min_size=32", "levels.coarse_steps=2", "levels.rounds=1"]
    found = []
    for scale in (0.5, 1.0):
        style = json.dumps([{"image": str(pair.style), "scale": scale}])
        file = tmp_path / f"{scale}.png"
        quality.Configuration.of([str(scale), *words, f"styles={style}"]).paint(pair, file, 48)
        found.append(pixels_of(file))
    assert not np.array_equal(found[0], found[1])


# Judges


def judge() -> Judge:
    return Judge("tiny", tiny_network(dtype=torch.float32), **LAYERS)


def test_the_painting_has_its_style_and_the_photograph_its_content() -> None:
    photograph, painting = picture(1), picture(2)
    found = judge()(painting, photograph, painting)
    assert found.style == pytest.approx(0, abs=1e-6)
    assert found.content > 0.1
    assert judge()(photograph, photograph, painting).content == pytest.approx(0, abs=1e-9)


def test_large_pictures_are_judged_reduced() -> None:
    large = np.kron(picture(1, 60, 80), np.ones((20, 20, 1), np.float32))
    assert judge()(large, large, large).style == pytest.approx(0, abs=1e-6)


def test_without_teachers_there_are_no_published_judges(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert published(tmp_path) == []
    assert "no judging by published networks" in capsys.readouterr().out


def test_published_judges() -> None:
    shared = Path(__file__).parents[3] / "shared"
    if not (shared / "teachers").is_dir():
        pytest.skip(f"{shared / 'teachers'} is not there")
    judges = published(shared)
    assert [j.name for j in judges] == ["VGG-19", "16x encoder"]
    for found in judges:
        verdict = found(picture(1), picture(1), picture(2))
        assert verdict.content == pytest.approx(0, abs=1e-9)
        assert verdict.style > 0.1


# Identity


def test_a_painting_is_reduced_or_continued_by_reflection() -> None:
    style = picture(3, 40, 60)
    assert quality.whole_painting(style, 30).shape == (20, 30, 3)
    large = quality.whole_painting(style, 150)
    assert large.shape == (100, 150, 3)
    assert np.array_equal(large[:40, :60], style)
    assert np.array_equal(large[40, :60], style[38])
    assert np.array_equal(large[:, 60], large[:, 58])


def test_a_painting_as_its_own_photograph_at_one_level_comes_back(tmp_path: Path) -> None:
    save(picture(3, 48, 48), tmp_path / "painting.png")
    settings = ["levels.min_size=32", "levels.coarse_steps=3", "levels.rounds=1"]
    configuration = quality.Configuration.of(["a", *settings])
    found = quality.identity([configuration], [tmp_path / "painting.png"], [48], tmp_path / "work")
    assert found == {"a": {"48": {"painting": (0, 0)}}}
    noise = quality.Configuration.of(["noise", *settings, "init.kind=noise"])
    found = quality.identity([noise], [tmp_path / "painting.png"], [48], tmp_path / "work")
    assert found["noise"]["48"]["painting"][0] > 5


# Tables and sheets


def test_cells_have_the_mean_and_the_worst() -> None:
    assert quality.Column("a", "a", ".1f").cell([1, 2, 6]) == "3.0 (6.0)"
    assert quality.Column("a", "a", ".1f", min).cell([1, 2, 6]) == "3.0 (1.0)"
    assert quality.Column("a", "a", ".1f", None).cell([1, 2]) == "1.5"
    assert quality.Column("a", "a", ".1f").cell([]) == ""


def test_a_page_is_filled_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    begin, end = quality.MARKS
    page.write_text(f"Before.\n\n{begin}\n\nold\n\n{end}\n\nAfter.\n")
    quality.fill(page, "new")
    assert page.read_text() == f"Before.\n\n{begin}\n\nnew\n\n{end}\n\nAfter.\n"
    page.write_text("No marks.\n")
    with pytest.raises(SystemExit, match="no marks"):
        quality.fill(page, "new")


def test_places_are_the_corner_the_calmest_and_the_busiest() -> None:
    photograph = np.full((120, 160, 3), 0.5, np.float32)
    photograph[:80] = np.random.default_rng(0).normal(0.5, 0.05, (80, 160, 3))
    photograph[20:60, 80:120] = np.random.default_rng(1).random((40, 40, 3))
    corner, calmest, busiest = places(photograph, 40)
    assert corner == (0, 0)
    assert calmest[0] == 80
    assert busiest == (20, 80)


def test_a_sheet_shows_the_same_places_at_100_percent() -> None:
    first, second = picture(1), picture(2)
    found = sheet(first, picture(3), {"a": first, "b": second}, cell=40)
    assert found.shape == (16 + 4 * 40, 4 * 40, 3)
    assert np.array_equal(found[56:94, :38], first[:38, :38])
    assert np.array_equal(found[56:94, 120:158], second[:38, :38])
    assert np.array_equal(found[16:, :40], found[16:, 80:120])  # the photograph, and the picture that equals it
    both = stacked([found, found[:, :80]])
    assert both.shape == (2 * found.shape[0], found.shape[1], 3)
    assert jpeg(both)[:2] == b"\xff\xd8"


def test_everything_is_written_and_the_page_shows_the_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "docs" / "page.md"
    page.parent.mkdir()
    page.write_text("\n".join(quality.MARKS))
    monkeypatch.setattr("common.RESULTS", tmp_path / "results")
    settings = "levels.min_size=32 levels.coarse_steps=2 levels.rounds=1"
    common = f"--size 96 --shared {tmp_path} --work {tmp_path}/work --name x --pairs kodim05"
    save(picture(1, 96, 72), tmp_path / "images/photos/kodim05.png")
    save(picture(2, 96, 72), tmp_path / "images/paintings/munch_the_scream.jpg")
    painter = quality.painter()
    monkeypatch.setattr(quality, "painter", lambda: painter)
    monkeypatch.setattr("sys.argv", f"quality.py {common} --configuration a {settings} --page {page}".split())
    quality.main()
    everything = json.loads((tmp_path / "results" / "x.json").read_text())
    (measures,) = everything["measures"]["a"].values()
    assert {"edges", "noise", "grid 8", "style as configured", "vgg19-slim style", "spst", "seconds"} <= measures.keys()
    assert "](../results/x.jpg)" in page.read_text()
    assert "| a |" in page.read_text()
    monkeypatch.setattr("sys.argv", f"quality.py {common} --configuration b {settings} --also a none".split())
    quality.main()
    again = json.loads((tmp_path / "results" / "x.json").read_text())["measures"]
    assert list(again)[:2] == ["photograph", "painting"]
    assert again.keys() == {"photograph", "painting", "a", "b"}
    (of_painting,) = again["painting"].values()
    assert of_painting["noise"] > 0
    assert "style as configured" not in of_painting
    assert next(iter(again["photograph"].values()))["content as configured"] == pytest.approx(0, abs=1e-3)
    names = [next(iter(again[name].values())) for name in "ab"]
    assert names[0]["spst"] == names[1]["spst"]
    assert pixels_of(tmp_path / "work/96/a/kodim05-munch_the_scream.png").shape == (96, 72, 3)
