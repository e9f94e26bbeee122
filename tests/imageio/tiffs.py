"""TIFF files and Exif made entry by entry."""

from __future__ import annotations

import struct

import numpy as np

Entries = dict[int, tuple[int, int, bytes]]
"""Tag to type, count and value."""

SHORT, LONG, RATIONAL, UNDEFINED = 3, 4, 5, 7


def short(*values: int) -> tuple[int, int, bytes]:
    return SHORT, len(values), struct.pack(f"<{len(values)}H", *values)


def long(*values: int) -> tuple[int, int, bytes]:
    return LONG, len(values), struct.pack(f"<{len(values)}I", *values)


def rational(*values: float) -> tuple[int, int, bytes]:
    parts = [part for value in values for part in (round(value * 100_000), 100_000)]
    return RATIONAL, len(values), struct.pack(f"<{len(parts)}I", *parts)


def directory(entries: Entries, start: int) -> bytes:
    """A directory that begins at `start`, with the values behind it."""
    values, head = b"", struct.pack("<H", len(entries))
    after = start + 2 + 12 * len(entries) + 4
    for tag, (kind, count, value) in sorted(entries.items()):
        if len(value) > 4:
            where = struct.pack("<I", after + len(values))
            values += value + bytes(len(value) % 2)
            value = where
        head += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
    return head + bytes(4) + values


def tiff(entries: Entries, *, data: bytes = b"", exif: Entries | None = None, interoperability: str = "") -> bytes:
    """A TIFF file of one strip, whose bytes begin at 8, with an Exif directory and an interoperability index in it."""
    file = b"II*\0" + bytes(4) + data + bytes(len(data) % 2)
    exif = dict(exif or {})
    if interoperability:
        exif[0xA005] = long(len(file))
        file += directory({1: (2, len(interoperability) + 1, interoperability.encode() + b"\0")}, len(file))
    if exif:
        entries = {**entries, 0x8769: long(len(file))}
        file += directory(exif, len(file))
    return file[:4] + struct.pack("<I", len(file)) + file[8:] + directory(entries, len(file))


def page(samples: np.ndarray, *, photometric: int = 2, **extra: tuple[int, int, bytes]) -> Entries:
    """The entries of an uncompressed page of (H, W[, C]) in one strip at byte 8; further tags as t301=..."""
    height, width = samples.shape[:2]
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    entries: Entries = {
        256: long(width),
        257: long(height),
        258: short(*[8 * samples.dtype.itemsize] * channels),
        259: short(1),
        262: short(photometric),
        273: long(8),
        277: short(channels),
        278: long(height),
        279: long(samples.nbytes),
        339: short(*[{"u": 1, "i": 2, "f": 3}[samples.dtype.kind]] * channels),
    }
    return entries | {int(name[1:]): value for name, value in extra.items()}


def exif_bytes(exif: Entries, *, interoperability: str = "", main: Entries | None = None) -> bytes:
    """Exif as JPEG, PNG and WebP hold it."""
    return tiff(main or {}, exif=exif, interoperability=interoperability)
