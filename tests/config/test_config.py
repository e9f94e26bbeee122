from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hires_nst.backbones.registry import BACKBONES
from hires_nst.config import (
    PRESETS,
    Config,
    assign,
    commented_yaml,
    gather,
    load_config,
    merge,
    parse_assignment,
    parse_config,
    parse_yaml,
    preset_file,
    read_yaml,
    to_yaml,
)
from hires_nst.errors import ConfigError, InputError

TINY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(folder: Path, text: str, name: str = "c.yaml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


# What is refused, and in which words.


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"levls": {}}, "unknown key 'levls'; did you mean 'levels'?"),
        ({"levels": {"rouns": 3}}, "unknown key 'rouns' in levels; did you mean 'rounds'?"),
        ({"long_edge": 100}, "unknown key 'long_edge'; did you mean 'output.long_edge'?"),
        ({"output": {"print": {"papr": "A3"}}}, "unknown key 'papr' in output.print; did you mean 'paper'?"),
        ({"styles": [{"image": "a", "weigth": 1}]}, "unknown key 'weigth' in styles.0; did you mean 'weight'?"),
        ({"styles": [{"img": "a"}]}, "unknown key 'img' in styles.0; did you mean 'image'? (and 1 more)"),
        ({"styles": [{}]}, "styles.0.image is missing"),
        ({"styles": "a.jpg"}, "styles should be a list, not 'a.jpg'"),
        ({"levels": {"rounds": 0}}, "levels.rounds should be greater than or equal to 1, not 0"),
        ({"levels": {"rounds": "x"}}, "levels.rounds should be a whole number, not 'x'"),
        ({"levels": {"rounds": True}}, "levels.rounds should be a whole number, not true"),
        ({"levels": {"rounds": 2.5}}, "levels.rounds should be a whole number, not 2.5"),
        ({"output": {"scale": False}}, "output.scale should be a number, not false"),
        ({"output": {"bit_depth": True}}, "output.bit_depth should be 8 or 16, not true"),
        ({"loss": {"style_layers": {"conv1_1": True}}}, "loss.style_layers.conv1_1 should be a number, not true"),
        ({"tiles": {"size": True}}, "tiles.size should be 'auto' or a whole number, not true"),
        ({"levels": 3}, "levels should be a mapping of keys to values, not 3"),
        ({"tiles": {"size": 3}}, "tiles.size should be 'auto' or greater than or equal to 16, not 3"),
        ({"tiles": {"size": "abc"}}, "tiles.size should be 'auto' or a whole number, not 'abc'"),
        ({"loss": {"style": "gramm"}}, "loss.style should be 'mean-covariance' or 'gram', not 'gramm'"),
        ({"loss": {"tv_weight": math.inf}}, "loss.tv_weight should be a finite number, not inf"),
        ({"loss": {"style_layers": {"conv9_1": 1}}}, "vgg19-slim has no layer 'conv9_1'; did you mean 'conv"),
        ({"loss": {"style_layers": {"conv1_1": -1}}}, "loss.style_layers.conv1_1 should be greater than or equal to 0"),
        ({"loss": {"style_weight": 0, "content_weight": 0}}, "every weight is 0"),
        ({"output": {"long_edge": 9, "scale": 1}}, "output: long_edge and scale each set the size: give one of them"),
        ({"output": {"print": {"paper": "A33"}}}, "output.print.paper: 'A33' is not a paper size"),
        ({"model": {"name": "vgg18"}}, "model.name: there is no network 'vgg18'; did you mean 'vgg1"),
        ({"init": {"kind": "file"}}, "init: kind: file and file: PATH belong together"),
        ({"init": {"file": "a.png"}}, "init: kind: file and file: PATH belong together"),
        ({"runtime": {"device": "gpu"}}, "runtime.device: there is no device 'gpu'"),
        ({"version": 2}, "version should be 1, not 2"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(data: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(data)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:12"])
def test_devices(device: str) -> None:
    assert parse_config({"runtime": {"device": device}}).runtime.device == device


@pytest.mark.parametrize("device", ["", "mps", "cuda:", "cuda:x", "cuda:²", "cuda:9999", "cpu:1", "cuda:0\n"])
def test_no_devices(device: str) -> None:
    with pytest.raises(ConfigError, match="there is no device"):
        parse_config({"runtime": {"device": device}})


@pytest.mark.parametrize("section", ["levels", "runtime", "output", "init", "images"])
def test_no_number_may_be_nan(section: str) -> None:
    for key, value in getattr(Config(), section).model_dump().items():
        if isinstance(value, float):
            with pytest.raises(ConfigError):
                parse_config({section: {key: math.nan}})


# Files.


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


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- a\n", "must contain a mapping"),
        ("a: [\n", "is not valid YAML in line 2"),
        ("\tx: 1", "not valid YAML"),
        ("x: 2026-13-45", "not valid YAML: month must be in"),
        ("x: " + "[" * 5000, "not valid YAML: it is nested too deeply"),
        ("levels:\n  rounds: 3\n  rounds: 4\n", "in line 3: duplicate key .rounds."),
    ],
)
def test_files_that_are_no_configuration(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_config(write(tmp_path, text))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "picture.yaml").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ConfigError, match="is not a text file"):
        load_config(tmp_path / "picture.yaml")


