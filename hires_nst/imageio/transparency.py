"""Transparency: what it hides takes the colours around it, and a picture is flattened onto a background."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hires_nst.errors import InputError
from hires_nst.imageio.picture import Floats, Picture

HIDDEN_SHARE = 1 / 16
"""A pixel less opaque than this share of the most opaque one counts as hidden: few bits of its colour are left."""

STRIP_ROWS = 256

Colour = tuple[float, float, float]
"""sRGB in [0, 1]."""

WHITE: Colour = (1.0, 1.0, 1.0)


def visible(picture: Picture, name: str) -> Picture:
    """The picture, with the colours that its alpha hides replaced, see `fill_hidden`.

    Raises:
        InputError: all of it is transparent; the message calls it `name`.
    """
    if picture.alpha is None:
        return picture
    if not picture.alpha.any():
        raise InputError(f"{name} is fully transparent, so there is nothing to see in it; give a visible picture")
    if not hidden(picture.alpha).any():
        return picture
    pixels = picture.pixels.copy()  # it may be the caller's array
    fill_hidden(pixels, picture.alpha)
    return Picture(pixels, picture.alpha, picture.notes)


def fill_hidden(pixels: Floats, alpha: Floats) -> None:
    """Replace the colours of hidden pixels by those of their visible neighbours, weighted by alpha; in place.

    Pull-push (Gortler, Grzeszczuk, Szeliski, Cohen 1996, The Lumigraph, section 3.4): means of 2 x 2 pixels down to a
    size without holes, which are enlarged bilinearly into the holes of the size above. Visible pixels stay as they
    are, so resampling afterwards brings no hidden colour to an edge, and filling again changes nothing.

    Args:
        pixels: float32 (H, W, 3); may be a memory map, as it is used in strips.
        alpha: float32 (H, W), not 0 everywhere.
    """
    _fill(pixels, alpha, least=alpha.max() * HIDDEN_SHARE)


def hidden(alpha: Floats) -> NDArray[np.bool_]:
    """The pixels whose colour counts as hidden, (H, W)."""
    return np.asarray(alpha < alpha.max() * HIDDEN_SHARE)


def flattened(pixels: Floats, alpha: Floats, *, background: Colour) -> Floats:
    """The picture on a background, (H, W, 3).

    Blended as sRGB-encoded values, as browsers and image editors do by default, not as light.
    """
    share = alpha[..., None]
    return np.asarray(pixels * share + np.asarray(background, np.float32) * (1 - share), np.float32)


def unpremultiplied(colours: Floats, alpha: Floats) -> Floats:
    """Colours that are multiplied by alpha, (H, W, C), divided by it again; at most 1."""
    return np.asarray(np.minimum(colours / np.maximum(alpha, 1e-6)[..., None], 1), np.float32)


def parse_colour(text: str) -> Colour:
    """A colour by its name in CSS, such as white, or as #rrggbb; ValueError for anything else."""
    from PIL import ImageColor

    red, green, blue, *alpha = ImageColor.getrgb(text)
    if alpha:
        raise ValueError("a background cannot be transparent itself")
    return red / 255, green / 255, blue / 255


def _fill(pixels: Floats, alpha: Floats, *, least: np.float32) -> None:
    """Fill the pixels whose alpha is below `least`."""
    if alpha.min() >= least:
        return
    coarse, weights = _halved(pixels, alpha, least=least)
    _fill(coarse, weights, least=np.float32(1))
    for top in range(0, len(pixels), STRIP_ROWS):
        hidden = alpha[top : top + STRIP_ROWS] < least
        if hidden.any():
            enlarged = _doubled(coarse, slice(top, top + len(hidden)), columns=hidden.shape[1])
            pixels[top : top + STRIP_ROWS][hidden] = enlarged[hidden]


def _halved(pixels: Floats, alpha: Floats, *, least: np.float32) -> tuple[Floats, Floats]:
    """Half the size, rounded up: the means of 2 x 2 visible pixels, and their weights: 0, or at least 1."""
    height, width = alpha.shape
    colours = np.empty((-(-height // 2), -(-width // 2), 3), np.float32)
    weights = np.empty(colours.shape[:2], np.float32)
    for top in range(0, height, STRIP_ROWS):
        own = np.asarray(alpha[top : top + STRIP_ROWS])
        own = np.where(own < least, np.float32(0), own / least)[..., None]
        block = np.concatenate([pixels[top : top + STRIP_ROWS] * own, own], axis=2)
        block = np.pad(block, ((0, len(block) % 2), (0, width % 2), (0, 0)))
        block = block[0::2] + block[1::2]
        block = block[:, 0::2] + block[:, 1::2]
        rows = slice(top // 2, top // 2 + len(block))
        weights[rows] = block[..., 3]
        colours[rows] = block[..., :3] / np.maximum(block[..., 3:], 1)
    return colours, weights


def _doubled(pixels: Floats, rows: slice, *, columns: int) -> Floats:
    """Rows of the image at twice the size, interpolated bilinearly."""

    def neighbours(lines: NDArray[np.int_], length: int) -> tuple[NDArray[np.int_], NDArray[np.int_], Floats]:
        centres = (lines + 0.5) / 2 - 0.5
        low = np.floor(centres).astype(int)
        share = (centres - low).astype(np.float32)[:, None]
        return low.clip(0, length - 1), (low + 1).clip(0, length - 1), share

    above, below, down = neighbours(np.arange(rows.start, rows.stop), len(pixels))
    left, right, across = neighbours(np.arange(columns), pixels.shape[1])
    block = pixels[above] * (1 - down[:, None]) + pixels[below] * down[:, None]
    return np.asarray(block[:, left] * (1 - across) + block[:, right] * across, np.float32)
