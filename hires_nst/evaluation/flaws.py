"""Flaws of a painted picture: false colours at its edges, noise and grids in its calm parts; and how far it is from a
picture that it should equal. Numpy, SciPy and scikit-image; no network.

Pictures are (H, W, 3), sRGB, uint8 or floating point in [0, 1]; a fourth channel is left out. They are measured at
their own size, in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from skimage.color import rgb2lab

from hires_nst.evaluation.metrics import Pixels, reduced, roughness
from hires_nst.imageio.picture import Floats, luma
from hires_nst.imageio.resize import resize_pixels

PALETTE_EDGE = 600
"""Pixels of the long edge of the painting whose colours count as its own."""

OUTERMOST, BAND = 4, (8, 32)
"""Distances from the edge, in pixels: below the first, and from one to below the other of the second."""

INTERIOR_PIXELS = 1_000_000
"""Of a larger interior, the pixels of a regular lattice of about so many are measured."""

NOISE_BLOCK = 32
COLOUR_FREQUENCY = 1 / 8
"""Cycles per pixel, above which differences in colour count as noise."""

GRID_BLOCK = 64
CALM_SHARE = 0.25
GRID_PERIODS = (2, 4, 8, 16)
"""In pixels: the strides of the layers behind each pooling."""


@dataclass(frozen=True)
class EdgeColours:
    """How far the colours of a picture are from the painting's, in CIELAB units.

    Attributes:
        outermost: mean distance to the painting's nearest colour in the outermost 4 pixels.
        band: the same from 8 to 32 pixels inside.
        interior: the same further inside.
    """

    outermost: float
    band: float
    interior: float

    @property
    def ratio(self) -> float:
        """The outermost pixels over the band: 1 without a fringe."""
        if self.band == 0:
            return 1.0 if self.outermost == 0 else float("inf")
        return self.outermost / self.band


def edge_colours(picture: Pixels, style: Pixels) -> EdgeColours:
    """The distances of a picture's colours to the nearest one of the painting, by their distance from the edge.

    Colours that the painting does not have are the sign of a fringe: an optimiser finds them at the edge, where few
    positions see a pixel. The painting is reduced to a long edge of 600 pixels, and all its pixels are its colours.

    Raises:
        ValueError: the picture has no interior: a side is at most 64 pixels.
    """
    height, width = picture.shape[:2]
    if min(height, width) <= 2 * BAND[1]:
        raise ValueError(f"a picture of {width} x {height} px has no interior; both sides need over {2 * BAND[1]} px")
    tree = cKDTree(_lab(reduced(style, PALETTE_EDGE)).reshape(-1, 3))
    depth = np.minimum(*np.ix_(*(np.minimum(np.arange(side), np.arange(side)[::-1]) for side in (height, width))))
    inside = depth >= BAND[1]
    step = max(1, int((inside.sum() / INTERIOR_PIXELS) ** 0.5))
    lattice = np.zeros_like(inside)
    lattice[::step, ::step] = True
    regions = depth < OUTERMOST, (depth >= BAND[0]) & ~inside, inside & lattice
    return EdgeColours(*(float(tree.query(_lab(picture[region][None])[0])[0].mean()) for region in regions))


def calm_noise(picture: Pixels, content: Pixels) -> float:
    """Power per pixel above three quarters of the Nyquist frequency where the photograph is calm, times 1e6.

    The mean `roughness` of blocks of 32 x 32 pixels: the quarter of them with the least standard deviation in the
    photograph.

    Args:
        content: the part of the photograph that was painted; it is brought to the picture's size.

    Raises:
        ValueError: the picture is smaller than a block.
    """
    blocks = _calm_blocks(picture, content, size=NOISE_BLOCK, step=NOISE_BLOCK)
    return float(np.mean([roughness(block) for block in blocks]))


def calm_colour_noise(picture: Pixels, content: Pixels) -> float:
    """Power per pixel of the differences in colour finer than 8 pixels where the photograph is calm, times 1e6.

    As `calm_noise`, of the pixels less their brightness, and above a quarter of the Nyquist frequency: coloured noise
    is seen at larger sizes than noise of brightness. A painting's own is that of the painting with itself as content.
    """
    blocks = _calm_blocks(picture, content, size=NOISE_BLOCK, step=NOISE_BLOCK)
    return float(np.mean([roughness(block - luma(block), above=COLOUR_FREQUENCY) for block in blocks]))


def calm_grid(picture: Pixels, content: Pixels) -> Mapping[int, float]:
    """How much patterns of squares stand out where the photograph is calm, by their period in pixels; 1 is not at all.

    A network whose layers have strides answers a pixel by its place on their grid, and the optimiser draws this grid
    into parts where nothing else is. Such a pattern is a line in the spectrum at the frequency of its period, along
    the axes or the diagonals, while everything else has a continuous spectrum there. So the power at each of these
    frequencies is divided by the one expected from the frequencies below and above along the same direction,
    interpolated as a power law, and the mean over the directions taken.

    The spectrum is Welch's (1967): the mean of those of half-overlapping blocks of 64 x 64 pixels under a Hann window,
    of which a line fills its own and the next bins only; the neighbours are two bins away. Blocks are the quarter with
    the least standard deviation in the photograph. At a period of 2, the Nyquist frequency, there is a neighbour below
    only.

    Args:
        content: as in `calm_noise`.

    Raises:
        ValueError: the picture is smaller than a block.
    """
    blocks = _calm_blocks(picture, content, size=GRID_BLOCK, step=GRID_BLOCK // 2).astype(np.float64)
    window = np.hanning(GRID_BLOCK + 1)[:-1]  # periodic, so that its spectrum has three bins
    centred = (blocks - blocks.mean((1, 2), keepdims=True)) * (window[:, None] * window)[:, :, None]
    power = (np.abs(np.fft.fft2(centred, axes=(1, 2))) ** 2).mean((0, 3))
    found = {}
    for period in GRID_PERIODS:
        line = GRID_BLOCK // period
        ratios = []
        for down, across in ((1, 0), (0, 1), (1, 1), (1, -1)):
            below, at, above = (power[(down * k) % GRID_BLOCK, (across * k) % GRID_BLOCK] for k in _bins(line))
            share = np.log(line / (line - 2)) / np.log((line + 2) / (line - 2))
            share = 0.0 if period == 2 else share  # beyond the Nyquist frequency, the spectrum repeats
            expected = below ** (1 - share) * above**share
            ratios.append(at / expected if expected > 0 else (float("inf") if at > 0 else 1.0))
        found[period] = float(np.mean(ratios))
    return found


def mean_chroma(picture: Pixels) -> float:
    """The mean distance of a picture's colours from grey, in CIELAB units: sqrt(a^2 + b^2)."""
    return float(np.hypot(*np.moveaxis(_lab(reduced(picture, PALETTE_EDGE))[..., 1:], -1, 0)).mean())


