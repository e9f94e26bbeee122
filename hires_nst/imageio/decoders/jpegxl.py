"""JPEG XL files: the header, and the pixels through imagecodecs with all their bits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from hires_nst.imageio.colour import ColourSpace, from_chromaticities, from_code_points
from hires_nst.imageio.decoders.pillow import split_alpha
from hires_nst.imageio.failures import CutShort, Unsupported
from hires_nst.imageio.picture import Floats, Raster
from hires_nst.imageio.transparency import unpremultiplied

_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_SIDES = ((9, 1), (13, 1), (18, 1), (30, 1))
_ENUM = ((0, 0), (0, 1), (4, 2), (6, 18))
_ALPHA, _SPOT_COLOUR, _FILTER_ARRAY = 0, 2, 5
_RGB, _GREY, _XYB = 0, 1, 2
_CUSTOM = 2
_ORIENTATION_APPLIED = 1


@dataclass(frozen=True, kw_only=True)
class Header:
    """What the codestream says of its picture (ISO/IEC 18181-1, annexes D and E).

    Attributes:
        size: width and height as they are decoded, upright.
        bits: of an integer sample; 0 for floating point.
        premultiplied: whether the alpha channel is.
        embedded: whether the colours are in an ICC profile of its own.
        space: the colour space that it names; None for sRGB.
        animated: whether it has several frames.
    """

    size: tuple[int, int]
    bits: int = 8
    premultiplied: bool = False
    embedded: bool = False
    space: ColourSpace | None = None
    animated: bool = False


@contextmanager
def open_jpegxl(file: BinaryIO) -> Iterator[JpegXlDecoder]:
    """The header of a JPEG XL file."""
    file.seek(0)
    data = file.read()
    yield JpegXlDecoder(data, read_header(_codestream(data)))


@dataclass(frozen=True)
class JpegXlDecoder:
    """The picture of a JPEG XL file; of an animation the first frame."""

    data: bytes
    header: Header
    orientation: int = _ORIENTATION_APPLIED

    @property
    def size(self) -> tuple[int, int]:
        """Width and height; the decoder applies the orientation."""
        return self.header.size

    @property
    def notes(self) -> tuple[str, ...]:
        """What the header tells about what is left out or assumed."""
        notes: tuple[str, ...] = ()
        notes += ("the file holds several frames; the first one was used",) if self.header.animated else ()
        if self.header.embedded:
            notes += ("the colour profile inside a JPEG XL cannot be read; its colours were taken as sRGB",)
        return notes

    def decode(self) -> Raster:
        """Read the pixels; raises whatever imagecodecs does over a damaged file."""
        import imagecodecs

        header = self.header
        samples = np.asarray(imagecodecs.jpegxl_decode(self.data, index=0))
        colours: Floats = samples.astype(np.float32)
        if header.bits:
            colours /= float((1 << header.bits) - 1)
        colours, alpha = split_alpha(np.clip(np.nan_to_num(colours, copy=False), 0, 1))
        if alpha is not None and header.premultiplied:
            colours = unpremultiplied(colours, alpha)
        return Raster(samples=colours, alpha=alpha, space=header.space, notes=self.notes)


def _codestream(data: bytes) -> bytes:
    """The start of the codestream, which may lie in boxes."""
    if data.startswith(b"\xff\x0a"):
        return data[:_LONGEST_HEADER]
    start, parts = 0, b""
    while len(head := data[start : start + 16]) >= 8 and len(parts) < _LONGEST_HEADER:
        length, kind, skip = int.from_bytes(head[:4], "big"), head[4:8], 8
        if length == 1:
            length, skip = int.from_bytes(head[8:16], "big"), 16
        end = start + length if length else len(data)
        if kind in (b"jxlc", b"jxlp"):  # parts are numbered
            parts += data[start + skip + (4 if kind == b"jxlp" else 0) : min(end, start + skip + _LONGEST_HEADER)]
        start = max(end, start + 8)
    if not parts.startswith(b"\xff\x0a"):
        raise CutShort("no picture in it")
    return parts


_LONGEST_HEADER = 4096


class _Bits:
    """Numbers of a bit stream, least significant bit first."""

    def __init__(self, data: bytes) -> None:
        self.number, self.left = int.from_bytes(data, "little"), len(data) * 8

    def take(self, count: int) -> int:
        """The next `count` bits."""
        self.left -= count
        if self.left < 0:
            raise CutShort("its header ends early")
        value = self.number & ((1 << count) - 1)
        self.number >>= count
        return value

    def choice(self, *options: tuple[int, int]) -> int:
        """U32: one of four ways to write a number, each (bits, offset)."""
        bits, offset = options[self.take(2)]
        return self.take(bits) + offset

    def enum(self) -> int:
        """An enumeration."""
        return self.choice(*_ENUM)


def read_header(codestream: bytes) -> Header:
    """The header of a codestream, which starts with FF 0A.

    Raises CutShort, and Unsupported for colours that cannot be converted.
    """
    bits = _Bits(codestream[2:])
    width, height = _size(bits)
    if bits.take(1):  # all default
        return Header(size=(width, height))
    orientation, animated = 1, False
    if bits.take(1):
        orientation = 1 + bits.take(3)
        if bits.take(1):  # an intrinsic size
            _size(bits)
        if bits.take(1):
            _preview_size(bits)
        animated = bool(bits.take(1))
        if animated:
            bits.choice((0, 100), (0, 1000), (10, 1), (30, 1))
            bits.choice((0, 1), (0, 1001), (8, 1), (10, 1))
            bits.choice((0, 0), (3, 0), (16, 0), (32, 0))
            bits.take(1)
    depth = _depth(bits)
    bits.take(1)  # whether 16 bits are enough for buffers
    extra = bits.choice((0, 0), (0, 1), (4, 2), (12, 1))
    premultiplied = sum(_is_premultiplied_alpha(bits) for _ in range(extra)) > 0
    bits.take(1)  # whether it is stored as XYB; it is decoded to the colours that follow
    embedded, space = _colours(bits)
    size = (height, width) if orientation >= 5 else (width, height)
    return Header(size=size, bits=depth, premultiplied=premultiplied, embedded=embedded, space=space, animated=animated)


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.take(1)
    height = 8 * (1 + bits.take(5)) if small else bits.choice(*_SIDES)
    if ratio := bits.take(3):
        across, down = _RATIOS[ratio - 1]
        return height * across // down, height
    return (8 * (1 + bits.take(5)) if small else bits.choice(*_SIDES)), height


def _preview_size(bits: _Bits) -> None:
    small = bits.take(1)
    sides = ((0, 16), (0, 32), (5, 1), (9, 33)) if small else ((6, 1), (8, 65), (10, 321), (12, 1345))
    bits.choice(*sides)
    if not bits.take(3):
        bits.choice(*sides)


def _depth(bits: _Bits) -> int:
    """The bits of an integer sample, 0 for floating point."""
    if bits.take(1):
        bits.choice((0, 32), (0, 16), (0, 24), (6, 1))
        bits.take(4)
        return 0
    return bits.choice((0, 8), (0, 10), (0, 12), (6, 1))


def _is_premultiplied_alpha(bits: _Bits) -> bool:
    """Whether the next extra channel is premultiplied alpha."""
    if bits.take(1):
        return False
    kind = bits.enum()
    _depth(bits)
    bits.choice((0, 0), (0, 3), (0, 4), (3, 1))
    bits.take(8 * bits.choice((0, 0), (4, 0), (5, 16), (10, 48)))  # its name
    if kind == _SPOT_COLOUR:
        bits.take(64)
    elif kind == _FILTER_ARRAY:
        bits.choice((0, 1), (2, 0), (4, 3), (8, 19))
    return kind == _ALPHA and bool(bits.take(1))


def _colours(bits: _Bits) -> tuple[bool, ColourSpace | None]:
    """Whether there is a profile, and the colour space without one."""
    if bits.take(1):
        return False, None
    embedded, model = bool(bits.take(1)), bits.enum()
    if embedded:
        return True, None
    if model not in (_RGB, _GREY):
        raise Unsupported("is a JPEG XL whose colours are neither RGB nor grey; save it as PNG or TIFF in sRGB")
    white = bits.enum()
    white_point = _chromaticities(bits, 1) if white == _CUSTOM else _WHITE_POINTS.get(white)
    primaries = 1 if model == _GREY else bits.enum()
    own = _chromaticities(bits, 3) if model == _RGB and primaries == _CUSTOM else None
    if bits.take(1):
        gamma = 1e7 / max(1, bits.take(24))
        return False, from_chromaticities(
            white=white_point, primaries=own or _PRIMARIES.get(primaries), gamma=gamma, source="JPEG XL"
        )
    transfer = bits.enum()
    if own or white_point:
        return False, from_chromaticities(
            white=white_point, primaries=own or _PRIMARIES.get(primaries), source="JPEG XL"
        )
    return False, from_code_points(12 if primaries == _P3 else primaries, transfer, source="JPEG XL")


def _chromaticities(bits: _Bits, points: int) -> tuple[float, ...]:
    numbers = [bits.choice((19, 0), (19, 524288), (20, 1048576), (21, 2097152)) for _ in range(2 * points)]
    return tuple((number >> 1 if number % 2 == 0 else -(number + 1 >> 1)) / 1e6 for number in numbers)


_P3 = 11
_WHITE_POINTS = {10: (1 / 3, 1 / 3), 11: (0.314, 0.351)}  # E and DCI; D65 is that of sRGB
_PRIMARIES = {9: (0.708, 0.292, 0.17, 0.797, 0.131, 0.046), _P3: (0.68, 0.32, 0.265, 0.69, 0.15, 0.06)}
