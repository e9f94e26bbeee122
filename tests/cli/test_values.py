"""Wrong values of every option and every key, and the words of other programs: one sentence that helps."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
from pydantic import BaseModel

from hires_nst import cli
from hires_nst.cli.words import FLAGS, written
from hires_nst.config import Config, assign, field_at, nest, parse_config
from hires_nst.config.messages import in_yaml, quoted
from hires_nst.config.section import section_in
from hires_nst.config.words import KEYS, OTHERWISE
from hires_nst.config.yaml_io import parse_yaml
from hires_nst.errors import ConfigError, HiresNstError

PROGRAM: Any = typer.main.get_command(cli.app)

WRONG = (
    "", " ", "word", "0,4", "1,5", "1,2,3", "3 parsecs", "-1", "nan", "inf", "-inf", "1e400", "[1, 2]", "٣", "１２",
    "²", "0x10", "1_000", "1e", "1..2", "--", "null", "true",
)  # fmt: skip
"""What neither a number nor a choice can be."""

LIBRARIES = (
    "valid integer", "valid float", "valid number", "valid string", "input should", "parse", "invalid value",
    "greater than", "less than", "value error", "pydantic", "traceback", "literal", "unable to", "is not one of",
    "type=", "could not convert", "finite", "errors.", "string_", "badparameter",
)  # fmt: skip
"""How libraries talk."""


def said(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """The exit code of the program, and what it writes to stdout and stderr."""
    with pytest.raises(SystemExit) as stop:
        PROGRAM.main(list(words), prog_name="hires-nst")
    code = stop.value.code
    return code if isinstance(code, int) else 0, *capsys.readouterr()


def commands(group: Any = PROGRAM, name: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*name, word))
        else:
            yield (*name, word), command


def options() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every option with a value, with the name of its command."""
    for name, command in commands():
        for parameter in command.params:
            if parameter.param_type_name == "option" and not parameter.is_flag and parameter.name != "help":
                yield name, parameter


def refusal(name: tuple[str, ...], option: Any, value: str) -> str | None:
    """What a command says to a value of an option when it reads its words; None if it takes it."""
    command = dict(commands())[name]
    try:
        command.make_context(name[-1], [option.opts[0], value])
    except ConfigError as error:
        return str(error)
    except USAGE:  # an argument is missing
        pass
    return None


USAGE: Any = cli.UsageError
OPTIONS = list(options())
CHECKED = [(name, option) for name, option in OPTIONS if refusal(name, option, "no/such:value")]
TEXTS = {
    "assignments", "config", "style_weights", "init", "include", "exclude", "output", "run_dir", "until", "address",
    "content", "style", "painting", "template", "masks", "protect", "content_mask",
}  # fmt: skip
"""Options of any text, which is checked later: paths, patterns, and what has a form of its own."""


def check_sentence(sentence: str, *parts: str) -> None:
    assert "\n" not in sentence
    for part in parts:
        assert part in sentence
    without_values = sentence.lower()
    for part in parts[1:]:
        without_values = without_values.replace(part.lower(), "")
    assert not [phrase for phrase in LIBRARIES if phrase in without_values], sentence


def test_every_option_with_a_form_is_checked_by_the_program() -> None:
    assert {option.name for _, option in OPTIONS} - {option.name for _, option in CHECKED} <= TEXTS


@pytest.mark.parametrize("value", WRONG)
def test_no_option_takes_a_wrong_value(value: str) -> None:
    for name, option in CHECKED:
        check_sentence(refusal(name, option, value) or "accepted", option.opts[0], repr(value))


@pytest.mark.parametrize("value", ["0", "1", "1e30", "9" * 30, "9" * 5000, "0.5", "auto", "+3", "007", ".5", "5."])
def test_an_option_takes_a_number_or_says_why_not(value: str) -> None:
    for name, option in CHECKED:
        if sentence := refusal(name, option, value):
            check_sentence(sentence, option.opts[0], repr(value)[:20])