def colour_error(picture: Pixels, original: Pixels) -> tuple[float, float]:
    """How far a picture is from the one that it should equal.

    This is the measure of an identity test, in which a painting is both photograph and style and should come back
    (Galerne, Raad, Lezama, Morel 2024: Scaling Painting Style Transfer).

    Args:
        picture, original: of the same size.

    Returns:
        The root mean square difference of the samples, in 255ths, and the mean distance of the colours in CIELAB units.

    Raises:
        ValueError: they differ in size.
    """
    if picture.shape[:2] != original.shape[:2]:
        raise ValueError(f"pictures of {picture.shape[:2]} and {original.shape[:2]} cannot be compared pixel by pixel")
    first, second = _floats(picture), _floats(original)
    error = 255 * float(np.square(first.astype(np.float64) - second).mean()) ** 0.5
    return error, float(np.linalg.norm(_lab(first) - _lab(second), axis=-1).mean())


def _calm_blocks(picture: Pixels, content: Pixels, *, size: int, step: int) -> Floats:
    """The blocks of a picture at which the photograph has the least standard deviation, (n, size, size, 3)."""
    height, width = picture.shape[:2]
    if min(height, width) < size:
        raise ValueError(f"a picture of {width} x {height} px has no block of {size} x {size} px")
    photograph = resize_pixels(_floats(content), (width, height))
    corners = [(y, x) for y in range(0, height - size + 1, step) for x in range(0, width - size + 1, step)]
    spread = [photograph[y : y + size, x : x + size].var((0, 1), dtype=np.float64).mean() for y, x in corners]
    calmest = np.argsort(spread, kind="stable")[: max(1, round(CALM_SHARE * len(corners)))]
    pixels = _floats(picture)
    return np.stack([pixels[y : y + size, x : x + size] for y, x in (corners[index] for index in calmest)])


def _bins(line: int) -> tuple[int, int, int]:
    """A frequency, in bins of a block, between its neighbours."""
    return line - 2, line, line + 2


def _floats(pixels: Pixels) -> Floats:
    """(H, W, 3), float32 in [0, 1]."""
    scale = np.float32(1 / 255 if pixels.dtype == np.uint8 else 1)
    return np.asarray(np.asarray(pixels[..., :3], np.float32) * scale, np.float32)


def _lab(pixels: Pixels) -> NDArray[np.float64]:
    """CIELAB, (H, W, 3)."""
    lab: NDArray[np.float64] = rgb2lab(_floats(pixels).astype(np.float64))
    return lab
