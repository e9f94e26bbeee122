"""Netpbm files (PBM, PGM, PPM) with up to 16 bits, of which Pillow would drop the low ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from hires_nst.imageio.failures import CutShort
from hires_nst.imageio.picture import Raster

_GAP = rb"(?:\s|#[^\n]*\n)+"
_BITMAP = re.compile(rb"P([14])%b(\d+)%b(\d+)\s" % (_GAP, _GAP))
_SAMPLES = re.compile(rb"P([2356])%b(\d+)%b(\d+)%b(\d+)\s" % (_GAP, _GAP, _GAP))


@contextmanager
def open_pnm(file: BinaryIO) -> Iterator[PnmDecoder]:
    """The header of a Netpbm file. Raises ValueError if it is damaged."""
    file.seek(0)
    data = file.read()
    match = _BITMAP.match(data) or _SAMPLES.match(data)
    if match is None:
        raise ValueError("its header is damaged")
    kind, width, height, *peak = map(int, match.groups())
    yield PnmDecoder(data=data[match.end() :], kind=kind, size=(width, height), peak=peak[0] if peak else 1)


@dataclass(frozen=True, kw_only=True)
class PnmDecoder:
    """The first picture of a Netpbm file."""

    data: bytes
    kind: int
    size: tuple[int, int]
    peak: int
    orientation: int = 1
    notes: tuple[str, ...] = ()

    def decode(self) -> Raster:
        """Read the pixels. Raises CutShort, and ValueError if the file is damaged."""
        (width, height), channels = self.size, 3 if self.kind in (3, 6) else 1
        if not 1 <= self.peak <= 65535:
            raise ValueError("its header is damaged")
        row = -(-width // 8) if self.kind == 4 else width * channels
        if self.kind == 1:
            values = np.frombuffer(re.sub(rb"#[^\n]*|[^01]", b"", self.data)[: row * height], np.uint8) - ord("0")
        elif self.kind in (2, 3):
            values = np.array(re.sub(rb"#[^\n]*", b"", self.data).split()[: row * height], np.uint16)
        else:
            values = np.frombuffer(self.data, ">u2" if self.peak > 255 else np.uint8)[: row * height]
        if len(values) < row * height:
            raise CutShort("fewer samples than its header says")
        samples = values.reshape(height, row)
        if self.kind == 4:
            samples = np.unpackbits(samples, axis=1)[:, :width]
        result = np.minimum(np.divide(samples.reshape(height, width, channels), self.peak, dtype=np.float32), 1)
        return Raster(samples=1 - result if self.kind in (1, 4) else result, alpha=None)
