from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import given

from hires_nst.config import (
    PRESETS,
    Config,
    assign,
    commented_yaml,
    gather,
    load_config,
    merge,
    parse_config,
    preset_file,
    read_yaml,
)
from hires_nst.errors import ConfigError
from tests.config.generated import NESTED, TINY, write


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "")) == Config()
    assert load_config(write(tmp_path, "# nothing\nlevels:\nstyles:\n")) == Config()


def test_a_mapping_may_be_merged_into_another(tmp_path: Path) -> None:
    text = """
jobs:
- {content: photo.png, set: {levels: &b {<<: &root {steps: 4, rounds: 2}, steps: 6}}}
levels: {<<: *b}
"""
    config = load_config(write(tmp_path, text))
    assert (config.levels.steps, config.levels.rounds) == (6, 2)


def test_relative_paths_of_a_file_are_its_own(tmp_path: Path) -> None:
    text = "styles: [{image: a.jpg}, {image: /b.jpg}]\ninit: {kind: file, file: c.png}\nmodel: {weights: w/d.pth}\n"
    config = load_config(write(tmp_path, text))
    assert [style.image for style in config.styles] == [tmp_path / "a.jpg", Path("/b.jpg")]
    assert (config.init.file, config.model.weights) == (tmp_path / "c.png", tmp_path / "w" / "d.pth")


@pytest.mark.parametrize("preset", PRESETS)
def test_presets(preset: str, tmp_path: Path) -> None:
    config = load_config(preset=preset)
    assert load_config(write(tmp_path, commented_yaml(config))) == config
    text = preset_file(preset).read_text(encoding="utf-8")
    comment = text[: text.index("version:")]
    assert comment.startswith("# ")
    assert f"hires-nst stylize photo.jpg painting.jpg -o {'result' if preset == 'default' else preset}." in comment
    assert f"--preset {preset}\n" in comment
    assert max(map(len, text.splitlines())) <= 120


def test_what_presets_are_for() -> None:
    assert load_config(preset="default") == Config()
    gatys = load_config(preset="gatys")
    assert set(gatys.loss.style_layers.values()) == {0.2}
    assert (gatys.model.pooling, gatys.loss.style, gatys.init.kind) == ("average", "gram", "noise")
    printed = load_config(preset="print").output.print
    assert printed is not None
    assert (printed.paper, printed.dpi) == ("A3", 300)
    with pytest.raises(ConfigError, match="did you mean 'gatys'"):
        load_config(preset="gatis")


def test_every_preset_is_known() -> None:
    assert {file.stem for file in preset_file("default").parent.glob("*.yaml")} == set(PRESETS)


def test_the_later_wins(tmp_path: Path) -> None:
    file = write(tmp_path, "levels: {rounds: 7, steps: 3}\n")
    config = load_config(file, preset="draft", overrides=[{"levels": {"rounds": 9}}, {"levels": {"decay": 0.5}}])
    assert (config.levels.coarse_steps, config.levels.steps, config.levels.rounds) == (80, 3, 9)
    assert config.levels.decay == 0.5


def test_a_size_takes_the_place_of_another(tmp_path: Path) -> None:
    file = write(tmp_path, "output: {print: {paper: A2, dpi: 150}, bit_depth: 16}\n")
    config = load_config(file, overrides=[{"output": {"long_edge": 1000}}])
    assert (config.output.print, config.output.long_edge, config.output.bit_depth) == (None, 1000, 16)
    config = load_config(file, preset="draft")
    assert config.output.long_edge is None
    again = load_config(file, overrides=[{"output": {"print": {"paper": "A1"}}}]).output.print
    assert again is not None
    assert (again.paper, again.dpi) == ("A1", 150)
    assert load_config(file, overrides=[{"output": {"bit_depth": 8}}]).output.print is not None


def test_layers_are_replaced_whole_except_by_a_single_assignment() -> None:
    config = load_config(overrides=[{"loss": {"style_layers": {"conv2_1": 3}}}])
    assert config.loss.style_layers == {"conv2_1": 3}
    config = parse_config(gather(assignments=["loss.style_layers.conv5_1=0", "loss.style_layers.conv2_2=2"]))
    assert config.loss.style_layers == {**Config().loss.style_layers, "conv5_1": 0, "conv2_2": 2}
    config = parse_config(gather(assignments=["loss.style_layers={conv3_1: 1}", "loss.style_layers.conv4_1=2"]))
    assert config.loss.style_layers == {"conv3_1": 1, "conv4_1": 2}


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("levels.rounds=3", {"levels": {"rounds": 3}}),
        ("runtime.device=cuda:1", {"runtime": {"device": "cuda:1"}}),
        ("output.print.paper=60x40cm", {"output": {"print": {"paper": "60x40cm"}}}),
        ("output.print=null", {"output": {"print": None}}),
        ("output.print=", {"output": {"print": None}}),
        ("init.file=a=b.png", {"init": {"file": "a=b.png"}}),
        ("loss.style_layers={conv1_1: 1}", {"loss": {"style_layers": {"conv1_1": 1}}}),
    ],
)
def test_assignments(text: str, data: dict[str, object]) -> None:
    assert assign({}, text) == data


@pytest.mark.parametrize("text", ["", "levels.rounds", "=3", "levels.=3", ".a=1", "a..b=1"])
def test_no_assignments(text: str) -> None:
    with pytest.raises(ConfigError, match="needs KEY=VALUE"):
        assign({}, text)


def test_an_assignment_that_is_not_yaml() -> None:
    with pytest.raises(ConfigError, match="is not a value in YAML"):
        assign({}, "a.b=[1")


def test_numbers_as_people_write_them() -> None:
    assert parse_config(gather(assignments=["loss.tv_weight=1e-3"])).loss.tv_weight == 1e-3


@TINY
@given(NESTED, NESTED)
def test_merging(base: dict[str, object], override: dict[str, object]) -> None:
    before = deepcopy(base)
    merged = parse_config(merge(base, override))
    assert base == before
    for section, keys in override.items():
        if isinstance(keys, dict):
            for key in keys:
                given_alone = getattr(parse_config({section: {key: keys[key]}}), section)
                assert getattr(getattr(merged, section), key) == getattr(given_alone, key)
    assert parse_config(merge(merge(base, override), override)) == merged
    assert parse_config(merge(base, {})) == parse_config(base)


def test_presets_are_plain_yaml() -> None:
    assert read_yaml(preset_file("default")) == {"version": 1}
