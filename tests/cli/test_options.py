from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer.main

from hires_nst import cli
from hires_nst.cli.options import BATCH_OPTIONS, CONFIG_OPTIONS, ConfigOptions
from hires_nst.cli.schema_options import ConfigOption, number_or_word
from hires_nst.config import Config, field_at, load_config
from hires_nst.errors import ConfigError


def made(**given: Any) -> ConfigOptions:
    """The options of a command line, by the names of their parameters."""
    return ConfigOptions.of(given)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    result = tmp_path / "c.yaml"
    result.write_text(
        "levels: {rounds: 7, steps: 7, decay: 0.7}\nstyles: [{image: a.jpg, scale: 0.5}, {image: b.jpg, weight: 3}]\n"
        "output: {print: {paper: A2, dpi: 150}}\n"
    )
    return result


def test_no_option_changes_nothing() -> None:
    assert made().effective() == Config()
    assert made(preset="gatys").effective() == load_config(preset="gatys")


def test_precedence(file: Path) -> None:
    sets = ["levels.rounds=5", "levels.steps=5", "model.pooling=l2", "runtime.seed=5"]
    config = made(config=file, preset="draft", assignments=sets, seed=6, pooling="average").effective()
    assert config.levels.coarse_steps == 80, "preset"
    assert config.levels.decay == 0.7, "file over schema"
    assert (config.levels.rounds, config.levels.steps) == (5, 5), "--set over file and preset"
    assert (config.runtime.seed, config.model.pooling) == (6, "average"), "option over --set"


