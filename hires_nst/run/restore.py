"""What is put back of the photograph when the picture is painted: its colours, and protected parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from hires_nst.config import Config
from hires_nst.events import ignore
from hires_nst.imageio.oklab import with_colours_of
from hires_nst.imageio.picture import Floats
from hires_nst.imageio.resize import resized_rows
from hires_nst.run.content import read_content
from hires_nst.run.context import RunContext
from hires_nst.run.output_size import OutputSize
from hires_nst.run.regions import RunRegions

STRIP_ROWS = 64


def is_restored(config: Config, regions: RunRegions | None) -> bool:
    """Whether anything is put back."""
    return config.colors.restored > 0 or (regions is not None and regions.protected is not None)


def restore(pixels: Floats, path: Path, *, size: OutputSize, regions: RunRegions | None, context: RunContext) -> None:
    """Put the photograph's colours back, as `colors` says, and what `regions.protect` protects; in place.

    Paintings reach into a protected part as far as their layers see, and its colours may have been changed before it
    was painted. Where it is protected by a share p above 1/2, a share of 2 p - 1 is put back; below that, where
    photograph and painting are to be mixed, nothing, as it would show through the strokes. The photograph is read
    again, since its pixels were released before the last level.

    Args:
        pixels: (H, W, 3), the picture without its border; may be a memory map, as it is used in strips.
        path: of the photograph.
    """
    share = context.config.colors.restored
    photograph = read_content(path, size, context=replace(context, emit=ignore), with_regions=False)
    assert photograph.pixels is not None
    height, width = pixels.shape[:2]
    for first in range(0, height, STRIP_ROWS):
        context.check_stop()
        rows = first, min(first + STRIP_ROWS, height)
        own = resized_rows(photograph.pixels, (width, height), rows=rows, box=photograph.crop)
        painted = with_colours_of(pixels[slice(*rows)], own, share=share)
        protected = None if regions is None else regions.protected_rows((width, height), rows=rows)
        if protected is not None:
            painted = painted + np.clip(2 * protected - 1, 0, 1) * (own - painted)
        pixels[slice(*rows)] = painted
