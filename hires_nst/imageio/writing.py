"""Writing pictures as PNG, JPEG, TIFF or WebP."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hires_nst.errors import OutputError
from hires_nst.files import atomic_write, behind_links, check_free, plain_os_errors, url_of
from hires_nst.imageio.colour import srgb_profile
from hires_nst.imageio.formats import SUFFIXES, WITHOUT_ALPHA, written_format
from hires_nst.imageio.in_threads import in_threads
from hires_nst.imageio.metadata.embedded import PNG_IPTC, PNG_XMP, raw_profile
from hires_nst.imageio.metadata.exif_tags import ExifTags, resolution
from hires_nst.imageio.metadata.ifd import BYTE, LONG, LONG8, SHORT, UNDEFINED
from hires_nst.imageio.metadata.iptc import as_resource
from hires_nst.imageio.metadata.record import EXIF_IN_JPEG, IPTC_IN_JPEG, XMP_IN_JPEG, Metadata
from hires_nst.imageio.picture import Floats
from hires_nst.imageio.transparency import WHITE, Colour, flattened

INCHES_PER_METRE = 1 / 0.0254
MAX_SIDE = {"JPEG": 65_500, "WebP": 16_383}
"""Pixels of the longer side that a format can hold; such a format has 8 bits a channel."""

LOSSLESS = 100
"""The quality with which a WebP is written without loss."""

STRIP_ROWS = 64

LEVEL = 6
"""Of the compression, 0 to 9; zlib's own default."""

ZLIB_HEADER = b"\x78\x9c"
"""Deflate with a window of 32 KB, at `LEVEL`: RFC 1950."""

_CLASSIC_TIFF_BYTES = 3_900_000_000  # below 4 GiB, with a margin for compression that makes noise larger

Result = TypeVar("Result")

