"""Images as arguments of the library's functions: the path of a file, a Pillow image or an array."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hires_nst.errors import InputError
from hires_nst.imageio.colour import IMPOSSIBLE, LAB, ColourSpace, Notes, from_chromaticities, from_exif
from hires_nst.imageio.decoders.pillow import image_samples, split_alpha
from hires_nst.imageio.decoders.tiff_colour import lab_samples
from hires_nst.imageio.exif import exif_of, orientation_of
from hires_nst.imageio.picture import Floats, Picture, Raster
from hires_nst.imageio.reading import DECODE_ERRORS, check_size, read_picture
from hires_nst.imageio.transparency import visible

ImageInput: TypeAlias = Union[str, os.PathLike[str], Image.Image, NDArray[Any]]  # noqa: UP007 - made at run time
"""The path of a picture file (see `formats.FORMATS`); a Pillow image; or an array as in `to_picture`."""

ROUNDING = 1e-3
"""How far beyond [0, 1] a floating-point sample may lie, as after resampling; it is clipped."""


def to_picture(image: ImageInput, *, max_megapixels: float, name: str = "the image") -> Picture:
    """Any image as an upright sRGB picture.

    Args:
        image: one of

            - a path, read by `read_picture`;
            - a Pillow image of any mode of 8 bits a sample, `1`, `I;16` or `F` (in [0, 1]). Its EXIF orientation, and
              its ICC profile or what else names its colours, are applied as those of a file are;
            - an array of shape (H, W) or (H, W, C) with 1 channel (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha),
              sRGB-encoded, upright, alpha not premultiplied; of dtype bool, uint8 (0 to 255), uint16 (0 to 65535) or
              floating point (0 to 1). Grey becomes RGB.
        max_megapixels: an image of more pixels is refused.
        name: what errors call an image in memory; those about a file name the file.

    Returns:
        The picture. It may share memory with the array, which is not changed, and should not be while it is in use.

    Raises:
        InputError: the image is too large, has no pixels, has another shape or data type, or its samples are NaN or
            out of range, or it is fully transparent; a file cannot be read. ResourceError: memory runs out while a
            file is decoded.
        TypeError: it is none of these things.
    """
    if isinstance(image, (str, os.PathLike)):
        return read_picture(Path(image), max_megapixels=max_megapixels)
    _check(image, name, max_megapixels=max_megapixels)
    if isinstance(image, Image.Image):
        return visible(_raster_of(image, name).picture(), name)
    samples, alpha = split_alpha(_floats(image, name))
    return visible(Raster(samples=samples, alpha=alpha).picture(), name)


def _check(image: Image.Image | NDArray[Any], name: str, *, max_megapixels: float) -> None:
    if isinstance(image, np.ndarray):
        if image.ndim not in (2, 3) or (image.ndim == 3 and not 1 <= image.shape[2] <= 4):
            raise InputError(f"{name} has the shape {image.shape}; give (H, W), or (H, W, C) with 1 to 4 channels")
        size = image.shape[1], image.shape[0]
    elif isinstance(image, Image.Image):
        size = image.size
    else:
        raise TypeError(f"{name} must be a path, a Pillow image or a NumPy array, not {type(image).__name__}")
    if min(size) < 1:
        raise InputError(f"{name} has no pixels ({size[0]} x {size[1]}); give one with at least one pixel")
    check_size(name, size, max_megapixels=max_megapixels)


def _raster_of(image: Image.Image, name: str) -> Raster:
    try:
        exif = exif_of(image)
        space, notes = _space_of(image.info, exif)
        if image.mode == "F" or image.mode.startswith("I;16"):
            samples, alpha = split_alpha(_floats(np.asarray(image), name))
        elif image.mode == "LAB":
            samples, alpha, space, notes = lab_samples("CIELAB", np.asarray(image)), None, LAB, ()
        elif image.mode == "I":
            raise InputError(f"{name} has Pillow's mode {image.mode}; convert it to RGB, or give it as an array")
        else:
            samples, alpha = image_samples(image)
    except DECODE_ERRORS as error:  # of a file that Pillow opened, but had not decoded yet
        raise InputError(f"{name} cannot be decoded ({error}); the file that it comes from is damaged") from error
    return Raster(
        samples=samples,
        alpha=alpha,
        profile=None if space is LAB else image.info.get("icc_profile"),
        space=space,
        orientation=orientation_of(exif),
        notes=() if image.info.get("icc_profile") else notes,
    )


def _space_of(info: Mapping[Any, Any], exif: Image.Exif) -> tuple[ColourSpace | None, Notes]:
    """The colour space that a Pillow image names without a profile: what it keeps of a PNG, or Exif; with notes."""
    gamma, chromaticities = info.get("gamma"), info.get("chromaticity", ())
    if "srgb" in info:
        return None, ()
    if gamma is None and not chromaticities:
        return from_exif(exif)
    try:
        white, primaries, exponent = chromaticities[:2], chromaticities[2:], 1 / gamma if gamma else gamma
        return from_chromaticities(white=white, primaries=primaries, gamma=exponent, source="gamma of the image"), ()
    except (TypeError, ValueError):
        return None, (IMPOSSIBLE,)


def _floats(samples: NDArray[Any], name: str) -> Floats:
    """Samples as float32 in [0, 1]."""
    if samples.dtype == np.bool_:
        return samples.astype(np.float32)
    if samples.dtype.kind == "u" and samples.dtype.itemsize <= 2:
        return np.asarray(np.divide(samples, np.iinfo(samples.dtype).max, dtype=np.float32))
    if samples.dtype.kind != "f":
        raise InputError(
            f"{name} has samples of type {samples.dtype}; give uint8, uint16, or floating point between 0 and 1"
        )
    low, high = float(samples.min()), float(samples.max())
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):  # also where they are NaN
        raise InputError(
            f"{name} has floating-point samples from {low:.4g} to {high:.4g}; give them between 0 and 1 (those of 8 "
            "bits divided by 255), none of them NaN"
        )
    return np.asarray(samples.clip(0, 1) if low < 0 or high > 1 else samples, np.float32)
