"""The geometry of tiles: rectangles, ownership, windows, halo, grid shift and feather weights.

Plain integers and numpy. All coordinates are pixels counted from the image's top left corner; a rectangle's bottom and
right are exclusive.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Rect:
    """A rectangle of pixels or of feature positions."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    @property
    def area(self) -> int:
        """Positions."""
        return self.height * self.width

    def grown(self, margin: int, within: Rect) -> Rect:
        """This rectangle with `margin` more on each side, as far as `within` goes."""
        return Rect(
            max(within.top, self.top - margin),
            max(within.left, self.left - margin),
            min(within.bottom, self.bottom + margin),
            min(within.right, self.right + margin),
        )

    def relative_to(self, origin: Rect) -> Rect:
        """The same rectangle counted from the top left corner of `origin`."""
        return Rect(self.top - origin.top, self.left - origin.left, self.bottom - origin.top, self.right - origin.left)

    def moved(self, down: int, right: int) -> Rect:
        """The same rectangle elsewhere."""
        return Rect(self.top + down, self.left + right, self.bottom + down, self.right + right)

    def positions(self, stride: int) -> Rect:
        """The feature positions of a layer of this stride whose cells lie inside the rectangle.

        The rectangle's top and left are multiples of the stride. Its bottom and right are too, or they are the image's
        edge, where pooling floors, and so does this.
        """
        return Rect(self.top // stride, self.left // stride, self.bottom // stride, self.right // stride)

    def slices(self) -> tuple[slice, slice]:
        """Row and column slices for indexing an array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One tile of a grid.

    Attributes:
        index: row-major number in its grid.
        row, column: its place in the grid.
        owned: the pixels that are this tile's own; the owned rectangles of a grid partition the image.
        window: owned pixels and the overlap around them, which is optimised with them and blended away.
    """

    index: int
    row: int
    column: int
    owned: Rect
    window: Rect


@dataclass(frozen=True, kw_only=True)
class Grid:
    """An image cut into tiles.

    Attributes:
        height, width: of the image, at least 1.
        row_cuts, column_cuts: ascending, from 0 to the height (width); all but the last are multiples of the stride.
        overlap: pixels by which a window reaches beyond its owned rectangle, a multiple of the stride.
    """

    height: int
    width: int
    row_cuts: tuple[int, ...]
    column_cuts: tuple[int, ...]
    overlap: int

    @property
    def image(self) -> Rect:
        """The whole image."""
        return Rect(0, 0, self.height, self.width)

    @cached_property
    def tiles(self) -> tuple[Tile, ...]:
        """The tiles, row by row."""
        tiles: list[Tile] = []
        for row, (top, bottom) in enumerate(pairwise(self.row_cuts)):
            for column, (left, right) in enumerate(pairwise(self.column_cuts)):
                owned = Rect(top, left, bottom, right)
                window = owned.grown(self.overlap, self.image)
                tiles.append(Tile(index=len(tiles), row=row, column=column, owned=owned, window=window))
        return tuple(tiles)

    def feather(self, tile: Tile) -> NDArray[np.float32]:
        """The weight of each pixel of the tile's window, float32 (h, w), in [0, 1].

        Raised-cosine ramps over the overlap, normalised: at every pixel of the image the weights of all tiles add to 1.
        """
        rows = _ramps(self.row_cuts, self.overlap)[tile.row]
        columns = _ramps(self.column_cuts, self.overlap)[tile.column]
        return np.outer(rows, columns).astype(np.float32)


def make_grid(height: int, width: int, *, size: int, stride: int = 1, overlap: int = 0, shifted: bool = False) -> Grid:
    """Cut an image into tiles of nearly equal size.

    Args:
        height, width: of the image, at least 1.
        size: the largest side of a tile's owned rectangle, rounded down to the stride (at least one stride). The last
            tile of a row or column may be larger by less than a stride, where the size is not a multiple of it.
        stride: of the deepest layer in use; tile origins are multiples of it.
        overlap: rounded up to the stride.
        shifted: move the cuts by half a tile, so that no line is a tile border twice in a row. An image of one tile
            stays one tile.

    Raises:
        ValueError: an argument is out of range.
    """
    if min(height, width, size, stride) < 1 or overlap < 0:
        raise ValueError(f"no grid of {size} px tiles, stride {stride}, overlap {overlap} on {width} x {height} px")
    return Grid(
        height=height,
        width=width,
        row_cuts=_cuts(height, size=size, stride=stride, shifted=shifted),
        column_cuts=_cuts(width, size=size, stride=stride, shifted=shifted),
        overlap=-(-overlap // stride) * stride,
    )


def _cuts(length: int, *, size: int, stride: int, shifted: bool) -> tuple[int, ...]:
    """Borders of the tiles along one axis."""
    units = length // stride
    count = max(1, -(-units // max(1, size // stride)))
    inner = [i / count for i in range(1, count)]
    if shifted and count > 1:
        inner = [(i + 0.5) / count for i in range(count)]
    cuts = sorted({round(share * units) for share in inner} - {0, units})
    return (0, *(cut * stride for cut in cuts), length)


def _ramps(cuts: tuple[int, ...], overlap: int) -> list[NDArray[np.float64]]:
    """The normalised weights along one axis, one array for each tile's window."""
    length = cuts[-1]
    windows, weights = [], []
    for start, end in pairwise(cuts):
        first, last = max(0, start - overlap), min(length, end + overlap)
        centres = np.arange(first, last) + 0.5
        rising = np.clip((centres - (start - overlap)) / (2 * overlap), 0, 1) if start and overlap else 1.0
        falling = np.clip(((end + overlap) - centres) / (2 * overlap), 0, 1) if end < length and overlap else 1.0
        window = np.sin(np.pi / 2 * np.broadcast_to(rising, centres.shape)) ** 2
        windows.append((first, last))
        weights.append(window * np.sin(np.pi / 2 * np.broadcast_to(falling, centres.shape)) ** 2)
    total = np.zeros(length)
    for (first, last), weight in zip(windows, weights, strict=True):
        total[first:last] += weight
    return [weight / total[first:last] for (first, last), weight in zip(windows, weights, strict=True)]
