"""The coarse-to-fine schedule: which sizes, and how much work at each."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hires_nst.config import Levels


@dataclass(frozen=True, kw_only=True)
class Level:
    """One size of the image.

    Attributes:
        index: 0 is the coarsest.
        height, width: pixels.
        rounds: rounds of refinement.
        steps: evaluations in each round.
    """

    index: int
    height: int
    width: int
    rounds: int
    steps: int

    @property
    def evaluations(self) -> int:
        """Evaluations of each pixel."""
        return self.rounds * self.steps


@dataclass(frozen=True, kw_only=True)
class LevelPlan(Level):
    """A level with the tiles that it is refined in.

    Attributes:
        tiles: how many there are.
        tile_size: the side that they were made with, in pixels.
        window: the side of the largest tile's window, in pixels.
    """

    tiles: int
    tile_size: int
    window: int


def schedule(height: int, width: int, *, levels: Levels) -> tuple[Level, ...]:
    """The levels of a result of height x width pixels, coarse to fine; the last one has its size.

    Each level is `factor` times the one below; the coarsest one's short side is the smallest that is not below
    `min_size`. The coarsest level is one round of `coarse_steps`; the next has `rounds` rounds of `steps`, and each
    further one `decay` times as many rounds, at least one.
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
        override = changed.get(index)
        if override is not None:
            rounds = rounds if override.rounds is None else override.rounds
            steps = steps if override.steps is None else override.steps
        result.append(
            Level(
                index=index, height=max(1, round(height / shrink)), width=max(1, round(width / shrink)), rounds=rounds,
                steps=steps,
            )
        )  # fmt: skip
    return tuple(result)