@pytest.mark.parametrize(("name", "option"), CHECKED, ids=lambda one: one if isinstance(one, tuple) else one.opts[0])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_wrong_value_is_one_line_and_exit_code_2(
    name: tuple[str, ...], option: Any, as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    has_json = any("--json" in parameter.opts for parameter in dict(commands())[name].params)
    words = [*name, option.opts[0], "no/such:value", *(["--json"] if as_json and has_json else [])]
    code, out, line = said(*words, capsys=capsys)
    assert code == 2 and line.startswith("error: ") and line.count("\n") == 1
    check_sentence(line[7:-1], option.opts[0], "'no/such:value'")
    if as_json and has_json:
        assert json.loads(out) == {"event": "Error", "message": line[7:-1], "exit_code": 2}
    else:
        assert out == ""


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--size 1920x1080", "not '1920x1080'; it is the longer side alone, so write --size 1920"),
        ("--size 1080X1920", "so write --size 1920"),
        ("--size 30cm", "a size on paper is a print, such as --print 30x40cm"),
        ("--size A3", "a paper is a print: --print A3"),
        ("--size 12,000", "write --size 12000"),
        ("--size 0", "--size should be a whole number from 1 to 500000, not '0'; for example --size 2048"),
        ("--content-weight 0,4", "should be a number of at least 0, not '0,4'; write --content-weight 0.4"),
        ("--quality 1,5", "--quality should be a whole number from 1 to 100, not '1,5'; for example --quality 95"),
        ("--init-noise 1,5", "--init-noise should be a number from 0 to 1, not '1,5'; for example --init-noise 0"),
        ("--fit 1,5", "--fit should be cover or contain, not '1,5'; for example --fit cover"),
        ("--background 1,5", "'1,5' is no colour; give one such as white or #ff8800\n"),
        ("--device 0", "--device: there is no device '0'; write auto, cpu, cuda, cuda:N or mps"),
        ("--model 0", "--model: there is no network '0'; known are vgg19-slim"),
        ("--print 30x40", "--print: '30x40' has no unit; write 30x40cm or 30x40in"),
        ("--coupling loose", "--coupling should be balanced, independent or exact, not 'loose'"),
        ("--dpi 5 --print A4", "--dpi should be a number from 10 to 4800, not '5'; for example --dpi 300"),
        ("--style-weights 1,-1", "--style-weights needs numbers above 0 separated by commas, such as 2,1, not '1,-1'"),
        ("--style-weights 1;2", "not '1;2'"),
        ("--style-scale 1,5", "--style-scale should be a number above 0, not '1,5'; write --style-scale 1.5"),
        (
            "--style-size 0",
            "--style-size should be a whole number from 1 to 500000, not '0'; for example --style-size 1",
        ),
        ("--style-rotations 45", "needs some of 90, 180 and 270, such as 90,180,270, not '45'"),
        (
            "--preset gaty",
            "--preset should be default, draft, better, best, print or gatys, not 'gaty'; did you mean 'gatys'?",
        ),
        ("--model vgg18", "--model: there is no network 'vgg18'; did you mean 'vgg1"),
        ("--device gpu", "--device: there is no device 'gpu'; write auto, cpu, cuda, cuda:N or mps"),
        ("--set levels.rounds=abc", "levels.rounds should be a whole number from 1 to 1000, not 'abc'; for example"),
    ],
)
def test_what_the_sentences_say(words: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, line = said("config", "show", *words.split(), capsys=capsys)
    assert code == 2
    assert sentence in line


@pytest.mark.parametrize(
    ("words", "section", "key", "value"),
    [
        (["--size", "2048px"], "output", "long_edge", 2048), (["--size", "2048 PX"], "output", "long_edge", 2048),
        (["--size", "+900"], "output", "long_edge", 900), (["--scale", "2x"], "output", "scale", 2.0),
        (["--megapixels", "12 MP"], "output", "megapixels", 12.0), (["--dpi", "300dpi"], "output", "dpi", 300.0),
        (["--tile-size", "512px"], "tiles", "size", 512), (["--overlap", "auto"], "tiles", "overlap", "auto"),
        (["--content-weight", "2e-1"], "loss", "content_weight", 0.2),
    ],
)  # fmt: skip
def test_what_is_clear_is_accepted(
    words: list[str], section: str, key: str, value: object, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = said("config", "show", *words, capsys=capsys)
    found = parse_yaml(out)[section][key]
    assert (code, found) == (0, value)


def test_hours_with_a_decimal_comma(capsys: pytest.CaptureFixture[str]) -> None:
    for given, way_out in (("1,5", "write --max-hours 1.5"), ("0,0", "for example --max-hours 8")):
        code, _, line = said("stylize", "a.jpg", "b.jpg", "--max-hours", given, capsys=capsys)
        assert code == 2 and line.endswith(f"not {given!r}; {way_out}\n")


# Keys.


def keys(section: type[BaseModel] = Config, prefix: str = "") -> Iterator[str]:
    """Every key of the configuration that has a value of its own."""
    for name, field in section.model_fields.items():
        inner = section_in(field.annotation)
        if inner is None:
            yield f"{prefix}{name}"
        elif prefix + name != "jobs":
            yield prefix + name
            yield from keys(inner, f"{prefix}{name}.")


def data_of(key: str, value: object) -> dict[str, Any]:
    """A configuration with one value."""
    data = nest({key: value})
    if key.startswith("styles."):
        data["styles"] = [{"image": "a.jpg", **data["styles"]}]
    if key.startswith("levels.overrides."):
        data["levels"]["overrides"] = [{"level": 1, **data["levels"]["overrides"]}]
    return data


@pytest.mark.parametrize("key", list(keys()))
def test_no_key_takes_a_wrong_value(key: str) -> None:
    wrong: tuple[Any, ...] = (
        None, True, "", "word", "0,4", "２", -1, -0.5, 0, 10**30, 1e300, math.nan, math.inf, [], [1, 2], {}, {"a": 1},
        {1: 2}, [[]],
    )  # fmt: skip
    for value in wrong:
        try:
            parse_config(data_of(key, value))
        except ConfigError as error:
            whole = isinstance(value, (dict, list)) or key in ("init.file", "styles.image", "styles.folder")
            shown = "" if whole else quoted(value)
            check_sentence(str(error), key.rpartition(".")[2], shown)


# Words.


@pytest.mark.parametrize("word", KEYS)
def test_the_words_of_others_point_to_what_exists(word: str) -> None:
    key = KEYS[word]
    assert field_at(key)
    data = parse_yaml(in_yaml(key.split("."), Config))
    parse_config({"styles": [{"image": "a.jpg", **data["styles"][0]}]} if "styles" in data else data)
    flag, _, value = written(key).partition(" ")
    options = {name for parameter in dict(commands())[("stylize",)].params for name in parameter.opts}
    assert flag in options
    if flag == "--set":
        parse_config(assign({}, value))
    else:
        option = next(one for one in dict(commands())[("stylize",)].params if flag in one.opts)
        assert refusal(("stylize",), option, value) is None


def test_every_option_of_the_table_exists() -> None:
    options = {name for command in ("stylize", "batch") for p in dict(commands())[(command,)].params for name in p.opts}
    assert set(FLAGS.values()) <= options


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("--original-colors", "--colors photo"), ("--original_colors", "--colors photo"),
        ("-original_colors 1", "--colors photo"), ("--colour-strength 0.5", "--color-strength"),
        ("--color match", "--colors"), ("--iterations 500", "--set levels.coarse_steps=500"),
        ("-num_iterations 1000", "--set levels.coarse_steps="), ("--initial-iterations=9", "levels.coarse_steps="),
        ("--max_iter 9", "levels.coarse_steps="), ("--gpu 0", "--device cuda:0"), ("-gpu -1", "--device cuda:0"),
        ("-style_image a.jpg", "write --style painting.jpg"), ("-content_image a.jpg", "photo.jpg"),
        ("--image-size 512", "--size 512"), ("-image_size 512", "--size 512"), ("--end-scale=900", "--size 900"),
        ("--image-size big", "--size 2048"), ("--cpu", "write --device cpu"), ("--force", "with --overwrite"),
        ("--style-weight 3", "--set loss.style_weight="), ("-style_weight 3", "--set loss.style_weight="),
        ("-tv_weight 3", "--set loss.tv_weight="), ("-style_scale 2", "write --style-scale"),
        ("-init random", "write --init"), ("-pooling avg", "write --pooling"), ("-seed 3", "write --seed"),
        ("-backend cudnn", "--device"), ("--content-layers relu4_2", "--set loss.content_layers="),
        ("--output_image a.png", "-o result.png"), ("-output_image a.png", "-o result.png"),
        ("-print_iter 50", "--json"), ("-lbfgs_num_correction 5", "--set optimizer.history="),
        ("-style_blend_weights 3,7", "--style-weights"), ("-normalize_gradients", "loss.balance=gradients"),
        ("-model_file x.caffemodel", "--model"), ("-save_iter 100", "--set checkpoint.every="),
    ],
)  # fmt: skip
def test_the_options_of_others_are_answered(words: str, advice: str, capsys: pytest.CaptureFixture[str]) -> None:
    for as_json in ([], ["--json"]):
        given = words.split()
        code, out, line = said("stylize", "a.jpg", "b.jpg", *given, *as_json, capsys=capsys)
        assert code == 2 and line.startswith(f"error: there is no option {given[0].partition('=')[0]}; ")
        assert line.count("\n") == 1 and advice in line
        assert bool(out) == bool(as_json)


def test_only_options_of_the_command_are_proposed(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("resume", "a.run", "--size", "9"), ("status", "a.run", "--iterations", "9"), ("doctor", "-gpu")):
        code, _, text = said(*words, capsys=capsys)
        assert code == 2 and "write" not in text


def test_words_after_two_dashes_and_values_are_no_options(capsys: pytest.CaptureFixture[str]) -> None:
    _, _, line = said("stylize", "-o", "x.png", "--", "-gpu", "-style_image", capsys=capsys)
    assert "there is no option" not in line


def test_no_word_has_two_meanings() -> None:
    assert not set(KEYS) & set(OTHERWISE)
    assert issubclass(ConfigError, HiresNstError)
