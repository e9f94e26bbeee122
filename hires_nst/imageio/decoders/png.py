"""PNG files: their chunks, and the pixels from the chunks of the picture alone.

The chunks beside the picture (text, profiles, Exif) cannot stop it, however long or damaged they are. Pillow and libpng
have limits of their own for them (python-pillow/Pillow#8363), so they are never given any.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import BinaryIO

import numpy as np

from hires_nst.imageio.colour import (
    DAMAGED_PROFILE,
    IMPOSSIBLE,
    ColourSpace,
    from_chromaticities,
    from_code_points,
    from_exif,
)
from hires_nst.imageio.decoders.pillow import image_samples, open_image, split_alpha
from hires_nst.imageio.exif import orientation_of, parse_exif
from hires_nst.imageio.picture import Raster

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_INFLATED = 32 << 20
"""The most bytes that a compressed profile, or all texts together, may have; what is longer counts as damaged."""

_PALETTE, _COLOURED = 3, 2  # colour type, and a bit of it
_NOTED = (b"tRNS", b"cICP", b"sRGB", b"gAMA", b"cHRM", b"eXIf")
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_KINDS = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"iCCP", b"acTL", b"fcTL", b"tIME", *_TEXTS, *_NOTED})


@dataclass(frozen=True)
class Chunk:
    """Where a chunk's data lie in the file."""

    kind: bytes
    start: int
    length: int


def chunks(file: BinaryIO) -> tuple[Chunk, ...]:
    """The chunks of known kinds, found from header to header up to IEND or the end of the file; nothing is read."""
    found = []
    position = file.seek(len(SIGNATURE))
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind in _KINDS:
            found.append(Chunk(kind, position + 8, length))
        if kind == b"IEND":
            break
        position = file.seek(position + 12 + length)
    return tuple(found)


def content(file: BinaryIO, chunk: Chunk) -> bytes | None:
    """The data of a chunk; None if it is cut short or its checksum is wrong."""
    file.seek(chunk.start)
    data, checksum = file.read(chunk.length), file.read(4)
    return data if checksum == struct.pack(">I", zlib.crc32(chunk.kind + data)) else None


def inflate(data: bytes, most: int = MAX_INFLATED) -> bytes | None:
    """Compressed data as they were; None if they are damaged or longer than `most` bytes."""
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(data, max(most, 1))  # 0 would mean no limit
    except zlib.error:
        return None
    return inflated if stream.eof else None


def texts(file: BinaryIO) -> Iterator[tuple[str, str]]:
    """Keyword and text of the chunks tEXt, zTXt and iTXt that are sound, such as "XML:com.adobe.xmp"."""
    left = MAX_INFLATED
    for chunk in chunks(file):
        if chunk.kind not in _TEXTS or (data := content(file, chunk)) is None:
            continue
        keyword, _, rest = data.partition(b"\0")
        text: bytes | None = rest
        if chunk.kind == b"zTXt":
            text = inflate(rest[1:], left)
        elif chunk.kind == b"iTXt":
            text = rest[2:].split(b"\0", 2)[-1]  # after the language and the translated keyword
            if rest[:1] == b"\1":
                text = inflate(text, left)
        if text is not None and len(text) <= left:
            left -= len(text)
            encoding = "utf-8" if chunk.kind == b"iTXt" else "latin-1"
            yield keyword.decode("latin-1"), text.decode(encoding, "replace")


@contextmanager
def open_png(file: BinaryIO) -> Iterator[PngDecoder]:
    """The header of a PNG file.

    Raises:
        UnsupportedColour: the colours cannot be converted. ValueError: the header is damaged.
    """
    found = chunks(file)
    header = content(file, found[0]) if found and found[0].kind == b"IHDR" else None
    if header is None or len(header) != 13:
        raise ValueError("its header is damaged")
    decoder = PngDecoder(file, found, header)
    _ = decoder.colours  # refused before anything is decoded
    yield decoder


