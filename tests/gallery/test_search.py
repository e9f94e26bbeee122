"""Paintings are found by words: in any order, with any capitals and accents, those of the program and the user's."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hires_nst import styles
from hires_nst.errors import ConfigError, HiresNstError, InputError
from hires_nst.gallery.paintings import BUNDLED, GalleryPainting, paintings, words_of
from hires_nst.gallery.search import matching, the_one

KNOWN = paintings()
PAINTING = st.sampled_from(KNOWN)


def found(text: str, known: tuple[GalleryPainting, ...] = KNOWN) -> str | None:
    one = the_one(text, known)
    return None if one is None else one.file.name


def folder_of(folder: Path, *names: str, facts: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes((BUNDLED / "hokusai_great_wave.jpg").read_bytes()[:2000])
    if facts:
        (folder / "gallery.yaml").write_text(facts, encoding="utf-8")
    return folder


def test_six_paintings_come_with_the_program_and_all_is_known_of_them() -> None:
    assert len(KNOWN) == 6
    for painting in KNOWN:
        facts = painting.facts
        assert painting.file.parent == BUNDLED
        assert all([facts.painter, facts.title, facts.year, facts.source, facts.tags])
        assert facts.licence == "public domain"


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("van gogh", "van_gogh_starry_night.jpg"),
        ("gogh starry", "van_gogh_starry_night.jpg"),
        ("Wave HOKUSAI", "hokusai_great_wave.jpg"),
        ("1893", "munch_the_scream.jpg"),
        ("turner", "turner_shipwreck.jpg"),
        ("L'Homme a la Tulipe", "delaunay_portrait.jpg"),
        ("l’homme à la tulipe", "delaunay_portrait.jpg"),
        ("kandin compo", "kandinsky_composition_vii.jpg"),
        ("woodblock", "hokusai_great_wave.jpg"),
        ("van_gogh_starry_night", "van_gogh_starry_night.jpg"),
        ("rembrandt", None),
        ("", None),
        ("...", None),
    ],
)
def test_words_find_a_painting(text: str, file: str | None) -> None:
    assert found(text) == file


@given(PAINTING, st.data())
def test_the_order_of_words_and_their_capitals_do_not_matter(painting: GalleryPainting, data: st.DataObject) -> None:
    words = data.draw(st.lists(st.sampled_from(sorted(painting.words)), min_size=1, max_size=4))
    changed = [
        data.draw(st.sampled_from([word, word.upper(), word.title()])) for word in data.draw(st.permutations(words))
    ]
    expected = matching(" ".join(words), KNOWN)
    assert painting in expected
    assert matching(" ".join(changed), KNOWN) == expected
    assert matching("_".join(changed), KNOWN) == expected


@given(PAINTING)
def test_every_painting_has_a_name_of_its_own(painting: GalleryPainting) -> None:
    assert the_one(painting.name, KNOWN) is painting


@given(st.text(max_size=30))
def test_no_text_finds_what_has_not_all_of_its_words(text: str) -> None:
    for painting in matching(text, KNOWN):
        assert all(any(own.startswith(word) for own in painting.words) for word in words_of(text))


def test_several_paintings_are_listed() -> None:
    with pytest.raises(ConfigError, match=r"are called 'the': 'hokusai great wave', 'munch the scream', .* add a word"):
        the_one("the", KNOWN)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("van goth", "did you mean 'van gogh starry night'?"),
        ("starry nihgt", "did you mean 'van gogh starry night'?"),
        ("kandisnky", "did you mean 'kandinsky composition vii'?"),
        ("mona lisa", "`hires-nst styles list`"),
    ],
)
def test_near_misses_are_suggested(text: str, hint: str) -> None:
    with pytest.raises(InputError, match=f"called '{text}'.*{hint}".replace("?", r"\?")):
        styles.list(text)


def test_the_user_s_own_paintings_join_the_gallery(tmp_path: Path) -> None:
    mine = folder_of(
        tmp_path / "mine", "red-boat_2.jpg", "wave.jpg", facts="wave.jpg: {painter: Me, tags: [stürmisch]}"
    )
    known = styles.list(gallery=mine)
    assert [one.file.name for one in known[:2]] == ["red-boat_2.jpg", "wave.jpg"]
    assert len(known) == 8
    assert found("boat 2 red", known) == "red-boat_2.jpg"
    assert found("sturmisch me", known) == "wave.jpg"
    assert found("wave", known) == "wave.jpg", "its name has no other words"
    assert found("wave hokusai", known) == "hokusai_great_wave.jpg"
    assert [one.file.name for one in styles.list("red", gallery=[mine])] == ["red-boat_2.jpg"]


def test_the_user_s_own_scan_of_a_painting_takes_its_place(tmp_path: Path) -> None:
    mine = folder_of(tmp_path / "mine", "van gogh_starry-night.jpg")
    known = paintings([mine])
    assert len(known) == 6
    assert found("gogh", known) == found("van gogh starry night", known) == "van gogh_starry-night.jpg"
    assert found("vincent", known) is None, "nothing is known of it but its name"


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ("waves.jpg: {}", "there is no picture 'waves.jpg' in the folder; did you mean 'wave.jpg'?"),
        ("wave.jpg: {paintr: Me}", "wave.jpg: unknown key 'paintr'; did you mean 'painter'?"),
        ("wave.jpg: [a", "is not valid YAML"),
        ("- wave.jpg", "must contain a mapping"),
    ],
)
def test_a_file_of_facts_that_is_wrong(facts: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(HiresNstError, match=sentence.replace("?", r"\?")):
        paintings([folder_of(tmp_path / "mine", "wave.jpg", facts=facts)])


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no picture in the folder of paintings"):
        paintings([tmp_path])
    with pytest.raises(InputError, match="none does not exist"):
        paintings([tmp_path / "none"])
