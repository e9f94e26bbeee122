from __future__ import annotations

import pytest

from hires_nst.config import (
    Config,
    load_config,
    parse_config,
)
from hires_nst.errors import ConfigError


def test_configurations_with_other_settings_have_other_fingerprints() -> None:
    base, other = Config(), load_config(overrides=[{"runtime": {"seed": 1}}])
    assert base.fingerprint() != other.fingerprint()
    assert base.fingerprint() == Config().fingerprint()


def test_a_level_may_have_other_losses_and_every_level_s_layers_count() -> None:
    config = parse_config(
        {
            "loss": {"style_layers": {"conv1_1": 1, "conv2_1": 2}, "content_weight": 0.3},
            "levels": {
                "overrides": [
                    {"level": 0, "loss": {"style": "neighbours", "style_layers": {"conv5_1": 1}}},
                    {"level": 1, "rounds": 3},
                    {"level": 2, "loss": {"tv_weight": 1, "content_layers": {"conv3_2": 1}, "style_weight": 0}},
                ]
            },
        }
    )
    coarse, same, fine = (config.loss_at(level) for level in range(3))
    assert (coarse.style, coarse.active_style_layers, coarse.content_weight) == ("neighbours", {"conv5_1": 1}, 0.3)
    assert coarse.content_layers == config.loss.content_layers
    assert same == config.loss_at(7) == config.loss
    assert (fine.tv_weight, fine.active_style_layers) == (1, {})
    assert config.layers == ("conv1_1", "conv2_1", "conv3_2", "conv4_2", "conv5_1")
    assert config.stride == 16
    assert config.needs_style


@pytest.mark.parametrize(
    ("loss", "sentence"),
    [
        ({"style_layers": {"conv9_1": 1}}, "levels.overrides.0.loss.style_layers: vgg19-slim has no layer 'conv9_1'"),
        ({"style_weight": 0, "content_weight": 0}, "levels.overrides.0.loss: every weight is 0"),
        ({"styl": "gram"}, "unknown key 'styl' in levels.overrides.0.loss; did you mean 'style'?"),
        ({"style": "gramm"}, "levels.overrides.0.loss.style should be mean-covariance, gram, "),
    ],
)
def test_the_losses_of_a_level_are_checked(loss: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({"levels": {"overrides": [{"level": 1, "loss": loss}]}})
    assert sentence in str(caught.value)


def test_a_level_has_one_override() -> None:
    with pytest.raises(ConfigError, match=r"levels.overrides.* level 1 has 2 entries: join them into one"):
        parse_config({"levels": {"overrides": [{"level": 1, "rounds": 3}, {"level": 0}, {"level": 1, "steps": 4}]}})


def test_layers_are_in_the_network_s_order() -> None:
    config = parse_config({"loss": {"style_layers": {"conv3_1": 1, "conv1_1": 1, "conv2_1": 0}}})
    assert config.layers == ("conv1_1", "conv3_1", "conv4_2")
