"""Paper sizes, resolutions and fits."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hires_nst.errors import ConfigError
from hires_nst.imageio.paper import Paper, Placement, fit, parse_paper, pixels

sides = st.integers(1, 40_000)
sheets = st.tuples(sides, sides)


@pytest.mark.parametrize(
    ("text", "paper"),
    [
        ("A4", Paper("A4", 210.0, 297.0)),
        (" a0 ", Paper("A0", 841.0, 1189.0)),
        ("Letter", Paper("letter", 215.9, 279.4)),
        ("LEGAL", Paper("legal", 215.9, 355.6)),
        ("tabloid", Paper("tabloid", 279.4, 431.8)),
        ("60x40cm", Paper("60x40cm", 600.0, 400.0)),
        ("24in x 36in", Paper("24x36in", 609.5999999999999, 914.4)),
        ("600 x 400 mm", Paper("600x400mm", 600.0, 400.0)),
        ("29.7X42 CM", Paper("29.7x42cm", 297.0, 420.0)),
        ("20×30cm", Paper("20x30cm", 200.0, 300.0)),
    ],
)
def test_papers_are_parsed(text: str, paper: Paper) -> None:
    assert parse_paper(text) == paper


@pytest.mark.parametrize(
    ("text", "sides"),
    [
        ("A7", (74, 105)), ("a10", (26, 37)), ("B0", (1000, 1414)), ("b4", (250, 353)), ("B10", (31, 44)),
        ("C5", (162, 229)), ("c10", (28, 40)), ("ledger", (279.4, 431.8)), ("executive", (184.15, 266.7)),
        ("super b", (330.2, 482.6)), ("ANSI C", (431.8, 558.8)), ("ansi-e", (863.6, 1117.6)), ("archd", (609.6, 914.4)),
        ("10x15cm", (100, 150)), ("13 x 18 cm", (130, 180)), ("4x6in", (101.6, 152.4)), ("8x10 inches", (203.2, 254)),
        ("0.5x1m", (500, 1000)), ("30cmx40cm", (300, 400)),
        ('8x10"', (203.2, 254)), ("DIN A4", (210, 297)), ("iso-b4", (250, 353)),
    ],
)  # fmt: skip
def test_every_iso_us_and_photo_size(text: str, sides: tuple[float, float]) -> None:
    paper = parse_paper(text)
    assert (paper.width_mm, paper.height_mm) == pytest.approx(sides)


def test_every_iso_size_has_half_the_area_of_the_last_one() -> None:
    for series in "ABC":
        papers = [parse_paper(f"{series}{number}") for number in range(11)]
        for large, small in pairwise(papers):
            assert (small.height_mm, small.width_mm) == (large.width_mm, large.height_mm // 2)
            assert large.height_mm / large.width_mm == pytest.approx(2**0.5, rel=0.03)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "'' is not a paper size; known are A0 to A10"),
        ("A11", "'A11' is not a paper size; did you mean 'A1'? Other sizes"),
        ("letre", "did you mean 'letter'?"),
        ("60x40", "'60x40' has no unit; write 60x40cm or 60x40in"),
        ("29,7x42cm", "'29,7x42cm' has a comma; write it with a point: '29.7x42cm'"),
        ("A3 landscape", "paper is turned as the photograph, so write 'A3'"),
        ("60x40px", "other sizes are written like 60x40cm or 24x36in"),
        ("-60x40cm", "other sizes are written like"),
        ("0x40cm", "give two sides above 0 and below 20 m"),
        ("60cm x 40in", "needs one unit, at its end"),
        ("60cm x 40", "needs one unit, at its end"),
        ("2000x30cm", "below 20 m"),
        ("9" * 400 + "x1mm", "below 20 m"),
        ("٣٠x٤٠cm", "is not a paper size"),
    ],
)
def test_impossible_papers_are_refused(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_paper(text)
    assert repr(text) in str(caught.value) and sentence in str(caught.value)


def test_a_misspelt_paper_gets_a_suggestion_and_an_example() -> None:
    with pytest.raises(ConfigError, match=r"'leter' is not a paper size; did you mean 'letter'\?.*60x40cm"):
        parse_paper("leter")


@pytest.mark.parametrize(
    ("name", "dpi", "bleed_mm", "size"),
    [
        ("A6", 300, 0, (1240, 1748)),
        ("A4", 300, 0, (2480, 3508)),
        ("A0", 300, 0, (9933, 14043)),
        ("A4", 72, 0, (595, 842)),
        ("A4", 300, 3, (2551, 3579)),
        ("letter", 300, 0, (2550, 3300)),
        ("60x40cm", 150, 0, (3543, 2362)),
        ("1x1mm", 1, 0, (1, 1)),
    ],
)
def test_sheets_in_pixels(name: str, dpi: float, bleed_mm: float, size: tuple[int, int]) -> None:
    assert pixels(parse_paper(name), dpi=dpi, bleed_mm=bleed_mm) == size


@pytest.mark.parametrize(("dpi", "bleed_mm"), [(0, 0), (-1, 0), (float("nan"), 0), (float("inf"), 0), (300, -1)])
def test_impossible_resolutions_and_bleeds_are_refused(dpi: float, bleed_mm: float) -> None:
    with pytest.raises(ConfigError):
        pixels(parse_paper("A4"), dpi=dpi, bleed_mm=bleed_mm)


@pytest.mark.parametrize(
    ("content", "sheet", "mode", "placement"),
    [
        ((300, 200), (100, 100), "cover", Placement((50.0, 0.0, 200.0, 200.0), 100, 100)),
        ((200, 300), (100, 100), "cover", Placement((0.0, 50.0, 200.0, 200.0), 100, 100)),
        ((400, 200), (100, 150), "cover", Placement((50.0, 0.0, 300.0, 200.0), 150, 100)),  # the sheet is turned
        ((200, 400), (150, 100), "cover", Placement((0.0, 50.0, 200.0, 300.0), 100, 150)),
        ((200, 200), (100, 150), "cover", Placement((33.33333333333333, 0.0, 133.33333333333334, 200.0), 100, 150)),
        ((400, 200), (100, 150), "contain", Placement((0.0, 0.0, 400.0, 200.0), 150, 75)),
        ((200, 300), (100, 100), "contain", Placement((0.0, 0.0, 200.0, 300.0), 67, 100)),
        ((1, 1000), (10, 10), "contain", Placement((0.0, 0.0, 1.0, 1000.0), 1, 10)),
    ],
)
def test_fits(content: tuple[int, int], sheet: tuple[int, int], mode: str, placement: Placement) -> None:
    assert fit(content, sheet, mode=mode) == placement  # type: ignore[arg-type]


@given(sides, sides, sheets)
def test_cover_fills_the_sheet_from_a_centred_crop(width: int, height: int, sheet: tuple[int, int]) -> None:
    placed = fit((width, height), sheet, mode="cover")
    left, top, crop_width, crop_height = placed.crop
    assert sorted((placed.width, placed.height)) == sorted(sheet)
    assert (width - height) * (placed.width - placed.height) >= 0
    assert left >= 0 and top >= 0 and crop_width > 0 and crop_height > 0
    assert left + crop_width <= width * (1 + 1e-12) and top + crop_height <= height * (1 + 1e-12)
    assert left == pytest.approx(width - left - crop_width, abs=1e-6)
    assert top == pytest.approx(height - top - crop_height, abs=1e-6)
    assert crop_width * placed.height == pytest.approx(crop_height * placed.width, rel=1e-9)


@given(sides, sides, sheets)
def test_contain_keeps_the_whole_content_and_touches_a_side(width: int, height: int, sheet: tuple[int, int]) -> None:
    placed = fit((width, height), sheet, mode="contain")
    turned = sheet if (width - height) * (sheet[0] - sheet[1]) >= 0 else sheet[::-1]
    assert placed.crop == (0, 0, width, height)
    assert 1 <= placed.width <= turned[0] and 1 <= placed.height <= turned[1]
    assert placed.width == turned[0] or placed.height == turned[1]
    scale = min(turned[0] / width, turned[1] / height)
    assert placed.width == pytest.approx(max(1, width * scale), abs=0.5 + 1e-6)
    assert placed.height == pytest.approx(max(1, height * scale), abs=0.5 + 1e-6)
