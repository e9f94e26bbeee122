from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given

from hires_nst.config import (
    Config,
    commented_yaml,
    load_config,
    parse_config,
    parse_yaml,
    to_yaml,
)
from hires_nst.errors import ConfigError, InputError
from tests.config.generated import NESTED, TINY, write


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- a\n", "must contain a mapping"),
        ("hello", "not 'hello'"),
        ("a: [\n", "is not valid YAML in line 2"),
        ("\tx: 1", "not valid YAML"),
        ("x: 2026-13-45", "not valid YAML: month must be in"),
        ("x: " + "[" * 5000, "not valid YAML: it is nested too deeply"),
        ("levels:\n  rounds: 3\n  rounds: 4\n", "in line 3: duplicate key .rounds."),
    ],
)
def test_files_that_are_not_a_configuration(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_config(write(tmp_path, text))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "picture.yaml").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ConfigError, match="is not a text file"):
        load_config(tmp_path / "picture.yaml")


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder; a configuration is a YAML file"):
        load_config(tmp_path)


def test_yaml_runs_no_code(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(write(tmp_path, "version: !!python/object/apply:os.getcwd []\n"))


def test_the_commented_file_is_the_default(tmp_path: Path) -> None:
    text = commented_yaml()
    assert load_config(write(tmp_path, text)) == Config()
    assert (
        load_config(write(tmp_path, text.replace("  # - {image:", "  - {image:"))).styles[0].path.name == "painting.jpg"
    )
    for line in text.splitlines():
        assert not line or "#" in line or line == "version: 1", f"no comment: {line}"


def test_the_commented_print_can_be_uncommented(tmp_path: Path) -> None:
    lines = [line for line in commented_yaml().splitlines() if not line.startswith("  print: null")]
    text = "\n".join(line.replace("  # print:", "  print:").replace("  #   ", "    ") for line in lines)
    config = load_config(write(tmp_path, text))
    assert config.output.print is not None
    assert config.output.print.paper == "A3"


@TINY
@given(NESTED)
def test_yaml_round_trip(data: dict[str, object]) -> None:
    config = parse_config(data)
    assert parse_config(parse_yaml(to_yaml(config))) == config
    again = parse_yaml(commented_yaml(config))
    assert parse_config({key: value for key, value in again.items() if value is not None}) == config
    assert parse_config(parse_yaml(to_yaml(config))).fingerprint() == config.fingerprint()
