"""Camera raw files, developed by rawpy (LibRaw)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from hires_nst.imageio.failures import CutShort, Unsupported
from hires_nst.imageio.picture import Raster

_SRGB_CURVE = (2.4, 12.92)
_FLIPS_TO_THE_SIDE = (5, 6)


@contextmanager
def open_raw(file: BinaryIO) -> Iterator[RawDecoder]:
    """The header of a camera raw file; rawpy must be installed."""
    import rawpy

    file.seek(0)
    try:
        with rawpy.imread(file) as raw:
            yield RawDecoder(raw)
    except rawpy.LibRawError as error:
        if isinstance(error, (rawpy.LibRawFileUnsupportedError, rawpy.LibRawNotImplementedError)):
            raise Unsupported(
                "is damaged, or camera raw of a kind that rawpy cannot develop; update rawpy, or export the picture as "
                "TIFF from a raw converter"
            ) from error
        if isinstance(error, rawpy.LibRawIOError):
            raise CutShort("pixels behind its end") from error
        raise ValueError(str(error)) from error


@dataclass(frozen=True)
class RawDecoder:
    """An open camera raw file."""

    raw: Any
    orientation: int = 1  # the developed picture is upright
    notes: tuple[str, ...] = ("camera raw, developed with the camera's white balance",)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the developed picture."""
        sizes = self.raw.sizes
        width, height, aspect = sizes.width, sizes.height, sizes.pixel_aspect
        if aspect < 1:
            height = int(height / aspect + 0.5)
        elif aspect > 1:
            width = int(width * aspect + 0.5)
        return (height, width) if sizes.flip in _FLIPS_TO_THE_SIDE else (width, height)

    def decode(self) -> Raster:
        """Develop it at 16 bits, in sRGB, with the camera's white balance, and as bright as the brightest 1 % allow."""
        import rawpy

        pixels = self.raw.postprocess(
            use_camera_wb=True, output_bps=16, output_color=rawpy.ColorSpace.sRGB, gamma=_SRGB_CURVE
        )
        samples = np.asarray(np.divide(pixels, 65535, dtype=np.float32))
        return Raster(samples=samples, alpha=None, notes=self.notes)
