from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

from hires_nst.config import StyleLossName
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.extractor import Extractor
from hires_nst.transfer.losses import STYLE_LOSSES
from hires_nst.transfer.moments import Statistics
from hires_nst.transfer.style import Styles, crossings, feature_bank, style_statistics
from hires_nst.transfer.tiles import Rect, make_grid
from hires_nst.transfer.weights import PixelWeights, WeightedImage
from tests.conftest import random_canvas, tiny_network
from tests.transfer.losses.plain import style_data

LAYERS = ["conv1_1", "conv3_1"]
EXTRACT = Extractor(tiny_network(), dtype=torch.float64)


def measured(styles: Styles, loss: StyleLossName, *, size: int = 32) -> dict[str, Statistics]:
    return style_statistics(
        EXTRACT, styles, layers=LAYERS, loss=loss, grid_of=lambda c: make_grid(c.height, c.width, size=size, stride=16)
    )


def bank(styles: Styles, *, most: int, size: int = 32) -> torch.Tensor:
    grid = {"grid_of": lambda c: make_grid(c.height, c.width, size=size, stride=16)}
    return feature_bank(EXTRACT, styles, layers=["conv3_1"], most=most, **grid)["conv3_1"]


@pytest.mark.parametrize("loss", get_args(StyleLossName))
def test_the_data_of_a_painting_in_tiles_are_those_of_its_features(loss: StyleLossName) -> None:
    canvas = random_canvas(97, 71)
    found = measured([(WeightedImage(canvas), 2.0)], loss)
    features = EXTRACT(EXTRACT.read(canvas, canvas.image), LAYERS)
    for layer in LAYERS:
        expected = style_data(STYLE_LOSSES[loss], features[layer])
        assert found[layer].tensors.keys() == expected.tensors.keys()
        for name in expected.tensors.keys() - {"bank"}:
            torch.testing.assert_close(found[layer][name], expected[name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("loss", get_args(StyleLossName))
def test_the_same_painting_twice_has_the_same_data(loss: StyleLossName) -> None:
    image = WeightedImage(random_canvas(64, 80))
    once, twice = measured([(image, 1.0)], loss), measured([(image, 5.0), (image, 3.0)], loss)
    for layer in LAYERS:
        for name in once[layer].tensors.keys() - {"bank"}:
            torch.testing.assert_close(twice[layer][name], once[layer][name])


def test_the_histograms_of_two_paintings_lie_in_the_range_of_both() -> None:
    first, second = (WeightedImage(random_canvas(64, 80, seed)) for seed in (1, 2))
    found = measured([(first, 3.0), (second, 1.0)], "sliced")["conv3_1"]
    torch.testing.assert_close(found["histogram"].sum(1), torch.ones(5, dtype=torch.float64))


@pytest.mark.parametrize(("most", "expected"), [(10_000, 24 * 17), (50, 48), (1, 1)])
def test_a_bank_is_the_same_in_any_tiles_and_evenly_spread(most: int, expected: int) -> None:
    image = WeightedImage(random_canvas(97, 71))
    small, whole = (bank([(image, 1.0)], most=most, size=size) for size in (32, 9999))
    assert whole.shape == (expected, 5) and whole.dtype == torch.float32
    torch.testing.assert_close(small[small.sum(1).argsort()], whole[whole.sum(1).argsort()])


def test_paintings_have_shares_of_a_bank_and_what_is_hidden_has_none() -> None:
    first, second = (WeightedImage(random_canvas(64, 64, seed)) for seed in (1, 2))
    assert len(bank([(first, 3.0), (second, 1.0)], most=64)) == 48 + 16
    half = np.ones((64, 64, 1), np.float32)
    half[:32] = 0
    hidden = WeightedImage(first.canvas, PixelWeights(64, 64, alpha=Canvas.of(half)))
    whole, visible = bank([(first, 1.0)], most=9999, size=99), bank([(hidden, 1.0)], most=9999, size=99)
    torch.testing.assert_close(visible, whole[128:])
    speck = np.zeros((64, 64, 1), np.float32)
    speck[0, 0] = 1  # no crossing lies there
    assert len(bank([(WeightedImage(first.canvas, PixelWeights(64, 64, alpha=Canvas.of(speck))), 1.0)], most=4)) > 0


@pytest.mark.parametrize(("height", "width", "most"), [(7, 100, 30), (100, 7, 30), (3, 3, 99), (1, 500, 20), (9, 9, 5)])
def test_crossings_are_spread_over_the_image(height: int, width: int, most: int) -> None:
    image = Rect(0, 0, height, width)
    rows, columns = crossings(image, image, most=most)
    assert 0 < len(rows) * len(columns) <= most
    assert 2 * len(rows) * len(columns) >= min(most, height * width)
    for indices, size in ((rows, height), (columns, width)):
        assert sorted(set(indices)) == indices and indices[0] >= 0 and indices[-1] < size
        assert max(np.diff([-1 - indices[0], *indices, 2 * size - indices[-1]])) <= size / len(indices) + 2
    assert crossings(image, Rect(height // 2, 0, height, width), most=most)[0] == [
        row - height // 2 for row in rows if row >= height // 2
    ]
