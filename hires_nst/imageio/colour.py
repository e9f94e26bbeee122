"""Colour spaces: embedded profiles, and those that a file names in another way; their conversion to sRGB.

A file may name its space by code points (cICP in PNG, nclx in HEIF and AVIF), by gamma and chromaticities (gAMA and
cHRM in PNG, tags of TIFF and Exif), or by Exif alone (Adobe RGB of cameras). Each becomes an ICC profile, and littleCMS
converts.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from hires_nst.imageio.exif import interoperability, photo_tags
from hires_nst.imageio.failures import Unsupported

Floats: TypeAlias = NDArray[np.float32]
Notes: TypeAlias = tuple[str, ...]

DAMAGED_PROFILE = "the embedded colour profile is damaged or does not fit the picture, and was ignored"
IMPOSSIBLE = "the gamma or the chromaticities are not possible, and were ignored"

_D65, _C, _DCI = (0.3127, 0.329), (0.31, 0.316), (0.314, 0.351)
_SRGB_PRIMARIES = (0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
_ADOBE_PRIMARIES, _ADOBE_GAMMA = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06), 2.19921875
_PRIMARIES: Mapping[int, tuple[str, tuple[float, float], tuple[float, ...]]] = MappingProxyType(
    {
        1: ("BT.709", _D65, _SRGB_PRIMARIES),
        4: ("BT.470 M", _C, (0.67, 0.33, 0.21, 0.71, 0.14, 0.08)),
        5: ("BT.470 BG", _D65, (0.64, 0.33, 0.29, 0.6, 0.15, 0.06)),
        6: ("BT.601", _D65, (0.63, 0.34, 0.31, 0.595, 0.155, 0.07)),
        7: ("SMPTE 240M", _D65, (0.63, 0.34, 0.31, 0.595, 0.155, 0.07)),
        8: ("generic film", _C, (0.681, 0.319, 0.243, 0.692, 0.145, 0.049)),
        9: ("BT.2020", _D65, (0.708, 0.292, 0.17, 0.797, 0.131, 0.046)),
        11: ("DCI-P3", _DCI, (0.68, 0.32, 0.265, 0.69, 0.15, 0.06)),
        12: ("Display P3", _D65, (0.68, 0.32, 0.265, 0.69, 0.15, 0.06)),
        22: ("EBU 3213", _D65, (0.63, 0.34, 0.295, 0.605, 0.155, 0.077)),
    }
)
"""Code points of ITU-T H.273 to name, white point, and the chromaticities of red, green and blue."""

Light: TypeAlias = NDArray[np.float64]


def _srgb_to_light(v: Light) -> Light:
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def _bt709_to_light(v: Light) -> Light:
    return np.where(v < 0.081, v / 4.5, ((v + 0.099) / 1.099) ** (1 / 0.45))


def _smpte240_to_light(v: Light) -> Light:
    return np.where(v < 0.0913, v / 4, ((v + 0.1115) / 1.1115) ** (1 / 0.45))


_CURVES: Mapping[int, tuple[str, Callable[[Light], Light]]] = MappingProxyType(
    {
        **dict.fromkeys((1, 6, 11, 12, 14, 15), ("the curve of BT.709", _bt709_to_light)),
        4: ("a gamma of 2.2", lambda v: v**2.2),
        5: ("a gamma of 2.8", lambda v: v**2.8),
        7: ("the curve of SMPTE 240M", _smpte240_to_light),
        8: ("linear light", lambda v: v),
        13: ("the curve of sRGB", _srgb_to_light),
    }
)
"""Code points of ITU-T H.273 to name, and the function from samples to light."""

_HDR: Mapping[int, str] = MappingProxyType({16: "PQ", 18: "HLG"})
_UNSPECIFIED, _BT709, _SRGB = 2, 1, 13
_CURVE_STEPS = 4096

_WHITE_POINT, _PRIMARY_CHROMATICITIES, _COLOR_SPACE, _GAMMA = 0x013E, 0x013F, 0xA001, 0xA500
_UNCALIBRATED = 0xFFFF
_CAMERA_ADOBE_RGB = re.compile(r"_[A-Z0-9_]{3}[0-9]{4}\.JPE?G", re.IGNORECASE)


class UnsupportedColour(Unsupported):
    """Colours that cannot be converted. The message continues the file's name, and says what to do."""


@dataclass(frozen=True, kw_only=True)
class ColourSpace:
    """A space that a file names without embedding a profile.

    Attributes:
        name: of the space and of what names it, for notes: "Adobe RGB (Exif)".
        model: what the samples are.
        profile: an ICC profile made for it; that of CIELAB is made when it is used.
    """

    name: str
    model: Literal["rgb", "lab"] = "rgb"
    profile: bytes


LAB = ColourSpace(name="CIELAB", model="lab", profile=b"")
"""L* / 100, (a* + 128) / 255 and (b* + 128) / 255, of the white point D50."""


