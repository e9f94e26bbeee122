"""Scores of a finished picture: seams, palette, outlines, texture, noise. Numpy and scikit-image; no network.

Pictures are (H, W, 3), sRGB, or (H, W, 4) with alpha: uint8, or floating point in [0, 1]; they may be memory maps of
any size: the seams are measured in strips, and everything else on a reduced copy, without what is transparent there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2gray, rgb2lab
from skimage.feature import local_binary_pattern
from skimage.filters import sobel

from hires_nst.imageio.picture import Floats
from hires_nst.imageio.resize import resize_pixels

Pixels = NDArray[Any]

LONG_EDGE = 256
"""Pixels of the reduced copies: about what the eye sees of a print as a whole."""

STRIP_ROWS = 64
DIRECTIONS = 64
PATTERN_RADII = (1, 2, 4)
PATTERN_POINTS = 8


@dataclass(frozen=True, kw_only=True)
class Score:
    """A measure of a result; `before` is that of the content image, None where it has none."""

    name: str
    value: float
    before: float | None
    meaning: str


def seam_visibility(pixels: Pixels, *, rows: Sequence[int], columns: Sequence[int]) -> float:
    """The picture's roughness across the borders of tiles over that elsewhere; 1 where there are no seams.

    The mean absolute second difference across the borders, line by line, over that of all other lines. A border at `n`
    lies between pixels n - 1 and n, and the second differences that are centred on either of them cross it.

    Args:
        pixels: at least 3 x 3.
        rows, columns: the borders, in pixels from the top and from the left; at least one, and none at the edges.

    Returns:
        At least 0; infinite where the picture is flat but for its borders, 1 where it is flat everywhere.

    Raises:
        ValueError: there is no border, or no line without one.
    """
    height, width = pixels.shape[:2]
    down, across = np.zeros(height - 2), np.zeros(width - 2)
    for top in range(0, height, STRIP_ROWS):
        strip = np.asarray(pixels[max(0, top - 2) : top + STRIP_ROWS], np.float64)
        strip = strip[..., :3]
        new = strip[min(top, 2) :]  # the two rows before belong to the last strip
        across += np.abs(new[:, 2:] - 2 * new[:, 1:-1] + new[:, :-2]).sum((0, 2))
        if len(strip) > 2:
            first = max(0, top - 2)
            down[first : first + len(strip) - 2] = np.abs(strip[2:] - 2 * strip[1:-1] + strip[:-2]).sum((1, 2))
    on: list[float] = []
    off: list[float] = []
    for values, count, cuts in ((down, width, rows), (across, height, columns)):
        border = np.isin(np.arange(len(values)) + 1, [edge for cut in cuts for edge in (cut - 1, cut)])
        means = values / (count * 3)
        on += list(means[border])
        off += list(means[~border])
    if not on or not off:
        raise ValueError("seams need a border to look at, and lines without one to compare it with")
    rough, calm = float(np.mean(on)), float(np.mean(off))
    if calm == 0:
        return 1.0 if rough == 0 else float("inf")
    return rough / calm


def palette_distance(picture: Pixels, style: Pixels) -> float:
    """The distance between the colours of two pictures, independent of their positions; 0 for equal ones.

    The sliced Wasserstein distance of the two sets of colours in CIELAB (Rabin, Peyre, Delon, Bernot 2011: Wasserstein
    barycenter and its application to texture mixing), of order 1 and over fixed directions. It is doubled, as the mean
    length of a unit vector's projection is a half: between two plain colours it is their difference in CIELAB units, of
    which one or two are just visible.
    """
    levels = (np.arange(LONG_EDGE) + 0.5) / LONG_EDGE
    directions = _directions(DIRECTIONS)
    first, second = (
        np.quantile(rgb2lab(small[..., :3])[visible(small)] @ directions.T, levels, axis=0)
        for small in (reduced(picture), reduced(style))
    )
    return 2 * float(np.abs(first - second).mean())


def outline_correlation(picture: Pixels, content: Pixels) -> float:
    """How much of the content image's outlines is in the picture: at most 1, about 0 for unrelated pictures.

    The correlation of the two reduced pictures' edges, as the edge preservation index of Sattar, Floreby, Salomonsson,
    Lovstrom 1997 (Image enhancement based on a nonlinear multiscale method). Deviation: edges are the magnitude of
    Sobel's gradient in place of the Laplacian, so an outline counts whichever of its sides is darker.

    Args:
        content: the part of the content image that was painted; it is brought to the picture's proportions.

    Returns:
        In [-1, 1]; 0 where either has no edges.
    """
    small = reduced(picture)
    height, width = small.shape[:2]
    other = reduced(content)
    if other.shape[:2] != small.shape[:2]:
        other = resize_pixels(other, (width, height))
    seen = visible(small) & visible(other)
    if not seen.any():
        return 0.0
    first, second = (edges - edges.mean() for edges in (_edges(small)[seen], _edges(other)[seen]))
    norm = float(np.linalg.norm(first) * np.linalg.norm(second))
    return 0.0 if norm < 1e-9 else float(first @ second) / norm


def texture_similarity(picture: Pixels, style: Pixels) -> float:
    """How similar the textures of two pictures are, independent of colour and brightness: 0 to 1, 1 for equal ones.

    Rotation-invariant uniform local binary patterns (Ojala, Pietikainen, Maenpaa 2002) of the reduced pictures' grey
    levels, with 8 points at radii of 1, 2 and 4 pixels; the mean over the radii of the intersection of the two
    histograms (Swain, Ballard 1991: Color indexing).
    """
    shares = []
    for radius in PATTERN_RADII:
        first, second = (_patterns(reduced(pixels), radius) for pixels in (picture, style))
        shares.append(float(np.minimum(first, second).sum()))
    return float(np.mean(shares))


def scores(
    picture: Pixels,
    *,
    content: Pixels | None,
    styles: Sequence[tuple[str, Pixels]],
    borders: tuple[Sequence[int], Sequence[int]] | None = None,
) -> tuple[Score, ...]:
    """Every score that these images allow.

    Args:
        content: the part of the content image that was painted. What is transparent in it counts as transparent in the
            picture too, which may have been flattened.
        styles: the style images with their names, which need not differ.
        borders: of tiles, as (rows, columns) of `seam_visibility`; those at the edges, or beyond, are left out.
    """
    found = []
    inside = [
        [cut for cut in cuts if 1 < cut < side - 1] for cuts, side in zip(borders or (), picture.shape, strict=False)
    ]
    if any(inside) and min(picture.shape[:2]) >= 3:
        seams = seam_visibility(picture, rows=inside[0], columns=inside[1])
        meaning = "roughness at tile borders relative to elsewhere; 1 means no visible seams"
        found.append(Score(name="Seams", value=seams, before=None, meaning=meaning))
    small = reduced(picture)
    before = None if content is None else reduced(content)
    if before is not None:
        small, before = with_common_alpha(small, before)
        outlines = outline_correlation(small, before)
        meaning = "correlation with the photograph's outlines: 1 is all of them"
        found.append(Score(name="Outlines", value=outlines, before=1.0, meaning=meaning))
    for name, style in styles:
        of = f", {name}" if len(styles) > 1 else ""
        target = reduced(style)
        for title, measure, meaning in _LIKENESS:
            reference = None if before is None else measure(before, target)
            found.append(Score(name=title + of, value=measure(small, target), before=reference, meaning=meaning))
    return tuple(found)


def reduced(pixels: Pixels, long_edge: int = LONG_EDGE) -> Floats:
    """A copy whose long edge has `long_edge` pixels, or its own where that is less: float32 (h, w, 3 | 4) in [0, 1].

    Blocks are averaged in strips, down to at least twice that size, and then resampled.
    """
    height, width, channels = pixels.shape
    factor = max(1, max(height, width) // (2 * long_edge))
    factor = min(factor, height, width)
    scale = np.float32(1 / 255 if pixels.dtype == np.uint8 else 1)
    rows, columns = height // factor, width // factor
    blocks = np.empty((rows, columns, channels), np.float32)
    for row in range(rows):
        strip = np.asarray(pixels[row * factor : (row + 1) * factor, : columns * factor], np.float32)
        blocks[row] = strip.reshape(factor, columns, factor, channels).mean((0, 2)) * scale
    shrink = long_edge / max(height, width)
    if shrink >= 1:
        return blocks
    return resize_pixels(blocks, (max(1, round(width * shrink)), max(1, round(height * shrink))))


def visible(small: Floats) -> NDArray[np.bool_]:
    """The pixels that are at least half as opaque as the most opaque one, (h, w); all of a picture without alpha."""
    if small.shape[2] == 3:
        return np.ones(small.shape[:2], np.bool_)
    return np.asarray(small[..., 3] >= small[..., 3].max() / 2)


def with_common_alpha(small: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Two pictures, the second brought to the size of the first, that are transparent where either is."""
    if small.shape[2] == other.shape[2] == 3:
        return small, other
    height, width = small.shape[:2]
    if other.shape[:2] != (height, width):
        other = resize_pixels(other, (width, height))
    channels = [pixels[..., 3] for pixels in (small, other) if pixels.shape[2] == 4]
    alpha = np.minimum(channels[0], channels[-1])
    return np.dstack([small[..., :3], alpha]), np.dstack([other[..., :3], alpha])


