"""Reading pictures (decode, orient, colour-manage) and resizing them. Writing is in `image_files`.

Inside the program a picture is float32, sRGB-encoded, in [0, 1], upright.
"""

from __future__ import annotations

import logging
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

from hires_nst.errors import InputError, ResourceError
from hires_nst.imageio.pixels import Floats
from hires_nst.imageio.profiles import to_srgb

FORMATS = "PNG, JPEG, TIFF or WebP"
ORIENTATION_TAG = 0x0112
MAX_TIFF_SAMPLES = 16  # colours and extra channels; the limit of megapixels is one of memory only with a limit of these

# Whatever the decoders raise over a damaged file.
_DECODE_ERRORS = (
    *(OSError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError, SyntaxError),
    *(EOFError, struct.error, zlib.error, tifffile.TiffFileError, Image.DecompressionBombError),
)
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # classic and BigTIFF, both byte orders
_COLOUR_SAMPLES = {"MINISWHITE": 1, "MINISBLACK": 1, "PALETTE": 1, "RGB": 3, "YCBCR": 3, "SEPARATED": 4}
_PILLOW_LIMIT = threading.Lock()


@dataclass(frozen=True, eq=False)
class Picture:
    """An upright picture.

    `pixels`: float32 (H, W, 3), C-contiguous, sRGB in [0, 1]. `alpha`: float32 (H, W) in [0, 1], not premultiplied,
    or None when the file has no transparency. `notes`: sentences about what was assumed while reading.
    """

    pixels: Floats
    alpha: Floats | None = None
    notes: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])


@dataclass(frozen=True, eq=False)
class _Raster:
    """What a decoder gives: before colour management and orientation."""

    samples: Floats  # (H, W, 1 grey | 3 RGB | 4 CMYK) in [0, 1]
    alpha: Floats | None
    profile: bytes | None
    orientation: int
    notes: tuple[str, ...]


def read_picture(path: Path, *, max_megapixels: float) -> Picture:
    """Read the PNG, JPEG, TIFF or WebP file at `path` as an upright sRGB picture.

    The orientation tag is applied. An embedded ICC profile is converted to sRGB with perceptual intent at 16 bits a
    sample, also for 8-bit files; a profile that amounts to sRGB changes nothing. Integer samples of 1 to 32 bits are
    scaled to [0, 1]; floating-point samples are taken as sRGB-encoded and clipped. Of several pages or frames the first
    one is read. What was assumed or ignored is said in `Picture.notes`.

    Raises InputError, before anything is decoded, when width x height is above `max_megapixels` million, and for every
    file that cannot be read; ResourceError when memory runs out.
    """
    with _reading(path) as file:
        if _is_tiff(file):
            with tifffile.TiffFile(file) as tiff:
                page = _first_page(tiff)
                _check_size(path, page.imagewidth, page.imagelength, max_megapixels)
                raster = _decode_tiff(tiff, page)
        else:
            with _opened(file) as image:
                _check_size(path, *image.size, max_megapixels)
                raster = _decode_pillow(file, image)
        rgb, colour_notes = to_srgb(raster.samples, raster.profile)
        alpha = None if raster.alpha is None else _upright(raster.alpha, raster.orientation)
        return Picture(_upright(rgb, raster.orientation), alpha, raster.notes + colour_notes)


def picture_size(path: Path, *, max_megapixels: float) -> tuple[int, int]:
    """The (width, height) of the upright picture at `path`, from the header alone; same errors as `read_picture`."""
    with _reading(path) as file:
        if _is_tiff(file):
            with tifffile.TiffFile(file) as tiff:
                page = _first_page(tiff)
                size, orientation = (page.imagewidth, page.imagelength), page.tags.valueof(ORIENTATION_TAG)
        else:
            with _opened(file) as image:
                size, orientation = image.size, _orientation(file, image)
        _check_size(path, *size, max_megapixels)
        return (size[1], size[0]) if orientation in (5, 6, 7, 8) else size


