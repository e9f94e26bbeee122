"""Paper sizes, dots per inch, bleed and fit: from a physical sheet to pixels."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Literal

from hires_nst.errors import ConfigError

MM_PER_INCH = 25.4
MAX_SIDE_MM = 20_000.0


def _halved(series: str, size: tuple[float, float]) -> dict[str, tuple[float, float]]:
    """The sizes 0 to 10 of a series of ISO 216 or 269: each is half of the last one, rounded down to millimetres."""
    sizes = {}
    for number in range(11):
        sizes[f"{series}{number}"] = size
        size = size[1] // 2, size[0]
    return sizes


_INCHES = {
    "letter": (8.5, 11), "legal": (8.5, 14), "tabloid": (11, 17), "ledger": (11, 17), "executive": (7.25, 10.5),
    "super-B": (13, 19), "ANSI-A": (8.5, 11), "ANSI-B": (11, 17), "ANSI-C": (17, 22),
    "ANSI-D": (22, 34), "ANSI-E": (34, 44), "ARCH-A": (9, 12), "ARCH-B": (12, 18), "ARCH-C": (18, 24),
    "ARCH-D": (24, 36), "ARCH-E": (36, 48),
}  # fmt: skip
_NAMED_MM = {
    **_halved("A", (841.0, 1189.0)),
    **_halved("B", (1000.0, 1414.0)),
    **_halved("C", (917.0, 1297.0)),
    **{
        name: (round(width * MM_PER_INCH, 2), round(height * MM_PER_INCH, 2))
        for name, (width, height) in _INCHES.items()
    },
}
PAPERS = "A0 to A10, B0 to B10, C0 to C10, letter, legal, tabloid, executive, super-B, ANSI-A to E, ARCH-A to E"
_UNIT_MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "in": MM_PER_INCH}
_NUMBER, _UNIT = r"([0-9]+(?:[.,][0-9]+)?|[.,][0-9]+)", "(mm|cm|m|inches|inch|in)?"
_SIDES = re.compile(rf"{_NUMBER}\s*{_UNIT}\s*[x×]\s*{_NUMBER}\s*{_UNIT}")


@dataclass(frozen=True)
class Paper:
    """A sheet of paper; a named one stands upright (width <= height), an explicit one is as it was given."""

    name: str
    width_mm: float
    height_mm: float


@dataclass(frozen=True)
class Placement:
    """Which part of the content becomes the print, and the size of the print.

    `crop` is (left, top, width, height) in content pixels, not rounded; `width` and `height` are output pixels.
    """

    crop: tuple[float, float, float, float]
    width: int
    height: int


def parse_paper(text: str) -> Paper:
    """The sheet that `text` names, such as "A4" or "letter", or a size such as "60x40cm" or "24 x 36 in".

    Raises ConfigError for an unknown name, a size without a unit, and a side that is not above 0 and below 20 m.
    """
    wanted = re.sub("^(din|iso)[ _-]*", "", text.strip().lower())
    for name, (width, height) in _NAMED_MM.items():
        if re.sub("[ _-]", "", wanted) == re.sub("-", "", name.lower()):
            return Paper(name, width, height)
    if turned := re.fullmatch(r"(.+?)[ _-]*(landscape|portrait)", wanted):
        raise ConfigError(
            f"{text!r} is not a paper size: paper is turned as the photograph, so write {turned[1].upper()!r}"
        )
    match = _SIDES.fullmatch(wanted.replace('"', "in"))
    if match is None:
        names = {name.lower(): name for name in _NAMED_MM}
        near = difflib.get_close_matches(wanted, names, n=1)
        hint = f"did you mean {names[near[0]]!r}? Other" if near else f"known are {PAPERS}; other"
        raise ConfigError(f"{text!r} is not a paper size; {hint} sizes are written like 60x40cm or 24x36in")
    first, unit_before, second, unit = match.groups()
    if "," in wanted:
        raise ConfigError(f"{text!r} has a comma; write it with a point: {wanted.replace(',', '.')!r}")
    if unit is None and unit_before is None:
        raise ConfigError(f"{text!r} has no unit; write {first}x{second}cm or {first}x{second}in")
    if unit is None or unit_before not in (None, unit):
        raise ConfigError(f"{text!r} needs one unit, at its end; write it like 60x40cm or 24x36in")
    unit = "in" if unit.startswith("in") else unit
    width, height = float(first) * _UNIT_MM[unit], float(second) * _UNIT_MM[unit]
    if not (0 < width < MAX_SIDE_MM and 0 < height < MAX_SIDE_MM):
        raise ConfigError(f"the paper size {text!r} is not possible; give two sides above 0 and below 20 m")
    return Paper(f"{first}x{second}{unit}", width, height)


def pixels(paper: Paper, *, dpi: float, bleed_mm: float = 0.0) -> tuple[int, int]:
    """The (width, height) in pixels of `paper` at `dpi` dots per inch, with `bleed_mm` added on each of the four sides.

    Each side is rounded to the nearest pixel and is at least 1. Raises ConfigError unless dpi > 0 and bleed_mm >= 0.
    """
    if not 0 < dpi < float("inf"):
        raise ConfigError(f"the resolution of {dpi} dpi is not possible; give a number above 0, such as 300")
    if not 0 <= bleed_mm < MAX_SIDE_MM:
        raise ConfigError(f"the bleed of {bleed_mm} mm is not possible; give 0 or a few millimetres")
    width, height = (
        max(1, round((side + 2 * bleed_mm) / MM_PER_INCH * dpi)) for side in (paper.width_mm, paper.height_mm)
    )
    return width, height


def fit(size: tuple[int, int], paper_pixels: tuple[int, int], *, mode: Literal["cover", "contain"]) -> Placement:
    """Place a content image of `size` on a sheet of `paper_pixels`, both (width, height) in pixels, at least 1.

    The sheet is turned to the content's orientation; for a square one it stays as it is. With "cover" the output
    is exactly the sheet, and the content is cropped centrally to the sheet's aspect ratio. With "contain" nothing is
    cropped, and the output is the largest size of the content's aspect ratio that fits in the sheet.
    """
    (content_width, content_height), (sheet_width, sheet_height) = size, paper_pixels
    if (content_width - content_height) * (sheet_width - sheet_height) < 0:
        sheet_width, sheet_height = sheet_height, sheet_width
    content_is_wider = content_width * sheet_height >= content_height * sheet_width  # than the sheet, by aspect ratio
    if mode == "cover":
        width, height = float(content_width), float(content_height)
        if content_is_wider:
            width = min(width, content_height * sheet_width / sheet_height)
        else:
            height = min(height, content_width * sheet_height / sheet_width)
        crop = ((content_width - width) / 2, (content_height - height) / 2, width, height)
        return Placement(crop, sheet_width, sheet_height)
    if content_is_wider:
        sheet_height = min(sheet_height, max(1, round(content_height * sheet_width / content_width)))
    else:
        sheet_width = min(sheet_width, max(1, round(content_width * sheet_height / content_height)))
    return Placement((0.0, 0.0, float(content_width), float(content_height)), sheet_width, sheet_height)


def central_crop(size: tuple[int, int], like: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest centred part of `size` with the proportions of `like`, both (width, height): left, top, its size."""
    width, height = size
    part = min(width / like[0], height / like[1])
    across, down = min(like[0] * part, width), min(like[1] * part, height)  # rounding may make it a little larger
    return (width - across) / 2, (height - down) / 2, across, down
