"""Directories of tags, as TIFF files and Exif have them; the values stay bytes.

Pillow would guess the types of tags anew when it writes them, and replace letters beyond ASCII.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from typing import BinaryIO

Directory = Mapping[int, tuple[int, bytes]]
"""Tags with the type and the values of each, little-endian."""

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, LONG8 = 1, 2, 3, 4, 5, 7, 16

SIZES = {
    BYTE: 1, ASCII: 1, SHORT: 2, LONG: 4, RATIONAL: 8, 6: 1, UNDEFINED: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
    LONG8: 8, 17: 8, 18: 8, 129: 1,
}  # fmt: skip
"""Bytes of a value by type (129 is UTF-8, of Exif 3.0)."""

_UNITS = {**SIZES, RATIONAL: 4, 10: 4}
"""Bytes whose order depends on the file's; a rational number is two whole ones."""

MAX_VALUE = 1 << 22
"""Bytes of the values of a tag; more is nothing that describes a picture."""


class TagReader:
    """The directories of an open TIFF file or Exif block.

    Attributes:
        first: position of the first directory.
        is_damaged: whether a tag that was asked for could not be read.

    Raises:
        ValueError, struct.error: it starts otherwise, or ends too soon.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.is_damaged = False
        file.seek(0)
        head = file.read(16)
        self.order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
        if not self.order:
            raise ValueError("neither TIFF nor Exif")
        (magic,) = struct.unpack(f"{self.order}H", head[2:4])
        self.is_big = magic == 43
        (self.first,) = self._unpack("Q", head[8:]) if self.is_big else self._unpack("I", head[4:8])

    def directory(self, offset: int, *, wanted: Collection[int], unchanged: Collection[int] = ()) -> Directory:
        """The `wanted` tags of the directory at `offset`; bytes of those `unchanged` are not reordered."""
        count_format, entry_format, inside = ("Q", "HHQ8x", 8) if self.is_big else ("H", "HHI4x", 4)
        (count,) = self._unpack(count_format, self._at(offset, struct.calcsize(count_format)))
        size = struct.calcsize(f"={entry_format}")
        found: dict[int, tuple[int, bytes]] = {}
        for _ in range(min(count, 1 << 16)):
            entry = self._exactly(size)
            tag, kind, values = self._unpack(entry_format[:3], entry[:-inside])
            data = entry[-inside:]
            length = values * SIZES.get(kind, 0)
            if tag not in wanted or tag in found:
                continue
            if length > MAX_VALUE or not length:
                self.is_damaged = True
                continue
            if length > inside:
                position = self.file.tell()
                try:
                    data = self._at(self._unpack("Q" if self.is_big else "I", data)[0], length)
                except (ValueError, OverflowError):
                    self.is_damaged = True
                    continue
                finally:
                    self.file.seek(position)
            data = data[:length]
            found[tag] = kind, data if tag in unchanged else self._little_endian(kind, data)
        return found

    def _little_endian(self, kind: int, data: bytes) -> bytes:
        unit = _UNITS[kind]
        if self.order == "<" or unit == 1:
            return data
        return b"".join(data[start : start + unit][::-1] for start in range(0, len(data), unit))

    def _unpack(self, layout: str, data: bytes) -> tuple[int, ...]:
        return struct.unpack(f"{self.order}{layout}", data)

    def _at(self, offset: int, length: int) -> bytes:
        self.file.seek(offset)
        return self._exactly(length)

    def _exactly(self, length: int) -> bytes:
        data = self.file.read(length)
        if len(data) < length:
            raise ValueError("the directory is cut short")
        return data


def packed(directory: Directory, offset: int, *, big: bool = False) -> bytes:
    """A directory that begins at `offset` (even) of its file, the values after it; little-endian; BigTIFF if `big`."""
    count, entry, inside, pointer = ("<Q", "<HHQ8s", 8, "<Q") if big else ("<H", "<HHI4s", 4, "<I")
    entries = struct.pack(count, len(directory))
    place = offset + len(entries) + len(directory) * struct.calcsize(entry) + inside
    values = b""
    for tag, (kind, data) in sorted(directory.items()):
        number = len(data) // SIZES[kind]
        if len(data) > inside:
            field = struct.pack(pointer, place + len(values))
            values += data + bytes(len(data) % 2)
        else:
            field = data.ljust(inside, b"\0")
        entries += struct.pack(entry, tag, kind, number, field)
    return entries + struct.pack(pointer, 0) + values


def number(directory: Directory, tag: int) -> int | None:
    """The value of a tag that is one whole number, such as the position of another directory."""
    kind, data = directory.get(tag, (0, b""))
    return int.from_bytes(data, "little") if kind in (SHORT, LONG, 13, LONG8, 18) and len(data) == SIZES[kind] else None
