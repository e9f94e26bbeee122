"""Configuration files: from presets, files, assignments and overrides to one configuration; a new file to edit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError

from hires_nst.backbones.registry import BACKBONES
from hires_nst.config.messages import check_value, sentence
from hires_nst.config.recipes import with_layers
from hires_nst.config.running import BatchJob
from hires_nst.config.schema import Config, known_layers
from hires_nst.config.section import section_in
from hires_nst.config.sections import LAYERS, SIZES, Model, default_layers
from hires_nst.config.settings import is_gallery_name, nest
from hires_nst.config.style_sections import StyleImage
from hires_nst.config.yaml_io import commented_yaml, parse_yaml, read_yaml
from hires_nst.errors import ConfigError, OutputError, nearest
from hires_nst.files import write_bytes

PRESETS = ("default", "draft", "better", "best", "print", "gatys")
SCHEMA_FILE = "hires-nst.schema.json"

_PAINTINGS: Mapping[type, Set[str]] = {StyleImage: {"image"}, BatchJob: {"style"}}
"""Keys for a painting, which may be named by words of the gallery."""


def load_config(
    file: Path | str | None = None,
    *,
    preset: str | None = None,
    overrides: Sequence[Mapping[str, Any]] = (),
) -> Config:
    """Build the effective configuration: the schema's defaults, then the preset, then the file, then the overrides.

    Args:
        file: a YAML file with any part of the schema; relative paths in it start from the file's folder.
        preset: one of `PRESETS`.
        overrides: nested mappings, the later ones win (`{"output": {"long_edge": 2000}}`).

    Raises:
        ConfigError: an unknown preset or key, a value out of range, or a file that is not a YAML mapping.
        InputError: the file cannot be read.
    """
    data = gather(file, preset=preset)
    for override in overrides:
        data = merge(data, override)
    return parse_config(data)


def gather(
    file: Path | str | None = None, *, preset: str | None = None, assignments: Sequence[str] = ()
) -> dict[str, Any]:
    """The preset, then the file, then `KEY=VALUE` assignments, as one mapping that is not checked yet.

    Raises:
        ConfigError: an unknown preset, a file that is not a YAML mapping, an assignment without `=`.
        InputError: the file cannot be read.
    """
    data: dict[str, Any] = {}
    if preset is not None:
        data = merge(data, read_yaml(preset_file(preset)))
    if file is not None:
        data = merge(data, absolute_paths(read_yaml(Path(file)), Path(file).resolve().parent))
    for assignment in assignments:
        data = assign(data, assignment)
    return data


def check_option(key: str, value: Any, *, option: str, text: str | None = None) -> None:
    """Raise ConfigError, which names the option, unless a dotted key takes a value, typed as `text`."""
    check_value(key, value, option=option, text=text, schema=Config)


def parse_config(data: Mapping[str, Any]) -> Config:
    """Check a nested mapping against the schema.

    Raises:
        ConfigError: one sentence that names the key, what is wrong with it, and the nearest known key.
    """
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError(sentence(error, Config)) from None


def assign(data: Mapping[str, Any], assignment: str) -> dict[str, Any]:
    """`data` with `KEY=VALUE` merged into it, such as `levels.rounds=3`; the value is read as YAML.

    A single layer (`loss.style_layers.conv5_1=0`) leaves the other layers as they are.

    Raises:
        ConfigError: there is no `=`, or the value is not YAML.
    """
    key, separator, text = assignment.partition("=")
    if not separator or not all(key.split(".")):
        raise ConfigError(f"--set needs KEY=VALUE with a dotted key such as levels.rounds=3, not {assignment!r}")
    try:
        override = nest({key: parse_yaml(text)})
    except ConfigError:
        raise ConfigError(
            f"--set {key}: {text!r} is not a value in YAML; put text in quotes, as in --set '{key}=\"...\"'"
        ) from None
    section, *rest = key.split(".")
    if section == "loss" and len(rest) == 2 and rest[0] in LAYERS:
        loss = with_layers(data, known_layers(data)).get("loss")
        layers = loss.get(rest[0]) if isinstance(loss, Mapping) else None
        if not isinstance(layers, Mapping):
            model = data.get("model")
            network = model.get("name") if isinstance(model, Mapping) else None
            layers = default_layers(str(network) if network in BACKBONES else Model().name)[rest[0]]
        override["loss"][rest[0]] = {**layers, **override["loss"][rest[0]]}
    return merge(data, override)


def merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `override`, mappings merged key by key, everything else replaced.

    The layer dictionaries are replaced as a whole: exactly the layers that the user gives are used. A size in
    `override["output"]` replaces another kind of size in `base`, and another recipe of layers in `override["loss"]`
    all layers in `base`.
    """
    result = dict(base)
    for key, value in override.items():
        before = result.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping) and key not in LAYERS:
            if key == "output" and any(value.get(size) is not None for size in SIZES):
                before = {k: v for k, v in before.items() if k not in SIZES or value.get(k) is not None}
            if key == "loss" and value.get("layers") not in (None, before.get("layers")):
                before = {k: v for k, v in before.items() if k not in LAYERS}
            value = merge(before, value)
        result[key] = value
    return result