@contextmanager
def _reading(path: Path) -> Iterator[BinaryIO]:
    """Open `path`; whatever goes wrong in the block becomes one sentence about the file."""
    try:
        with _quiet_decoders(), path.open("rb") as file:
            if not file.read(1):
                raise InputError(f"{path} is empty; give a picture in {FORMATS} format")
            yield file
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path} does not exist; check the name and the folder") from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder; give the picture file itself") from error
    except PermissionError as error:
        raise InputError(f"{path} may not be read; ask for permission to read it or copy it elsewhere") from error
    except UnidentifiedImageError as error:
        message = f"{path} is no picture in {FORMATS} format, or its beginning is damaged; convert it to one of them"
        raise InputError(message) from error
    except _DECODE_ERRORS as error:
        message = f"{path} is damaged, cut short or of an unusual kind; save it again in {FORMATS} format"
        raise InputError(message) from error
    except MemoryError as error:
        raise ResourceError(f"there is not enough memory to decode {path}; give a smaller version of it") from error


@contextmanager
def _quiet_decoders() -> Iterator[None]:
    """Keep the decoders from warning and logging: what stops them is raised, the rest is of no use to anyone."""

    def nothing(record: logging.LogRecord) -> bool:
        return False

    logger = logging.getLogger("tifffile")
    logger.addFilter(nothing)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.removeFilter(nothing)


def _check_size(path: Path, width: int, height: int, max_megapixels: float) -> None:
    if width < 1 or height < 1:
        raise ValueError("a picture without pixels")
    if width * height > max_megapixels * 1e6:
        raise InputError(
            f"{path} has {width} x {height} pixels ({width * height / 1e6:.4g} megapixels), more than the limit of "
            f"{max_megapixels:g} megapixels; raise images.max_megapixels in the configuration to read it"
        )


def _is_tiff(file: BinaryIO) -> bool:
    file.seek(0)
    magic = file.read(4)
    file.seek(0)
    return magic in _TIFF_MAGIC


@contextmanager
def _opened(file: BinaryIO) -> Iterator[Image.Image]:
    """The header of a PNG, JPEG or WebP file, without Pillow's own limit of pixels: `_check_size` has ours."""
    with _PILLOW_LIMIT:  # the limit is a global of Pillow, read while a file is opened
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(file, formats=("PNG", "JPEG", "WEBP"))
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    with image:
        yield image


def _orientation(file: BinaryIO, image: Image.Image) -> int:
    """The EXIF orientation, 1 when there is none; the pixels are not decoded."""
    try:
        if image.format == "PNG" and "exif" not in image.info:
            image.info["exif"] = _png_exif(file)
        # Not image.getexif(): for a PNG without EXIF in front of the pixels it decodes them all to look behind.
        return _valid_orientation(Image.Image.getexif(image).get(ORIENTATION_TAG))
    except _DECODE_ERRORS:
        return 1


def _valid_orientation(tag: object) -> int:
    return tag if isinstance(tag, int) and 1 <= tag <= 8 else 1


def _png_exif(file: BinaryIO) -> bytes | None:
    """The content of the eXIf chunk of a PNG file, found by hopping from chunk to chunk."""
    position = file.tell()
    file.seek(8)
    found = None
    while found is None and len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"eXIf":
            found = file.read(length)
        file.seek(length + 4, 1)
    file.seek(position)
    return found


def _decode_pillow(file: BinaryIO, image: Image.Image) -> _Raster:
    orientation = _orientation(file, image)
    notes: tuple[str, ...] = ()
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # the further pictures of an MPO file are previews and depth maps
        notes = (f"the file holds {frames} frames; the first one was used",)
    if image.format == "PNG" and _png_bit_depth(file) == 16:
        samples = _decode_deep_png(file)
    else:
        grey = image.mode in ("1", "L", "LA")
        if image.has_transparency_data:
            mode = "LA" if grey else "RGBA"
        else:
            mode = "CMYK" if image.mode == "CMYK" else "L" if grey else "RGB"
        samples = np.asarray(image.convert(mode), np.float32)
        samples /= 255
    if samples.ndim == 2:
        samples = samples[..., None]
    alpha = None
    if samples.shape[2] == 2 or (samples.shape[2] == 4 and image.mode != "CMYK"):
        samples, alpha = samples[..., :-1], samples[..., -1]
    return _Raster(samples, alpha, image.info.get("icc_profile"), orientation, notes)