Samples = NDArray[Any]
"""uint8 or uint16, (rows, W, 3 | 4)."""


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How a picture is written.

    Attributes:
        dpi: dots per inch; None writes none.
        quality: of a JPEG or WebP, 1 to 100; a WebP of `LOSSLESS` has the samples of a PNG.
        compression: of a TIFF; a PNG is always deflated.
    """

    dpi: float | None
    bit_depth: Literal[8, 16]
    quality: int
    compression: Literal["deflate", "lzw", "none"]


def check_output(path: Path, *, overwrite: bool, inputs: Iterable[Path] = (), makes_folder: bool = False) -> None:
    """Refuse an output that cannot be written, before any work is done.

    The suffix must be one of `formats.WRITTEN` (in any case), the folder must exist (unless `makes_folder`) and be
    writable, and `path` must not be a folder, nor one of the `inputs`, which would be lost, nor an existing file unless
    `overwrite`. Behind a symbolic link, all this holds for what it leads to, except the suffix.

    Raises:
        OutputError: one sentence that says what to do.
    """
    if written_format(path) is None:
        raise OutputError(f"{path} does not end in one of {SUFFIXES}; choose one for the output")
    if (url := url_of(path)) is not None:
        raise OutputError(f"{url} is a URL; give the name of a file on this machine for the result")
    with plain_os_errors(path):
        folder = behind_links(path).parent
        if makes_folder:
            folder = next(existing for existing in (folder, *folder.parents) if existing.exists())
        if not folder.exists():
            raise OutputError(f"the folder {folder} for {path.name} does not exist; create it or choose another")
        if not folder.is_dir():
            raise OutputError(f"{folder} is not a folder, so {path.name} cannot be written into it; choose another")
        if path.is_dir():
            raise OutputError(f"{path} is a folder; give the name of the output file")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OutputError(f"the folder {folder} is not writable; change its permissions or choose another")
        for file in inputs:
            with suppress(FileNotFoundError):
                if path.samefile(file):
                    raise OutputError(
                        f"{path} is one of the pictures that the run reads; choose another name for the result"
                    )
        check_free(path, overwrite)


def check_format(path: Path, size: tuple[int, int], *, bit_depth: int) -> None:
    """Refuse a picture of `size` (width, height) that the format of the suffix cannot hold.

    Raises:
        OutputError: it is a JPEG or WebP of another bit depth than 8, or of more pixels a side than `MAX_SIDE`.
    """
    kind = written_format(path)
    if kind not in MAX_SIDE:
        return
    if bit_depth != 8:
        raise OutputError(f"{path} cannot have {bit_depth} bits as a {kind}; choose PNG or TIFF, or 8 bits")
    if max(size) > MAX_SIDE[kind]:
        raise OutputError(
            f"{path} is too large for a {kind} with {size[0]} x {size[1]} pixels; choose PNG or TIFF, or at most "
            f"{MAX_SIDE[kind]} pixels a side"
        )


def write_picture(
    path: Path,
    pixels: Floats,
    *,
    alpha: Floats | None = None,
    background: Colour | None = None,
    encoding: Encoding,
    metadata: Metadata | None = None,
    overwrite: bool = False,
    check_stop: Callable[[], None] = lambda: None,
    name: str | None = None,
    done: Callable[[Path], None] = lambda file: None,
) -> None:
    """Write a picture atomically, in the format of the suffix; the same arguments give the same bytes.

    `check_output` and `check_format` have accepted `path`.

    An sRGB profile is always embedded. A JPEG keeps full chroma (4:4:4), a WebP with loss cannot (4:2:0); a TIFF
    becomes a BigTIFF where necessary.

    Args:
        pixels: float32 (H, W, 3), sRGB in [0, 1]; may be a memory map, as PNG and TIFF are written in strips (JPEG
            and WebP need the whole picture in memory).
        alpha: float32 (H, W) in [0, 1], not premultiplied.
        background: what a picture with alpha is flattened onto, see `flattened`; None keeps the alpha, or flattens onto
            white where the format has none.
        metadata: written as it is, with the size, the resolution and the colours of this picture in Exif; a WebP has no
            IPTC. With None, only the profile and the resolution are written.
        check_stop: called before each strip; may raise to end the write.
        overwrite, name, done: see `atomic_write`.

    Raises:
        OutputError: the file cannot be written.
        ResourceError: the disk is full.
    """
    kind = written_format(path)
    if kind in WITHOUT_ALPHA and background is None:
        background = WHITE
    source = _Source(
        pixels=pixels, alpha=alpha, background=background, encoding=encoding, metadata=metadata, check_stop=check_stop
    )
    encode = {"PNG": _write_png, "JPEG": _write_jpeg, "TIFF": _write_tiff, "WebP": _write_webp}[str(kind)]
    atomic_write(path, lambda file: encode(file, source), overwrite=overwrite, name=name, done=done)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Source:
    """A picture that is written in strips."""

    pixels: Floats
    alpha: Floats | None
    background: Colour | None
    encoding: Encoding
    metadata: Metadata | None
    check_stop: Callable[[], None]

    @property
    def has_alpha(self) -> bool:
        """Whether the file has an alpha channel."""
        return self.alpha is not None and self.background is None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.pixels.shape[0], self.pixels.shape[1], 4 if self.has_alpha else 3

    @property
    def exif(self) -> ExifTags:
        """The Exif, as it is true of this picture."""
        if self.metadata is None:
            return ExifTags()
        return self.metadata.exif.of_picture((self.shape[1], self.shape[0]), dpi=self.encoding.dpi)

    @property
    def xmp(self) -> bytes:
        """The packet, empty if there is none."""
        return b"" if self.metadata is None else self.metadata.xmp

    @property
    def iptc(self) -> bytes:
        """IPTC among Photoshop's resources, empty if there is none."""
        return as_resource(self.metadata.iptc) if self.metadata is not None and self.metadata.iptc else b""

    @property
    def strip_tops(self) -> range:
        """The first row of each strip, of `STRIP_ROWS` rows or what is left."""
        return range(0, self.shape[0], STRIP_ROWS)

    def samples(self, top: int, bottom: int) -> Samples:
        """Some rows of the samples, quantised with rounding: little-endian, (rows, W, 3 | 4)."""
        dtype, peak = (np.dtype("u1"), 255) if self.encoding.bit_depth == 8 else (np.dtype("<u2"), 65535)
        rows = np.asarray(self.pixels[top:bottom], np.float32)
        if self.alpha is not None:
            alpha = np.asarray(self.alpha[top:bottom], np.float32)
            if self.background is None:
                rows = np.concatenate([rows, alpha[..., None]], axis=2)
            else:
                rows = flattened(rows, alpha, background=self.background)
        return np.rint(np.clip(rows, 0, 1) * peak).astype(dtype)

    def strip(self, top: int) -> Samples:
        """The samples of a strip."""
        return self.samples(top, top + STRIP_ROWS)

    def of_strips(self, work: Callable[[int], Result]) -> Iterator[Result]:
        """What `work` makes of each strip's first row, in their order; in threads."""
        return in_threads(work, self.strip_tops, check_stop=self.check_stop)

    def image(self) -> Image.Image:
        """The whole picture, of 8 bits."""
        samples = np.empty(self.shape, np.uint8)
        for top, strip in zip(self.strip_tops, self.of_strips(self.strip), strict=True):
            samples[top : top + STRIP_ROWS] = strip
        return Image.fromarray(samples)


