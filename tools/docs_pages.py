"""Pages of the documentation that are made from the code: the commands, the configuration, and the API reference.

Pure functions from the program to Markdown; `docs_hooks.py` puts the pages into the site.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import typer.main

import hires_nst
from hires_nst import cli
from hires_nst.config import Config

PUBLIC_MODULES = ("hires_nst.batch", "hires_nst.report", "hires_nst.events", "hires_nst.errors")
"""Modules of the public API, beside those that `hires_nst.__all__` names."""

PUBLIC_NAMES = ("hires_nst.stopping.Stop", "hires_nst.stopping.deadline")


def commands_page() -> str:
    """Every command with its usage, its arguments, and its options by panel."""
    parts = [
        "# Commands",
        "Generated from the program; `hires-nst COMMAND --help` says the same. An option that is not given leaves the "
        "[configuration](configuration.md) as it is.",
    ]
    for name, command in leaf_commands(typer.main.get_command(cli.app)):
        parts += _command(name, command)
    return "\n\n".join(parts) + "\n"


def leaf_commands(command: Any, name: str = "hires-nst") -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its full name."""
    if not hasattr(command, "commands"):
        yield name, command
        return
    for word, inner in command.commands.items():
        yield from leaf_commands(inner, f"{name} {word}")


def _command(name: str, command: Any) -> Iterator[str]:
    with command.make_context(name, [], resilient_parsing=True) as context:
        yield f"## `{name}`"
        yield _paragraphs(command.help or "")
        yield f"```text\n{name} {' '.join(command.collect_usage_pieces(context))}\n```"
        panels: dict[str, list[str]] = {}
        for parameter in command.get_params(context):
            if getattr(parameter, "hidden", False):
                continue
            written, described = parameter.get_help_record(context)
            is_argument = parameter.param_type_name == "argument"
            panel = getattr(parameter, "rich_help_panel", None) or ("Arguments" if is_argument else "Options")
            panels.setdefault(panel, []).append(
                f"| `{written.split()[0] if is_argument else written}` | {_cell(described)} |"
            )
        for panel, rows in sorted(panels.items(), key=lambda item: item[0] != "Arguments"):
            yield "\n".join([f"| {panel} | |", "| --- | --- |", *rows])


def configuration_page() -> str:
    """Every key of the configuration with type, default, range and description, section by section."""
    schema = Config.model_json_schema()
    parts = [
        "# Configuration",
        "Generated from the schema. `hires-nst config init` writes the same as a commented YAML file, and "
        "`--set SECTION.KEY=VALUE` changes one key for one run.",
    ]
    for name, field in schema["properties"].items():
        section = _resolve(field, schema)
        items = _resolve(section.get("items", {}), schema)
        if "properties" in section:
            parts += [f"## {name}", _paragraphs(section.get("description", "")), _table(section, schema, f"{name}.")]
        elif "properties" in items:
            parts += [
                f"## {name}",
                f"{_paragraphs(items.get('description', ''))} A list; each entry has these keys:",
                _table(items, schema, f"{name}[]."),
            ]
        else:
            parts += [f"## {name}", _table({"properties": {name: field}}, schema, "")]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(section: Mapping[str, Any], schema: Mapping[str, Any], prefix: str) -> str:
    return "\n".join(
        ["| key | type | default | description |", "| --- | --- | --- | --- |", *_rows(section, schema, prefix)]
    )


