"""Scores against values that follow from the pictures by hand."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.color import rgb2lab

from hires_nst.evaluation.metrics import (
    outline_correlation,
    palette_distance,
    reduced,
    seam_visibility,
    texture_similarity,
)


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((height, width, 3), np.float32)


def plain(colour: tuple[float, float, float], height: int = 24, width: int = 32) -> NDArray[np.float32]:
    return np.full((height, width, 3), colour, np.float32)


def checkerboard(height: int, width: int) -> NDArray[np.float32]:
    board = np.indices((height, width)).sum(0) % 2
    return np.repeat(board[..., None], 3, axis=2).astype(np.float32)


# Seams


def seams_line_by_line(pixels: NDArray[np.float64], rows: list[int], columns: list[int]) -> float:
    """The definition, one line at a time, without strips."""
    on: list[float] = []
    off: list[float] = []
    for axis, cuts in ((0, rows), (1, columns)):
        lines = np.moveaxis(pixels, axis, 0)
        for at in range(1, len(lines) - 1):
            rough = np.abs(lines[at + 1] - 2 * lines[at] + lines[at - 1]).mean()
            (on if any(at in (cut - 1, cut) for cut in cuts) else off).append(rough)
    return float(np.mean(on) / np.mean(off))


@pytest.mark.parametrize(
    ("height", "width"), [(3, 5), (63, 20), (64, 20), (65, 20), (66, 9), (67, 70), (128, 9), (130, 33)]
)
def test_seams_in_strips_are_those_of_the_definition(height: int, width: int) -> None:
    pixels = noise(height, width, seed=height).astype(np.float64)
    rows, columns = ([64] if height > 66 else []), [width // 2]
    expected = seams_line_by_line(pixels, rows, columns)
    assert seam_visibility(pixels, rows=rows, columns=columns) == pytest.approx(expected, rel=1e-12)


def test_seams_of_a_step_and_a_ramp() -> None:
    ramp = np.linspace(0, 0.4, 40)
    pixels = np.repeat(np.tile(ramp, (30, 1))[..., None], 3, axis=2)
    pixels[:, 20:] += 0.3
    assert seam_visibility(pixels, rows=[], columns=[20]) > 1e6


def test_seams_of_noise_are_not_visible_and_a_drawn_line_is() -> None:
    pixels = noise(200, 200)
    assert seam_visibility(pixels, rows=[64, 128], columns=[96]) == pytest.approx(1, abs=0.05)
    pixels[:, 96:] += 1  # one side brighter
    assert seam_visibility(pixels, rows=[], columns=[96]) > 1.5
    assert seam_visibility(pixels, rows=[], columns=[40]) == pytest.approx(1, abs=0.05)


def test_seams_of_flat_pictures() -> None:
    flat = plain((0.2, 0.2, 0.2))
    assert seam_visibility(flat, rows=[10], columns=[]) == 1
    flat[10:] = 0.5
    assert seam_visibility(flat, rows=[10], columns=[]) == float("inf")


def test_seams_do_not_depend_on_the_scale_of_the_samples() -> None:
    bytes8 = np.random.default_rng(1).integers(0, 256, (70, 40, 3), np.uint8)
    assert seam_visibility(bytes8, rows=[32], columns=[16]) == pytest.approx(
        seam_visibility(bytes8 / 255, rows=[32], columns=[16])
    )


def test_seams_need_a_border() -> None:
    with pytest.raises(ValueError, match="border"):
        seam_visibility(noise(8, 8), rows=[], columns=[])


# Palette


@pytest.mark.parametrize(
    ("first", "second"),
    [((0, 0, 0), (1, 1, 1)), ((0.9, 0.2, 0.1), (0.1, 0.3, 0.8)), ((0.5, 0.5, 0.5), (0.5, 0.55, 0.5))],
)
def test_palette_distance_of_plain_colours_is_their_difference(
    first: tuple[float, float, float], second: tuple[float, float, float]
) -> None:
    expected = float(np.linalg.norm(rgb2lab(np.array(first, float)) - rgb2lab(np.array(second, float))))
    assert palette_distance(plain(first), plain(second, 10, 9)) == pytest.approx(expected, rel=0.02)


def test_palette_distance_counts_how_much_of_the_colour_there_is() -> None:
    half = plain((1, 1, 1), 32, 32)
    half[:16] = 0
    assert palette_distance(half, plain((1, 1, 1))) == pytest.approx(50, rel=0.02)  # half of it moves by 100


def test_palette_distance_does_not_see_places() -> None:
    pixels = noise(32, 32)
    shuffled = np.random.default_rng(1).permutation(pixels.reshape(-1, 3)).reshape(pixels.shape)
    assert palette_distance(pixels, shuffled) == pytest.approx(0, abs=1e-4)
    assert palette_distance(pixels, pixels[::-1] * 0.5) == palette_distance(pixels[::-1] * 0.5, pixels) > 5


# Outlines


def steps_at(*columns: int) -> NDArray[np.float32]:
    """Grey, with a step of the same height up or down at each of the columns."""
    pixels = plain((0.25, 0.25, 0.25), 40, 60)
    for column in columns:
        pixels[:, column:] = np.where(pixels[:, column:] < 0.5, 0.75, 0.25)
    return pixels


def test_outlines_are_kept_by_other_contrast_and_by_the_negative() -> None:
    photograph = noise(40, 60)
    assert outline_correlation(photograph, photograph) == pytest.approx(1)
    assert outline_correlation(photograph * 0.5 + 0.2, photograph) == pytest.approx(1, abs=1e-6)
    assert outline_correlation(1 - photograph, photograph) == pytest.approx(1, abs=1e-6)


def test_outlines_of_one_edge_out_of_two() -> None:
    """Each step gives two columns of edge; so of 60, the photograph has 4 of height 1, and the picture 2 of them."""
    p, q, both = 4 / 60, 2 / 60, 2 / 60
    expected = (both - p * q) / np.sqrt((p - p * p) * (q - q * q))
    assert outline_correlation(steps_at(20), steps_at(20, 40)) == pytest.approx(expected, abs=1e-6)
    p = q = 2 / 60
    expected = (0 - p * q) / np.sqrt((p - p * p) * (q - q * q))
    assert outline_correlation(steps_at(20), steps_at(40)) == pytest.approx(expected, abs=1e-6)


def test_outlines_of_nothing_and_of_something_else() -> None:
    assert outline_correlation(plain((0.3, 0.3, 0.3)), noise(24, 32)) == 0
    assert outline_correlation(noise(200, 200, seed=1), noise(200, 200, seed=2)) == pytest.approx(0, abs=0.03)


def test_outlines_of_an_enlarged_picture() -> None:
    photograph = np.kron(noise(16, 16), np.ones((8, 8, 1), np.float32))
    large = np.kron(photograph, np.ones((4, 4, 1), np.float32))
    assert outline_correlation(large, photograph) > 0.95


# Texture


def test_texture_of_a_checkerboard_against_a_plain_picture() -> None:
    """At each radius, black pixels see nothing darker, as all pixels of a plain picture do; white ones never do."""
    assert texture_similarity(checkerboard(40, 40), plain((0.4, 0.4, 0.4), 40, 40)) == pytest.approx(0.5)


def test_texture_does_not_see_brightness_or_orientation() -> None:
    pixels = np.repeat(noise(50, 60)[..., :1], 3, axis=2)
    bytes8 = np.rint(pixels * 200).astype(np.uint8)
    assert texture_similarity(bytes8, bytes8) == pytest.approx(1)
    assert texture_similarity(bytes8 + np.uint8(50), bytes8) == pytest.approx(1)
    assert texture_similarity(np.rot90(bytes8), bytes8) == pytest.approx(1)


def test_texture_tells_strokes_from_noise() -> None:
    strokes = np.repeat(noise(1, 64, seed=3), 64, axis=0)
    assert texture_similarity(strokes, np.repeat(noise(1, 64, seed=4), 64, axis=0)) > 0.8
    assert texture_similarity(strokes, noise(64, 64, seed=5)) < 0.6


# Reduction


def test_a_reduced_picture_has_the_size_and_the_colours() -> None:
    left_red = np.zeros((1000, 2100, 3), np.uint8)
    left_red[:, :1050, 0] = 255
    small = reduced(left_red, 100)
    assert small.shape == (48, 100, 3)
    assert small.dtype == np.float32
    assert small[20, 10].tolist() == pytest.approx([1, 0, 0], abs=1e-3)
    assert small[20, 90].tolist() == pytest.approx([0, 0, 0], abs=1e-3)
    assert float(small[..., 0].mean()) == pytest.approx(0.5, abs=0.01)


def test_a_small_picture_is_not_reduced() -> None:
    pixels = noise(20, 30)
    assert np.array_equal(reduced(pixels), pixels)


def test_a_very_narrow_picture_is_reduced() -> None:
    assert reduced(noise(2, 3000)).shape == (1, 256, 3)


def test_large_pictures_are_measured_in_bounded_memory(tmp_path: Path) -> None:
    pixels = np.memmap(tmp_path / "large", np.uint8, "w+", shape=(10_000, 2_000, 3))
    pixels[::7, ::5] = 200
    tracemalloc.start()
    seam_visibility(pixels, rows=[5_000], columns=[1_000])
    palette_distance(pixels, pixels[:500])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6  # the picture has 60 MB, and eight times that as float64
