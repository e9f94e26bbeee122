"""Which photographs with which paintings become which pictures."""

from __future__ import annotations

import os
import random
import string
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hires_nst.batch import api
from hires_nst.batch.job import Jobs, in_order, result_size
from hires_nst.batch.names import FIELDS, check_collisions, fields_of, output_name
from hires_nst.config import StyleImage, load_config
from hires_nst.errors import ConfigError, InputError
from hires_nst.files import natural
from hires_nst.quantities import counts
from tests.batch.fakes import jobs_of, make_inputs

VALUES: dict[str, str | int] = {
    "content": "IMG 7", "style": "starry", "index": 3, "parent": "trip", "width": 640, "height": 480, "preset": "draft",
}  # fmt: skip


def outputs(jobs: Jobs) -> list[str]:
    return [job.output for job in jobs.jobs]


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("ok")
    return folder


@pytest.fixture
def style(tmp_path: Path) -> Path:
    return touch(tmp_path, "style.jpg") / "style.jpg"


# Several photographs.


def test_photographs_by_name_with_a_painting_among_them(tmp_path: Path) -> None:
    folder = touch(tmp_path, "b.jpg", "a.jpg", "more/c.jpg", "style.jpg", "other.jpg")
    names = [folder / name for name in ("b.jpg", "a.jpg", "more", "style.jpg", "b.jpg")]
    jobs = api.jobs(names, tmp_path / "out", styles=folder / "style.jpg")
    assert outputs(jobs) == ["b-style.png", "a-style.png", "c-style.png"]  # in the order of the command line
    assert jobs.left_out["pictures in their own style"] == 1
    jobs = api.jobs(folder / "style.jpg", tmp_path / "out", styles=folder / "style.jpg")
    assert outputs(jobs) == ["style-style.png"], "as it was asked for"


# Natural order.


def test_natural_order() -> None:
    names = ["img10.jpg", "img9.jpg", "IMG1.jpg", "b/1.jpg", "b/02.jpg", "B2/1.jpg", "img09.jpg", "10.jpg", "9.jpg"]
    assert sorted(names, key=natural) == [
        "9.jpg", "10.jpg", "b/1.jpg", "b/02.jpg", "B2/1.jpg", "IMG1.jpg", "img09.jpg", "img9.jpg", "img10.jpg",
    ]  # fmt: skip


@given(st.lists(st.text(max_size=12), unique=True))
def test_any_names_have_one_order(names: list[str]) -> None:
    ordered = sorted(names, key=natural)
    shuffled = list(names)
    random.Random(0).shuffle(shuffled)
    assert sorted(shuffled, key=natural) == ordered
    assert len({natural(name) for name in names}) == len(names)


@given(st.lists(st.integers(0, 10**9), unique=True), st.text(string.ascii_letters, max_size=5))
def test_numbers_are_in_the_order_of_their_values(numbers: list[int], prefix: str) -> None:
    names = [f"{prefix}{number}.jpg" for number in numbers]
    assert sorted(names, key=natural) == [f"{prefix}{number}.jpg" for number in sorted(numbers)]


# Templates.


