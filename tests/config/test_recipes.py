"""Layers by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hires_nst.config import Config, Levels, Loss, assign, load_config, merge, parse_config
from hires_nst.config.recipes import RECIPES, STYLE_TOTAL
from hires_nst.config.sections import LevelOverride, LossOverride
from hires_nst.errors import ConfigError


def loss(layers: str, model: str = "vgg19-slim", **more: Any) -> Loss:
    return parse_config({"model": {"name": model}, "loss": {"layers": layers, **more}}).loss


def test_gatys_are_the_defaults() -> None:
    found, default = loss("gatys"), Loss()
    assert (found.style_layers, found.content_layers) == (default.style_layers, default.content_layers)


@pytest.mark.parametrize(
    ("name", "style", "content"),
    [
        ("johnson", ["conv1_2", "conv2_2", "conv3_3", "conv4_3"], ["conv2_2"]),
        ("cubist", ["conv4_1", "conv5_1"], ["conv4_2"]),
        ("shallow", ["conv1_1", "conv2_1", "conv3_1"], ["conv4_2"]),
        ("expressionist", ["conv3_1", "conv4_1", "conv5_1"], ["conv4_2"]),
        ("all-up-to:conv2_2", ["conv1_1", "conv1_2", "conv2_1", "conv2_2"], ["conv4_2"]),
        ("all-up-to:conv1_1", ["conv1_1"], ["conv4_2"]),
    ],
)
@pytest.mark.parametrize("model", ["vgg19-slim", "vgg19", "vgg16"])
def test_layers_by_name(name: str, style: list[str], content: list[str], model: str) -> None:
    found = loss(name, model)
    assert (list(found.style_layers), list(found.content_layers)) == (style, content)


@pytest.mark.parametrize("name", [*RECIPES, "all-up-to:conv4_1"])
def test_the_style_counts_as_much_with_every_recipe(name: str) -> None:
    weights = loss(name, "vgg19").style_layers.values()
    assert sum(weights) == pytest.approx(STYLE_TOTAL) and len(set(weights)) == 1
    assert sum(Loss().style_layers.values()) == STYLE_TOTAL


def test_all_layers_are_those_of_the_network() -> None:
    assert "conv3_4" in loss("all-up-to:conv4_1", "vgg19").style_layers
    assert "conv3_4" not in loss("all-up-to:conv4_1", "vgg16").style_layers


def test_layers_that_are_given_win() -> None:
    found = loss("johnson", content_layers={"conv4_2": 2.0})
    assert found.content_layers == {"conv4_2": 2.0} and "conv1_2" in found.style_layers
    found = loss("johnson", style_layers={"conv1_1": 2.0})
    assert found.style_layers == {"conv1_1": 2.0} and found.content_layers == {"conv2_2": 1.0}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"loss": {"layers": "detailed"}},
            "loss.layers: 'detailed' needs conv5_2, which vgg19-slim does not have; choose --model vgg19,",
        ),
        ({"loss": {"layers": "cubst"}}, "loss.layers: there are no layers 'cubst'; did you mean 'cubist'?"),
        ({"loss": {"layers": "conv4_1"}}, "there are no layers 'conv4_1'; known are gatys, johnson,"),
        ({"loss": {"layers": "all-up-to:conv4_9"}}, "vgg19-slim has no layer 'conv4_9'; did you mean 'conv4_"),
        ({"loss": {"layers": 3}}, "loss.layers should be text, not 3"),
        (
            {"levels": {"overrides": [{"level": 0, "loss": {"layers": "detailed"}}]}},
            "levels.overrides.0.loss.layers: 'detailed' needs conv5_2",
        ),
        ({"loss": {"normalization": "gatys2015"}}, "loss: normalization gatys2015 is for style: gram, not for style:"),
        (
            {
                "loss": {"style": "gram", "normalization": "johnson2016"},
                "levels": {"overrides": [{"level": 0, "loss": {"style": "sliced"}}]},
            },
            "levels.overrides.0.loss: normalization johnson2016 is for style: gram, not for style: sliced;",
        ),
        (
            {"loss": {"style": "gram", "normalization": "gatys"}},
            "loss.normalization should be relative, gatys2015, gatys2016 or johnson2016, not 'gatys'",
        ),
    ],
)
def test_what_is_not_possible(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(settings)
    assert sentence in str(caught.value)


def test_detailed_is_possible_with_the_layers_of_vgg() -> None:
    assert loss("detailed", "vgg19").content_layers == {"conv5_2": 1.0}
    assert loss("detailed", content_layers={"conv5_1": 1.0}).content_layers == {"conv5_1": 1.0}


def test_a_level_may_have_layers_by_name() -> None:
    levels: dict[str, Any] = {"overrides": [{"level": 0, "loss": {"layers": "cubist", "style_weight": 2.0}}]}
    config = parse_config({"loss": {"layers": "shallow"}, "levels": levels})
    assert set(config.loss_at(0).style_layers) == set(RECIPES["cubist"].style)
    assert set(config.loss_at(1).style_layers) == set(RECIPES["shallow"].style)
    both = Config(
        loss=Loss(layers="shallow"),
        levels=Levels(overrides=(LevelOverride(level=0, loss=LossOverride(layers="cubist", style_weight=2.0)),)),
    )
    assert both == config == parse_config(config.model_dump(mode="json"))


def test_a_recipe_replaces_the_layers_of_what_comes_before_it(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("loss: {layers: cubist, content_weight: 0.3}", encoding="utf-8")
    found = load_config(file, preset="gatys").loss
    assert set(found.style_layers) == set(RECIPES["cubist"].style)
    assert (found.style, found.content_weight) == ("gram", 0.3)
    written = {"loss": loss("cubist").model_dump()}
    assert merge(written, {"loss": {"layers": "cubist"}}) == written
    other = parse_config(merge(written, {"loss": {"layers": "shallow"}})).loss
    assert other.style_layers == loss("shallow").style_layers


def test_a_single_layer_is_changed_in_a_recipe() -> None:
    data = assign({"loss": {"layers": "expressionist"}}, "loss.style_layers.conv5_1=0")
    assert set(parse_config(data).loss.active_style_layers) == {"conv3_1", "conv4_1"}
