"""A picture inside the program: float32, sRGB-encoded, in [0, 1], upright; and how a decoded image becomes one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hires_nst.imageio.colour import ColourSpace, to_srgb

Floats = NDArray[np.float32]
"""float32 samples: (H, W), or (H, W, channels), sRGB-encoded in [0, 1] where they are colours."""

Samples = NDArray[np.floating]
"""The same in float32, or in half precision (float16), which is enough for the 8 bits of most photographs."""

LUMA = (0.299, 0.587, 0.114)
"""The shares of red, green and blue in the brightness of sRGB-encoded pixels, as in television (ITU-R BT.601)."""


def luma(pixels: Floats) -> Floats:
    """The brightness of sRGB-encoded pixels, (..., 3) to (..., 1)."""
    return np.asarray((pixels * np.array(LUMA, np.float32)).sum(-1, keepdims=True), np.float32)


def mixed(pixels: Floats, matrix: NDArray[np.float64], *, offset: Sequence[float] = (0, 0, 0)) -> Floats:
    """Each channel as a weighted sum of all three, `matrix @ pixel + offset`; (..., 3) to (..., 3).

    In single products, so that a pixel's result is the same to the bit whatever is around it.
    """
    result = np.empty(pixels.shape, np.float32)
    for channel, (row, constant) in enumerate(zip(matrix.astype(np.float32), offset, strict=True)):
        products = (pixels[..., source] * weight for source, weight in enumerate(row))
        result[..., channel] = sum(products, start=np.float32(constant))
    return result


@dataclass(frozen=True, eq=False)
class Picture:
    """An upright picture.

    Attributes:
        pixels: float32 (H, W, 3), C-contiguous, sRGB in [0, 1].
        alpha: float32 (H, W) in [0, 1], not premultiplied; None where nothing is transparent.
        notes: sentences about what was assumed while reading.
    """

    pixels: Floats
    alpha: Floats | None = None
    notes: tuple[str, ...] = ()

    @property
    def samples(self) -> Floats:
        """(H, W, 3), or (H, W, 4) with alpha."""
        return self.pixels if self.alpha is None else np.dstack([self.pixels, self.alpha])

    @property
    def height(self) -> int:
        """Rows."""
        return len(self.pixels)

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])


@dataclass(frozen=True, eq=False, kw_only=True)
class Raster:
    """A decoded image, before colour management and orientation.

    Attributes:
        samples: (H, W, C) in [0, 1]; 1 channel is grey, 3 are RGB (or what `space` says), 4 are CMYK.
        alpha: (H, W) in [0, 1], not premultiplied; None without transparency.
        profile: the embedded ICC profile.
        space: the colour space that the file names otherwise; it counts without a profile, or with a damaged one.
        orientation: the EXIF orientation, 1 to 8.
        notes: sentences about what was assumed.
    """

    samples: Floats
    alpha: Floats | None
    profile: bytes | None = None
    space: ColourSpace | None = None
    orientation: int = 1
    notes: tuple[str, ...] = ()

    def picture(self) -> Picture:
        """The upright sRGB picture."""
        rgb, colour_notes = to_srgb(self.samples, profile=self.profile, space=self.space)
        is_opaque = self.alpha is None or float(self.alpha.min()) >= 1
        alpha = None if is_opaque or self.alpha is None else _upright(self.alpha, self.orientation)
        return Picture(_upright(rgb, self.orientation), alpha, self.notes + colour_notes)


def is_on_its_side(orientation: int) -> bool:
    """Whether an EXIF orientation exchanges width and height."""
    return orientation >= 5


def _upright(pixels: Floats, orientation: int) -> Floats:
    """(H, W[, C]) with the orientation applied, C-contiguous."""
    if is_on_its_side(orientation):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels, np.float32)
