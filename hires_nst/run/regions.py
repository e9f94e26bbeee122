"""The regions of a run: which paintings count where, what is protected, and where the content loss counts how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hires_nst import events
from hires_nst.config import Config
from hires_nst.errors import ConfigError, InputError
from hires_nst.imageio import resize
from hires_nst.imageio.faces import face_mask
from hires_nst.imageio.picture import Floats
from hires_nst.run.context import RunContext
from hires_nst.run.masks import StyleGroup, read_mask, style_groups
from hires_nst.transfer.canvas import STRIP_ROWS, Canvas
from hires_nst.transfer.levels import Level
from hires_nst.transfer.regions import Region
from hires_nst.transfer.weights import PixelWeights


@dataclass(frozen=True)
class LevelRegions:
    """The regions of a level.

    Attributes:
        regions: in the order of the groups.
        content: how much each pixel counts in the content loss; None for its alpha channel alone.
        protected: the share of the photograph that a level starts with and that paintings leave out, (H, W, 1).
    """

    regions: tuple[Region, ...]
    content: PixelWeights | None = None
    protected: Canvas | None = None


@dataclass(frozen=True, kw_only=True)
class RunRegions:
    """The regions of a run, as read; masks are (h, w, 1) in [0, 1], over the whole photograph, None for white.

    Attributes:
        groups: the paintings of each region.
        masks: of each region.
        emphasis: of each region relative to the others, 1 in the mean: how the weights of its paintings compare.
        protected, content: of `regions.protect`, with its strength, and of `regions.content`.
        crop: left, top, width and height of what the picture shows, in widths and heights of the photograph.
    """

    groups: tuple[StyleGroup, ...]
    masks: tuple[Floats | None, ...]
    emphasis: tuple[float, ...]
    protected: Floats | None
    content: Floats | None
    crop: tuple[float, float, float, float]

    def at(self, level: Level, alpha: PixelWeights | None, *, context: RunContext) -> LevelRegions:
        """The regions at a level with its border, within its alpha channel.

        Raises:
            InputError: a mask covers nothing of what is painted. ConfigError: the masks leave nothing for paintings
                without one.
        """
        protected, content = (
            None if mask is None else self._resized(mask, level, context=context)
            for mask in (self.protected, self.content)
        )
        masks = [None if mask is None else self._resized(mask, level, context=context) for mask in self.masks]
        if protected is None and len(self.groups) <= 1 and masks in ([], [None]):
            regions: tuple[Region, ...] = (Region(),)
        else:
            regions = self._regions(level, masks, alpha=alpha, protected=protected, context=context)
        weights = None if content is None else PixelWeights.of(_product(content, alpha))
        return LevelRegions(regions, weights, protected)

    def _regions(
        self,
        level: Level,
        masks: Sequence[Canvas | None],
        *,
        alpha: PixelWeights | None,
        protected: Canvas | None,
        context: RunContext,
    ) -> tuple[Region, ...]:
        area = level.canvas_area if alpha is None else alpha.total()

        def rest(others: Sequence[Canvas]) -> Canvas:
            canvas = context.place(*level.canvas_size, channels=1, sample="float16")
            _fill_rest(canvas, others)
            return canvas

        given = {group: mask or rest(()) for group, mask in zip(self.groups, masks, strict=True) if group.mask}
        own = [given[group] if group.mask else rest(list(given.values())) for group in self.groups]
        result = []
        for group, mask, emphasis in zip(self.groups, own, self.emphasis, strict=True):
            if protected is not None:
                _multiply(mask, protected, inverted=True)
            weights = PixelWeights.of(_product(mask, alpha))
            if weights.total() == 0:
                raise self._nothing(group, config=context.config)
            result.append(Region(weights, emphasis * weights.total() / area))
        return tuple(result)

    def _nothing(self, group: StyleGroup, *, config: Config) -> InputError | ConfigError:
        """The error about a region of which nothing is painted."""
        if self.protected is not None and all(other.mask is None for other in self.groups):
            return InputError(
                f"regions.protect protects all of the photograph, so there is nothing to paint; leave a part of "
                f"{config.regions.protect} dark, or lower --protect-strength"
            )
        if group.mask is not None:
            return InputError(
                f"the mask {group.mask} covers nothing of what is painted; make it white where its painting counts"
            )
        painting = config.paintings[group.styles[0]].image
        return ConfigError(f"the masks leave nothing for {painting}; give it a mask of its own, or leave it out")

    def protected_rows(self, size: tuple[int, int], *, rows: tuple[int, int]) -> Floats | None:
        """Rows of the protected share at the size (width, height) of the picture, (h, W, 1); None without one."""
        if self.protected is None:
            return None
        box = self._box(self.protected)
        return resize.resized_rows(self.protected, size, rows=rows, box=box, kernel=resize.ALPHA_KERNEL)

    def _box(self, mask: Floats) -> tuple[float, float, float, float]:
        """What the picture shows, in pixels of a mask."""
        left, top, width, height = self.crop
        return left * mask.shape[1], top * mask.shape[0], width * mask.shape[1], height * mask.shape[0]

    def _resized(self, mask: Floats, level: Level, *, context: RunContext) -> Canvas:
        canvas = context.place(*level.canvas_size, channels=1, sample="float16")
        resize.resize_strips(
            mask, canvas.pixels, kernel=resize.ALPHA_KERNEL,
            box=level.canvas_box(self._box(mask)), check_stop=context.check_stop,
        )  # fmt: skip
        return canvas


def read_regions(
    photograph: Path, pixels: Floats, *, crop: tuple[int, int, int, int], context: RunContext
) -> RunRegions:
    """Read the masks of a run.

    Args:
        pixels: of the photograph, (H, W, 3), in which faces are found.
        crop: left, top, width and height of what the picture shows.

    Raises:
        InputError: a mask cannot be read, or is black. ConfigError: faces are to be found, and the detector is missing.
    """
    config, groups = context.config, style_groups(context.config)

    def read(path: Path | None, colour: str | None = None) -> Floats | None:
        if path is None:
            return None
        mask = read_mask(path, colour=colour, config=config)
        return None if float(mask.min()) == 1 else mask

    protect, strength = config.regions.protect, np.float32(config.regions.protect_strength)
    protected = None
    if protect == "faces":
        protected = face_mask(pixels)
        if protected is None:
            context.emit(events.Notice(f"no face was found in {photograph}, so nothing is protected"))
    elif protect is not None:
        protected = read_mask(protect, colour=None, config=config)
    if protected is not None:
        protected = protected * strength if strength > 0 else None
    mean = sum(group.weight for group in groups) / max(1, len(groups))
    height, width = pixels.shape[:2]
    left, top, across, down = crop
    return RunRegions(
        groups=groups, masks=tuple(read(group.mask, group.colour) for group in groups),
        emphasis=tuple(group.weight / mean for group in groups), protected=protected,
        content=read(config.regions.content),
        crop=(left / width, top / height, across / width, down / height),
    )  # fmt: skip


def protect(canvas: Canvas, photograph: Canvas, *, protected: Canvas) -> None:
    """Put the protected share of the photograph back into a canvas, in place."""
    for top in range(0, canvas.height, STRIP_ROWS):
        rows = slice(top, top + STRIP_ROWS)
        own = canvas.pixels[rows]
        own += protected.pixels[rows].astype(np.float32) * (photograph.pixels[rows].astype(np.float32) - own)


def _fill_rest(mask: Canvas, others: Sequence[Canvas]) -> None:
    """Fill a mask with what the others leave."""
    for top in range(0, mask.height, STRIP_ROWS):
        rows = slice(top, top + STRIP_ROWS)
        taken = sum((other.pixels[rows].astype(np.float32) for other in others), np.zeros((), np.float32))
        mask.pixels[rows] = np.clip(1 - taken, 0, 1)


def _multiply(mask: Canvas, factor: Canvas, *, inverted: bool = False) -> None:
    """Multiply a mask by another one, or by what that one leaves."""
    for top in range(0, mask.height, STRIP_ROWS):
        share = factor.pixels[top : top + STRIP_ROWS]
        mask.pixels[top : top + STRIP_ROWS] *= 1 - share if inverted else share


def _product(mask: Canvas, alpha: PixelWeights | None) -> Canvas:
    """The mask within an alpha channel, in place."""
    if alpha is not None and alpha.alpha is not None:
        _multiply(mask, alpha.alpha)
    return mask
