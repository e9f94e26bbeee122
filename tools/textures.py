"""Procedural textures for the training of the bundled network: dead leaves, noise, gradients, stripes.

Each function draws one image from a random generator, (3, size, size) in [0, 1]; `texture` returns float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.floating[Any]]


def colour(rng: np.random.Generator) -> NDArray[np.float32]:
    """A random colour; half of the colours are close to grey, as in photographs."""
    grey = rng.uniform(0, 1)
    spread = rng.choice([0.08, 0.5])
    return np.clip(grey + rng.normal(0, spread, 3), 0, 1).astype(np.float32)


def grid(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Row and column coordinates of every pixel."""
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float32)
    return rows, columns


def dead_leaves(rng: np.random.Generator, size: int) -> Image:
    """Occluding discs and rectangles whose radii follow 1/r^3: the edges and statistics of natural scenes."""
    rows, columns = grid(size)
    image = np.ones((3, size, size), np.float32) * colour(rng)[:, None, None]
    for _ in range(int(rng.integers(20, 120))):
        radius = min(size / 1.5, 2.0 / np.sqrt(rng.uniform(1e-3, 1.0)))
        row, column, angle = rng.uniform(0, size), rng.uniform(0, size), rng.uniform(0, np.pi)
        along = (rows - row) * np.cos(angle) + (columns - column) * np.sin(angle)
        across = -(rows - row) * np.sin(angle) + (columns - column) * np.cos(angle)
        stretch = rng.uniform(0.3, 1.0)
        if rng.uniform() < 0.5:
            distance = np.sqrt(along**2 + (across / stretch) ** 2)
        else:
            distance = np.maximum(np.abs(along), np.abs(across) / stretch)
        mask = np.clip(radius - distance + 0.5, 0, 1)[None]
        image = image * (1 - mask) + colour(rng)[:, None, None] * mask
    return image


def spectral_noise(rng: np.random.Generator, size: int) -> Image:
    """Coloured noise with a power spectrum of 1/f^a, a between 0 (white) and 2.5 (clouds)."""
    exponent = rng.uniform(0, 2.5)
    frequency = np.sqrt(np.fft.fftfreq(size)[:, None] ** 2 + np.fft.rfftfreq(size)[None] ** 2)
    frequency[0, 0] = 1.0 / size
    noise = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(3, size, size))) / frequency**exponent, s=(size, size))
    noise /= noise.std() + 1e-6
    mixing = np.eye(3) * rng.uniform(0.3, 1) + rng.uniform(0, 1, (3, 1))
    mixed: Image = np.einsum("ij,jhw->ihw", mixing, noise)
    return np.clip(colour(rng)[:, None, None] + mixed * rng.uniform(0.03, 0.25), 0, 1).astype(np.float32)


def gradient(rng: np.random.Generator, size: int) -> Image:
    """A linear or radial transition between two colours."""
    rows, columns = grid(size)
    if rng.uniform() < 0.5:
        angle = rng.uniform(0, 2 * np.pi)
        distance = rows * np.cos(angle) + columns * np.sin(angle)
    else:
        distance = np.hypot(rows - rng.uniform(0, size), columns - rng.uniform(0, size))
    ramp: Image = (distance - distance.min()) / (np.ptp(distance) + 1e-6)
    return colour(rng)[:, None, None] * (1 - ramp) + colour(rng)[:, None, None] * ramp


def stripes(rng: np.random.Generator, size: int) -> Image:
    """Gratings of any period from 2 px, bent, with soft or hard edges."""
    rows, columns = grid(size)
    angle, period = rng.uniform(0, np.pi), 2.0 * 2 ** rng.uniform(0, 5)
    bend = rng.uniform(0, 6) * np.sin(2 * np.pi * columns / rng.uniform(20, 200))
    phase = 2 * np.pi * ((rows + bend) * np.cos(angle) + columns * np.sin(angle)) / period
    wave: Image = 0.5 + 0.5 * np.tanh(np.sin(phase) * rng.uniform(0.5, 6))
    return colour(rng)[:, None, None] * (1 - wave) + colour(rng)[:, None, None] * wave


def texture(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """One of these textures, or two of them mixed by a third."""
    kinds = (dead_leaves, dead_leaves, spectral_noise, gradient, stripes)
    image = kinds[rng.integers(len(kinds))](rng, size)
    if rng.uniform() < 0.3:
        other = kinds[rng.integers(len(kinds))](rng, size)
        mask = (spectral_noise(rng, size)[:1] > 0.5).astype(np.float32)
        image = image * mask + other * (1 - mask)
    return image.astype(np.float32)
