from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hires_nst.transfer.tiles import Grid, Rect, make_grid

sides = st.one_of(st.integers(1, 70), st.integers(1, 3000), st.sampled_from([1, 2, 15, 16, 17, 127, 1021, 2999]))


@st.composite
def grids(draw: st.DrawFn, side: st.SearchStrategy[int] = sides) -> tuple[Grid, int]:
    stride = draw(st.sampled_from([1, 2, 4, 8, 16]))
    height, width = draw(side), draw(side)
    size = draw(st.integers(max(1, max(height, width) // 12), 400))
    grid = make_grid(
        height, width, size=size, stride=stride, overlap=draw(st.integers(0, 80)), shifted=draw(st.booleans())
    )
    return grid, stride


@given(grids())
def test_owned_rectangles_partition_the_image_and_every_layer(case: tuple[Grid, int]) -> None:
    grid, deepest = case
    stride = 1
    while stride <= deepest:
        count = np.zeros((grid.height // stride, grid.width // stride), np.int32)
        for tile in grid.tiles:
            count[tile.owned.positions(stride).slices()] += 1
        assert (count == 1).all()
        stride *= 2


@given(grids())
def test_origins_lie_on_the_stride_grid_and_windows_inside_the_image(case: tuple[Grid, int]) -> None:
    grid, stride = case
    for tile in grid.tiles:
        for rect in (tile.owned, tile.window):
            assert rect.top % stride == rect.left % stride == 0
            assert 0 <= rect.top < rect.bottom <= grid.height and 0 <= rect.left < rect.right <= grid.width
            assert rect.bottom == grid.height or rect.bottom % stride == 0
            assert rect.right == grid.width or rect.right % stride == 0
        assert tile.owned.grown(grid.overlap, grid.image) == tile.window


@given(grids(st.integers(1, 400)))
def test_feather_weights_add_to_one_everywhere(case: tuple[Grid, int]) -> None:
    grid, _ = case
    total = np.zeros((grid.height, grid.width))
    for tile in grid.tiles:
        weight = grid.feather(tile)
        assert weight.dtype == np.float32 and weight.shape == (tile.window.height, tile.window.width)
        assert weight.min() >= 0
        total[tile.window.slices()] += weight
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_literal_grid() -> None:
    grid = make_grid(40, 70, size=32, stride=16, overlap=16)
    assert [tile.owned for tile in grid.tiles] == [Rect(0, 0, 40, 32), Rect(0, 32, 40, 70)]
    assert [tile.window for tile in grid.tiles] == [Rect(0, 0, 40, 48), Rect(0, 16, 40, 70)]


def test_shift_moves_every_border() -> None:
    plain = make_grid(512, 768, size=128, stride=16)
    shifted = make_grid(512, 768, size=128, stride=16, shifted=True)
    assert plain.column_cuts == (0, 128, 256, 384, 512, 640, 768)
    assert shifted.column_cuts == (0, 64, 192, 320, 448, 576, 704, 768)
    assert not set(plain.row_cuts[1:-1]) & set(shifted.row_cuts[1:-1])


def test_one_tile_stays_one_when_shifted() -> None:
    assert make_grid(100, 90, size=128, stride=16, overlap=32, shifted=True).tiles[0].window == Rect(0, 0, 100, 90)


def test_feather_is_a_raised_cosine_over_the_overlap() -> None:
    grid = make_grid(16, 64, size=32, stride=16, overlap=16)
    weight = grid.feather(grid.tiles[0])[0]
    centres = np.arange(48) + 0.5
    expected = np.where(centres < 16, 1.0, 0.5 + 0.5 * np.cos(np.pi * (centres - 16) / 32))
    np.testing.assert_allclose(weight, expected, atol=1e-6)


@pytest.mark.parametrize("arguments", [(0, 5, 16), (5, 0, 16), (5, 5, 0)])
def test_impossible_grids_are_refused(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="no grid"):
        make_grid(arguments[0], arguments[1], size=arguments[2])
