from __future__ import annotations

from hires_nst.config import (
    Config,
    load_config,
    parse_config,
)


def test_configurations_with_other_settings_have_other_fingerprints() -> None:
    base, other = Config(), load_config(overrides=[{"runtime": {"seed": 1}}])
    assert base.fingerprint() != other.fingerprint()
    assert base.fingerprint() == Config().fingerprint()


def test_layers_are_in_the_network_s_order() -> None:
    config = parse_config({"loss": {"style_layers": {"conv3_1": 1, "conv1_1": 1, "conv2_1": 0}}})
    assert config.layers == ("conv1_1", "conv3_1", "conv4_2")
