"""Reading picture files: decode, orient, colour-manage."""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Protocol

import tifffile
from PIL import Image

from hires_nst.errors import InputError, ResourceError, is_folder
from hires_nst.files import check_exists
from hires_nst.imageio.decoders.heif import open_avif, open_heif
from hires_nst.imageio.decoders.jpeg2000 import open_jpeg2000
from hires_nst.imageio.decoders.jpegxl import open_jpegxl
from hires_nst.imageio.decoders.pillow import open_pillow
from hires_nst.imageio.decoders.png import open_png
from hires_nst.imageio.decoders.pnm import open_pnm
from hires_nst.imageio.decoders.raw import open_raw
from hires_nst.imageio.decoders.tiff import open_tiff
from hires_nst.imageio.failures import failure
from hires_nst.imageio.formats import FORMATS
from hires_nst.imageio.picture import Picture, Raster, is_on_its_side
from hires_nst.imageio.recognition import recognise_file
from hires_nst.imageio.transparency import visible


class Decoder(Protocol):
    """An open file: its header is read, its pixels are not."""

    @property
    def size(self) -> tuple[int, int]:
        """Stored width and height, before the orientation is applied."""

    @property
    def orientation(self) -> int:
        """The EXIF orientation, 1 to 8."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the header tells about what is left out or assumed."""

    def decode(self) -> Raster:
        """Read the pixels; raises DECODE_ERRORS."""


_OPENERS: Mapping[str, Callable[[BinaryIO], AbstractContextManager[Decoder]]] = MappingProxyType(
    {
        "pillow": open_pillow,
        "png": open_png,
        "tiff": open_tiff,
        "heif": open_heif,
        "avif": open_avif,
        "jpegxl": open_jpegxl,
        "jpeg2000": open_jpeg2000,
        "pnm": open_pnm,
        "raw": open_raw,
    }
)
"""By `PictureFormat.decoder`."""

DECODE_ERRORS = (
    *(OSError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError, SyntaxError),
    *(EOFError, ImportError, struct.error, zlib.error, tifffile.TiffFileError, Image.DecompressionBombError),
)
"""What the decoders raise over a damaged file."""


def read_picture(path: Path, *, max_megapixels: float) -> Picture:
    """Read the file at `path`, of any of the FORMATS whatever its name, as an upright sRGB picture.

    The orientation is applied. An embedded ICC profile, or the colour space that the file names in another way
    (`colour`), is converted to sRGB with perceptual intent at 16 bits a sample, also for 8-bit files; one equivalent to
    sRGB changes nothing. Integer samples of 1 to 32 bits are scaled to [0, 1], floating-point samples by
    `floats.unit_samples`. Of several pages or frames the first one is read. What transparency hides takes the colours
    around it. `Picture.notes` says what was assumed or ignored.

    Raises:
        InputError: width x height is above `max_megapixels` million (before anything is decoded), or the file cannot
            be read, or is fully transparent. ResourceError: memory runs out.
    """
    with _decoder_of(path, max_megapixels) as decoder:
        return visible(decoder.decode().picture(), str(path))


@dataclass(frozen=True)
class PictureHeader:
    """What the header of a picture file tells.

    Attributes:
        size: width and height of the upright picture.
        notes: those of `Picture.notes` that need no pixels.
    """

    size: tuple[int, int]
    notes: tuple[str, ...]


def read_header(path: Path, *, max_megapixels: float) -> PictureHeader:
    """What the header alone tells of the picture at `path`; same errors as `read_picture`."""
    with _decoder_of(path, max_megapixels) as decoder:
        width, height = decoder.size
        size = (height, width) if is_on_its_side(decoder.orientation) else (width, height)
        return PictureHeader(size, decoder.notes)


def picture_size(path: Path, *, max_megapixels: float) -> tuple[int, int]:
    """The (width, height) of the upright picture at `path`, see `read_header`."""
    return read_header(path, max_megapixels=max_megapixels).size


def check_size(name: str, size: tuple[int, int], *, max_megapixels: float) -> None:
    """Refuse a picture of too many pixels (InputError, which calls it `name`), or of none (ValueError)."""
    width, height = size
    if width < 1 or height < 1:
        raise ValueError("a picture without pixels")
    if width * height > max_megapixels * 1e6:
        raise InputError(
            f"{name} has {width} x {height} pixels ({width * height / 1e6:.4g} megapixels), more than the limit of "
            f"{max_megapixels:g} megapixels; raise images.max_megapixels in the configuration to read it"
        )


def _open(file: BinaryIO) -> AbstractContextManager[Decoder]:
    """The decoder for a file, by its content."""
    format = recognise_file(file)
    if format is None or not format.readable:
        raise ValueError("no picture, or one that is not read here")
    return _OPENERS[format.decoder](file)


@contextmanager
def _decoder_of(path: Path, max_megapixels: float) -> Iterator[Decoder]:
    """The header of a file, its size checked; any error in the block becomes one sentence about the file."""
    check_exists(path)
    try:
        with _quiet_decoders(), path.open("rb") as file:
            if not file.read(1):
                raise InputError(f"{path} is empty; give a picture: {FORMATS}")
            try:
                with _open(file) as decoder:
                    check_size(str(path), decoder.size, max_megapixels=max_megapixels)
                    yield decoder
            except DECODE_ERRORS as error:
                raise InputError(failure(path, file, error=error)) from error
    except IsADirectoryError as error:
        raise is_folder(path) from error
    except PermissionError as error:
        raise InputError(f"{path} cannot be read: permission denied; make it readable or copy it elsewhere") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the disk, or copy it elsewhere") from error
    except MemoryError as error:
        raise ResourceError(f"not enough memory to decode {path}; give a smaller version of it") from error


@contextmanager
def _quiet_decoders() -> Iterator[None]:
    """Silence the decoders' warnings and log: what stops them is raised."""
    logger, nothing = logging.getLogger("tifffile"), lambda record: False
    logger.addFilter(nothing)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.removeFilter(nothing)
