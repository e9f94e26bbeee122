"""PNG files made chunk by chunk."""

from __future__ import annotations

import struct
import zlib

import numpy as np

Chunks = list[tuple[bytes, bytes]]


def chunk(kind: bytes, data: bytes, *, sound: bool = True) -> bytes:
    """A chunk, or one with a wrong checksum."""
    checksum = zlib.crc32(kind + data) ^ (not sound)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def picture_chunks(samples: np.ndarray) -> tuple[bytes, bytes]:
    """The data of IHDR and IDAT: (H, W[, C]), uint8 or uint16."""
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = samples.astype(samples.dtype.newbyteorder(">")).reshape(len(samples), -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, samples.dtype.itemsize * 8, colour_type, 0, 0, 0)
    return header, zlib.compress(data)


def png(samples: np.ndarray, *before: bytes, after: bytes = b"") -> bytes:
    """A PNG file with whole chunks `before` and `after` the pixels."""
    header, data = picture_chunks(samples)
    parts = (chunk(b"IHDR", header), *before, chunk(b"IDAT", data), after, chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
