"""The colours of TIFF pages: what the tags say about them, and the kinds beside grey, RGB and CMYK."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO, cast

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from hires_nst.imageio.colour import (
    DAMAGED_PROFILE,
    LAB,
    ColourSpace,
    Floats,
    Notes,
    UnsupportedColour,
    from_chromaticities,
    from_exif,
)
from hires_nst.imageio.exif import read_exif

LAB_KINDS = ("CIELAB", "ICCLAB")
_TRANSFER_FUNCTION, _WHITE_POINT, _PRIMARIES, _PROFILE = 301, 318, 319, 34675


def marked_space(page: tifffile.TiffPage, kind: str) -> tuple[bytes | None, ColourSpace | None, Notes]:
    """The embedded profile and the colour space that the tags name, with notes; those of CIELAB need no tags.

    The profile counts before WhitePoint, PrimaryChromaticities and TransferFunction, and these before Exif.
    """
    if kind in LAB_KINDS:
        return None, LAB, ()
    profile = value_of(page, _PROFILE)
    notes: Notes = ()
    if _PROFILE in page.tags and not isinstance(profile, bytes):
        profile, notes = None, (DAMAGED_PROFILE,)
    white, primaries, curve = (value_of(page, tag) for tag in (_WHITE_POINT, _PRIMARIES, _TRANSFER_FUNCTION))
    if kind in ("SEPARATED", "PALETTE", "MINISWHITE"):
        curve = None  # the standard means inks, indices and inverted samples by it
    if white is None and primaries is None and curve is None:
        space, exif_notes = from_exif(_exif(page))
        return profile, space, notes if profile else notes + exif_notes
    try:
        space = from_chromaticities(
            white=_rationals(white, 2),
            primaries=None if kind.startswith("MINIS") else _rationals(primaries, 6),
            curve=None if curve is None else _curve(curve, bits=page.bitspersample),
            source="TIFF tags",
        )
    except (ValueError, TypeError, LookupError, ArithmeticError):
        return profile, None, (*notes, "the tags about the colours are damaged, and were ignored")
    return profile, space, notes


def lab_samples(kind: str, data: NDArray[Any]) -> Floats:
    """CIELAB samples, (H, W, 3 or more), in the encoding of `colour.LAB`; further channels are scaled to [0, 1].

    Raises UnsupportedColour for others than 8 and 16 bits, and floating point (L* to 100, a* and b* as they are).
    """
    if data.dtype.kind == "f" and kind == "CIELAB":
        samples = np.array(data, np.float32)
        samples[..., 0] /= 100
        samples[..., 1:3] = (samples[..., 1:3] + 128) / 255
    elif data.dtype.kind in "ui" and data.dtype.itemsize <= 2:
        bits = 8 * data.dtype.itemsize
        samples = data.view(f"u{data.dtype.itemsize}").astype(np.float32)
        if kind == "CIELAB":  # a* and b* are signed
            samples[..., 1:3] = (samples[..., 1:3] + (1 << bits - 1)) % (1 << bits)
        peak = np.full(samples.shape[2], (1 << bits) - 1, np.float32)
        if bits == 16:  # a* and b* have 8 fractional bits; so has L* in ICCLAB, the encoding of ICC version 2
            peak[slice(1, 3) if kind == "CIELAB" else slice(0, 3)] = 255 * 256
        samples /= peak
    else:
        raise UnsupportedColour(f"has CIELAB colours in samples of {data.dtype}; save it as RGB, or with 8 or 16 bits")
    return np.clip(np.nan_to_num(samples, copy=False), 0, 1, out=samples)


def decoded_luma(page: tifffile.TiffPage) -> NDArray[np.uint8]:
    """A page of YCbCr samples without JPEG compression as RGB (H, W, 3), by libtiff.

    It applies subsampling, coefficients and the reference black and white. Raises UnsupportedColour for others than
    three channels of 8 bits.
    """
    import imagecodecs

    if (page.bitspersample, page.samplesperpixel) != (8, 3):
        raise UnsupportedColour(
            f"has YCbCr colours in {page.samplesperpixel} channels of {page.bitspersample} bits; save it as RGB"
        )
    handle, parent = page.parent.filehandle, page.parent
    handle.seek(0)
    file = bytearray(handle.read(-1))
    order = parent.byteorder
    where, pointer = (8, "Q") if parent.is_bigtiff else (4, "I")
    struct.pack_into(order + pointer, file, where, page.offset)  # the page becomes the first one,
    if orientation := page.tags.get(274):
        struct.pack_into(order + "H", file, orientation.valueoffset, 1)  # and libtiff does not turn it
    return np.asarray(imagecodecs.tiff_decode(bytes(file), index=0, asrgb=True))[..., :3]


def value_of(page: tifffile.TiffPage, tag: int) -> Any:
    """The value of a tag; None if there is none or it is damaged."""
    try:
        return page.tags.valueof(tag)
    except Exception:  # whatever tifffile raises over damaged tags
        return None


def _exif(page: tifffile.TiffPage) -> Image.Exif:
    parent = page.parent
    return read_exif(
        cast("BinaryIO", parent.filehandle), page.offset, endian=parent.byteorder, bigtiff=parent.is_bigtiff
    )


def _rationals(value: Any, count: int) -> list[float] | None:
    """The numbers of a tag of rationals, which tifffile gives as numerators and denominators in turn."""
    if value is None:
        return None
    numbers = np.asarray(value, np.float64).ravel()
    if numbers.size == 2 * count:
        numbers = numbers[::2] / np.maximum(numbers[1::2], 1)
    return [float(number) for number in numbers.reshape(count)]


def _curve(value: Any, *, bits: int) -> NDArray[np.uint16]:
    """(N,) or (3, N) from the tag TransferFunction."""
    curve = np.asarray(value, np.uint16)
    if curve.size not in (1 << bits, 3 << bits):
        raise ValueError("a transfer function of another length")
    return curve if curve.size == 1 << bits else curve.reshape(3, -1)
