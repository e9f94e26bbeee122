"""YAML in and out: files, single values, and the commented file that `hires-nst config init` writes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

from hires_nst.config.schema import Config, Print, Section
from hires_nst.errors import ConfigError, InputError


class _Loader(yaml.SafeLoader):
    """Refuses a mapping with the same key twice, of which PyYAML would take the last."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set[str]()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    problem = f"the key {key.value!r} is there twice"
                    raise yaml.composer.ComposerError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return node


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file's mapping (empty when the file is), without the sections that have no content.

    Raises:
        InputError: the file cannot be read. ConfigError: it is no YAML mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read the configuration {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is no text file; a configuration is YAML") from None
    try:
        data = yaml.load(text, _Loader)  # a safe one
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path} is not valid YAML{where}: {getattr(error, 'problem', None) or error}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must hold a mapping of keys to values, not a {type(data).__name__}")
    return {key: value for key, value in data.items() if value is not None}


def to_yaml(config: Config) -> str:
    """The whole configuration as YAML; reading it back gives an equal configuration."""
    return _dump(config.model_dump(mode="json"))


def commented_yaml(config: Config | None = None) -> str:
    """Every key with its value and a comment that says what it is: the text that `hires-nst config init` writes."""
    config = config or Config()
    lines = [
        "# Configuration of hires-nst. Leave out what you do not want to change.",
        f"version: {config.version}",
        "",
    ]
    lines += ["styles:  # The paintings; those on the command line replace these."]
    lines += [f"  - {_flow(style.model_dump(mode='json'))}" for style in config.styles]
    if not config.styles:
        lines += ["  # - {image: painting.jpg, weight: 1.0, scale: 1.0}"]
    for name in Config.model_fields:
        section = getattr(config, name)
        if isinstance(section, Section):
            lines += ["", f"{name}:  # {(type(section).__doc__ or name).splitlines()[0]}", *_commented_fields(section)]
    lines += ["", "jobs:  # Of a batch that is no folder, each with settings of its own if it wants any."]
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
    """YAML, with letters such as u-umlaut as they are."""
    text: str = ""
    for plain in (True, False):
        text = yaml.safe_dump(value, default_flow_style=flow, width=math.inf, sort_keys=False, allow_unicode=plain)
        if not set(text) & set("\x85\u2028\u2029"):  # line breaks to YAML, which PyYAML does not escape
            break
    return text
