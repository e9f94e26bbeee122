"""Contact sheets: each pair's pictures whole, and at 100 % in the same places."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from pairs import with_long_edge
from PIL import Image, ImageDraw

from hires_nst.imageio.picture import Floats
from hires_nst.imageio.resize import resize_pixels

LABEL = 16
SHEET_BYTES = 1_450_000
Place = tuple[int, int]
"""The top and the left of a crop."""


def labelled(label: str, picture: Floats, side: int) -> Floats:
    """A picture, made smaller where it is larger, in the corner of a white square with its label above."""
    strip = Image.new("RGB", (side, LABEL), "white")
    ImageDraw.Draw(strip).text((2, 1), label, fill="black")
    whole = with_long_edge(picture, min(side, max(picture.shape[:2])))
    return np.concatenate([np.asarray(strip, np.float32) / 255, _filled(whole, side)])


def places(photograph: Floats, cell: int) -> Sequence[Place]:
    """Where to look: the top left corner, and where the photograph has the least and the most deviation."""
    height, width = photograph.shape[:2]
    step = max(1, cell // 4)
    corners = [
        (top, left)
        for top in range(0, max(1, height - cell + 1), step)
        for left in range(0, max(1, width - cell + 1), step)
    ]
    spread = [float(photograph[y : y + cell, x : x + cell].var((0, 1)).mean()) for y, x in corners]
    return (0, 0), corners[int(np.argmin(spread))], corners[int(np.argmax(spread))]


def sheet(content: Floats, style: Floats, pictures: Mapping[str, Floats], *, cell: int = 240) -> Floats:
    """A column each for the photograph, the painting and every picture: whole on top, crops at 100 % below.

    Args:
        content, style: at their own sizes; shown at the pictures' long edge, the painting never enlarged.
        pictures: by their labels, all of the same size; at least one.
        cell: pixels of a side of every cell.
    """
    height, width = next(iter(pictures.values())).shape[:2]
    photograph = resize_pixels(content, (width, height))
    painting = with_long_edge(style, min(max(height, width), max(style.shape[:2])))
    looked_at = places(photograph, cell)
    columns = [_column("photograph", photograph, looked_at, cell), _column("painting", painting, looked_at, cell)]
    columns += [_column(name, picture, looked_at, cell) for name, picture in pictures.items()]
    return np.concatenate(columns, axis=1)


def stacked(sheets: Sequence[Floats]) -> Floats:
    """Sheets below each other, white where one is narrower."""
    width = max(part.shape[1] for part in sheets)
    parts = [np.pad(part, ((0, 0), (0, width - part.shape[1]), (0, 0)), constant_values=1) for part in sheets]
    return np.concatenate(parts)


def jpeg(pixels: Floats) -> bytes:
    """A JPEG of the best quality that stays below SHEET_BYTES."""
    image = Image.fromarray(np.rint(pixels * 255).astype(np.uint8))
    for quality in range(92, 40, -4):
        target = io.BytesIO()
        image.save(target, "JPEG", quality=quality, optimize=True)
        if target.tell() < SHEET_BYTES:
            break
    return target.getvalue()


def _column(label: str, picture: Floats, looked_at: Sequence[Place], cell: int) -> Floats:
    height, width = picture.shape[:2]
    crops = [
        picture[top : top + cell, left : left + cell]
        for top, left in ((min(y, max(0, height - cell)), min(x, max(0, width - cell))) for y, x in looked_at)
    ]
    return np.concatenate([labelled(label, picture, cell), *(_filled(part, cell) for part in crops)])


def _filled(part: Floats, cell: int) -> Floats:
    """A picture in the corner of a white square, with a white line to the next one."""
    square = np.ones((cell, cell, 3), np.float32)
    square[: part.shape[0], : part.shape[1]] = part
    square[-2:] = square[:, -2:] = 1
    return square
