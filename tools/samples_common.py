"""What the sample pictures share: noise fields, colour ramps, sampling, relief and saving."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft, ndimage

Array = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
Shape = tuple[int, int]


def rgb(code: str) -> Array:
    """A hexadecimal colour such as "1b2a6b" as three floats in [0, 1]."""
    return np.array([int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)], np.float32)


def palette(codes: str) -> Array:
    """Several hexadecimal colours, separated by blanks, as an (n, 3) array."""
    return np.stack([rgb(code) for code in codes.split()])


def ramp(position: Array, colours: Array, stops: Sequence[float] | None = None) -> Array:
    """Colours interpolated along a ramp at positions in [0, 1]; stops are evenly spaced unless given."""
    at = np.linspace(0, 1, len(colours)) if stops is None else np.asarray(stops)
    return np.stack([np.interp(position, at, colours[:, c]) for c in range(3)], -1).astype(np.float32)


def smoothstep(low: float, high: float, value: Array) -> Array:
    """0 below low, 1 above high, a smooth cubic in between; with low above high the step is reversed."""
    t = np.clip((value - np.float32(low)) / np.float32(high - low), 0, 1)
    step: Array = t * t * (3 - 2 * t)
    return step


def mix(first: Array, second: Array, weight: Array) -> Array:
    """Blend two pictures or colours by a mask of pixels (the colour axis is added here)."""
    return first + (second - first) * weight[..., None]


def grid(shape: Shape) -> tuple[Array, Array]:
    """Row and column coordinates of every pixel, as fractions of the width."""
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    return rows / shape[1], columns / shape[1]


def band_noise(rng: np.random.Generator, shape: Shape, scale: float, stretch: float = 1.0) -> Array:
    """Smooth isotropic noise (mean 0, deviation 1, periodic) whose features span about `scale` pixels.

    A stretch above 1 makes the features longer along the rows than across them.
    """
    spectrum = fft.rfft2(rng.standard_normal(shape, dtype=np.float32))
    vertical = fft.fftfreq(shape[0]).astype(np.float32)[:, None] * scale
    horizontal = fft.rfftfreq(shape[1]).astype(np.float32)[None] * scale * stretch
    squared = vertical**2 + horizontal**2
    noise: Array = fft.irfft2(spectrum * (squared * np.exp(-2 * squared)), s=shape).astype(np.float32)
    noise = (noise - noise.mean()) / (noise.std() + 1e-9)
    return noise


def fractal_noise(
    rng: np.random.Generator, shape: Shape, scale: float, octaves: int = 5, gain: float = 0.5, stretch: float = 1.0
) -> Array:
    """A sum of octaves of noise, from `scale` pixels down by factors of two; deviation 1."""
    total: Array = np.zeros(shape, np.float32)
    for octave in range(octaves):
        total += band_noise(rng, shape, scale / 2**octave, stretch) * gain**octave
    total = total / total.std()
    return total


def sample(image: Array, rows: Array, columns: Array) -> Array:
    """Bilinear samples of a periodic single-channel image at fractional pixel coordinates."""
    coordinates = np.stack([rows, columns])
    found: Array = ndimage.map_coordinates(image, coordinates, order=1, mode="grid-wrap", output=np.float32)
    return found


def blur(image: Array, sigma: float) -> Array:
    """Gaussian blur of the two pixel axes."""
    sigmas = (sigma, sigma) if image.ndim == 2 else (sigma, sigma, 0)
    blurred: Array = ndimage.gaussian_filter(image, sigmas, mode="nearest")
    return blurred


def relief(height: Array, strength: float) -> Array:
    """Brightness factors around 1 of a height field lit from the upper left."""
    down, right = np.gradient(height)
    slope = (down + right) * np.float32(strength)
    brightness: Array = 1 + np.tanh(slope) * np.float32(0.35)
    return brightness


def downscale(image: Array, factor: int) -> Array:
    """Average blocks of factor x factor pixels."""
    rows, columns = image.shape[0] // factor, image.shape[1] // factor
    blocks = image[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor, -1)
    means: Array = blocks.mean(axis=(1, 3))
    return means


def save_jpeg(path: Path, image: Array, quality: int) -> None:
    """Write a picture with values in [0, 1]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(path, quality=quality, optimize=True, progressive=True)