@dataclass(frozen=True)
class PngDecoder:
    """The picture of an open PNG file; of an animation the default image."""

    file: BinaryIO
    chunks: tuple[Chunk, ...]
    header: bytes

    @property
    def size(self) -> tuple[int, int]:
        """Stored width and height, before the orientation is applied."""
        width, height = struct.unpack(">II", self.header[:8])
        return width, height

    @property
    def orientation(self) -> int:
        """The EXIF orientation, 1 when there is none or it is damaged."""
        return orientation_of(parse_exif(self._data(b"eXIf")))

    @property
    def notes(self) -> tuple[str, ...]:
        """What the header tells about what is left out or assumed."""
        return self._frame_notes() + self._damage_notes() + self.colours[2]

    def decode(self) -> Raster:
        """Read the pixels; raises whatever Pillow and imagecodecs do over a damaged file."""
        picture = self._picture()
        if self.header[8] == 16:
            import imagecodecs  # Pillow would drop the low bits

            deep = np.asarray(np.divide(imagecodecs.png_decode(picture), 65535, dtype=np.float32))
            samples, alpha = split_alpha(deep)
        else:
            with open_image(BytesIO(picture), ["PNG"]) as image:
                samples, alpha = image_samples(image)
        profile, space, _ = self.colours
        return Raster(
            samples=samples,
            alpha=alpha,
            profile=profile,
            space=space,
            orientation=self.orientation,
            notes=self.notes,
        )

    def _data(self, kind: bytes) -> bytes | None:
        """The data of the first chunk of a kind; None if there is none or it is damaged."""
        found = next((chunk for chunk in self.chunks if chunk.kind == kind), None)
        return content(self.file, found) if found else None

    def _picture(self) -> bytes:
        """A PNG file of nothing but the picture.

        Raises ValueError if a checksum is wrong. What is cut short is left to the decoder.
        """
        wanted = {b"IHDR", b"IDAT", b"IEND"} | ({b"PLTE"} if self.header[9] == _PALETTE else set())
        if self._data(b"tRNS") is not None:
            wanted.add(b"tRNS")
        parts = [SIGNATURE]
        for chunk in self.chunks:
            if chunk.kind in wanted:
                self.file.seek(chunk.start - 8)
                parts.append(self.file.read(chunk.length + 12))
                if len(parts[-1]) == chunk.length + 12 and zlib.crc32(parts[-1][4:-4]) != _uint32(parts[-1][-4:]):
                    raise ValueError("a checksum of the picture is wrong")
        return b"".join(parts)

    @cached_property
    def colours(self) -> tuple[bytes | None, ColourSpace | None, tuple[str, ...]]:
        """The embedded profile and the colour space named otherwise, with notes.

        A chunk counts before those after it: cICP, iCCP, sRGB, gAMA with cHRM (https://www.w3.org/TR/png-3/), eXIf.
        """
        if (cicp := self._data(b"cICP")) and len(cicp) == 4 and cicp[2] == 0:
            space = from_code_points(cicp[0], cicp[1], full_range=cicp[3] == 1)
            if space is not None:
                return None, space, ()
        notes: tuple[str, ...] = ()
        profile = None
        if any(chunk.kind == b"iCCP" for chunk in self.chunks):
            profile = inflate((self._data(b"iCCP") or b"").partition(b"\0")[2][1:])
            notes = () if profile else (DAMAGED_PROFILE,)
        if self._data(b"sRGB") is not None:
            return profile, None, notes
        gamma, chromaticities = self._data(b"gAMA"), self._data(b"cHRM")
        if gamma is None and chromaticities is None:
            space, exif_notes = from_exif(parse_exif(self._data(b"eXIf")))
            return profile, space, notes if profile else notes + exif_notes
        try:
            return profile, _space_of(gamma, chromaticities if self.header[9] & _COLOURED else None), notes
        except (ValueError, ZeroDivisionError, struct.error):
            return profile, None, (*notes, IMPOSSIBLE)

    def _frame_notes(self) -> tuple[str, ...]:
        kinds = [chunk.kind for chunk in self.chunks]
        animation = self._data(b"acTL")
        if not animation or len(animation) != 8:
            return ()
        frames = _uint32(animation[:4]) + (b"fcTL" not in kinds[: kinds.index(b"IDAT")])
        return (f"the file holds {frames} frames; the first one was used",) if frames > 1 else ()

    def _damage_notes(self) -> tuple[str, ...]:
        found = {chunk.kind for chunk in self.chunks}
        damaged = [kind.decode() for kind in _NOTED if kind in found and self._data(kind) is None]
        return (f"damaged parts of the file were ignored: {', '.join(damaged)}",) if damaged else ()


def _space_of(gamma: bytes | None, chromaticities: bytes | None) -> ColourSpace | None:
    """The colour space of the chunks gAMA and cHRM."""
    numbers = [number / 100_000 for number in struct.unpack(">8I", chromaticities)] if chromaticities else []
    exponent = None if gamma is None else 100_000 / _uint32(gamma)
    names = [name for name, chunk in (("gAMA", gamma), ("cHRM", chromaticities)) if chunk]
    return from_chromaticities(white=numbers[:2], primaries=numbers[2:], gamma=exponent, source=" and ".join(names))


def _uint32(data: bytes) -> int:
    return int(struct.unpack(">I", data)[0])