def absolute_paths(value: Any, folder: Path, *, annotation: Any = Config) -> Any:
    """Settings, not checked yet, whose type in the schema is `annotation`, with paths made absolute from `folder`.

    Words for a painting of the gallery, which are no file in the folder, stay as they are, and so do the words that may
    stand in place of a path, such as `faces`.
    """
    section = section_in(annotation)
    if section is not None and isinstance(value, Mapping):
        types = {name: field.annotation for name, field in section.model_fields.items()}
        if section is BatchJob:
            types["set"] = Config
        for key in value.keys() & _PAINTINGS.get(section, set()):
            if isinstance(value[key], str) and is_gallery_name(value[key]) and not (folder / value[key]).exists():
                types[key] = None
        return {key: absolute_paths(item, folder, annotation=types.get(key)) for key, item in value.items()}
    if section is not None and isinstance(value, list):
        return [absolute_paths(item, folder, annotation=section) for item in value]
    kinds = (annotation, *get_args(annotation))
    if Path not in kinds or any(value in get_args(kind) for kind in kinds if get_origin(kind) is Literal):
        return value
    if isinstance(value, list):
        return [absolute_paths(item, folder, annotation=Path) for item in value]
    return str(folder / Path(value).expanduser()) if isinstance(value, str) else value


def preset_file(name: str) -> Path:
    """The YAML file of a preset, in the installed package or the source tree.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(f"there is no preset {name!r}{nearest(name, PRESETS)}")
    package = Path(__file__).parents[1]
    installed = package / "presets" / f"{name}.yaml"
    return installed if installed.exists() else package.parent / "configs" / f"{name}.yaml"


def init(file: Path | str, *, preset: str | None = None, overwrite: bool = False) -> None:
    """Write a YAML file of every setting with its value and a comment, and the JSON schema beside it.

    The first line of the file names the schema, so that editors complete and check keys without a connection.

    Raises:
        ConfigError: there is no such preset.
        OutputError: the file exists and not `overwrite`, or its folder does not.
    """
    file = Path(file)
    text = f"# yaml-language-server: $schema={SCHEMA_FILE}\n{commented_yaml(load_config(preset=preset))}"
    if file.exists() and not overwrite:
        raise OutputError(f"{file} already exists; use --force to replace it, or choose another name")
    if not file.parent.is_dir():
        raise OutputError(f"the folder {file.parent} for {file.name} does not exist; create it or choose another")
    write_bytes(file.with_name(SCHEMA_FILE), json_schema().encode())
    write_bytes(file, text.encode(), overwrite=overwrite)


def validate(file: Path | str) -> Config:
    """Read a configuration and check every key, value and layer in it, also in the settings of its jobs.

    Raises:
        ConfigError: one sentence about what is wrong. InputError: the file cannot be read.
    """
    data = gather(file)
    config = parse_config(data)
    common = {key: value for key, value in data.items() if key != "jobs"}
    for number, job in enumerate(config.jobs):
        try:
            parse_config(merge(common, job.set))
        except ConfigError as error:
            raise ConfigError(f"jobs.{number}.set: {error}") from None
    return config


def json_schema() -> str:
    """The JSON schema of the configuration."""
    return json.dumps(Config.model_json_schema(), indent=2) + "\n"