def test_yaml_runs_no_code(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(write(tmp_path, "version: !!python/object/apply:os.getcwd []\n"))


def test_relative_paths_of_a_file_are_its_own(tmp_path: Path) -> None:
    text = "styles: [{image: a.jpg}, {image: /b.jpg}]\ninit: {kind: file, file: c.png}\nmodel: {weights: w/d.pth}\n"
    config = load_config(write(tmp_path, text))
    assert [style.image for style in config.styles] == [tmp_path / "a.jpg", Path("/b.jpg")]
    assert (config.init.file, config.model.weights) == (tmp_path / "c.png", tmp_path / "w" / "d.pth")


def test_the_commented_file_is_the_default(tmp_path: Path) -> None:
    text = commented_yaml()
    assert load_config(write(tmp_path, text)) == Config()
    assert (
        load_config(write(tmp_path, text.replace("  # - {image:", "  - {image:"))).styles[0].image.name
        == "painting.jpg"
    )
    for line in text.splitlines():
        assert not line or "#" in line or line == "version: 1", f"no comment: {line}"


def test_the_commented_print_can_be_uncommented(tmp_path: Path) -> None:
    lines = [line for line in commented_yaml().splitlines() if not line.startswith("  print: null")]
    text = "\n".join(line.replace("  # print:", "  print:").replace("  #   ", "    ") for line in lines)
    config = load_config(write(tmp_path, text))
    assert config.output.print is not None
    assert config.output.print.paper == "A3"


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


# Merging.


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
    assert parse_assignment(text) == data


@pytest.mark.parametrize("text", ["", "levels.rounds", "=3", "levels.=3", ".a=1", "a..b=1"])
def test_no_assignments(text: str) -> None:
    with pytest.raises(ConfigError, match="needs KEY=VALUE"):
        parse_assignment(text)


def test_an_assignment_that_is_no_yaml() -> None:
    with pytest.raises(ConfigError, match="is not a value in YAML"):
        parse_assignment("a.b=[1")


def test_numbers_as_people_write_them() -> None:
    assert parse_config(gather(assignments=["loss.tv_weight=1e-3"])).loss.tv_weight == 1e-3


# Properties.

LAYER = st.sampled_from(BACKBONES["vgg19-slim"].layer_names)
WEIGHT = st.floats(0, 1e6, allow_nan=False)
SECTIONS: dict[str, dict[str, st.SearchStrategy[object]]] = {
    "output": {
        "long_edge": st.none() | st.integers(1, 500_000),
        "bit_depth": st.sampled_from([8, 16]),
        "dpi": st.none() | st.floats(1, 1200),
    },
    "loss": {
        "style": st.sampled_from(["gram", "mean-covariance"]),
        "style_layers": st.dictionaries(LAYER, st.floats(1e-3, 10), min_size=1),
        "content_layers": st.dictionaries(LAYER, WEIGHT),
        "tv_weight": WEIGHT,
    },
    "levels": {
        "rounds": st.integers(1, 1000),
        "decay": st.floats(0.01, 1),
        "overrides": st.lists(st.fixed_dictionaries({"level": st.integers(0, 9), "rounds": st.integers(0, 9)})),
    },
    "tiles": {"size": st.just("auto") | st.integers(16, 100_000), "shift": st.booleans()},
    "runtime": {"device": st.sampled_from(["cpu", "cuda:3"]), "seed": st.integers(0, 2**63 - 1)},
}
PARTS: dict[str, st.SearchStrategy[object]] = {
    **{name: st.fixed_dictionaries({}, optional=keys) for name, keys in SECTIONS.items()},
    "styles": st.lists(st.fixed_dictionaries({"image": st.text(min_size=1), "scale": st.floats(0.01, 9)})),
}
NESTED = st.fixed_dictionaries({}, optional=PARTS)


@TINY
@given(NESTED)
def test_yaml_round_trip(data: dict[str, object]) -> None:
    config = parse_config(data)
    assert parse_config(parse_yaml(to_yaml(config))) == config
    again = parse_yaml(commented_yaml(config))
    assert parse_config({key: value for key, value in again.items() if value is not None}) == config
    assert parse_config(parse_yaml(to_yaml(config))).fingerprint() == config.fingerprint()


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


@TINY
@given(st.text(max_size=30), st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8), max_size=3))
def test_whatever_is_typed_is_a_configuration_or_a_config_error(text: str, data: dict[str, object]) -> None:
    attempts: tuple[Callable[[], Config], ...] = (
        lambda: parse_config(assign(data, text)),
        lambda: parse_config({"loss": data, "levels": data}),
    )
    for attempt in attempts:
        try:
            attempt()
        except ConfigError as error:
            assert "Traceback" not in str(error)


def test_configurations_with_other_settings_have_other_fingerprints() -> None:
    base, other = Config(), load_config(overrides=[{"runtime": {"seed": 1}}])
    assert base.fingerprint() != other.fingerprint()
    assert base.fingerprint() == Config().fingerprint()


def test_layers_are_in_the_network_s_order() -> None:
    config = parse_config({"loss": {"style_layers": {"conv3_1": 1, "conv1_1": 1, "conv2_1": 0}}})
    assert config.layers == ("conv1_1", "conv3_1", "conv4_2")


def test_presets_are_plain_yaml() -> None:
    assert read_yaml(preset_file("default")) == {"version": 1}