def _write_png(file: BinaryIO, source: _Source) -> None:
    """A PNG file, strip by strip: the encoders of Pillow and imagecodecs need the whole picture in memory at once.

    Each row is filtered with Up (the difference to the row above it), as https://www.w3.org/TR/png/ describes. The
    strips are deflated by themselves, in threads, and follow each other in one stream, as in pigz.
    """

    def chunk(kind: bytes, data: bytes) -> None:
        file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))

    (height, width, channels), encoding = source.shape, source.encoding
    file.write(b"\x89PNG\r\n\x1a\n")
    chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, encoding.bit_depth, 2 if channels == 3 else 6, 0, 0, 0))
    chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(srgb_profile()))
    if encoding.dpi is not None:
        per_metre = round(encoding.dpi * INCHES_PER_METRE)
        chunk(b"pHYs", struct.pack(">IIB", per_metre, per_metre, 1))
    if source.exif:
        chunk(b"eXIf", source.exif.block())
    if source.xmp:
        chunk(b"iTXt", PNG_XMP.encode() + bytes(5) + source.xmp)
    if source.iptc:
        chunk(b"zTXt", PNG_IPTC.encode() + bytes(2) + zlib.compress(raw_profile("iptc", source.iptc)))
    chunk(b"IDAT", ZLIB_HEADER)
    checksum = zlib.adler32(b"")
    for filtered, deflated in source.of_strips(partial(_png_strip, source)):
        checksum = zlib.adler32(filtered, checksum)
        chunk(b"IDAT", deflated)
    chunk(b"IDAT", struct.pack(">I", checksum))
    chunk(b"IEND", b"")


def _png_strip(source: _Source, top: int) -> tuple[bytes, bytes]:
    """The filtered rows of a strip, each with the number of its filter before it, and the same deflated."""
    samples = source.samples(max(0, top - 1), top + STRIP_ROWS)
    rows = samples.astype(samples.dtype.newbyteorder(">")).view(np.uint8).reshape(len(samples), -1)
    if not top:
        rows = np.concatenate([np.zeros_like(rows[:1]), rows])
    filtered = np.full((len(rows) - 1, 1 + rows.shape[1]), 2, np.uint8)  # 2 is Up
    np.subtract(rows[1:], rows[:-1], out=filtered[:, 1:])
    data, deflate = filtered.tobytes(), zlib.compressobj(LEVEL, wbits=-zlib.MAX_WBITS)
    is_last = top + STRIP_ROWS >= source.shape[0]
    return data, deflate.compress(data) + deflate.flush(zlib.Z_FINISH if is_last else zlib.Z_SYNC_FLUSH)