_LIKENESS: tuple[tuple[str, Callable[[Pixels, Pixels], float], str], ...] = (
    ("Palette", palette_distance, "distance of the colours from the painting's, in CIELAB units: 0 is the same"),
    ("Texture", texture_similarity, "similarity of the textures, 0 to 1"),
)


def _directions(count: int) -> NDArray[np.float64]:
    """Unit vectors spread evenly over half a sphere, (count, 3): a Fibonacci lattice."""
    index = np.arange(count)
    height = (index + 0.5) / count
    angle = index * np.pi * (3 - 5**0.5)
    radius = np.sqrt(1 - height**2)
    return np.stack([height, radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _edges(pixels: Floats) -> NDArray[np.float64]:
    """The magnitude of Sobel's gradient of the grey levels."""
    magnitude: NDArray[np.float64] = sobel(rgb2gray(pixels[..., :3]))  # type: ignore[no-untyped-call]
    return magnitude


def _patterns(pixels: Floats, radius: int) -> NDArray[np.float64]:
    """The shares of the local binary patterns in a picture, without those that reach over its edge; they add to 1."""
    grey = np.rint(rgb2gray(pixels[..., :3]) * 255).astype(np.uint8)  # equal neighbours stay equal
    codes: NDArray[np.float64] = local_binary_pattern(  # type: ignore[no-untyped-call]
        grey, PATTERN_POINTS, radius, method="uniform"
    )
    seen = visible(pixels)[radius:-radius, radius:-radius]
    inner = codes[radius:-radius, radius:-radius].astype(np.int64)
    counts: NDArray[np.int64] = np.bincount(inner[seen], minlength=PATTERN_POINTS + 2)
    shares: NDArray[np.float64] = counts / max(1, counts.sum())
    return shares


def roughness(pixels: Floats, *, above: float = 0.375) -> float:
    """Mean power per pixel at high spatial frequencies, times 1e6.

    Args:
        pixels: (H, W, 3) in [0, 1]; a Hann window keeps the image's edges out.
        above: which frequencies, in cycles per pixel; three quarters of the Nyquist frequency when not given.
    """
    height, width = pixels.shape[:2]
    window = np.hanning(height)[:, None] * np.hanning(width)
    centred = (pixels - pixels.mean((0, 1))) * window[:, :, None]
    power = np.abs(np.fft.fft2(centred, axes=(0, 1))) ** 2 / (height * width)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    return float(1e6 * power[frequency > above].sum() / (3 * np.square(window).sum()))
