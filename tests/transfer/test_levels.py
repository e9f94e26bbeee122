"""The schedule: sizes, rounds and steps of the levels."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hires_nst.config import LevelOverride, Levels
from hires_nst.transfer.levels import schedule


def sizes(height: int, width: int, levels: Levels) -> list[tuple[int, int]]:
    return [(level.height, level.width) for level in schedule(height, width, levels=levels)]


@pytest.mark.parametrize(
    ("height", "width", "factor", "expected"),
    [
        (100, 100, 2.0, [(100, 100)]),
        (256, 300, 2.0, [(256, 300)]),
        (511, 900, 2.0, [(511, 900)]),
        (512, 900, 2.0, [(256, 450), (512, 900)]),
        (3508, 4961, 2.0, [(438, 620), (877, 1240), (1754, 2480), (3508, 4961)]),
        (1024, 1024, 4.0, [(256, 256), (1024, 1024)]),
        (512, 512, 2**0.5, [(256, 256), (362, 362), (512, 512)]),
    ],
)
def test_sizes_go_up_by_the_factor_to_the_result(
    height: int, width: int, factor: float, expected: list[tuple[int, int]]
) -> None:
    assert sizes(height, width, Levels(min_size=256, factor=factor)) == expected


@given(
    st.integers(16, 30_000), st.integers(16, 30_000), st.integers(16, 2000), st.sampled_from([1.2, 2**0.5, 2.0, 3, 8])
)
def test_the_coarsest_level_is_the_smallest_that_is_not_below_the_minimum(
    height: int, width: int, least: int, factor: float
) -> None:
    levels = schedule(height, width, levels=Levels(min_size=least, factor=factor))
    assert [level.index for level in levels] == list(range(len(levels)))
    assert (levels[-1].height, levels[-1].width) == (height, width)
    short = min(height, width)
    if short >= least:
        assert least <= min(levels[0].height, levels[0].width) + 0.5
        assert short / factor ** len(levels) < least
    else:
        assert len(levels) == 1
    for coarse, fine in pairwise(levels):
        assert coarse.height <= fine.height
        assert abs(coarse.height * factor - fine.height) <= factor / 2 + 0.5
        assert abs(coarse.width * factor - fine.width) <= factor / 2 + 0.5


def test_most_of_the_work_is_done_at_the_bottom() -> None:
    levels = schedule(4096, 4096, levels=Levels(min_size=256, coarse_steps=200, rounds=4, steps=8, decay=0.5))
    assert [(level.rounds, level.steps) for level in levels] == [(1, 200), (4, 8), (2, 8), (1, 8), (1, 8)]
    assert [level.evaluations for level in levels] == [200, 32, 16, 8, 8]


def test_without_decay_every_level_has_the_same_rounds() -> None:
    levels = schedule(1024, 1024, levels=Levels(min_size=256, rounds=3, decay=1))
    assert [level.rounds for level in levels] == [1, 3, 3]


def test_overrides_change_single_levels_and_leave_the_rest() -> None:
    overrides = (LevelOverride(level=0, steps=50), LevelOverride(level=2, rounds=0), LevelOverride(level=9, rounds=7))
    levels = schedule(1024, 1024, levels=Levels(min_size=256, coarse_steps=200, rounds=4, steps=8, overrides=overrides))
    assert [(level.rounds, level.steps) for level in levels] == [(1, 50), (4, 8), (0, 8)]
