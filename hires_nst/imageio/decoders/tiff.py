"""TIFF files through tifffile: Pillow reads neither floating-point colour nor more than 8 bits of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO

import numpy as np
import tifffile

from hires_nst.imageio.colour import ColourSpace
from hires_nst.imageio.decoders.floats import unit_samples
from hires_nst.imageio.decoders.pages import choose_page
from hires_nst.imageio.decoders.tiff_colour import LAB_KINDS, decoded_luma, lab_samples, marked_space, value_of
from hires_nst.imageio.exif import ORIENTATION_TAG, valid_orientation
from hires_nst.imageio.failures import SIGNED, CutShort, Unsupported
from hires_nst.imageio.picture import Floats, Raster
from hires_nst.imageio.transparency import unpremultiplied

MAX_SAMPLES = 16
"""Colours and extra channels of a pixel: without this a limit of megapixels would not limit the memory."""

_COLOUR_SAMPLES = {
    **{"MINISWHITE": 1, "MINISBLACK": 1, "PALETTE": 1, "RGB": 3, "YCBCR": 3, "SEPARATED": 4},
    **dict.fromkeys(LAB_KINDS, 3),
}


@contextmanager
def open_tiff(file: BinaryIO) -> Iterator[TiffDecoder]:
    """The header of a TIFF file. Raises Unsupported for samples that are not read."""
    with tifffile.TiffFile(file) as tiff:
        page, notes = choose_page(tiff)
        decoder = TiffDecoder(tiff, page, notes)
        _check_kind(page, decoder.kind)
        yield decoder


@dataclass(frozen=True)
class TiffDecoder:
    """The chosen page of an open TIFF file."""

    tiff: tifffile.TiffFile
    page: tifffile.TiffPage
    page_notes: tuple[str, ...]

    @property
    def kind(self) -> str:
        """Its PhotometricInterpretation."""
        return getattr(self.page.photometric, "name", str(self.page.photometric))

    @property
    def size(self) -> tuple[int, int]:
        """Stored width and height, before the orientation is applied."""
        return self.page.imagewidth, self.page.imagelength

    @property
    def orientation(self) -> int:
        """The EXIF orientation, 1 to 8."""
        return valid_orientation(value_of(self.page, ORIENTATION_TAG))

    @property
    def notes(self) -> tuple[str, ...]:
        """What the header tells about what is left out or assumed."""
        return self.page_notes + self._colours[2]

    @cached_property
    def _colours(self) -> tuple[bytes | None, ColourSpace | None, tuple[str, ...]]:
        return marked_space(self.page, self.kind)

    def decode(self) -> Raster:
        """Read the pixels.

        Raises:
            ValueError: the file is damaged or of an unusual kind.
        """
        page, kind, size = self.page, self.kind, self.tiff.filehandle.size
        if any(start + count > size for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)):
            raise CutShort("pixels behind its end")
        colours = _COLOUR_SAMPLES[kind]
        raw_luma = kind == "YCBCR" and "JPEG" not in getattr(page.compression, "name", "")
        data = decoded_luma(page) if raw_luma else page.asarray()  # of a JPEG inside a TIFF already RGB
        if page.axes == "SYX" and not raw_luma:
            data = np.moveaxis(data, 0, -1)
        elif page.axes == "YX":
            data = data[..., None]
        if data.ndim != 3 or data.shape[2] < colours:
            raise ValueError("a TIFF that contradicts itself")
        profile, space, colour_notes = self._colours
        notes = self.page_notes
        if kind in LAB_KINDS:
            samples = lab_samples(kind, data)
        elif kind == "PALETTE":
            samples, colours = _palette_colours(page, data), 3
        elif data.dtype.kind in "ub":
            peak, integer_notes = _peak(page, data)
            notes += integer_notes
            samples = data.astype(np.float32)
            samples /= float(peak)
        elif data.dtype.kind == "f":
            marked = bool(profile or space)
            samples, float_notes = _visible_unit_samples(page, data.astype(np.float32), colours=colours, marked=marked)
            notes += float_notes
        else:
            raise Unsupported(SIGNED)
        samples, extras = samples[..., :colours], samples[..., colours:]
        if kind == "MINISWHITE":
            samples = 1 - samples
        samples, alpha = _without_premultiplication(page, samples, extras=extras)
        return Raster(
            samples=samples,
            alpha=alpha,
            profile=profile,
            space=space,
            orientation=self.orientation,
            notes=notes + colour_notes,
        )


def _check_kind(page: tifffile.TiffPage, kind: str) -> None:
    """Raise Unsupported for a page whose samples are not read."""
    remedy = "convert it to an ordinary TIFF in RGB"
    if page.imagedepth != 1:
        raise Unsupported(f"is a volume of {page.imagedepth} slices; export one as a picture")
    if page.dtype is not None and page.dtype.kind == "i" and kind not in LAB_KINDS:
        raise Unsupported(SIGNED)
    if page.dtype is not None and page.dtype.kind == "u" and page.dtype.itemsize > 4:
        raise Unsupported("has samples of 64 bits; convert it to 8 or 16 bits")
    if page.dtype is not None and page.dtype.kind == "c":
        raise Unsupported("has complex samples, which are no colours; export what it shows as a picture")
    if kind not in _COLOUR_SAMPLES:
        raise Unsupported(f"has colours of a kind that is not read ({kind}); save it as RGB")
    if page.samplesperpixel > MAX_SAMPLES:
        raise Unsupported(f"is a TIFF of {page.samplesperpixel} channels, more than {MAX_SAMPLES}; {remedy}")
    if page.samplesperpixel < _COLOUR_SAMPLES[kind]:
        raise Unsupported(f"is a TIFF in {kind} with {page.samplesperpixel} channels only; {remedy}")


def _peak(page: tifffile.TiffPage, data: np.ndarray) -> tuple[int, tuple[str, ...]]:
    """The unsigned sample that is white, with a note where it is not the largest possible one.

    Programs that compute with wide integers write 8 or 16 bits in 32, which would be black.
    """
    brightest = int(data.max())
    if page.bitspersample < 32 or not 0 < brightest <= 65535:
        return (1 << page.bitspersample) - 1, ()
    peak = 255 if brightest <= 255 else 65535
    return peak, (f"32-bit samples up to {brightest} were divided by {peak}",)


def _palette_colours(page: tifffile.TiffPage, indices: np.ndarray) -> Floats:
    colormap = np.asarray(page.colormap)  # (3, colours); 8 bits times 256 or 257, or, against the standard, times 1
    bright = colormap >> 8 if colormap.max() > 255 else colormap
    return np.asarray(np.divide(np.moveaxis(bright[:, indices[..., 0]], 0, -1), 255, dtype=np.float32))


def _alpha_index(page: tifffile.TiffPage, extras: int) -> int | None:
    """Which of so many extra channels is alpha."""
    kinds = (tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA)
    return next((index for index, meaning in enumerate(page.extrasamples[:extras]) if meaning in kinds), None)


def _visible_unit_samples(
    page: tifffile.TiffPage, samples: Floats, *, colours: int, marked: bool
) -> tuple[Floats, tuple[str, ...]]:
    """See `unit_samples`; colours that are hidden under an alpha of 0 have no say in their range, and become 0."""
    index = _alpha_index(page, samples.shape[2] - colours)
    if index is None:
        return unit_samples(samples, colours=colours, marked=marked)
    seen = samples[..., colours + index] != 0
    found, notes = unit_samples(samples[seen][None], colours=colours, marked=marked)
    samples[seen], samples[~seen] = found[0], 0
    return samples, notes


def _without_premultiplication(
    page: tifffile.TiffPage, samples: Floats, *, extras: Floats
) -> tuple[Floats, Floats | None]:
    """The colours divided by a premultiplied alpha, and the alpha channel among the `extras`."""
    index = _alpha_index(page, extras.shape[2])
    if index is None:
        return samples, None
    alpha = extras[..., index]
    if page.extrasamples[index] == tifffile.EXTRASAMPLE.ASSOCALPHA:
        samples = unpremultiplied(samples, alpha)
    return samples, alpha
