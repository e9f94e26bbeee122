"""Which layers, pooling and weights a configuration has with each network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hires_nst.backbones.registry import BACKBONES
from hires_nst.config import Config, Loss, assign, load_config, merge, parse_config, picture_settings, to_yaml
from hires_nst.errors import ConfigError

RESNET: dict[str, Any] = {"model": {"name": "resnet50"}}
OWN_STYLE = {"relu": 1.0, "layer1.0": 1.0, "layer2.1": 1.0, "layer3.1": 1.0}


@pytest.mark.parametrize("name", BACKBONES)
def test_every_network_has_layers_where_none_are_given(name: str) -> None:
    config = parse_config({"model": {"name": name}})
    assert len(config.loss.active_style_layers) == (4 if BACKBONES[name].style_layers else 5)
    assert len(config.loss.active_content_layers) == 1
    assert config.stride == 16
    assert config.layers == tuple(sorted(config.layers, key=config.backbone.layer_names.index))


def test_layers_that_are_given_stay_and_the_others_are_the_networks_own() -> None:
    config = parse_config({**RESNET, "loss": {"content_layers": {"layer2.0": 2.0}, "content_weight": 0.1}})
    assert config.loss.content_layers == {"layer2.0": 2.0}
    assert config.loss.style_layers == OWN_STYLE
    assert config.loss.content_weight == 0.1
    assert Config(model={"name": "resnet50"}, loss=Loss(style_weight=2.0)).loss.style_layers == OWN_STYLE
    assert Loss().style_layers == Config().loss.style_layers != OWN_STYLE


def test_layers_of_the_network_do_not_count_as_given() -> None:
    given = parse_config({**RESNET, "loss": {"tv_weight": 0.1}}).model_dump(mode="json", exclude_unset=True)
    assert given == {**RESNET, "loss": {"tv_weight": 0.1}}
    assert parse_config(merge(given, {"model": {"name": "vgg19"}})).loss.style_layers == Loss().style_layers


def test_a_stored_configuration_is_read_as_it_was() -> None:
    config = parse_config(RESNET)
    again = parse_config(config.model_dump(mode="json"))
    assert again == config
    assert picture_settings(again.model_dump(mode="json"))["loss.style_layers.layer3.1"] == 1.0
    assert "layer3.1" in to_yaml(config)


def test_one_layer_can_be_changed() -> None:
    config = parse_config(assign(RESNET, "loss.style_layers.relu=0.5"))
    assert config.loss.style_layers == {**OWN_STYLE, "relu": 0.5}


def test_layers_of_another_network_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"resnet50 has no layer 'conv1_1'; .*; without style_layers, it takes its"):
        parse_config({**RESNET, "loss": {"style_layers": {"conv1_1": 1.0}}})
    with pytest.raises(ConfigError, match=r"resnet50 has no layer 'layer5\.0'; did you mean 'layer"):
        parse_config({**RESNET, "loss": {"style_layers": {"layer5.0": 1.0}}})


def test_only_vgg_has_a_choice_of_poolings() -> None:
    for pooling in ("auto", "max"):
        parse_config({"model": {"name": "inception-v3", "pooling": pooling}})
    with pytest.raises(ConfigError, match=r"model\.pooling: resnet50 keeps the pooling that it has; leave pooling out"):
        load_config(preset="gatys", overrides=[RESNET])
    assert parse_config({"model": {"name": "vgg19-bn", "pooling": "l2"}}).model.pooling == "l2"


def test_a_configuration_of_a_vgg_or_without_a_look_at_geometry_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from hires_nst.config import parse_config\n"
        "parse_config({'model': {'name': 'vgg19-caffe'}}).stride\n"
        "parse_config({'model': {'name': 'resnet50'}})\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"