def _write_jpeg(file: BinaryIO, source: _Source) -> None:
    encoding = source.encoding
    options: dict[str, Any] = {} if encoding.dpi is None else {"dpi": (encoding.dpi, encoding.dpi)}
    encoded = BytesIO()  # not the file itself: of a full disk Pillow would say no more than "encoder error"
    source.image().save(encoded, "JPEG", quality=encoding.quality, subsampling=0, icc_profile=srgb_profile(), **options)
    data = encoded.getbuffer()
    start = 4 + int.from_bytes(data[4:6], "big")  # behind the first segment, JFIF; Pillow would write no IPTC
    file.write(data[:start])
    pieces = (
        (0xE1, EXIF_IN_JPEG, source.exif.block()),
        (0xE1, XMP_IN_JPEG, source.xmp),
        (0xED, IPTC_IN_JPEG, source.iptc),
    )
    for marker, name, content in pieces:
        if content:
            file.write(struct.pack(">BBH", 0xFF, marker, 2 + len(name + content)) + name + content)
    file.write(data[start:])


def _write_webp(file: BinaryIO, source: _Source) -> None:
    encoding, encoded = source.encoding, BytesIO()
    exif = source.exif or ExifTags(main=resolution(encoding.dpi))  # the only place for the resolution
    source.image().save(
        encoded, "WEBP", quality=encoding.quality, lossless=encoding.quality == LOSSLESS, exact=True,
        icc_profile=srgb_profile(), exif=exif.block(), xmp=source.xmp,
    )  # fmt: skip
    file.write(encoded.getbuffer())


def _write_tiff(file: BinaryIO, source: _Source) -> None:
    """A TIFF file, strip by strip, the directories behind the pixels: tifffile writes no Exif directory."""
    encoding, (height, width, channels) = source.encoding, source.shape
    big = height * width * channels * encoding.bit_depth // 8 > _CLASSIC_TIFF_BYTES
    file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0) if big else struct.pack("<2sHI", b"II", 42, 0))
    offsets, lengths = list[int](), list[int]()
    for data in source.of_strips(lambda top: _compressed(source.strip(top), encoding.compression)):
        offsets.append(file.tell())
        lengths.append(len(data))
        file.write(data)
    file.write(bytes(file.tell() % 2))
    place = file.tell()

    def values(kind: int, *numbers: int) -> tuple[int, bytes]:
        return kind, struct.pack(f"<{len(numbers)}{ {SHORT: 'H', LONG: 'I', LONG8: 'Q'}[kind] }", *numbers)

    position = LONG8 if big else LONG
    tags = {
        256: values(LONG, width), 257: values(LONG, height), 258: values(SHORT, *[encoding.bit_depth] * channels),
        259: values(SHORT, {"deflate": 8, "lzw": 5, "none": 1}[encoding.compression]),
        262: values(SHORT, 2), 273: values(position, *offsets), 277: values(SHORT, channels),  # 262: RGB
        278: values(LONG, STRIP_ROWS), 279: values(position, *lengths), 284: values(SHORT, 1),
        34675: (UNDEFINED, srgb_profile()), **resolution(encoding.dpi),
    }  # fmt: skip
    if encoding.compression != "none":
        tags[317] = values(SHORT, 2)  # the horizontal predictor
    if source.has_alpha:
        tags[338] = values(SHORT, 2)  # alpha that is not premultiplied
    if source.xmp:
        tags[700] = BYTE, source.xmp
    if source.metadata is not None and source.metadata.iptc:
        tags[33723] = UNDEFINED, source.metadata.iptc
    file.write(replace(source.exif, main={**source.exif.main, **tags}).packed(place, big=big))
    file.seek(8 if big else 4)
    file.write(struct.pack("<Q" if big else "<I", place))


def _compressed(strip: Samples, compression: str) -> bytes:
    """A strip of a TIFF; its samples are changed."""
    import imagecodecs

    if compression == "none":
        return strip.tobytes()
    strip[:, 1:] -= strip[:, :-1].copy()  # the horizontal predictor: each sample less its left neighbour
    data = strip.tobytes()
    return zlib.compress(data, LEVEL) if compression == "deflate" else bytes(imagecodecs.lzw_encode(data))
