"""OKLab: its published values, and colours brought into the gamut."""

from __future__ import annotations

import numpy as np
import pytest

from hires_nst.imageio.oklab import from_oklab, grey, oklab, with_colours_of
from hires_nst.imageio.picture import Floats
from tests.conftest import random_canvas


def colours(count: int = 4000, seed: int = 0) -> Floats:
    """Every part of the gamut, its corners too."""
    rng = np.random.default_rng(seed)
    corners = np.array(np.meshgrid(*[[0.0, 1.0]] * 3)).reshape(3, -1).T
    return np.concatenate([rng.random((count, 3)), corners]).astype(np.float32)


def hue(lab: Floats) -> Floats:
    return np.arctan2(lab[..., 2], lab[..., 1])


def chroma(lab: Floats) -> Floats:
    return np.hypot(lab[..., 1], lab[..., 2])


def turned(first: Floats, second: Floats) -> Floats:
    """The angle between two hues."""
    return np.asarray(np.abs((hue(first) - hue(second) + np.pi) % (2 * np.pi) - np.pi), np.float32)


@pytest.mark.parametrize(
    ("pixel", "expected"),  # CSS Color 4 gives these as oklch(62.8% 0.2577 29.23) and so on
    [
        ((1, 1, 1), (1, 0, 0)), ((0, 0, 0), (0, 0, 0)), ((1, 0, 0), (0.6280, 0.2249, 0.1258)),
        ((0, 1, 0), (0.8664, -0.2339, 0.1795)), ((0, 0, 1), (0.4520, -0.0325, -0.3115)),
    ],
)  # fmt: skip
def test_the_published_values(pixel: tuple[float, ...], expected: tuple[float, ...]) -> None:
    np.testing.assert_allclose(oklab(np.array(pixel, np.float32)), expected, atol=1e-4)


def test_there_and_back() -> None:
    np.testing.assert_allclose(from_oklab(oklab(colours())), colours(), atol=2e-4)  # the corners of the gamut
    inside = 0.02 + 0.96 * colours()
    np.testing.assert_allclose(from_oklab(oklab(inside)), inside, atol=2e-5)


def test_a_colour_outside_the_gamut_keeps_lightness_and_hue() -> None:
    lab = oklab(0.02 + 0.96 * colours())
    loud = lab * np.array([1, 3, 3], np.float32)
    pixels = from_oklab(loud)
    assert 0 <= pixels.min() <= pixels.max() <= 1
    found = oklab(pixels)
    np.testing.assert_allclose(found[:, 0], lab[:, 0], atol=1e-3)
    visible = chroma(found) > 0.02
    assert turned(found, loud)[visible].max() < 0.03
    assert (chroma(found) <= chroma(loud) + 1e-3).all()
    lost = chroma(found) < 0.99 * chroma(loud)
    assert 0.3 < lost.mean() < 1
    edge = np.minimum(pixels, 1 - pixels).min(-1)
    assert edge[lost].max() < 0.02, "no more chroma was taken than necessary"


def test_grey_has_the_same_lightness() -> None:
    found = grey(colours())
    assert (found == found[:, :1]).all()
    np.testing.assert_allclose(oklab(found)[:, 0], oklab(colours())[:, 0], atol=1e-4)
    np.testing.assert_allclose(grey(found), found, atol=1e-5)


def test_lightness_of_one_and_colours_of_another() -> None:
    own, other = 0.3 + 0.4 * colours(seed=1), 0.35 + 0.3 * colours(seed=2)
    found = oklab(with_colours_of(own, other, share=1))
    np.testing.assert_allclose(found[:, 0], oklab(own)[:, 0], atol=1e-3)
    seen = (chroma(found) > 0.02) & (chroma(oklab(other)) > 0.02)
    assert seen.mean() > 0.5
    assert turned(found, oklab(other))[seen].max() < 0.03
    half = oklab(with_colours_of(own, other, share=0.5))
    middle = (oklab(own) + oklab(other))[:, 1:] / 2
    assert np.abs(half[:, 1:] - middle).max() < 0.01
    assert with_colours_of(own, other, share=0) is own
    np.testing.assert_allclose(with_colours_of(own, own, share=1), own, atol=2e-5)


def test_a_pixel_is_the_same_to_the_bit_whatever_is_around_it() -> None:
    own, other = (random_canvas(40, 53, seed).pixels for seed in (1, 2))
    whole = with_colours_of(own, other, share=0.7)
    for part in (slice(0, 1), slice(3, 20), slice(39, 40)):
        np.testing.assert_array_equal(with_colours_of(own[part], other[part], share=0.7), whole[part])