def _rows(section: Mapping[str, Any], schema: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """One row for a key; a section inside a section gives a row for each of its own keys."""
    required = section.get("required", ())
    for name, field in section["properties"].items():
        kinds = [_resolve(kind, schema) for kind in field.get("anyOf", [field])]
        kinds = [kind for kind in kinds if kind.get("type") != "null"]
        types = " or ".join(_type(kind, schema) for kind in kinds)
        default = "required" if name in required else f"`{_yaml(field.get('default'))}`"
        described = _cell(field.get("description") or kinds[0].get("description", ""))
        yield f"| `{prefix}{name}` | {types} | {default} | {described} |"
        for kind in (*kinds, *(_resolve(kind.get("items", {}), schema) for kind in kinds)):
            if "properties" in kind:
                inner = f"{prefix}{name}." if kind in kinds else f"{prefix}{name}[]."
                yield from _rows(kind, schema, inner)


def _resolve(field: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The definition that a field refers to, or the field itself."""
    reference = field.get("$ref")
    return schema["$defs"][reference.rsplit("/", 1)[1]] if reference else field


def _type(field: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """A type with its range: `integer, 16 to 100000`."""
    values = field.get("enum") or ([field["const"]] if "const" in field else [])
    if values:
        return " or ".join(f"`{_yaml(value)}`" for value in values)
    if field.get("type") == "array":
        return f"list of {_type(_resolve(field.get('items', {}), schema), schema)}"
    if "properties" in field:
        return "section"
    if field.get("type") == "object":
        values_of = field.get("additionalProperties")
        return f"mapping to {_type(values_of, schema)}" if isinstance(values_of, dict) and values_of else "mapping"
    if field.get("format") == "path":
        return "path"
    return ", ".join(filter(None, (str(field.get("type", "any value")), _range(field))))


def _range(field: Mapping[str, Any]) -> str:
    low, above = field.get("minimum"), field.get("exclusiveMinimum")
    high, below = field.get("maximum"), field.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f"{low:g} to {high:g}" if abs(high) < 1e6 else f"{low} to {high}"
    limits = (("at least", low), ("above", above), ("at most", high), ("below", below))
    return " and ".join(f"{word} {value}" for word, value in limits if value is not None)


def _yaml(value: object) -> str:
    """A value as YAML on one line, short words for the common ones."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_yaml(item) for item in value) + "]"
    return str(value)


def reference_page() -> str:
    """The public API, each name with what its docstring promises."""
    parts = [
        "# Python API",
        "Everything here may be used in scripts; what is not here is internal and may change with any version. The "
        "functions have the names of the commands and do what these do.",
    ]
    for name in public_names():
        parts.append(f"::: {name}")
    return "\n\n".join(parts) + "\n"


def public_names() -> list[str]:
    """The full name of everything public: `hires_nst.stylize`, `hires_nst.events.RoundFinished`."""
    public = [name for name in hires_nst.__all__ if not name.startswith("__")]
    modules = [name for name in public if inspect.ismodule(getattr(hires_nst, name))]
    names = [f"hires_nst.{name}" for name in public if name not in modules]
    for module in dict.fromkeys((*PUBLIC_MODULES, *(f"hires_nst.{name}" for name in modules))):
        names += [f"{module}.{name}" for name in _public_names_of(module)]
    short = {name.rpartition(".")[2] for name in names if name.count(".") == 1}
    return [name for name in dict.fromkeys((*names, *PUBLIC_NAMES)) if not _is_again(name, short)]


def _is_again(name: str, short: set[str]) -> bool:
    """Whether a name of a module is public under the package's own name already: `hires_nst.errors.HiresNstError`."""
    module, _, word = name.rpartition(".")
    if module == "hires_nst" or word not in short:
        return False
    return getattr(_loaded(module), word) is getattr(hires_nst, word)


def _public_names_of(module: str) -> list[str]:
    """What a public module offers: its `__all__`, or what it defines, of events and errors the classes."""
    loaded = _loaded(module)
    declared: list[str] | None = getattr(loaded, "__all__", None)
    if declared is not None:
        return list(declared)
    public = inspect.isclass if module in ("hires_nst.events", "hires_nst.errors") else callable
    return [
        name
        for name, value in vars(loaded).items()
        if public(value) and getattr(value, "__module__", "") == loaded.__name__ and not name.startswith("_")
    ]


def _loaded(module: str) -> ModuleType:
    """A public module, which may be an attribute of the package only."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        found: ModuleType = getattr(hires_nst, module.rpartition(".")[2])
        return found


def internal_pages() -> dict[str, str]:
    """A page for each package, with the docstrings of its modules that the API reference does not have; by name."""
    folder = Path(hires_nst.__file__).parent
    public = {name.rpartition(".")[0] for name in public_names()}
    packages = {name: f"hires_nst.{name}" for name in _submodules("hires_nst") if (folder / name).is_dir()}
    modules = {"hires_nst": [f"hires_nst.{name}" for name in _submodules("hires_nst") if name not in packages]}
    for name, package in packages.items():
        modules[name] = [package, *(f"{package}.{inner}" for inner in _submodules(package))]
    return {
        name: _modules(packages.get(name, name), [module for module in inside if module not in public])
        for name, inside in modules.items()
    }


def _modules(title: str, modules: list[str]) -> str:
    return "\n\n".join([f"# {title}", *(f"::: {name}" for name in modules)]) + "\n"


def _submodules(package: str) -> list[str]:
    path = importlib.import_module(package).__path__
    return sorted(module.name for module in pkgutil.iter_modules(path) if not module.name.startswith("_"))


def _paragraphs(text: str) -> str:
    """A docstring or a help text as Markdown paragraphs, without the sections for parameters."""
    text = text.split("\f", maxsplit=1)[0]
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", text.strip()))


def _cell(text: str) -> str:
    """Text inside a cell of a table: on one line, and taken literally."""
    return re.sub(r"([|*<{_\[])", r"\\\1", " ".join(text.split()))
