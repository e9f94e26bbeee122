"""Reading picture files: decode, orient, colour-manage."""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias

import tifffile
from PIL import Image, UnidentifiedImageError

from hires_nst.errors import InputError, ResourceError, is_folder
from hires_nst.files import check_exists
from hires_nst.imageio.colour import UnsupportedColour
from hires_nst.imageio.formats import FORMATS
from hires_nst.imageio.picture import Picture, is_on_its_side
from hires_nst.imageio.pillow import PillowDecoder, open_pillow
from hires_nst.imageio.png import PngDecoder, is_png, open_png
from hires_nst.imageio.tiff import TiffDecoder, is_tiff, open_tiff

_Decoder: TypeAlias = PillowDecoder | PngDecoder | TiffDecoder

DECODE_ERRORS = (
    *(OSError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError, SyntaxError),
    *(EOFError, struct.error, zlib.error, tifffile.TiffFileError, Image.DecompressionBombError),
)
"""What the decoders raise over a damaged file."""


def read_picture(path: Path, *, max_megapixels: float) -> Picture:
    """Read the PNG, JPEG, TIFF or WebP file at `path` as an upright sRGB picture.

    The orientation tag is applied. An embedded ICC profile, or the colour space that the file names in another way
    (`colour`), is converted to sRGB with perceptual intent at 16 bits a sample, also for 8-bit files; one equivalent to
    sRGB changes nothing. Integer samples of 1 to 32 bits are scaled to [0, 1], floating-point samples by
    `floats.unit_samples`. Of several pages or frames the first
    one is read. `Picture.notes` says what was assumed or ignored.

    Raises:
        InputError: width x height is above `max_megapixels` million (before anything is decoded), or the file cannot
            be read. ResourceError: memory runs out.
    """
    with _decoder_of(path, max_megapixels) as decoder:
        return decoder.decode().picture()


def picture_size(path: Path, *, max_megapixels: float) -> tuple[int, int]:
    """The (width, height) of the upright picture at `path`, from the header alone; same errors as `read_picture`."""
    with _decoder_of(path, max_megapixels) as decoder:
        width, height = decoder.size
        return (height, width) if is_on_its_side(decoder.orientation) else (width, height)


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


def _open(file: BinaryIO) -> AbstractContextManager[_Decoder]:
    """The decoder for a file, by its first bytes."""
    if is_tiff(file):
        return open_tiff(file)
    return open_png(file) if is_png(file) else open_pillow(file)


@contextmanager
def _decoder_of(path: Path, max_megapixels: float) -> Iterator[_Decoder]:
    """The header of a file, its size checked; any error in the block becomes one sentence about the file."""
    check_exists(path)
    try:
        with _quiet_decoders(), path.open("rb") as file:
            if not file.read(1):
                raise InputError(f"{path} is empty; give a picture in {FORMATS} format")
            with _open(file) as decoder:
                check_size(str(path), decoder.size, max_megapixels=max_megapixels)
                yield decoder
    except IsADirectoryError as error:
        raise is_folder(path) from error
    except PermissionError as error:
        raise InputError(f"{path} cannot be read: permission denied; make it readable or copy it elsewhere") from error
    except UnsupportedColour as error:
        raise InputError(f"{path} {error}") from error
    except UnidentifiedImageError as error:
        message = f"{path} is not a picture in {FORMATS} format, or its header is damaged; convert it to one of them"
        raise InputError(message) from error
    except DECODE_ERRORS as error:
        message = f"{path} is damaged, truncated or of an unusual kind; save it again in {FORMATS} format"
        raise InputError(message) from error
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
