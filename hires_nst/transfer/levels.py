"""The coarse-to-fine schedule: the sizes of the image and the style images, and how much work at each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hires_nst.config import Config, Init, Levels
from hires_nst.errors import ConfigError, InputError

if TYPE_CHECKING:
    from hires_nst.transfer.tiles import Rect

BORDER_UNIT = 16
"""Borders of small levels are multiples of this: the deepest stride of the networks."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """One size of the image; index 0 is the coarsest. Each of the rounds evaluates a pixel `steps` times.

    Attributes:
        height, width: of the picture.
        border: pixels around the picture that are painted with it and not written, on each side.
        skipped: whether painting begins at a later level; then there are no rounds.
    """

    index: int
    height: int
    width: int
    rounds: int
    steps: int
    border: int = 0
    skipped: bool = False

    @property
    def canvas_size(self) -> tuple[int, int]:
        """Height and width of the picture with its border."""
        return self.height + 2 * self.border, self.width + 2 * self.border

    @property
    def canvas_area(self) -> int:
        """Pixels of the picture with its border."""
        height, width = self.canvas_size
        return height * width

    @property
    def picture(self) -> Rect:
        """The picture on its canvas."""
        from hires_nst.transfer.tiles import Rect  # numpy is not needed for the plan of a batch

        return Rect(self.border, self.border, self.border + self.height, self.border + self.width)

    def canvas_box(self, picture: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        """What the canvas shows of a source in which the picture is this box: left, top, width and height in pixels."""
        left, top, width, height = picture
        across, down = width / self.width, height / self.height  # pixels of the source for one of the level
        rows, columns = self.canvas_size
        return left - self.border * across, top - self.border * down, columns * across, rows * down

    @property
    def evaluations(self) -> int:
        """Evaluations of each pixel."""
        return self.rounds * self.steps


@dataclass(frozen=True, kw_only=True)
class LevelPlan(Level):
    """A level with the number of tiles, the side that they were cut with, and their largest window by area."""

    tiles: int
    tile_size: int
    window_height: int
    window_width: int

    @property
    def window_area(self) -> int:
        """Pixels of the largest window, which memory and time of a tile follow."""
        return self.window_height * self.window_width


def schedule(height: int, width: int, *, levels: Levels, first: int = 0) -> tuple[Level, ...]:
    """The levels of a result of height x width pixels, coarse to fine; the last one has its size.

    Those before the level `first` are skipped.

    Each level is `factor` times the one below; the coarsest one's short side is the smallest that is not below
    `min_size`. The coarsest level is one round of `coarse_steps`; the next has `rounds` rounds of `steps`, and each
    further one `decay` times as many rounds, at least one. The border is at most an eighth of the short side.
    """
    short = min(height, width)
    count = 1
    if short > levels.min_size:
        count += math.floor(math.log(short / levels.min_size) / math.log(levels.factor) + 1e-9)
    changed = {override.level: override for override in levels.overrides}
    result = []
    for index in range(count):
        shrink = levels.factor ** (count - 1 - index)
        rounds = 1 if index == 0 else max(1, round(levels.rounds * levels.decay ** (index - 1)))
        steps = levels.coarse_steps if index == 0 else levels.steps
        if override := changed.get(index):
            rounds = rounds if override.rounds is None else override.rounds
            steps = steps if override.steps is None else override.steps
        rows, columns = max(1, round(height / shrink)), max(1, round(width / shrink))
        border = min(levels.border, min(rows, columns) // 8 // BORDER_UNIT * BORDER_UNIT)
        result.append(
            Level(
                index=index, height=rows, width=columns, rounds=0 if index < first else rounds, steps=steps,
                border=border, skipped=index < first,
            )
        )  # fmt: skip
    return tuple(result)


def first_level(levels: Sequence[Level], init: Init, *, file_size: tuple[int, int] | None) -> int:
    """The index of the level that painting begins at, as `init.level` says.

    `auto` takes a file for a finished picture: painting begins at the first level that is larger than it on a side, by
    more than a pixel of rounding, or at the last one where none is.

    Args:
        file_size: width and height of the initial image's file; None where it is no file.

    Raises:
        ConfigError: there is no such level.
    """
    if isinstance(init.level, int):
        if init.level >= len(levels):
            raise ConfigError(
                f"init.level is {init.level}, but this size has the levels 0 to {len(levels) - 1}; choose one of them"
            )
        return init.level
    if init.level == "coarsest" or file_size is None:
        return 0
    larger = (
        level.index for level in levels if level.width > file_size[0] + 1 or level.height > file_size[1] + 1
    )  # fmt: skip
    return next(larger, len(levels) - 1)


def check_side(name: str, size: tuple[int, int], *, config: Config) -> None:
    """Refuse (InputError) an image of `size` (width, height) on which the deepest layer in use has no position."""
    least = config.stride
    if min(size) < least:
        raise InputError(
            f"{name} is {size[0]} x {size[1]} px, but {config.model.name} needs {least} px on each side; give a larger "
            "one"
        )


def style_size(own: tuple[int, int], level: tuple[int, int], *, scale: float, config: Config) -> tuple[int, int]:
    """Height and width of a style image at a level, from its `own` and the level's.

    Its long edge is `scale` times the level's. It is never enlarged beyond its own pixels, nor made smaller on a side
    than the deepest layer needs.
    """
    least = config.stride
    factor = min(1.0, max(scale * max(level) / max(own), least / min(own)))
    return max(least, round(own[0] * factor)), max(least, round(own[1] * factor))
