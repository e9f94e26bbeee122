"""The tags of Exif that are kept, about the author, taking and place of a photograph; and those of a result."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field, replace
from fractions import Fraction
from io import BytesIO
from typing import BinaryIO

from hires_nst.imageio.metadata.ifd import (
    ASCII,
    LONG,
    LONG8,
    RATIONAL,
    SHORT,
    UNDEFINED,
    Directory,
    TagReader,
    number,
    packed,
)

DESCRIPTION, ARTIST, COPYRIGHT, SOFTWARE, ORIENTATION = 0x010E, 0x013B, 0x8298, 0x0131, 0x0112
RESOLUTION = (0x011A, 0x011B, 0x0128)
"""Tags of the horizontal and the vertical resolution, and of their unit."""

PHOTO_DIRECTORY, PLACE_DIRECTORY = 0x8769, 0x8825
_VERSION, _USER_COMMENT, _DATE, _OFFSET = 0x9000, 0x9286, 0x9003, 0x9011

_MAIN = frozenset({
    DESCRIPTION, 0x010F, 0x0110, 0x0132, ARTIST, COPYRIGHT, *RESOLUTION,  # 0x010F, 0x0110: make and model
    0x4746, 0x4749, *range(0x9C9B, 0x9CA0),  # rating; title, comment, author, keywords and subject of Windows
})  # fmt: skip
_PHOTO = frozenset({
    0x829A, 0x829D, 0x8822, 0x8824, 0x8827, *range(0x8830, 0x8836),  # exposure, sensitivity
    _VERSION, _DATE, 0x9004, *range(0x9010, 0x9013), *range(0x9290, 0x9293),  # version; dates with fractions and zones
    *range(0x9201, 0x920B), _USER_COMMENT, *range(0x9400, 0x9406),  # exposure, lens, flash; temperature, depth
    0xA20B, 0xA215, 0xA217, 0xA300, 0xA301, *range(0xA401, 0xA40B), 0xA40C,  # how the picture was taken
    *range(0xA430, 0xA43A),  # owner, camera and lens; title, photographer and editors
})  # fmt: skip
_PLACE = frozenset(range(32))
_LAYOUT = re.compile(
    rb'\{"shape":|ImageJ=|SCANIMAGE|Aperio Image|(?:<\?xml.*?\?>)?\s*(?:<!--.*?-->)?\s*<OME', re.DOTALL
)
"""Descriptions that programs of microscopy write about the pages of one file, and read again before its own tags."""


@dataclass(frozen=True, kw_only=True)
class ExifTags:
    """The tags that describe a picture; those about the place are apart.

    What belongs to the pixels of one file (size, colours, orientation, previews, maker's notes) is not among them.
    """

    main: Directory = field(default_factory=dict)
    photo: Directory = field(default_factory=dict)
    place: Directory = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.main or self.photo or self.place)

    @property
    def says_something(self) -> bool:
        """Whether there are other tags than every file may have."""
        return bool(self.main.keys() - set(RESOLUTION) or self.photo.keys() - {_VERSION} or self.place)

    def of_picture(self, size: tuple[int, int], *, dpi: float | None) -> ExifTags:
        """With what is true of an upright sRGB picture of this (width, height)."""
        main = {tag: value for tag, value in self.main.items() if tag not in RESOLUTION}
        main |= {ORIENTATION: (SHORT, struct.pack("<H", 1)), **resolution(dpi)}
        colours = {0xA001: (SHORT, struct.pack("<H", 1))}  # sRGB
        sides = {0xA002 + index: (LONG, struct.pack("<I", side)) for index, side in enumerate(size)}
        return replace(self, main=main, photo={_VERSION: (UNDEFINED, b"0232"), **self.photo, **colours, **sides})

    def block(self) -> bytes:
        """All of it, from the header on, as JPEG, PNG and WebP files contain it; empty if there is nothing."""
        return struct.pack("<2sHI", b"II", 42, 8) + self.packed(8) if self else b""

    def packed(self, offset: int, *, big: bool = False) -> bytes:
        """The directories, the main one first, for a place at `offset` (even) in a TIFF file; BigTIFF if `big`."""
        further = {tag: tags for tag, tags in ((PHOTO_DIRECTORY, self.photo), (PLACE_DIRECTORY, self.place)) if tags}
        kind, layout = (LONG8, "<Q") if big else (LONG, "<I")
        pointers = {tag: (kind, struct.pack(layout, 0)) for tag in further}
        end = offset + len(packed({**self.main, **pointers}, offset, big=big))
        behind = b""
        for tag, tags in further.items():
            pointers[tag] = kind, struct.pack(layout, end + len(behind))
            behind += packed(tags, end + len(behind), big=big)
        return packed({**self.main, **pointers}, offset, big=big) + behind

    def text(self, tag: int) -> str:
        """The text of a tag, empty if there is none: UTF-8, as most programs write, or else Latin-1."""
        kind, data = self.main.get(tag) or self.photo.get(tag) or (0, b"")
        if kind not in (ASCII, 129):
            return ""
        data = data.partition(b"\0")[0]
        try:
            return data.decode().strip()
        except UnicodeDecodeError:
            return data.decode("latin-1").strip()

    @property
    def date(self) -> str:
        """When the photograph was taken, such as 2024-05-01T10:00:00+02:00; empty if that is not known."""
        day, _, clock = self.text(_DATE).partition(" ")
        return f"{day.replace(':', '-')}T{clock}{self.text(_OFFSET)}" if clock else ""

    @property
    def dpi(self) -> float | None:
        """Dots per inch, if they are noted."""
        kind, data = self.main.get(RESOLUTION[0], (0, b""))
        above, below = struct.unpack("<II", data) if kind == RATIONAL and len(data) == 8 else (0, 0)
        return above / below if above and below and number(self.main, RESOLUTION[2]) == 2 else None

    def with_software(self, name: str) -> ExifTags:
        """Made by this program."""
        return replace(self, main={**self.main, SOFTWARE: (ASCII, name.encode() + b"\0")})


def resolution(dpi: float | None) -> Directory:
    """The tags of a resolution in dots per inch; none for None."""
    if dpi is None:
        return {}
    ratio = Fraction(dpi).limit_denominator(1000)
    value = RATIONAL, struct.pack("<II", ratio.numerator, ratio.denominator)
    return {RESOLUTION[0]: value, RESOLUTION[1]: value, RESOLUTION[2]: (SHORT, struct.pack("<H", 2))}


def read_exif(block: bytes) -> tuple[ExifTags, bool]:
    """The Exif of a block as JPEG, PNG and WebP files contain it, and whether a part of it is damaged."""
    return exif_in(BytesIO(block.removeprefix(b"Exif\0\0")))


def exif_in(file: BinaryIO) -> tuple[ExifTags, bool]:
    """The Exif of an open TIFF file or block, and whether a part of it is damaged."""
    try:
        reader = TagReader(file)
        main = reader.directory(reader.first, wanted=_MAIN | {PHOTO_DIRECTORY, PLACE_DIRECTORY})
    except (ValueError, OverflowError, struct.error):
        return ExifTags(), True
    parts: list[Directory] = []
    for pointer, wanted in ((PHOTO_DIRECTORY, _PHOTO), (PLACE_DIRECTORY, _PLACE)):
        offset = number(main, pointer)
        try:
            parts.append({} if offset is None else reader.directory(offset, wanted=wanted))
        except (ValueError, OverflowError, struct.error):
            parts.append({})
            reader.is_damaged = True
    photo, place = parts
    kind, comment = photo.get(_USER_COMMENT, (0, b""))
    if reader.order == ">" and comment.startswith(b"UNICODE\0"):  # text in the order of the block
        turned = comment[8:].decode("utf-16-be", "replace").encode("utf-16-le")
        photo = {**photo, _USER_COMMENT: (kind, comment[:8] + turned)}
    main = {tag: value for tag, value in main.items() if tag in _MAIN}
    if _LAYOUT.match(main.get(DESCRIPTION, (0, b""))[1]):
        del main[DESCRIPTION]
    return ExifTags(main=main, photo=photo, place=place), reader.is_damaged
