"""JPEG 2000 files: 8 bits through Pillow, more through imagecodecs."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import BinaryIO

import numpy as np

from hires_nst.imageio.decoders.pillow import image_samples, open_image, split_alpha
from hires_nst.imageio.failures import SIGNED, CutShort, Unsupported
from hires_nst.imageio.picture import Raster
from hires_nst.imageio.transparency import unpremultiplied

_CODESTREAM = b"\xff\x4f\xff\x51"
_CMYK, _YCC = 12, 18
_SPACES = frozenset({_CMYK, 16, 17, _YCC})
"""Enumerated colour spaces that are read (ISO/IEC 15444-1, I.5.3.3); the others are sRGB and grey."""
_PREMULTIPLIED = 2


@dataclass(kw_only=True)
class _Boxes:
    """What the boxes around a codestream say: `meanings` of the channels, 0 a colour, 1 opacity, 2 premultiplied."""

    profile: bytes | None = None
    space: int | None = None
    palette: bool = False
    meanings: set[int] = field(default_factory=set)


@contextmanager
def open_jpeg2000(file: BinaryIO) -> Iterator[Jpeg2000Decoder]:
    """The header of a JPEG 2000 file, or of a bare codestream. Raises Unsupported for channels that are not read."""
    file.seek(0)
    data = file.read()
    boxes = _Boxes()
    if not data.startswith(_CODESTREAM):
        _read_boxes(data, boxes)
    start = data.find(_CODESTREAM)
    if start < 0 or len(data) < start + 42:
        raise CutShort("no picture in it")
    header = data[start + 4 :]
    yield Jpeg2000Decoder(data=data, boxes=boxes, header=header, depth=_checked_depth(header, boxes))


@dataclass(frozen=True, kw_only=True)
class Jpeg2000Decoder:
    """A JPEG 2000 file; `header` is its marker SIZ, from the length on, `depth` the bits of a sample."""

    data: bytes
    boxes: _Boxes
    header: bytes
    depth: int
    orientation: int = 1
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        right, bottom, left, top = struct.unpack(">4I", self.header[4:20])
        return right - left, bottom - top

    def decode(self) -> Raster:
        """Read the pixels; raises what Pillow and imagecodecs do over a damaged file."""
        boxes, depth = self.boxes, self.depth
        if depth > 8:
            import imagecodecs

            deep = np.asarray(imagecodecs.jpeg2k_decode(self.data))
            samples = np.asarray(np.divide(deep, (1 << depth) - 1, dtype=np.float32))
            samples, alpha = (samples, None) if boxes.space == _CMYK else split_alpha(samples)
        else:
            with open_image(BytesIO(self.data), ["JPEG2000"]) as image:
                if image.size != self.size:
                    raise ValueError("a JPEG 2000 that contradicts itself")
                samples, alpha = image_samples(image)
        if alpha is not None and _PREMULTIPLIED in boxes.meanings:
            samples = unpremultiplied(samples, alpha)
        return Raster(samples=samples, alpha=alpha, profile=boxes.profile)


def _checked_depth(header: bytes, boxes: _Boxes) -> int:
    """The bits of a sample; raises Unsupported if the channels or colours are not read."""
    (count,) = struct.unpack(">H", header[36:38])
    components = list(struct.iter_unpack(">BBB", header[38 : 38 + 3 * count]))
    depth: int = max((kind & 0x7F) + 1 for kind, _, _ in components)
    if any(kind & 0x80 for kind, _, _ in components):
        raise Unsupported(SIGNED)
    if boxes.space is not None and boxes.space not in _SPACES:
        raise Unsupported(f"is a JPEG 2000 in colour space {boxes.space}; save it as PNG or TIFF in sRGB")
    plain = len(set(components)) == 1 and not boxes.palette and boxes.space != _YCC
    if count > 4 or depth > 16 or (depth > 8 and not plain):
        raise Unsupported(
            f"is a JPEG 2000 of {count} channels of {depth} bits of an unusual kind; save it as PNG or TIFF in RGB"
        )
    return depth


def _read_boxes(data: bytes, boxes: _Boxes) -> None:
    """Note what the boxes in `data` say, those inside the header box too."""
    start = 0
    while len(head := data[start : start + 16]) >= 8:
        length, kind, skip = int.from_bytes(head[:4], "big"), head[4:8], 8
        if length == 1:
            length, skip = int.from_bytes(head[8:], "big"), 16
        end = start + length if length else len(data)
        content = data[start + skip : end]
        if kind == b"jp2h":
            _read_boxes(content, boxes)
        elif kind == b"colr" and boxes.profile is None and content[:1] in (b"\x02", b"\x03"):
            boxes.profile = content[3:]
        elif kind == b"colr" and boxes.space is None and content[:1] == b"\x01":
            boxes.space = int.from_bytes(content[3:7], "big")
        elif kind == b"pclr":
            boxes.palette = True
        elif kind == b"cdef":
            boxes.meanings = {
                meaning for _, meaning, _ in struct.iter_unpack(">3H", content[2 : len(content) // 6 * 6 + 2])
            }
        elif kind == b"jp2c":
            return
        start = max(end, start + skip)
