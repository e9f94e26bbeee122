"""IPTC, the older form of captions (IIM), alone or inside Photoshop's resources.

Sources: IPTC-NAA Information Interchange Model, version 4.2; Adobe Photoshop File Formats Specification.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

DataSet = tuple[int, int, bytes]
"""Record, number and content of a field; (2, 80) is the author."""

IIM_RESOURCE = 0x0404
AUTHOR, COPYRIGHT, DESCRIPTION, TITLE, DATE = (2, 80), (2, 116), (2, 120), (2, 5), (2, 55)

PLACE = frozenset((2, number) for number in (26, 27, 90, 92, 95, 100, 101))
"""Location code and name, city, sublocation, state, country code and name."""

_PREVIEW = frozenset((2, number) for number in (200, 201, 202))
_CHARACTER_SET, _UTF8 = (1, 90), b"\x1b%G"


def data_sets(iim: bytes) -> list[DataSet]:
    """The fields but for previews; ValueError where the bytes are not IIM."""
    found, position = [], 0
    while position < len(iim) and iim[position]:  # zeros may follow, to fill up
        if len(iim) < position + 5 or iim[position] != 0x1C:
            raise ValueError("not IPTC")
        record, number, length = struct.unpack(">BBH", iim[position + 1 : position + 5])
        position += 5
        if length & 0x8000:  # the length of the length
            digits = length & 0x7FFF
            length = int.from_bytes(iim[position : position + digits], "big") if digits <= 4 else len(iim)
            position += digits
        if position + length > len(iim):
            raise ValueError("IPTC is cut short")
        if (record, number) not in _PREVIEW:
            found.append((record, number, iim[position : position + length]))
        position += length
    return found


def packed(fields: Sequence[DataSet]) -> bytes:
    """The fields as bytes."""
    return b"".join(_packed(data_set) for data_set in fields)


def _packed(data_set: DataSet) -> bytes:
    record, number, content = data_set
    size = struct.pack(">H", len(content)) if len(content) < 0x8000 else struct.pack(">HI", 0x8004, len(content))
    return bytes([0x1C, record, number]) + size + content


def text(fields: Sequence[DataSet], wanted: tuple[int, int]) -> str:
    """The content of a field, several of them with semicolons; empty if there is none."""
    is_utf8 = (*_CHARACTER_SET, _UTF8) in fields
    found = [content for record, number, content in fields if (record, number) == wanted]
    return "; ".join(content.decode("utf-8" if is_utf8 else "latin-1", "replace").strip() for content in found)


def date(fields: Sequence[DataSet]) -> str:
    """The date of creation, such as 2024-05-01; empty if it is not known."""
    day = text(fields, DATE)
    return f"{day[:4]}-{day[4:6]}-{day[6:]}" if len(day) == 8 and day.isdecimal() else ""


def in_resources(data: bytes) -> bytes:
    """The IIM among Photoshop's resources, empty if there is none; ValueError where the bytes are neither."""
    return next((content for kind, content in _resources(data) if kind == IIM_RESOURCE), b"")


def as_resource(iim: bytes) -> bytes:
    """IIM as the only one of Photoshop's resources."""
    return struct.pack(">4sHHI", b"8BIM", IIM_RESOURCE, 0, len(iim)) + iim + bytes(len(iim) % 2)


def _resources(data: bytes) -> Iterator[tuple[int, bytes]]:
    data, position = data.removeprefix(b"Photoshop 3.0\0"), 0
    while len(data) >= position + 12:
        signature, kind, name = struct.unpack(">4sHB", data[position : position + 7])
        if signature not in (b"8BIM", b"MeSa", b"PHUT", b"DCSR", b"AgHg"):
            raise ValueError("no resources of Photoshop")
        position += 6 + (name + 2) // 2 * 2  # the name with its length, of even size
        (length,) = struct.unpack(">I", data[position : position + 4].rjust(4, b"\0"))
        position += 4
        if position + length > len(data):
            raise ValueError("Photoshop's resources are cut short")
        yield kind, data[position : position + length]
        position += length + length % 2