def to_srgb(samples: Floats, *, profile: bytes | None, space: ColourSpace | None = None) -> tuple[Floats, Notes]:
    """Samples as sRGB.

    Args:
        samples: (H, W, 1 grey | 3 | 4 CMYK) in [0, 1].
        profile: the embedded profile. It is converted at 16 bits with perceptual intent.
        space: what the samples are in if there is no profile, or a damaged one; None for sRGB.

    Returns:
        sRGB (H, W, 3), the given values where the space is equivalent to sRGB; and notes about what was done.
    """
    notes: Notes = ()
    if profile:
        try:
            return _converted(samples, profile, name=_profile_name(profile))
        except (RuntimeError, ValueError):  # CmsError is a RuntimeError
            notes = (DAMAGED_PROFILE,)
    if samples.shape[2] == 4:
        if not profile:
            notes = ("the CMYK picture has no colour profile; its colours were estimated",)
        return (1 - samples[..., :3]) * (1 - samples[..., 3:]), notes
    if space is not None:
        converted, conversion = _converted(samples, space.profile, name=space.name, model=space.model)
        return converted, notes + conversion
    return np.broadcast_to(samples, (*samples.shape[:2], 3)), notes


def from_code_points(
    primaries: int, transfer: int, *, full_range: bool = True, source: str = "cICP"
) -> ColourSpace | None:
    """The RGB space of code points of ITU-T H.273, whose `source` notes name; None if they are unspecified.

    Raises UnsupportedColour for HDR (PQ, HLG), narrow range, and code points that are not known.
    """
    if primaries == transfer == _UNSPECIFIED:
        return None
    primaries = _BT709 if primaries == _UNSPECIFIED else primaries
    transfer = _SRGB if transfer == _UNSPECIFIED else transfer
    remedy = "export it as an ordinary (SDR) picture in sRGB or Display P3"
    if transfer in _HDR:
        raise UnsupportedColour(f"is an HDR picture ({_HDR[transfer]}, named by {source}), not converted; {remedy}")
    if primaries not in _PRIMARIES or transfer not in _CURVES or not full_range:
        kind = f"primaries {primaries}, transfer {transfer}, {'full' if full_range else 'narrow'} range"
        raise UnsupportedColour(f"has colours of an unusual kind ({source}: {kind}), not converted; {remedy}")
    name, white, red_green_blue = _PRIMARIES[primaries]
    curve_name, to_light = _CURVES[transfer]
    name = name if transfer == _SRGB else f"{name} with {curve_name}"
    return ColourSpace(name=f"{name} ({source})", profile=_rgb_profile(white, red_green_blue, to_light=to_light))


def from_chromaticities(
    *,
    white: Sequence[float] | None = None,
    primaries: Sequence[float] | None = None,
    gamma: float | None = None,
    curve: NDArray[np.uint16] | None = None,
    source: str,
) -> ColourSpace | None:
    """The RGB space of a white point, primaries, and a gamma or a curve; None if it is sRGB.

    What is not given is as in sRGB. A gamma of 2.2 with the primaries of sRGB is sRGB, which PNG files declare so:
    https://www.w3.org/TR/png-3/#11sRGB.

    Args:
        white: x, y.
        primaries: x, y of red, green and blue.
        gamma: the exponent from samples to light, such as 2.2.
        curve: (N,) or (3, N), from samples to light, both 0 to 65535.
        source: what names them, for notes.

    Raises:
        ValueError: they are not possible.
    """
    white, primaries = tuple(white or _D65), tuple(primaries or _SRGB_PRIMARIES)
    if not np.isfinite([*white, *primaries]).all() or not 0.1 <= (gamma or 1) <= 10:
        raise ValueError("numbers that are not possible")
    if min(white) <= 0 or sum(white) >= 1:
        raise ValueError("a white that is not possible")
    if abs(np.linalg.det([[x, y, 1] for x, y in zip(primaries[::2], primaries[1::2], strict=True)])) < 1e-3:
        raise ValueError("primaries on one line")
    usual = np.allclose([*white, *primaries], [*_D65, *_SRGB_PRIMARIES], atol=0.005)
    if usual and curve is None and (gamma is None or abs(gamma - 2.2) <= 0.03):
        return None
    names = [*(["other primaries"] if not usual else []), *([f"a gamma of {gamma:.3g}"] if gamma else [])]
    if curve is not None:
        names, curve = [*names, "a curve"], _fewer_steps(curve)
    profile = _rgb_profile(white, primaries, to_light=_srgb_to_light, gamma=gamma, curve=curve)
    return ColourSpace(name=f"{' and '.join(names)} ({source})", profile=profile)