def test_every_field_is_filled() -> None:
    template = "{preset}/{parent}/{content}_{style}_{index:04}_{width}x{height}.tif"
    assert fields_of(template) == set(FIELDS)
    assert output_name(template, VALUES) == "draft/trip/IMG 7_starry_0003_640x480.tif"
    assert output_name("{content}.png", VALUES, folder="a/b") == "a/b/IMG 7.png"
    assert output_name("{content}.png", VALUES, folder=".") == "IMG 7.png"


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("{contents}.png", "did you mean 'content'?"),
        ("{content}", "must end in one of .png"),
        ("{content}.gif", "must end in one of .png"),
        ("{content.__class__}.png", "unknown field"),
        ("{content[0]}.png", "unknown field"),
        ("{0}.png", "unknown field"),
        ("{}.png", "unknown field"),
        ("{content!r}.png", "has an unknown format"),
        ("{index:>9}.png", "has an unknown format"),
        ("{content:03}.png", "numbers with a format"),
        ("{content.png", "cannot be read"),
        ("../{content}.png", "leaves the output folder"),
        ("/{content}.png", "leaves the output folder"),
        (".{content}.png", "hidden file"),
        (".hires-nst/{content}.png", "hidden file"),
        ("{content}/.png", "hidden file"),
        ("x" * 250 + "{content}.png", "too long"),
    ],
)
def test_a_template_that_is_none(template: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        output_name(template, VALUES)


@given(
    st.text(st.characters(exclude_categories=["C", "Zl", "Zp"], exclude_characters="/"), min_size=1, max_size=30),
    st.text(string.ascii_letters, min_size=1, max_size=10),
)
def test_what_a_file_is_called_goes_into_the_name_as_it_is(stem: str, name: str) -> None:
    rendered = output_name("a/x{content}-{style}.png", {**VALUES, "content": stem, "style": name}, folder="b")
    assert rendered == f"b/a/x{stem}-{name}.png"


# Collisions.


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["a.png", "b.png", "a.png"], "0 and 2 would both become a.png"),
        (["a.png", "A.PNG"], "0 and 1 would both become a.png and A.PNG"),
        (["\u00e9.png", "e\u0301.png"], "0 and 1 would both become"),
        (["x.png/a.png", "x.png"], "both a picture and a folder"),
    ],
)
def test_collisions(names: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check_collisions((name, str(number)) for number, name in enumerate(names))


def test_different_names_do_not_collide() -> None:
    check_collisions((f"{n}.png", "") for n in range(100))


def test_a_collision_is_found_before_anything_runs(tmp_path: Path, style: Path) -> None:
    photos = touch(tmp_path / "photos", "a.jpg", "b.jpg")
    with pytest.raises(ConfigError, match=r"a\.jpg and .*b\.jpg would both become style\.png"):
        jobs_of(photos, tmp_path / "out", style, template="{style}.png")
    assert not (tmp_path / "out").exists()


def test_a_picture_never_takes_the_place_of_an_input(tmp_path: Path, style: Path) -> None:
    photos = touch(tmp_path / "photos", "a.jpg")
    with pytest.raises(ConfigError, match="would replace an input"):
        jobs_of(photos, tmp_path, style, template="photos/{content}.jpg")
    with pytest.raises(ConfigError, match="is the folder of the photographs"):
        jobs_of(photos, photos, style)


# Folders.


def test_a_folder(tmp_path: Path, style: Path) -> None:
    photos = touch(
        tmp_path / "photos", "img10.JPG", "img9.jpeg", "b.tiff", "c.webp", "notes.txt", ".hidden.jpg", "._img9.jpeg",
        "sub/d.png", "sub/deep/img1.png", "sub/.x/e.png", "old/p.png", "old/.hires-nst/ledger.sqlite",
    )  # fmt: skip
    (photos / "x.jpg").mkdir()
    (photos / "gone.png").symlink_to("nowhere.png")
    flat = jobs_of(photos, tmp_path / "out", style)
    assert outputs(flat) == [f"{n}-style.png" for n in ("b", "c", "gone", "img9", "img10", "x")]
    inside = {"folders inside (--recursive includes them)": 1}
    assert flat.left_out == {"hidden files": 2, "files that are not pictures": 1, "output folders": 1, **inside}
    deep = jobs_of(photos, tmp_path / "out", style, recursive=True)
    assert outputs(deep)[-3:] == ["sub/d-style.png", "sub/deep/img1-style.png", "x-style.png"]
    assert deep.left_out == {"hidden files": 3, "files that are not pictures": 1, "output folders": 1}
    assert [job.index for job in deep.jobs] == list(range(1, 9))


def test_pictures_are_found_by_their_content(tmp_path: Path, style: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = touch(tmp_path / "photos", "broken.jpe", "IMG_4.tmp", "Thumbs.db")
    for name in ("no_suffix", "a.jfif", "b.JPE", "wrong.txt", "c.png"):
        Image.new("RGB", (2, 2)).save(photos / name, "JPEG")
    for name in ("IMG_1.HEIC", "IMG_2.HEIC", "IMG_3.jpg"):
        (photos / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (photos / "IMG_4.tmp").write_bytes(b"\0\0\0\x18ftypcrx \0\0\0\1crx isom")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setitem(sys.modules, "rawpy", None)
    found = jobs_of(photos, tmp_path / "out", style, exclude=("IMG_3.*",))
    assert outputs(found) == [f"{name}-style.png" for name in ("a", "b", "broken", "c", "no_suffix", "wrong")]
    assert sorted(counts(found.left_out).split("; ")) == [
        "1 CR3 camera raw picture: run pip install 'hires-nst[raw]' to read it",
        "1 file excluded by the patterns",
        "1 file that is not a picture",
        "2 HEIC pictures: run pip install pillow-heif to read them",
    ]
    assert outputs(jobs_of(photos / "no_suffix", tmp_path / "out", style)) == ["no_suffix-style.png"]
    painted = jobs_of(style, tmp_path / "out", photos)
    assert painted.left_out["HEIC pictures: run pip install pillow-heif to read them"] == 3
    assert outputs(painted) == [f"style-{name}.png" for name in ("a", "b", "broken", "c", "no_suffix", "wrong")]
    with pytest.raises(InputError, match=r"no picture in the folder of paintings .*1 CR3 camera raw picture: run pip"):
        (tmp_path / "raw").mkdir()
        (photos / "IMG_4.tmp").rename(tmp_path / "raw" / "a")
        jobs_of(style, tmp_path / "out", tmp_path / "raw")


def test_the_output_folder_inside_the_input_is_left_out(tmp_path: Path, style: Path) -> None:
    photos = touch(tmp_path / "photos", "a.jpg", "prints/a-style.png")
    found = jobs_of(photos, photos / "prints", style, recursive=True)
    assert outputs(found) == ["a-style.png"]
    assert found.left_out == {"output folders": 1}


@pytest.mark.parametrize("recursive", [False, True])
def test_folders_that_may_not_be_read_are_left_out(
    recursive: bool, tmp_path: Path, style: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read everything, so refusing is acted here."""
    photos = touch(tmp_path / "photos", "a.jpg", "lost+found/b.jpg", "closed/c.jpg", "sub/d.jpg")
    plain_stat, plain_scandir = Path.stat, os.scandir

    def stat(self: Path, **options: Any) -> os.stat_result:
        if self.parent.name == "lost+found":
            raise PermissionError(13, "Permission denied")
        return plain_stat(self, **options)

    def scandir(path: Any) -> Any:
        if Path(path).name in ("lost+found", "closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return plain_scandir(path)

    monkeypatch.setattr(Path, "stat", stat)
    monkeypatch.setattr(os, "scandir", scandir)
    found = jobs_of(photos, tmp_path / "out", style, recursive=recursive)
    assert outputs(found) == ["a-style.png", "sub/d-style.png"][: 1 + recursive]
    inside = {} if recursive else {"folders inside (--recursive includes them)": 2}
    assert found.left_out == {"folders that cannot be read": 1 + recursive, **inside}
    with pytest.raises(InputError, match="closed cannot be read"):
        jobs_of(photos / "closed", tmp_path / "out", style)


def test_what_runs_and_reports_keep_is_no_photograph(tmp_path: Path, style: Path) -> None:
    photos = touch(
        tmp_path / "photos", "a.jpg", "sub/b.jpg", "sub/report-files/0a-after.jpg", "sub/report-files/0a-tiles/0-0.jpg",
        "x.png.run/run.json", "x.png.run/report-files/1b-after.jpg", "x.png.run/levels/c.png",
    )  # fmt: skip
    found = jobs_of(photos, tmp_path / "out", style, recursive=True)
    assert outputs(found) == ["a-style.png", "sub/b-style.png"]
    assert found.left_out == {"run directories and pictures of reports": 2}


def test_patterns(tmp_path: Path, style: Path) -> None:
    photos = touch(tmp_path / "photos", "a1.jpg", "a2.jpg", "a2_small.jpg", "b.jpg", "sub/a3.jpg")
    found = jobs_of(photos, tmp_path / "o", style, recursive=True, include=("a*.jpg",), exclude=("*_small.*", "sub/*"))
    assert outputs(found) == ["a1-style.png", "a2-style.png"]
    assert found.left_out == {"files excluded by the patterns": 3}


def test_links_in_a_circle(tmp_path: Path, style: Path) -> None:
    photos = touch(tmp_path / "photos", "a.jpg", "sub/b.jpg")
    (photos / "sub" / "up").symlink_to(photos)
    assert outputs(jobs_of(photos, tmp_path / "out", style, recursive=True)) == ["a-style.png", "sub/b-style.png"]


def test_a_list(tmp_path: Path, style: Path) -> None:
    touch(tmp_path / "photos", "b.jpg", "a b.jpg")
    names = tmp_path / "list.txt"
    names.write_text(f"# today\nphotos/b.jpg\n\n  photos/a b.jpg  \n{tmp_path}/gone.jpg\n", encoding="utf-8-sig")
    found = jobs_of(names, tmp_path / "out", style)
    assert outputs(found) == ["b-style.png", "a b-style.png", "gone-style.png"]
    assert found.jobs[0].content == tmp_path / "photos" / "b.jpg"


def test_one_picture(tmp_path: Path, style: Path) -> None:
    assert outputs(jobs_of(touch(tmp_path, "a.jpg") / "a.jpg", tmp_path / "out", style)) == ["a-style.png"]


@pytest.mark.parametrize(
    ("name", "sentence"), [("none", "does not exist"), ("empty", "no photographs found in"), ("x.bin", "nor a list of")]
)
def test_nothing_to_paint(name: str, sentence: str, tmp_path: Path, style: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.bin").write_bytes(bytes([0xFF, 0xFE, 0x80]))
    with pytest.raises((ConfigError, InputError), match=sentence):
        jobs_of(tmp_path / name, tmp_path / "out", style)


# Matching.


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, Path]:
    return touch(tmp_path / "photos", "a.jpg", "b.jpg", "c.jpg"), touch(tmp_path / "art", "C.png", "b.png", "a.tif")


def test_every_photograph_with_every_painting(both: tuple[Path, Path], tmp_path: Path) -> None:
    photos, art = both
    assert outputs(jobs_of(photos, tmp_path / "o", art / "b.png", art / "a.tif", template="{style}/{content}.png")) == [
        "b/a.png", "a/a.png", "b/b.png", "a/b.png", "b/c.png", "a/c.png",
    ]  # fmt: skip
    assert len(jobs_of(photos, tmp_path / "o", art).jobs) == 9


def test_pairs_in_order_and_by_name(both: tuple[Path, Path], tmp_path: Path) -> None:
    photos, art = both
    in_turn = jobs_of(photos, tmp_path / "o", art / "C.png", art / "b.png", art / "a.tif", match="zip")
    assert outputs(in_turn) == ["a-C.png", "b-b.png", "c-a.png"]
    assert outputs(jobs_of(photos, tmp_path / "o", art, match="stem")) == ["a-a.png", "b-b.png", "c-C.png"]
    touch(photos, "d.jpg")
    assert jobs_of(photos, tmp_path / "o", art, match="stem").left_out == {"photographs without a matching painting": 1}
    with pytest.raises(ConfigError, match="4 photographs and 3 paintings"):
        jobs_of(photos, tmp_path / "o", art, match="zip")
    touch(art, "a.jpg")
    with pytest.raises(ConfigError, match="two paintings are called a"):
        jobs_of(photos, tmp_path / "o", art, match="stem")


def test_paintings_of_the_configuration_go_together(tmp_path: Path) -> None:
    photos = make_inputs(tmp_path, 2)
    own = {"styles": [{"image": str(tmp_path / "x.jpg"), "weight": 2}, {"image": str(tmp_path / "y.jpg")}]}
    config = load_config(overrides=[own])
    found = api.jobs(photos, tmp_path / "out", config=config)
    assert outputs(found) == ["p0-x+y.png", "p1-x+y.png"]
    assert [style.weight for style in found.jobs[0].config.styles] == [2, 1]
    with pytest.raises(ConfigError, match="no painting given"):
        api.jobs(photos, tmp_path / "out")


def test_a_folder_of_paintings_as_one_style(both: tuple[Path, Path], tmp_path: Path) -> None:
    photos, art = both
    found = api.jobs(photos, tmp_path / "out", styles=[StyleImage(folder=art, weight=2), art / "b.png"])
    assert outputs(found) == [f"{photo}-{style}.png" for photo in "abc" for style in ("art", "b")]
    (style,) = found.jobs[0].config.styles
    assert [path.name for path in style.images] == ["a.tif", "b.png", "C.png"]
    assert found.jobs[0].inputs[1:] == style.images
    more = api.jobs(photos, tmp_path / "out", styles=StyleImage(folder=touch(art, "d.png")))
    assert outputs(more) == ["a-art.png", "b-art.png", "c-art.png"], "the folder is the style, whatever is in it"
    config = load_config(overrides=[{"styles": [{"folder": str(art)}]}])
    assert outputs(api.jobs(photos, tmp_path / "out", config=config)) == ["a-art.png", "b-art.png", "c-art.png"]
    with pytest.raises(InputError, match="no picture in the folder"):
        api.jobs(photos, tmp_path / "out", styles=StyleImage(folder=touch(tmp_path / "none", "x.txt")))


def test_paintings_of_the_gallery_by_words(both: tuple[Path, Path], tmp_path: Path) -> None:
    photos, art = both
    config = load_config(overrides=[{"gallery": str(art)}])
    found = api.jobs(photos / "a.jpg", tmp_path / "out", styles=["van gogh", "b"], config=config)
    assert outputs(found) == ["a-van_gogh_starry_night.png", "a-b.png"]
    assert found.jobs[1].config.styles[0].image == art / "b.png"
    file = tmp_path / "jobs.yaml"
    file.write_text("styles: [{image: munch}]\njobs: [{content: a.jpg}, {content: a.jpg, style: hokusai}]")
    assert outputs(listed(file)) == ["a-munch_the_scream.png", "a-hokusai_great_wave.png"]
    with pytest.raises(InputError, match="van goth does not exist; did you mean"):
        api.jobs(photos, tmp_path / "out", styles="van goth")


# Jobs in a configuration.


def listed(file: Path, *styles: StyleImage) -> Jobs:
    return api.jobs(None, file.parent / "out", styles=styles, config=load_config(file), preset="draft")


def test_jobs_with_settings_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "jobs.yaml"
    file.write_text(
        """
output: {long_edge: 500}
styles: [{image: common.jpg}]
batch: {template: "{index}-{content}-{style}-{preset}.png"}
jobs:
  - {content: a.jpg}
  - {content: sub/b.jpg, style: art/x.jpg, output: "{content}.tif"}
  - {content: /elsewhere/c.jpg, set: {output: {megapixels: 2}, styles: [{image: y.jpg, scale: 2}], init: {noise: 0.5}}}
"""
    )
    first, second, third = listed(file).jobs
    assert outputs(listed(file)) == ["1-a-common-draft.png", "b.tif", "3-c-y-draft.png"]
    assert (first.content, second.content) == (tmp_path / "a.jpg", tmp_path / "sub" / "b.jpg")
    assert [style.image for style in second.config.styles] == [tmp_path / "art" / "x.jpg"]
    assert third.content == Path("/elsewhere/c.jpg")
    assert [(style.image, style.scale) for style in third.config.styles] == [(tmp_path / "y.jpg", 2)]
    assert (first.config.output.long_edge, third.config.output.long_edge) == (500, None)
    assert (third.config.output.megapixels, third.config.init.noise) == (2, 0.5)
    assert not first.config.jobs
    assert len({job.fingerprint for job in (first, second, third)}) == 2  # which painting it is, its own digest tells
    with pytest.raises(ConfigError, match="name their own paintings"):
        listed(file, StyleImage(image=tmp_path / "z.jpg"))


@pytest.mark.parametrize(
    ("job", "sentence"),
    [
        ("{content: a.jpg, style: b.jpg, set: {styles: []}}", "both name the painting"),
        ("{content: a.jpg, set: {batch: {retries: 2}}}", "set cannot contain batch"),
        ("{content: a.jpg, sets: {}}", "unknown key 'sets' in jobs.0; did you mean 'set'?"),
        ("{content: a.jpg, style: b.jpg, set: {output: {long_edges: 3}}}", "did you mean 'long_edge'?"),
        ("{content: a.jpg}", "jobs.0: no painting given"),
        ("{style: a.jpg}", "jobs.0.content is missing"),
    ],
)
def test_jobs_that_are_wrong(job: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "jobs.yaml"
    file.write_text(f"jobs: [{job}]")
    with pytest.raises(ConfigError, match=sentence):
        listed(file)


# Sizes and the order of work.


def test_sizes_of_pictures_in_names_and_order(tmp_path: Path, style: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, size in {"a": (40, 30), "b": (100, 80), "c": (64, 16)}.items():
        Image.new("RGB", size).save(photos / f"{name}.png")
    (photos / "d.png").write_text("none")
    found = jobs_of(photos, tmp_path / "out", style, template="{content}_{width}x{height}.png")
    assert outputs(found) == ["a_40x30.png", "b_100x80.png", "c_64x16.png", "d_0x0.png"]
    order = {
        kind: [job.content.stem for job in in_order(found.jobs, kind, seed=3)] for kind in ("name", "size", "shortest")
    }
    assert order == {"name": list("abcd"), "size": list("bacd"), "shortest": list("dcab")}
    shuffled = in_order(found.jobs * 20, "shuffle", seed=3)
    assert shuffled != list(found.jobs * 20)
    assert shuffled == in_order(found.jobs * 20, "shuffle", seed=3)
    assert shuffled != in_order(found.jobs * 20, "shuffle", seed=4)


def test_shortest_counts_evaluations(tmp_path: Path, style: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (64, 64)).save(photos / "a.png")
    (job,) = jobs_of(photos, tmp_path / "out", style).jobs
    assert job.work == 64**2 * 200  # too small for a border
    assert result_size(photos / "a.png", job.config) == (64, 64)


def test_the_same_output_is_the_same_job(tmp_path: Path) -> None:
    photos = make_inputs(tmp_path, 3)
    first, again = (jobs_of(photos, tmp_path / "out") for _ in range(2))
    assert [job.id for job in first.jobs] == [job.id for job in again.jobs]
    assert len({job.id for job in first.jobs}) == 3
