"""Measures of flaws, on pictures in which each flaw was planted."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.color import rgb2lab

from hires_nst.evaluation.flaws import calm_colour_noise, calm_grid, calm_noise, colour_error, edge_colours, mean_chroma

BLUE, RED, GREY = (0.1, 0.2, 0.7), (0.7, 0.2, 0.1), (0.5, 0.5, 0.5)


def plain(colour: tuple[float, float, float], height: int = 120, width: int = 100) -> NDArray[np.float32]:
    return np.full((height, width, 3), colour, np.float32)


def smooth_noise(height: int, width: int, *, slope: float = 1.5, seed: int = 0) -> NDArray[np.float32]:
    """Noise of a power-law spectrum around a half, as photographs have."""
    generator = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    frequency[0, 0] = 1
    spectrum = np.fft.fft2(generator.normal(size=(height, width, 3)), axes=(0, 1))
    spectrum /= frequency[:, :, None] ** slope
    pixels = np.fft.ifft2(spectrum, axes=(0, 1)).real
    return np.asarray(0.5 + 0.1 * (pixels - pixels.mean()) / pixels.std(), np.float32)


# Edges


def distance(first: tuple[float, float, float], second: tuple[float, float, float]) -> float:
    return float(np.linalg.norm(rgb2lab(np.array(first)) - rgb2lab(np.array(second))))


def test_a_planted_fringe_is_at_the_edge_only() -> None:
    picture = plain(BLUE)
    for rows, columns in ((slice(0, 4), slice(None)), (slice(-4, None), slice(None))):
        picture[rows, columns] = RED
    picture[:, :4] = picture[:, -4:] = RED
    found = edge_colours(picture, plain(BLUE, 8, 8))
    assert found.outermost == pytest.approx(distance(RED, BLUE), rel=1e-4)
    assert found.band == pytest.approx(0, abs=1e-4)
    assert found.interior == pytest.approx(0, abs=1e-4)


def test_the_band_is_from_8_to_32_pixels_and_what_lies_between_counts_nowhere() -> None:
    picture = plain(RED)
    picture[8:-8, 8:-8] = BLUE
    picture[32:-32, 32:-32] = GREY
    style = plain(RED, 8, 8)
    found = edge_colours(picture, style)
    assert (found.outermost, found.interior) == pytest.approx((0, distance(GREY, RED)), rel=1e-4, abs=1e-4)
    assert found.band == pytest.approx(distance(BLUE, RED), rel=1e-4)
    picture[4:8] = BLUE
    assert edge_colours(picture, style).band == pytest.approx(found.band)


def test_every_colour_of_the_painting_is_one_of_its_own() -> None:
    style = plain(BLUE, 10, 10)
    style[0, 0] = RED
    picture = plain(BLUE)
    picture[60:] = RED
    assert edge_colours(picture, style).interior == pytest.approx(0, abs=1e-4)


def test_a_ratio_of_edges_without_and_with_a_fringe() -> None:
    off = edge_colours(plain(GREY), plain(RED, 8, 8))
    assert off.ratio == pytest.approx(1)
    assert edge_colours(plain(RED), plain(RED, 8, 8)).ratio == 1
    fringed = plain(BLUE)
    fringed[:4] = RED
    assert edge_colours(fringed, plain(BLUE, 8, 8)).ratio > 100


def test_edges_need_an_interior() -> None:
    with pytest.raises(ValueError, match="interior"):
        edge_colours(plain(RED, 64, 90), plain(RED))


def test_edges_of_bytes_are_those_of_floats() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (80, 70, 3), np.uint8)
    found = [edge_colours(pixels, plain(GREY, 4, 4)) for pixels in (picture, picture / np.float32(255))]
    assert found[0].outermost == pytest.approx(found[1].outermost, rel=1e-5)
    assert found[0].ratio == pytest.approx(found[1].ratio, rel=1e-5)


# Calm parts


def half_calm(height: int, width: int) -> NDArray[np.float32]:
    """A photograph that is calm in its left quarter of columns."""
    photograph = np.random.default_rng(5).random((height, width, 3), np.float32)
    photograph[:, : width // 4] = 0.5
    return photograph


def test_noise_is_measured_where_the_photograph_is_calm() -> None:
    photograph = half_calm(128, 256)
    noisy = plain(GREY, 128, 256)
    noisy[:, 64:] += np.random.default_rng(1).normal(0, 0.1, (128, 192, 3)).astype(np.float32)
    assert calm_noise(noisy, photograph) == pytest.approx(0, abs=1e-6)
    noisy = noisy[:, ::-1]  # now the noise is in the calm part too
    assert calm_noise(noisy, photograph) > 100


def test_planted_noise_has_the_power_that_was_planted() -> None:
    """White noise of variance v has the power v at every frequency, and a share of them is counted."""
    noise = np.random.default_rng(2).normal(0, 0.05, (256, 256, 3)).astype(np.float32)
    frequency = np.hypot(np.fft.fftfreq(32)[:, None], np.fft.fftfreq(32))
    share = float((frequency > 0.375).mean())
    calm = calm_noise(0.5 + noise, plain(GREY, 256, 256))
    assert calm == pytest.approx(1e6 * 0.05**2 * share, rel=0.03)


def test_a_photograph_of_another_size_is_brought_to_the_picture() -> None:
    photograph = np.kron(half_calm(32, 64), np.ones((2, 2, 1), np.float32))
    noisy = plain(GREY, 128, 256)
    noisy[:, 80:] += np.random.default_rng(1).normal(0, 0.1, (128, 176, 3)).astype(np.float32)
    assert calm_noise(noisy, photograph) == pytest.approx(0, abs=1e-6)


def test_noise_of_brightness_alone_is_not_coloured_and_coarse_colours_are_no_noise() -> None:
    generator = np.random.default_rng(2)
    grey = generator.normal(0, 0.05, (256, 256, 1)).astype(np.float32)
    calm = plain(GREY, 256, 256)
    waves = 0.1 * np.sin(2 * np.pi * np.arange(256) / 16)[:, None, None] * np.array([1, -0.299 / 0.587, 0])
    assert calm_colour_noise(0.5 + np.repeat(grey, 3, 2), calm) == pytest.approx(0, abs=1e-3)
    assert calm_colour_noise(calm + waves, calm) == pytest.approx(0, abs=1)  # of a power of 2100
    assert calm_noise(0.5 + grey.repeat(3, 2), calm) > 100


def test_planted_coloured_noise_has_the_power_that_was_planted() -> None:
    """Noise of variance v, of a colour without brightness, has the power v times the mean square of that colour."""
    colour = np.array([1, -0.299 / 0.587, 0])
    noise = np.random.default_rng(2).normal(0, 0.05, (256, 256, 1)) * colour
    frequency = np.hypot(np.fft.fftfreq(32)[:, None], np.fft.fftfreq(32))
    expected = 1e6 * 0.05**2 * float((frequency > 1 / 8).mean()) * float(np.square(colour).mean())
    assert calm_colour_noise(0.5 + noise, plain(GREY, 256, 256)) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("measure", [calm_noise, calm_colour_noise, calm_grid])
def test_calm_parts_need_a_block(measure: object) -> None:
    assert callable(measure)
    with pytest.raises(ValueError, match="block"):
        measure(plain(GREY, 20, 90), plain(GREY))


@pytest.mark.parametrize("slope", [0.0, 1.0, 1.5])
def test_a_continuous_spectrum_has_no_grid(slope: float) -> None:
    picture = smooth_noise(512, 512, slope=slope, seed=1)
    assert list(calm_grid(picture, picture).values()) == pytest.approx([1] * 4, abs=0.3)


@pytest.mark.parametrize("period", [2, 4, 8, 16])
def test_a_planted_grid_is_found_at_its_period(period: int) -> None:
    """Squares of half the period, of an amplitude far below the noise around them; in places their sign turns."""
    picture = smooth_noise(512, 512, seed=2)
    board = ((np.indices((512, 512)) // (period // 2)).sum(0) % 2) - 0.5
    board[:, 256:] *= -1
    before = calm_grid(picture, picture)
    after = calm_grid(picture + (0.02 * board[:, :, None]).astype(np.float32), picture)
    grown = {other: after[other] / before[other] for other in after}
    assert max(grown, key=lambda other: grown[other]) == period
    assert grown[period] > 2
    assert all(value == pytest.approx(1, abs=0.15) for other, value in grown.items() if other != period)


def test_a_grid_of_lines_is_found_too() -> None:
    picture = smooth_noise(512, 512, seed=3)
    lined = picture.copy()
    lined[:, ::8] -= 0.03
    assert calm_grid(lined, picture)[8] > 1.5 * calm_grid(picture, picture)[8]


def test_a_flat_picture_has_no_grid() -> None:
    assert list(calm_grid(plain(GREY), plain(GREY)).values()) == [1] * 4


# Colours


def test_chroma_of_grey_and_of_a_colour() -> None:
    assert mean_chroma(plain(GREY)) == pytest.approx(0, abs=0.01)
    _, a, b = rgb2lab(np.array(RED))
    assert mean_chroma(plain(RED)) == pytest.approx(np.hypot(a, b), rel=1e-3)


def test_an_equal_picture_has_no_error() -> None:
    picture = smooth_noise(40, 50)
    assert colour_error(picture, picture) == (0, 0)


def test_an_error_is_in_255ths_and_in_cielab_units() -> None:
    samples, colours = colour_error(plain(GREY), plain((0.6, 0.6, 0.6)))
    assert samples == pytest.approx(25.5, rel=1e-4)
    assert colours == pytest.approx(distance(GREY, (0.6, 0.6, 0.6)), rel=1e-3)
    with pytest.raises(ValueError, match="compared"):
        colour_error(plain(GREY), plain(GREY, 10, 10))