def _png_bit_depth(file: BinaryIO) -> int:
    position = file.tell()
    file.seek(24)
    depth = file.read(1)[0]
    file.seek(position)
    return depth


def _decode_deep_png(file: BinaryIO) -> Floats:
    """A PNG file of 16 bits a sample, float32 (H, W[, C]): Pillow would drop the low bits."""
    import imagecodecs

    file.seek(0)
    samples = np.asarray(imagecodecs.png_decode(file.read()), np.float32)
    samples /= 65535
    return samples


def _first_page(tiff: tifffile.TiffFile) -> tifffile.TiffPage:
    page = tiff.pages[0]
    assert isinstance(page, tifffile.TiffPage)  # the first page is never a frame
    return page


def _decode_tiff(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> _Raster:
    """All TIFF files go through tifffile: Pillow reads neither floating-point colour nor more than 8 bits of it."""
    size = tiff.filehandle.size
    if any(start + count > size for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)):
        raise ValueError("the file is cut short")
    kind = getattr(page.photometric, "name", "")
    colours = _COLOUR_SAMPLES[kind]
    raw_luma = kind == "YCBCR" and "JPEG" not in getattr(page.compression, "name", "")
    if raw_luma or page.imagedepth != 1 or not colours <= page.samplesperpixel <= MAX_TIFF_SAMPLES:
        raise ValueError("an unusual kind of TIFF")
    data = page.asarray()  # of a JPEG inside a TIFF already RGB
    if page.axes == "SYX":
        data = np.moveaxis(data, 0, -1)
    elif page.axes == "YX":
        data = data[..., None]
    if data.ndim != 3 or data.shape[2] < colours:
        raise ValueError("a TIFF that contradicts itself")

    notes: tuple[str, ...] = ()
    if len(tiff.pages) > 1:
        notes = (f"the file holds {len(tiff.pages)} pages; the first one was used",)
    if kind == "PALETTE":
        colormap = np.asarray(page.colormap)  # (3, colours); 8 bits times 256 or 257, or, against the standard, times 1
        bright = colormap >> 8 if colormap.max() > 255 else colormap
        samples = np.moveaxis(bright[:, data[..., 0]], 0, -1) / np.float32(255)
    elif data.dtype.kind in "ub":
        samples = data.astype(np.float32)
        samples /= float((1 << page.bitspersample) - 1)
    elif data.dtype.kind == "f":
        samples = np.nan_to_num(data.astype(np.float32), copy=False)
        notes += ("floating-point samples were taken as sRGB in 0..1",)
        if samples.min() < 0 or samples.max() > 1:
            np.clip(samples, 0, 1, out=samples)
            notes += ("floating-point samples outside 0..1 were clipped",)
    else:
        raise ValueError("signed or complex samples")
    colours = 3 if kind == "PALETTE" else colours
    samples, extras = samples[..., :colours], samples[..., colours:]
    if kind == "MINISWHITE":
        samples = 1 - samples
    alpha = None
    for index, meaning in enumerate(page.extrasamples[: extras.shape[2]]):
        if meaning in (tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA):
            alpha = extras[..., index]
            if meaning == tifffile.EXTRASAMPLE.ASSOCALPHA:
                samples = np.minimum(samples / np.maximum(alpha, 1e-6)[..., None], 1)
            break
    orientation = _valid_orientation(page.tags.valueof(ORIENTATION_TAG))
    return _Raster(samples, alpha, page.tags.valueof("InterColorProfile"), orientation, notes)


def _upright(pixels: Floats, orientation: int) -> Floats:
    """Turn and flip (H, W[, C]) as the EXIF orientation 1 to 8 asks; the result is C-contiguous."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels, np.float32)
