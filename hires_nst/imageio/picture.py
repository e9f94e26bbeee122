"""A picture inside the program: float32, sRGB-encoded, in [0, 1], upright; and how a decoded image becomes one."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ImageCms

Floats = NDArray[np.float32]
"""float32 samples: (H, W), or (H, W, channels), sRGB-encoded in [0, 1] where they are colours."""

ORIENTATION_TAG = 0x0112


@dataclass(frozen=True, eq=False)
class Picture:
    """An upright picture.

    Attributes:
        pixels: float32 (H, W, 3), C-contiguous, sRGB in [0, 1].
        alpha: float32 (H, W) in [0, 1], not premultiplied; None without transparency.
        notes: sentences about what was assumed while reading.
    """

    pixels: Floats
    alpha: Floats | None = None
    notes: tuple[str, ...] = ()

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
        samples: (H, W, C) in [0, 1]; 1 channel is grey, 3 are RGB, 4 are CMYK.
        alpha: (H, W) in [0, 1], not premultiplied; None without transparency.
        profile: the embedded ICC profile.
        orientation: the EXIF orientation, 1 to 8.
        notes: sentences about what was assumed.
    """

    samples: Floats
    alpha: Floats | None
    profile: bytes | None = None
    orientation: int = 1
    notes: tuple[str, ...] = ()

    def picture(self) -> Picture:
        """The upright sRGB picture."""
        rgb, colour_notes = _to_srgb(self.samples, self.profile)
        alpha = None if self.alpha is None else _upright(self.alpha, self.orientation)
        return Picture(_upright(rgb, self.orientation), alpha, self.notes + colour_notes)


def valid_orientation(tag: object) -> int:
    """The EXIF orientation 1 to 8 that a tag gives; 1 when it gives none."""
    return tag if isinstance(tag, int) and 1 <= tag <= 8 else 1


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


def _to_srgb(samples: Floats, profile: bytes | None) -> tuple[Floats, tuple[str, ...]]:
    """(H, W, 1 | 3 | 4) as sRGB (H, W, 3), with notes about what was assumed."""
    notes: tuple[str, ...] = ()
    if profile:
        if samples.shape[2] == 1 and profile[16:20] == b"RGB ":  # bytes 16 to 20 of a profile name its colour space
            samples = np.repeat(samples, 3, axis=2)
        try:
            return _apply_profile(samples, profile), ()
        except (RuntimeError, ValueError):  # CmsError is a RuntimeError
            notes = ("the embedded colour profile is damaged or does not fit the picture, and was ignored",)
    if samples.shape[2] == 4:
        if not profile:
            notes = ("the CMYK picture has no colour profile; its colours were estimated",)
        return (1 - samples[..., :3]) * (1 - samples[..., 3:]), notes
    return np.broadcast_to(samples, (*samples.shape[:2], 3)), notes


def _apply_profile(samples: Floats, profile: bytes) -> Floats:
    import imagecodecs

    channels = samples.shape[2]
    space = {1: "gray", 3: "rgb", 4: "cmyk"}[channels]
    srgb = srgb_profile()

    def convert(block: Floats) -> Floats:
        """(N, M, channels) to (N, M, 3), at 16 bits: the 8 bits of ImageCms would leave bands in 16-bit files."""
        deep = np.rint(block * 65535).astype(np.uint16)
        deep = deep[..., 0] if channels == 1 else deep
        converted = imagecodecs.cms_transform(deep, profile, srgb, colorspace=space, outcolorspace="rgb", intent=0)
        return np.asarray(np.divide(converted, 65535, dtype=np.float32))

    if channels < 4:
        steps = np.linspace(0, 1, 9, dtype=np.float32)
        lattice = np.stack(np.meshgrid(*[steps] * channels), axis=-1).reshape(1, -1, channels)
        if np.abs(convert(lattice) - lattice).max() <= 1 / 255:
            return np.broadcast_to(samples, (*samples.shape[:2], 3))
    result = np.empty((*samples.shape[:2], 3), np.float32)
    for top in range(0, samples.shape[0], 256):
        result[top : top + 256] = convert(samples[top : top + 256])
    return result


def srgb_profile() -> bytes:
    """An sRGB ICC profile to embed, the same bytes every time."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)  # the date of its making
    profile[84:100] = bytes(16)  # the checksum over it, optional
    return bytes(profile)
