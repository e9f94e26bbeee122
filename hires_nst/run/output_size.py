"""The size of the result in pixels, and the part of the photograph that it shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hires_nst.config import Config
from hires_nst.errors import ConfigError
from hires_nst.imageio.paper import fit, parse_paper
from hires_nst.imageio.paper import pixels as print_pixels
from hires_nst.transfer.levels import check_side

MUCH_CROPPED, MUCH_ENLARGED = 0.3, 3.0
"""A photograph of which a larger share is cropped, or that is enlarged more times, is worth a notice."""


@dataclass(frozen=True, kw_only=True)
class OutputSize:
    """The size of the result, and the part of the photograph that it shows.

    Attributes:
        crop: left, top, width, height in pixels of the photograph.
        dpi: to write into the file, if any.
        cropped: the share of the photograph, 0 to 1, outside the crop.
        first_level: the index of the level that painting begins at.
    """

    width: int
    height: int
    crop: tuple[int, int, int, int]
    dpi: float | None
    cropped: float = 0.0
    first_level: int = 0

    @property
    def enlarged(self) -> float:
        """How many times the crop is made longer and wider; below 1 it is made smaller."""
        return max(self.width / self.crop[2], self.height / self.crop[3])

    @property
    def use(self) -> str:
        """What becomes of the photograph in a few words: `91 % is cropped, and the rest is enlarged 25 times`."""
        size = "keeps its size"
        if self.enlarged >= 1.05:
            size = (
                f"is enlarged {self.enlarged:.2g} times"
                if self.enlarged < 10
                else f"is enlarged {self.enlarged:.0f} times"
            )
        elif self.enlarged <= 0.95:
            size = f"is reduced to {100 * self.enlarged:.2g} %"
        return f"{100 * self.cropped:.0f} % is cropped, and the rest {size}" if self.cropped >= 0.005 else size

    def loss(self, config: Config) -> str | None:
        """A sentence about a photograph of which much is lost, with the way out; None where little is."""
        paper, ways = config.output.print, []
        if self.cropped > MUCH_CROPPED:
            ways.append("--fit contain keeps all of it")
        if self.enlarged > MUCH_ENLARGED:
            smaller = "a smaller --size" if paper is None else "a smaller paper or fewer --dpi"
            ways.append(f"{smaller}, or a photograph of more pixels, gives a sharper result")
        what = "" if paper is None else f" for {paper.paper} at {paper.dpi:g} dpi"
        photograph = "of the photograph," if self.cropped >= 0.005 else "the photograph"
        return f"{photograph} {self.use}{what}; {'; '.join(ways)}" if ways else None


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
        cropped = 1 - crop[2] * crop[3] / (width * height)
        dpi = wanted.dpi or wanted.print.dpi
        result = OutputSize(width=placed.width, height=placed.height, crop=crop, dpi=dpi, cropped=cropped)
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
