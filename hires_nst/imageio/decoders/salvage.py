"""JPEG and WebP files whose damaged metadata stop Pillow: the same picture without the damage."""

from __future__ import annotations

import struct

_START_OF_IMAGE, _START_OF_SCAN = b"\xff\xd8", 0xDA
_NOT_METADATA = frozenset(range(0xC0, 0xE0))
_PICTURE_CHUNKS = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF")
_METADATA_CHUNKS = (b"ICCP", b"EXIF", b"XMP ")


def without_damaged_metadata(data: bytes) -> bytes | None:
    """A JPEG or WebP file without the parts that are not the picture and are damaged; None for another file."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    return _jpeg(data) if data[:2] == _START_OF_IMAGE else None


def _jpeg(data: bytes) -> bytes:
    """Without application segments that are too short for what they claim to be, or of no use to Pillow."""
    parts, position = [_START_OF_IMAGE], 2
    while (position := data.find(b"\xff", position)) >= 0 and position + 4 <= len(data):
        marker, (length,) = data[position + 1], struct.unpack(">H", data[position + 2 : position + 4])
        if marker == _START_OF_SCAN:
            break
        if marker < min(_NOT_METADATA) or marker == 0xFF or length < 2:  # filling, or nothing with a length
            position += 1
            continue
        segment = data[position : position + 2 + length]
        if marker in _NOT_METADATA or _is_sound(marker, segment[4:]):
            parts.append(segment)
        position += 2 + length
    return b"".join(parts) + (data[position:] if position >= 0 else b"")


def _is_sound(marker: int, body: bytes) -> bool:
    """Whether Pillow needs an application segment and can read it: JFIF, Exif or XMP, a part of a profile, Adobe."""
    wanted = {0xE0: (b"JFIF\0", 14), 0xE1: (b"", 0), 0xE2: (b"ICC_PROFILE\0", 15), 0xEE: (b"Adobe", 12)}
    start, shortest = wanted.get(marker, (b"", 1 << 16))
    return body.startswith(start) and len(body) >= shortest


def _webp(data: bytes) -> bytes:
    """Without chunks that are no part of the picture or are cut short, and with the right length in front."""
    parts, position = [], 12
    while position + 8 <= len(data):
        kind, length = struct.unpack("<4sI", data[position : position + 8])
        chunk = data[position : position + 8 + length]
        if kind in _PICTURE_CHUNKS or (kind in _METADATA_CHUNKS and len(chunk) == 8 + length):
            parts.append(chunk + bytes(length % 2))
        position += 8 + length + length % 2
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body
