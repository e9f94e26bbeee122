"""The colours of BMP files, whose headers of version 4 and 5 say more than Pillow reads.

See BITMAPV5HEADER at https://learn.microsoft.com/windows/win32/api/wingdi/ns-wingdi-bitmapv5header.
"""

from __future__ import annotations

import struct
from typing import IO

import numpy as np

from hires_nst.imageio.colour import DAMAGED_PROFILE, IMPOSSIBLE, ColourSpace, Notes, from_chromaticities

_CALIBRATED, _EMBEDDED = 0, 0x4D424544
_START, _VERSION_4, _VERSION_5 = 14, 108, 124
_SPACE, _ENDPOINTS, _GAMMAS, _PROFILE = 70, 74, 110, 126


def bmp_colours(file: IO[bytes]) -> tuple[bytes | None, ColourSpace | None, Notes]:
    """The embedded profile and the calibrated colour space of a BMP file, with notes."""
    file.seek(0)
    head = file.read(_START + _VERSION_5)
    if len(head) < _START + _VERSION_5 or (version := _integers(head, _START)[0]) < _VERSION_4:
        return None, None, ()
    (kind,) = _integers(head, _SPACE)
    if kind == _EMBEDDED and version >= _VERSION_5:
        where, length = _integers(head, _PROFILE, count=2)
        file.seek(_START + where)
        profile = file.read(length)
        return (profile, None, ()) if length and len(profile) == length else (None, None, (DAMAGED_PROFILE,))
    endpoints, gammas = _integers(head, _ENDPOINTS, count=9), _integers(head, _GAMMAS, count=3)
    if kind != _CALIBRATED or not any(endpoints):
        return None, None, ()
    xyz = np.array(endpoints, float).reshape(3, 3)
    try:
        white, *primaries = (row[:2] / row.sum() for row in (xyz.sum(0), *xyz))
        space = from_chromaticities(
            white=white.tolist(),
            primaries=np.concatenate(primaries).tolist(),
            gamma=gammas[0] / 65536 if any(gammas) else None,
            source="BMP header",
        )
    except ValueError:
        return None, None, (IMPOSSIBLE,)
    return None, space, ()


def _integers(head: bytes, start: int, *, count: int = 1) -> tuple[int, ...]:
    return struct.unpack(f"<{count}I", head[start : start + 4 * count])
