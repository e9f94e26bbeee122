"""Recolouring: the mean and the covariance of an image's colours, and the linear map from those of one to another's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hires_nst.imageio.picture import Floats, mixed

STRIP_ROWS = 64

LEAST_DEVIATION = 0.01
"""A deviation of an image's colours below this counts as this where they are stretched: flat parts stay calm."""

Matrix = NDArray[np.float64]
"""(3, 3)."""

Pointwise = Callable[[Floats], Floats]
"""A function of pixels, (..., 3) to (..., 3), that treats each by itself."""


@dataclass(frozen=True, eq=False)
class ColourMoments:
    """The mean (3,) and the covariance (3, 3) of sRGB-encoded colours."""

    mean: NDArray[np.float64]
    covariance: Matrix

    @property
    def root(self) -> Matrix:
        """The symmetric root of the covariance."""
        return _power(self.covariance, 0.5)

    @property
    def key(self) -> tuple[float, ...]:
        """The same numbers, to compare and to hash."""
        return (*self.mean, *self.covariance.flat)


@dataclass(frozen=True, eq=False)
class ColourMap:
    """`matrix @ pixel + offset`, clipped to [0, 1]."""

    matrix: Matrix
    offset: NDArray[np.float64]

    def __call__(self, pixels: Floats) -> Floats:
        """The recoloured pixels, (..., 3), float32."""
        return mixed(pixels, self.matrix, offset=list(self.offset)).clip(0, 1)


def unchanged(pixels: Floats) -> Floats:
    """The pixels themselves."""
    return pixels


def colour_moments(
    pixels: Floats,
    alpha: Floats | None = None,
    *,
    of: Pointwise = unchanged,
    check_stop: Callable[[], None] = lambda: None,
) -> ColourMoments:
    """The mean and covariance of an image's colours; sums in float64, in strips.

    Args:
        pixels: (H, W, 3), sRGB-encoded in [0, 1].
        alpha: (H, W), how much each pixel counts, not 0 everywhere; None where all count alike.
        of: what is done to the pixels first.
    """
    count, total, squares = 0.0, np.zeros(3), np.zeros((3, 3))
    for top in range(0, len(pixels), STRIP_ROWS):
        check_stop()
        strip = of(pixels[top : top + STRIP_ROWS]).astype(np.float64)
        weight = np.ones(strip.shape[:2]) if alpha is None else alpha[top : top + STRIP_ROWS].astype(np.float64)
        weighted = strip * weight[..., None]
        count += float(weight.sum())
        total += weighted.sum((0, 1))
        # Not a matrix product, whose last bits depend on the number of threads.
        squares += [[(weighted[..., i] * strip[..., j]).sum() for j in range(3)] for i in range(3)]
    mean = total / count
    return ColourMoments(mean, squares / count - np.outer(mean, mean))


def mean_moments(moments: Sequence[ColourMoments], weights: Sequence[float]) -> ColourMoments:
    """The moments of the colours of several images together, each with its weight."""
    shares = np.asarray(weights) / sum(weights)
    mean = sum(share * one.mean for share, one in zip(shares, moments, strict=True))
    second = sum(
        share * (one.covariance + np.outer(one.mean, one.mean)) for share, one in zip(shares, moments, strict=True)
    )
    return ColourMoments(np.asarray(mean), np.asarray(second - np.outer(mean, mean)))


def colour_map(source: ColourMoments, target: ColourMoments) -> ColourMap:
    """The map that gives colours of the moments `source` those of `target`.

    `A = T^(1/2) S^(-1/2)` with symmetric roots, `b = m_T - A m_S`: the image analogies transfer of L. A. Gatys,
    M. Bethge, A. Hertzmann, E. Shechtman: Preserving Color in Neural Artistic Style Transfer, 2016. A
    deviation of the source counts as `LEAST_DEVIATION` at least, so that a flat image, whose covariance has no
    inverse, becomes a flat one.
    """
    matrix = target.root @ _power(source.covariance, -0.5, least=LEAST_DEVIATION**2)
    return ColourMap(matrix, target.mean - matrix @ source.mean)


def recolour(
    pixels: Floats, change: Pointwise, *, strength: float = 1.0, check_stop: Callable[[], None] = lambda: None
) -> None:
    """Replace a share `strength` of each pixel of an image, (H, W, 3), by what `change` gives, in place, in strips."""
    for top in range(0, len(pixels), STRIP_ROWS):
        check_stop()
        strip = pixels[top : top + STRIP_ROWS]
        strip[:] = (1 - strength) * strip + strength * change(strip)


def _power(covariance: Matrix, exponent: float, *, least: float = 0.0) -> Matrix:
    """A power of a symmetric matrix; its eigenvalues count as `least` at least."""
    values, vectors = np.linalg.eigh(covariance)
    powers = np.maximum(values, least) ** exponent
    return np.asarray((vectors * powers) @ vectors.T)
