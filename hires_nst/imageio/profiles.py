"""Colour profiles: from whatever a file has to sRGB, and the sRGB profile that results carry."""

from __future__ import annotations

import struct

import numpy as np
from PIL import ImageCms

from hires_nst.imageio.pixels import Floats


def to_srgb(samples: Floats, profile: bytes | None) -> tuple[Floats, tuple[str, ...]]:
    """Colour-manage (H, W, 1 | 3 | 4) to sRGB (H, W, 3); with notes about what had to be assumed."""
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
        """(N, M, channels) to (N, M, 3), at 16 bits: ImageCms knows 8 bits only, which leaves bands in 16-bit files."""
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
