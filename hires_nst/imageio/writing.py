"""Writing pictures as PNG, JPEG or TIFF for print."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from hires_nst.errors import OutputError
from hires_nst.files import atomic_write, check_free, plain_os_errors
from hires_nst.imageio.formats import WRITTEN, written_format
from hires_nst.imageio.pixels import Floats
from hires_nst.imageio.profiles import srgb_profile

INCHES_PER_METRE = 1 / 0.0254
JPEG_MAX_SIDE = 65_500
STRIP_ROWS = 64

_CLASSIC_TIFF_BYTES = 3_900_000_000  # below 4 GiB, with a margin for compression that makes noise larger

Samples = NDArray[Any]  # uint8 or uint16 (rows, W, 3 | 4)


def check_output(path: Path, *, overwrite: bool) -> None:
    """Raise OutputError, with what to do, unless a picture may be written to `path`.

    The suffix must be one of .png, .jpg, .jpeg, .tif and .tiff (in any case), the folder must exist and be writable,
    and `path` must not be a folder, nor an existing file unless `overwrite`.
    """
    if written_format(path) is None:
        raise OutputError(f"{path} does not end in one of {', '.join(WRITTEN)}; choose one for the output")
    folder = path.parent
    with plain_os_errors(path):
        if not folder.exists():
            raise OutputError(f"the folder {folder} for {path.name} does not exist; create it or choose another")
        if not folder.is_dir():
            raise OutputError(f"{folder} is not a folder, so {path.name} cannot be written into it; choose another")
        if path.is_dir():
            raise OutputError(f"{path} is a folder; give the name of the output file")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OutputError(f"the folder {folder} is not writable; change its permissions or choose another")
        check_free(path, overwrite)


def check_apart(path: Path, inputs: Iterable[Path]) -> None:
    """Raise OutputError where the picture would take the place of one of its own inputs, which would be lost."""
    for given in inputs:
        with suppress(OSError):  # one of them is not there
            if path.samefile(given):
                raise OutputError(
                    f"{path} is one of the pictures that the run reads; choose another name for the result"
                )


def check_format(path: Path, width: int, height: int, *, bit_depth: int) -> None:
    """Raise OutputError where the format that the suffix names cannot hold such a picture: before the work is done."""
    if written_format(path) != "JPEG":
        return
    if bit_depth != 8:
        raise OutputError(f"{path} cannot have {bit_depth} bits as a JPEG; choose PNG or TIFF, or 8 bits")
    if max(height, width) > JPEG_MAX_SIDE:
        raise OutputError(f"{path} is too large for a JPEG with {width} x {height} pixels; choose PNG or TIFF")


def write_picture(
    path: Path,
    pixels: Floats,
    alpha: Floats | None = None,
    *,
    dpi: float | None,
    bit_depth: Literal[8, 16] = 8,
    quality: int = 95,
    compression: Literal["deflate", "lzw", "none"] = "deflate",
    overwrite: bool = False,
    check_stop: Callable[[], None] = lambda: None,
    name: str | None = None,
    done: Callable[[Path], None] = lambda file: None,
) -> None:
    """Write `pixels` (H, W, 3) and `alpha` (H, W), float32 sRGB in [0, 1], in the format that the suffix names.

    Both may be memory maps: PNG and TIFF are quantised and compressed in strips, JPEG needs the whole picture at once.
    An sRGB profile is always embedded, and `dpi` dots per inch unless it is None. `quality` (1 to 100) is for JPEG,
    which keeps full chroma (4:4:4); `compression` is for TIFF, which becomes a BigTIFF where necessary. PNG is always
    deflated. The write is atomic, see `atomic_write`; the same arguments give the same bytes. `check_stop` is called
    before each strip, and may raise to end it; `name` and `done` are those of `atomic_write`.

    Raises OutputError where `check_output` does, for a JPEG of 16 bits, with alpha or above 65,500 pixels a side, and
    when the file may not be written; ResourceError when the disk is full.
    """
    check_output(path, overwrite=overwrite)
    kind = written_format(path)
    check_format(path, pixels.shape[1], pixels.shape[0], bit_depth=bit_depth)
    if kind == "JPEG" and alpha is not None:
        raise OutputError(f"{path} cannot have transparency as a JPEG; choose PNG or TIFF, or drop the transparency")

    def write(file: BinaryIO) -> None:
        if kind == "PNG":
            _write_png(file, pixels, alpha, dpi, bit_depth, check_stop)
        elif kind == "JPEG":
            _write_jpeg(file, pixels, dpi, quality, check_stop)
        else:
            _write_tiff(file, pixels, alpha, dpi, bit_depth, compression, check_stop)

    atomic_write(path, write, overwrite=overwrite, name=name, done=done)


def _strips(pixels: Floats, alpha: Floats | None, bit_depth: int, check_stop: Callable[[], None]) -> Iterator[Samples]:
    """The picture quantised with rounding, STRIP_ROWS rows at a time: little-endian, (rows, W, 3 | 4)."""
    dtype, peak = (np.dtype("u1"), 255) if bit_depth == 8 else (np.dtype("<u2"), 65535)
    for top in range(0, pixels.shape[0], STRIP_ROWS):
        check_stop()
        strip = np.asarray(pixels[top : top + STRIP_ROWS], np.float32)
        if alpha is not None:
            strip = np.concatenate([strip, np.asarray(alpha[top : top + STRIP_ROWS, :, None], np.float32)], axis=2)
        yield np.rint(np.clip(strip, 0, 1) * peak).astype(dtype)


def _write_png(
    file: BinaryIO,
    pixels: Floats,
    alpha: Floats | None,
    dpi: float | None,
    bit_depth: int,
    check_stop: Callable[[], None],
) -> None:
    """A PNG file, strip by strip: the encoders of Pillow and imagecodecs need the whole picture in memory at once.

    Each row is filtered with Up (the difference to the row above it), as https://www.w3.org/TR/png/ describes.
    """

    def chunk(kind: bytes, data: bytes) -> None:
        file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))

    height, width = pixels.shape[:2]
    file.write(b"\x89PNG\r\n\x1a\n")
    chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bit_depth, 2 if alpha is None else 6, 0, 0, 0))
    chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(srgb_profile()))
    if dpi is not None:
        per_metre = round(dpi * INCHES_PER_METRE)
        chunk(b"pHYs", struct.pack(">IIB", per_metre, per_metre, 1))
    deflate = zlib.compressobj(6)
    above = np.zeros((1, width * (3 if alpha is None else 4) * bit_depth // 8), np.uint8)
    for strip in _strips(pixels, alpha, bit_depth, check_stop):
        rows = strip.astype(strip.dtype.newbyteorder(">")).view(np.uint8).reshape(len(strip), -1)
        filtered = np.full((rows.shape[0], 1 + rows.shape[1]), 2, np.uint8)  # each row starts with its filter, 2 is Up
        np.subtract(rows, np.concatenate([above, rows[:-1]]), out=filtered[:, 1:])
        above = rows[-1:]
        if data := deflate.compress(filtered.tobytes()):
            chunk(b"IDAT", data)
    chunk(b"IDAT", deflate.flush())
    chunk(b"IEND", b"")


def _write_jpeg(
    file: BinaryIO, pixels: Floats, dpi: float | None, quality: int, check_stop: Callable[[], None]
) -> None:
    samples = np.empty(pixels.shape, np.uint8)
    for index, strip in enumerate(_strips(pixels, None, 8, check_stop)):
        samples[index * STRIP_ROWS : (index + 1) * STRIP_ROWS] = strip
    options: dict[str, Any] = {} if dpi is None else {"dpi": (dpi, dpi)}
    encoded = BytesIO()  # not the file itself: of a full disk Pillow would say no more than "encoder error"
    Image.fromarray(samples).save(
        encoded, "JPEG", quality=quality, subsampling=0, icc_profile=srgb_profile(), **options
    )
    file.write(encoded.getbuffer())


def _write_tiff(
    file: BinaryIO,
    pixels: Floats,
    alpha: Floats | None,
    dpi: float | None,
    bit_depth: int,
    compression: str,
    check_stop: Callable[[], None],
) -> None:
    channels = 3 if alpha is None else 4
    shape = (*pixels.shape[:2], channels)

    def encoded() -> Iterator[bytes]:
        for strip in _strips(pixels, alpha, bit_depth, check_stop):
            if compression != "none":  # the horizontal predictor: each sample as the difference to its left neighbour
                strip[:, 1:] -= strip[:, :-1].copy()
            yield _compressed(strip.tobytes(), compression)

    tifffile.imwrite(
        file,
        encoded(),
        shape=shape,
        dtype="u1" if bit_depth == 8 else "<u2",
        byteorder="<",
        bigtiff=int(np.prod(shape)) * bit_depth // 8 > _CLASSIC_TIFF_BYTES,
        photometric="rgb",
        planarconfig="contig",
        extrasamples=None if alpha is None else ["unassalpha"],
        rowsperstrip=STRIP_ROWS,
        compression={"deflate": "adobe_deflate", "lzw": "lzw", "none": None}[compression],
        predictor=compression != "none",
        iccprofile=srgb_profile(),
        resolution=None if dpi is None else (dpi, dpi),
        resolutionunit=None if dpi is None else "inch",
        metadata=None,
        software=False,
    )


def _compressed(data: bytes, compression: str) -> bytes:
    if compression == "deflate":
        return zlib.compress(data, 6)
    if compression == "lzw":
        import imagecodecs

        return bytes(imagecodecs.lzw_encode(data))
    return data
