"""The size of the result in pixels, and the part of the photograph that it shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hires_nst.config import Config
from hires_nst.errors import ConfigError
from hires_nst.imageio.paper import fit, parse_paper
from hires_nst.imageio.paper import pixels as print_pixels
from hires_nst.transfer.levels import check_side


@dataclass(frozen=True, kw_only=True)
class OutputSize:
    """The size of the result, and the part of the photograph that it shows.

    Attributes:
        crop: left, top, width, height in pixels of the photograph.
        dpi: to write into the file, if any.
    """

    width: int
    height: int
    crop: tuple[int, int, int, int]
    dpi: float | None


def output_size_of(size: tuple[int, int], config: Config, *, content: Path | str) -> OutputSize:
    """The result's size for a photograph of `size` (width, height).

    Raises:
        InputError: the photograph, or ConfigError: the result, is smaller than the deepest layer needs.
    """
    width, height = size
    least, wanted = config.stride, config.output
    check_side(str(content), size, config=config)
    crop: tuple[int, int, int, int] = (0, 0, width, height)
    if wanted.print is not None:
        paper = print_pixels(parse_paper(wanted.print.paper), dpi=wanted.print.dpi, bleed_mm=wanted.print.bleed_mm)
        placed = fit((width, height), paper, mode=wanted.print.fit)
        left, top, across, down = placed.crop
        crop = (round(left), round(top), max(1, round(across)), max(1, round(down)))
        result = OutputSize(width=placed.width, height=placed.height, crop=crop, dpi=wanted.dpi or wanted.print.dpi)
    else:
        factor = wanted.scale or 1.0
        if wanted.long_edge is not None:
            factor = wanted.long_edge / max(size)
        if wanted.megapixels is not None:
            factor = (wanted.megapixels * 1e6 / (width * height)) ** 0.5
        result = OutputSize(
            width=max(1, round(width * factor)), height=max(1, round(height * factor)), crop=crop, dpi=wanted.dpi
        )
    if min(result.width, result.height) < least:
        raise ConfigError(
            f"a result of {result.width} x {result.height} px is too small: {config.model.name} needs {least} px on "
            "each side; ask for a larger size, or leave the deep layers out"
        )
    return result
