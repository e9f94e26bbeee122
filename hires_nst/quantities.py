"""Times, numbers and names as readable text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

_SINGULAR = (
    ("that are not pictures", "that is not a picture"),
    *((f"{thing}s", thing) for thing in ("file", "folder", "picture", "photograph")),
    ("their", "its"),
    ("them", "it"),
)

UNPRINTABLE = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069]")
"""Characters that break a line, control a terminal, or reverse the text after them."""


def printable(text: str) -> str:
    """Text on one line, whatever names of files are in it: `a\\nb.jpg` with an escaped line break."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def duration(seconds: float) -> str:
    """A time as text: `8.2 s`, `3 min 5 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def megapixels_per_hour(pixels: float, seconds: float | None) -> float | None:
    """The rate at which pixels were painted; None where the time is 0 or unknown."""
    return pixels / 1e6 / seconds * 3600 if seconds else None


def amount(size: float) -> str:
    """Bytes as text: `1.2 GB`, `20.0 MB`, `3.4 kB`, `12 bytes`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size:.0f} bytes"


def parse_amount(text: str) -> int:
    """Bytes from text such as `4 GB`, `1.5gb`, `800 MB` or `2 GiB`.

    Raises:
        ValueError: it is no such amount.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([kmgt]?)(i?)b\s*", text, re.IGNORECASE)
    if found is None:
        raise ValueError(f"{text!r} is no amount of memory; write it as 4 GB or 800 MB")
    step = 1024 if found[3] else 1000
    size = int(float(found[1]) * step ** " kmgt".index(found[2].lower() or " "))
    if size < 1_000_000:
        raise ValueError(f"{text} is too little memory; give at least some hundred MB")
    return size


def number(value: float) -> str:
    """A number with about three significant digits, never with an exponent: `0.012`, `3.45`, `12 345`."""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f}".replace(",", "\u202f")


def counts(amounts: Mapping[str, int]) -> str:
    """Numbers of things, named in the plural, as text: `2 HEIC pictures; 1 hidden file`."""
    parts = []
    for things, count in amounts.items():
        for plural, singular in _SINGULAR if count == 1 else ():
            things = things.replace(plural, singular)
        parts.append(f"{count} {things}")
    return "; ".join(parts)
