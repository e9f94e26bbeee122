"""OKLab: lightness apart from colour, and colours brought into the gamut of sRGB.

B. Ottosson: A perceptual color space for image processing, 2020 (https://bottosson.github.io/posts/oklab/), with its
matrices of 2021. Lightness is 0 for black and 1 for white; chroma is the length of (a, b), and hue its direction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hires_nst.imageio.picture import Floats, mixed

_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
_FROM_CONES, _FROM_LAB = np.linalg.inv(_TO_CONES), np.linalg.inv(_TO_LAB)

_HALVINGS = 12
"""Of the interval in which the largest chroma inside the gamut lies."""

_ROUNDING = 1e-5
"""By which light may lie outside [0, 1] and still count as inside the gamut."""


def oklab(pixels: Floats) -> Floats:
    """Lightness, a and b of sRGB-encoded pixels in [0, 1]; (..., 3) to (..., 3), float32."""
    light = np.where(pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4).astype(np.float32)
    return mixed(np.cbrt(mixed(light, _TO_CONES)), _TO_LAB)


def from_oklab(colours: Floats) -> Floats:
    """sRGB-encoded pixels in [0, 1] of lightness, a and b; (..., 3) to (..., 3), float32.

    Colours outside the gamut of sRGB become the ones of the same lightness and hue with the most chroma inside it.

    Args:
        colours: lightness in [0, 1].
    """
    light = _light(colours)
    outside = _is_outside(light)
    if outside.any():
        light[outside] = _light(_with_less_chroma(colours[outside]))
    light = light.clip(0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055).astype(np.float32)


def grey(pixels: Floats) -> Floats:
    """The greys of the same lightness as sRGB-encoded pixels, (..., 3), three equal channels."""
    colours = oklab(pixels)
    colours[..., 1:] = 0
    return from_oklab(colours)[..., :1].repeat(3, -1)


def with_colours_of(pixels: Floats, other: Floats, *, share: float) -> Floats:
    """Pixels with their own lightness, and `share` of their a and b replaced by those of `other`; see `from_oklab`.

    Both are (..., 3), sRGB-encoded in [0, 1]. A share of 0 gives the pixels themselves.
    """
    if not share:
        return pixels
    own, colours = oklab(pixels), oklab(other)
    own[..., 1:] += np.float32(share) * (colours[..., 1:] - own[..., 1:])
    return from_oklab(own)


def _light(colours: Floats) -> Floats:
    """Linear red, green and blue, which may lie outside [0, 1]."""
    return mixed(mixed(colours, _FROM_LAB) ** 3, _FROM_CONES)


def _is_outside(light: Floats) -> NDArray[np.bool_]:
    return np.asarray(((light < -_ROUNDING) | (light > 1 + _ROUNDING)).any(-1))


def _with_less_chroma(colours: Floats) -> Floats:
    """Colours outside the gamut, (N, 3), at the chroma where their lightness and hue enter it."""
    inside, outside = np.zeros((len(colours), 1), np.float32), np.ones((len(colours), 1), np.float32)
    for _ in range(_HALVINGS):
        middle = np.asarray((inside + outside) / 2, np.float32)
        is_outside = _is_outside(_light(_scaled(colours, middle)))[:, None]
        inside, outside = np.where(is_outside, inside, middle), np.where(is_outside, middle, outside)
    return _scaled(colours, np.asarray(inside, np.float32))


def _scaled(colours: Floats, factor: Floats) -> Floats:
    """Colours with their chroma times a factor."""
    return np.concatenate([colours[:, :1], colours[:, 1:] * factor], 1)