@pytest.mark.parametrize(
    ("option", "value", "section", "key", "expected"),
    [
        ("size", 900, "output", "long_edge", 900),
        ("megapixels", 2.5, "output", "megapixels", 2.5),
        ("scale", 2.0, "output", "scale", 2.0),
        ("dpi", 150.0, "output", "dpi", 150.0),
        ("bit_depth", 16, "output", "bit_depth", 16),
        ("quality", 80, "output", "quality", 80),
        ("background", "#102030", "output", "background", "#102030"),
        ("model", "vgg16", "model", "name", "vgg16"),
        ("pooling", "l2", "model", "pooling", "l2"),
        ("content_weight", 0.3, "loss", "content_weight", 0.3),
        ("init", "noise", "init", "kind", "noise"),
        ("init", "grey", "init", "kind", "grey"),
        ("init", "style-noise", "init", "kind", "style-noise"),
        ("init_noise", 0.1, "init", "noise", 0.1),
        ("init_level", "coarsest", "init", "level", "coarsest"),
        ("init_level", 2, "init", "level", 2),
        ("layers", "cubist", "loss", "style_layers", {"conv4_1": 2.5, "conv5_1": 2.5}),
        ("optimizer", "adam", "optimizer", "name", "adam"),
        ("coupling", "exact", "tiles", "coupling", "exact"),
        ("tile_size", 512, "tiles", "size", 512),
        ("tile_size", "auto", "tiles", "size", "auto"),
        ("overlap", 32, "tiles", "overlap", 32),
        ("device", "cuda:1", "runtime", "device", "cuda:1"),
        ("precision", "bfloat16", "runtime", "precision", "bfloat16"),
        ("seed", 3, "runtime", "seed", 3),
        ("recursive", True, "batch", "recursive", True),
        ("include", ["a*", "b*"], "batch", "include", ("a*", "b*")),
        ("match", "stem", "batch", "match", "stem"),
        ("retry_wait", 2.0, "batch", "retry_wait", 2.0),
        ("workers", 3, "batch", "workers", 3),
        ("workers_per_gpu", 2, "batch", "workers_per_gpu", 2),
    ],
)
def test_options_that_are_one_key(option: str, value: object, section: str, key: str, expected: object) -> None:
    config = made(**{option: value}).effective()
    assert getattr(getattr(config, section), key) == expected


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (made(size=9, scale=1.0), "--size and --scale each set the size; give one of them"),
        (made(size=0), "output.long_edge should be a whole number from 1 to 500000, not 0"),
        (made(bit_depth=12), "output.bit_depth should be 8 or 16, not 12"),
        (made(tile_size="big"), "tiles.size should be auto or a whole number from 16 to 100000, not 'big'"),
        (made(coupling="loose"), "tiles.coupling should be balanced, independent or exact"),
        (made(fit="cover"), "--fit is for prints"),
        (made(bleed=3.0, size=100), "--bleed is for prints"),
        (made(print="A33"), "'A33' is not a paper size"),
        (made(init="nois"), "neither an image file nor a kind of initial image; did you mean 'noise'?"),
        (made(init="gray"), "neither an image file nor a kind of initial image; did you mean 'grey'?"),
        (made(init="stile-noise"), "did you mean 'style-noise'?"),
        (made(layers="expresionist"), "there are no layers 'expresionist'; did you mean 'expressionist'?"),
        (made(layers="detailed"), "'detailed' needs conv5_2, which vgg19-slim does not have; choose --model vgg19"),
        (made(style_weights="1,b"), "--style-weights needs numbers above 0 separated by commas"),
        (made(style_weights="1,2"), "has 2 weights for 0 paintings"),
        (made(preset="gaty"), "there is no preset 'gaty'; did you mean 'gatys'?"),
        (made(assignments=["levels.rouns=3"]), "unknown key 'rouns' in levels; did you mean 'rounds'?"),
        (made(model="vgg16", assignments=["loss.style_layers={conv3_4: 1}"]), "vgg16 has no layer 'conv3_4'"),
    ],
)
def test_what_does_not_go(options: ConfigOptions, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        options.effective()
    assert sentence in str(caught.value)


def test_print(file: Path) -> None:
    result = made(print="A4", dpi=200.0, fit="contain", bleed=3.0).effective().output.print
    assert result is not None
    assert (result.paper, result.dpi, result.fit, result.bleed_mm) == ("A4", 200, "contain", 3)
    result = made(config=file, print="A3").effective().output.print
    assert result is not None
    assert (result.paper, result.dpi) == ("A3", 150), "the file's dpi stays"


def test_dpi_is_the_print_s_where_there_is_one(file: Path) -> None:
    output = made(config=file, dpi=75.0).effective().output
    assert output.print is not None
    assert (output.print.paper, output.print.dpi, output.dpi) == ("A2", 75, None)
    output = made(config=file, dpi=75.0, size=100).effective().output
    assert (output.print, output.long_edge, output.dpi) == (None, 100, 75)
    assert made(preset="print", bleed=3.0).effective().output.print is not None


def test_styles(file: Path) -> None:
    both = made(config=file).effective().styles
    assert [(style.path.name, style.weight, style.scale) for style in both] == [("a.jpg", 1, 0.5), ("b.jpg", 3, 1)]
    scaled = made(config=file, style_scale=[2.0], style_weights="2, 1").effective().styles
    assert [(style.image, style.weight, style.scale) for style in scaled] == [
        (both[0].image, 2, 2),
        (both[1].image, 1, 2),
    ]
    replaced = made(config=file, style_scale=[0.5]).effective([Path("c.jpg")]).styles
    assert [(style.image, style.weight, style.scale) for style in replaced] == [(Path("c.jpg"), 1, 0.5)]


def test_styles_that_are_none_are_reported_by_the_schema(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("styles: a.jpg\n")
    with pytest.raises(ConfigError, match="styles should be a list"):
        made(config=tmp_path / "c.yaml", style_scale=[2.0]).effective()


def test_layers_by_name_are_over_the_layers_of_a_file_and_under_those_of_an_assignment(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("loss: {style_layers: {conv1_1: 3.0}, content_layers: {conv3_1: 1.0}}\n")
    found = made(config=file, layers="cubist").effective().loss
    assert (set(found.style_layers), set(found.content_layers)) == ({"conv4_1", "conv5_1"}, {"conv4_2"})
    found = made(config=file, layers="cubist", assignments=["loss.content_layers={conv5_1: 1}"]).effective().loss
    assert (set(found.style_layers), set(found.content_layers)) == ({"conv4_1", "conv5_1"}, {"conv5_1"})
    found = made(config=file, layers="cubist", assignments=["loss.style_layers.conv5_1=0"]).effective().loss
    assert set(found.active_style_layers) == {"conv4_1"}
    found = made(layers="cubist", assignments=["loss.layers=shallow"]).effective().loss
    assert set(found.style_layers) == {"conv4_1", "conv5_1"}


def test_init_file_and_back(tmp_path: Path) -> None:
    image = tmp_path / "start.png"
    image.touch()
    init = made(init=str(image)).effective().init
    assert (init.kind, init.file) == ("file", image)
    (tmp_path / "c.yaml").write_text("init: {kind: file, file: start.png}\n")
    init = made(config=tmp_path / "c.yaml", init="content").effective().init
    assert (init.kind, init.file) == ("content", None)


# Options are made from the schema.

COMMANDS: Any = typer.main.get_command(cli.app)
OPTIONS_OF = {
    "stylize": CONFIG_OPTIONS,
    "plan": (*BATCH_OPTIONS, *CONFIG_OPTIONS),
    "batch": (*BATCH_OPTIONS, *CONFIG_OPTIONS),
}


@pytest.mark.parametrize("command", OPTIONS_OF)
def test_an_option_says_what_the_configuration_says(command: str) -> None:
    parameters = {parameter.name: parameter for parameter in COMMANDS.commands[command].params}
    for option in OPTIONS_OF[command]:
        parameter = parameters[option.name]
        assert parameter.default is None
        if option.help is not None:
            assert parameter.help == option.help
        else:
            assert option.key is not None
            repeatable = " Repeatable." if parameter.multiple else ""
            assert parameter.help == f"{field_at(option.key).description}{repeatable}"


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ("--size 900", "size", 900), ("--megapixels 2", "megapixels", 2.0), ("--coupling exact", "coupling", "exact"),
        ("--bit-depth 16", "bit_depth", 16), ("-r", "recursive", True), ("", "recursive", None),
        ("--include a --include b", "include", ["a", "b"]), ("--workers 3", "workers", 3),
        ("--tile-size auto", "tile_size", "auto"), ("-c c.yaml", "config", Path("c.yaml")),
    ],
)  # fmt: skip
def test_types_follow_from_the_schema(words: str, name: str, value: object) -> None:
    with COMMANDS.commands["batch"].make_context("batch", ["photos", "-o", "out", *words.split()]) as context:
        given = context.params[name]
    assert (given, type(given)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "metavar"),
    [("size", "PIXELS"), ("coupling", "balanced|independent|exact"), ("bit_depth", "8|16"), ("workers", "N|auto")],
)
def test_choices_follow_from_the_schema(name: str, metavar: str) -> None:
    assert next(p for p in COMMANDS.commands["batch"].params if p.name == name).metavar == metavar


def test_an_option_without_its_key_fails_at_once() -> None:
    with pytest.raises(KeyError):
        ConfigOption(name="x", key="levels.rouns", panel="Look").parameter()


def test_numbers_and_words() -> None:
    assert [number_or_word(text) for text in ("12", "auto", "-3", "1.5", "²")] == [12, "auto", -3, 1.5, "²"]