def from_exif(exif: Image.Exif, *, file_name: str = "") -> tuple[ColourSpace | None, Notes]:
    """The space that Exif names, None for sRGB; with notes.

    Adobe RGB is ColorSpace 2, or the interoperability index R03 unless ColorSpace says sRGB; cameras that write no
    index begin the file's name with an underscore (DCF 2.0, JEITA CP-3461B). Another space may be given by
    chromaticities and gamma.
    """
    tags = photo_tags(exif)
    marked, index = tags.get(_COLOR_SPACE), interoperability(exif)
    if marked == 1 or (marked is None and index != "R03") or (marked != 2 and index == "R98"):
        return None, ()
    by_name = not index and marked == _UNCALIBRATED and _CAMERA_ADOBE_RGB.fullmatch(file_name)
    if marked == 2 or index == "R03" or by_name:
        adobe_rgb = _rgb_profile(_D65, _ADOBE_PRIMARIES, gamma=_ADOBE_GAMMA)
        source = "Exif and the camera's file name" if by_name else "Exif"
        return ColourSpace(name=f"Adobe RGB ({source})", profile=adobe_rgb), ()
    try:
        white, primaries, gamma = exif[_WHITE_POINT], exif[_PRIMARY_CHROMATICITIES], tags.get(_GAMMA)
        numbers = [float(number) for number in (*white, *primaries, gamma or 2.2)]
        return from_chromaticities(white=numbers[:2], primaries=numbers[2:8], gamma=numbers[8], source="Exif"), ()
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None, ("Exif calls the colours uncalibrated and there is no profile; they were taken as sRGB",)


def _converted(samples: Floats, profile: bytes, *, name: str, model: str = "") -> tuple[Floats, Notes]:
    """(H, W, C) as sRGB (H, W, 3), with a note if that changed it. Raises what littleCMS does over a profile."""
    import imagecodecs

    if samples.shape[2] == 1 and profile[16:20] == b"RGB ":  # bytes 16 to 20 of a profile name its colour space
        samples = np.repeat(samples, 3, axis=2)
    channels = samples.shape[2]
    profile = profile or bytes(imagecodecs.cms_profile("lab4"))
    model = model or {1: "gray", 3: "rgb", 4: "cmyk"}[channels]
    srgb = srgb_profile()
    # What littleCMS optimizes is wrong by up to 18/255 at 16 bits where saturated colours leave the gamut.
    flags = 0 if channels == 4 else int(imagecodecs.CMS.FLAGS.NOOPTIMIZE)

    def convert(block: Floats) -> Floats:
        """(N, M, channels) to (N, M, 3), at 16 bits: the 8 bits of ImageCms would leave bands in 16-bit files."""
        deep = np.rint(block * 65535).astype(np.uint16)
        deep = deep[..., 0] if channels == 1 else deep
        converted = imagecodecs.cms_transform(
            deep, profile, srgb, colorspace=model, outcolorspace="rgb", intent=0, flags=flags
        )
        return np.asarray(np.divide(converted, 65535, dtype=np.float32))

    if channels < 4:
        steps = np.linspace(0, 1, 9, dtype=np.float32)
        lattice = np.stack(np.meshgrid(*[steps] * channels), axis=-1).reshape(1, -1, channels)
        if np.abs(convert(lattice) - lattice).max() <= 1 / 255:
            return np.broadcast_to(samples, (*samples.shape[:2], 3)), ()
    result = np.empty((*samples.shape[:2], 3), np.float32)

    def fill(top: int) -> None:
        result[top : top + 64] = convert(samples[top : top + 64])

    with ThreadPoolExecutor() as threads:  # littleCMS lets other threads run
        list(threads.map(fill, range(0, len(samples), 64)))
    return result, (f"the colours were converted from {name} to sRGB",)


def _profile_name(profile: bytes) -> str:
    """The profile's own description, for notes."""
    try:
        text = ImageCms.getProfileDescription(ImageCms.getOpenProfile(BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError, ValueError):
        text = ""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return f'"{text[:60]}" (embedded profile)' if text else "the embedded profile"


def _rgb_profile(
    white: Sequence[float],
    primaries: Sequence[float],
    *,
    to_light: Callable[[Light], Light] | None = None,
    gamma: float | None = None,
    curve: NDArray[np.uint16] | None = None,
) -> bytes:
    """An ICC profile; of curve, gamma and `to_light` the first one that is given counts."""
    import imagecodecs

    if curve is None and gamma is None and to_light is not None:
        curve = np.rint(to_light(np.linspace(0, 1, _CURVE_STEPS)) * 65535).astype(np.uint16)
    options = {"gamma": gamma} if curve is None else {"transferfunction": curve}
    return bytes(imagecodecs.cms_profile("rgb", whitepoint=[*white, 1], primaries=list(primaries), **options))


def _fewer_steps(curve: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """A curve of any length with as many steps as littleCMS takes."""
    positions = np.linspace(0, curve.shape[-1] - 1, min(curve.shape[-1], _CURVE_STEPS))
    rows = [np.interp(positions, np.arange(curve.shape[-1]), row) for row in np.atleast_2d(curve)]
    return np.ascontiguousarray(np.rint(rows if curve.ndim == 2 else rows[0]).astype(np.uint16))


def srgb_profile() -> bytes:
    """An sRGB ICC profile to embed, the same bytes every time."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)  # the date of its making
    profile[84:100] = bytes(16)  # the checksum over it, optional
    return bytes(profile)
