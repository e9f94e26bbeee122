"""YAML in and out: files, single values, and the commented file that `hires-nst config init` writes."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

from hires_nst.config.messages import quoted
from hires_nst.config.schema import Config
from hires_nst.config.section import Section
from hires_nst.config.sections import Print
from hires_nst.errors import ConfigError, InputError
from hires_nst.files import check_exists

_WIDTH = 2**31
"""Of a line in characters, so that none is broken."""


def parse_yaml(text: str) -> Any:
    """The value of a YAML 1.2 text, made of plain types only; None when the text is empty.

    Raises:
        ConfigError: it is not valid, or has a key twice; the message names the line.
    """
    from ruamel.yaml import YAML  # here, since the command line's help needs none
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except RecursionError:
        raise ConfigError(
            "not valid YAML: it is nested too deeply; `hires-nst config init` writes a valid file"
        ) from None
    except (YAMLError, ValueError) as error:  # a ValueError comes of dates that do not exist
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        problem = str(getattr(error, "problem", None) or error).splitlines()[0]
        if isinstance(error, DuplicateKeyError):
            problem = problem.replace("found duplicate key", "duplicate key").partition(" with value")[0]
        raise ConfigError(f"not valid YAML{where}: {problem}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, without the sections that have no content; empty when the file is empty.

    Raises:
        InputError: the file cannot be read. ConfigError: it is not a YAML mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        check_exists(path)
        if path.is_dir():
            raise InputError(f"{path} is a folder; a configuration is a YAML file") from None
        raise InputError(f"cannot read the configuration {path}: {error.strerror}; check its permissions") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not a text file; a configuration is written in YAML") from None
    try:
        data = parse_yaml(text)
    except ConfigError as error:
        raise ConfigError(f"{path} is {error}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path} must contain a mapping of keys to values, such as levels: {{rounds: 16}}, not {quoted(data)}"
        )
    return {key: value for key, value in data.items() if value is not None}


def to_yaml(config: Config) -> str:
    """The whole configuration as YAML; reading it back gives an equal configuration."""
    return _dump(config.model_dump(mode="json"))


def commented_yaml(config: Config | None = None) -> str:
    """Every key with its value and a comment that explains it, as `hires-nst config init` writes them."""
    config = config or Config()
    lines = [
        "# Configuration of hires-nst. Keys that you leave out have their default values.",
        f"version: {config.version}",
        "",
    ]
    lines += ["styles:  # The paintings. Paintings on the command line replace them."]
    lines += [f"  - {_flow(style.model_dump(mode='json'))}" for style in config.styles]
    if not config.styles:
        lines += [
            "  # - {image: painting.jpg, weight: 1.0, scale: 1.0}",
            "  # - {folder: paintings, scale: [0.5, 1.0], rotations: [90, 180, 270], mirror: true}",
        ]
    gallery = config.model_dump(mode="json", include={"gallery"})["gallery"]
    lines += ["", f"gallery: {_flow(gallery)}  # {Config.model_fields['gallery'].description}"]
    for name in Config.model_fields:
        section = getattr(config, name)
        if isinstance(section, Section):
            lines += ["", f"{name}:  # {(type(section).__doc__ or name).splitlines()[0]}", *_commented_fields(section)]
    lines += ["", "jobs:  # The jobs of a batch, instead of a folder; each may have settings of its own."]
    lines += [f"  - {_flow(job.model_dump(mode='json'))}" for job in config.jobs]
    if not config.jobs:
        lines += [
            "  # - {content: photo.jpg, style: painting.jpg, output: print.tif, set: {output: {long_edge: 3000}}}"
        ]
    return "\n".join(lines) + "\n"


def _commented_fields(section: Section, indent: str = "  ") -> list[str]:
    lines: list[str] = []
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            lines += [f"{indent}{name}:  # {field.description}", *_commented_fields(value, indent + "  ")]
            continue
        dumped = section.model_dump(mode="json", include={name})[name]
        lines.append(f"{indent}{name}: {_flow(dumped)}  # {field.description or name}")
        if name == "print":
            lines += [f"{indent}# print:", *(f"{indent}#   {line}" for line in _commented_fields(Print(), indent=""))]
    return lines


def _flow(value: object) -> str:
    """A value as YAML on one line."""
    return _dump(value, flow=True).strip().removesuffix("...").strip()


def _dump(value: object, *, flow: bool = False) -> str:
    """YAML with letters such as u-umlaut unescaped, and each value on one line where `flow`."""
    from ruamel.yaml import YAML

    text = ""
    for plain in (True, False):
        writer, target = YAML(typ="safe", pure=True), StringIO()
        writer.default_flow_style, writer.allow_unicode, writer.width = flow, plain, _WIDTH
        writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
        writer.dump(value, target)
        text = target.getvalue()
        if not set(text) & set("\x85\u2028\u2029"):  # line breaks in YAML, which must be escaped
            break
    return text
