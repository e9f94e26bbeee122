"""Colours of the mean and covariance of others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hires_nst.imageio import recolour as module
from hires_nst.imageio.picture import Floats
from hires_nst.imageio.recolour import (
    LEAST_DEVIATION,
    ColourMoments,
    colour_map,
    colour_moments,
    mean_moments,
    recolour,
    unchanged,
)
from tests.conftest import random_canvas


def picture(seed: int, height: int = 70, width: int = 31) -> Floats:
    """Neither pale nor loud, so that nothing is clipped when two of these are matched."""
    return np.asarray(0.35 + 0.3 * random_canvas(height, width, seed).pixels, np.float32)


def random_moments(seed: int) -> ColourMoments:
    rng = np.random.default_rng(seed)
    root = rng.normal(0, 0.2, (3, 3)) + 0.05 * np.eye(3)
    return ColourMoments(rng.random(3), root @ root.T + 4 * LEAST_DEVIATION**2 * np.eye(3))


def check_equal(found: ColourMoments, expected: ColourMoments, *, atol: float = 1e-6) -> None:
    np.testing.assert_allclose(found.mean, expected.mean, atol=atol)
    np.testing.assert_allclose(found.covariance, expected.covariance, atol=atol)


def test_the_moments_are_those_of_numpy() -> None:
    pixels = picture(1)
    found = colour_moments(pixels)
    flat = pixels.reshape(-1, 3).astype(np.float64)
    check_equal(found, ColourMoments(flat.mean(0), np.cov(flat.T, bias=True)), atol=1e-12)
    check_equal(colour_moments(pixels, of=np.square), colour_moments(pixels**2), atol=1e-12)


def test_transparent_pixels_count_by_their_alpha() -> None:
    pixels, alpha = picture(1), np.zeros((70, 31), np.float32)
    alpha[:20], alpha[20:40] = 1, 0.5
    twice = np.concatenate([pixels[:20], pixels[:20], pixels[20:40]])
    check_equal(colour_moments(pixels, alpha), colour_moments(twice), atol=1e-9)


@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_matched_colours_have_the_moments_of_the_target(first: int, second: int) -> None:
    source, target = random_moments(first), random_moments(second)
    change = colour_map(source, target)
    found = ColourMoments(
        change.matrix @ source.mean + change.offset, change.matrix @ source.covariance @ change.matrix.T
    )
    check_equal(found, target, atol=1e-9)


def test_a_matched_picture_has_the_moments_of_the_other() -> None:
    source, target = colour_moments(picture(1)), colour_moments(picture(2))
    check_equal(colour_moments(colour_map(source, target)(picture(1))), target)
    np.testing.assert_allclose(colour_map(source, source)(picture(1)), picture(1), atol=1e-6)


def test_a_flat_picture_becomes_a_flat_one() -> None:
    flat, other = np.full((9, 8, 3), (0.1, 0.5, 0.7), np.float32), picture(2)
    target = colour_moments(other)
    found = colour_map(colour_moments(flat), target)(flat)
    np.testing.assert_allclose(found, np.broadcast_to(target.mean, found.shape), atol=1e-6)
    found = colour_map(target, colour_moments(flat))(other)
    np.testing.assert_allclose(found, np.broadcast_to(flat, found[:9, :8].shape)[0, 0] + 0 * found, atol=1e-6)


def test_what_hardly_varies_is_not_torn_apart() -> None:
    rng = np.random.default_rng(0)
    quiet = np.asarray(0.5 + rng.normal(0, LEAST_DEVIATION / 10, (40, 40, 3)), np.float32)
    target = colour_moments(picture(2))
    found = colour_moments(colour_map(colour_moments(quiet), target)(quiet))
    assert 0 < np.trace(found.covariance) < 0.02 * np.trace(target.covariance)
    grey = np.repeat(picture(1)[..., :1], 3, -1)
    found = colour_moments(colour_map(colour_moments(grey), target)(grey))
    assert np.linalg.matrix_rank(found.covariance, tol=1e-6) == 1, "a grey picture has one direction of colours"


def test_the_moments_of_pictures_together_are_those_of_all_their_pixels() -> None:
    first, second = picture(1), picture(2)
    found = mean_moments([colour_moments(first), colour_moments(second)], [1.0, 3.0])
    check_equal(found, colour_moments(np.concatenate([first, second, second, second])), atol=1e-9)


def test_results_are_clipped() -> None:
    loud = ColourMoments(np.array([0.5, 0.9, 0.1]), 4 * np.eye(3))
    found = colour_map(colour_moments(picture(1)), loud)(picture(1))
    assert (found.min(), found.max()) == (0, 1)
    assert found.dtype == np.float32


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_the_strength_is_a_share(strength: float) -> None:
    change = colour_map(colour_moments(picture(1)), colour_moments(picture(2)))
    found = picture(1)
    recolour(found, change, strength=strength)
    expected = (1 - strength) * picture(1) + strength * change(picture(1))
    np.testing.assert_allclose(found, expected, atol=1e-7)
    if strength == 0:
        np.testing.assert_array_equal(found, picture(1))


def test_strips_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    change = colour_map(colour_moments(picture(1)), colour_moments(picture(2)))
    whole = picture(1)
    recolour(whole, change)
    np.testing.assert_array_equal(whole, change(picture(1)))
    before = colour_moments(picture(1))
    monkeypatch.setattr(module, "STRIP_ROWS", 7)
    strips = picture(1)
    recolour(strips, change)
    np.testing.assert_array_equal(strips, whole)
    check_equal(colour_moments(picture(1)), before, atol=1e-14)
    assert unchanged(whole) is whole
