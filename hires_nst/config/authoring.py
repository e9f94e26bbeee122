"""Human-readable configuration files: write one with comments, with a JSON schema for editors, and check one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import BinaryIO

from hires_nst.config.loading import gather, load_config, merge, parse_config
from hires_nst.config.schema import Config
from hires_nst.config.yaml_io import commented_yaml
from hires_nst.errors import ConfigError, OutputError
from hires_nst.files import atomic_write

SCHEMA_FILE = "hires-nst.schema.json"


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
    _write(file.with_name(SCHEMA_FILE), json_schema(), overwrite=True)
    _write(file, text, overwrite=overwrite)


def validate(file: Path | str) -> Config:
    """The configuration in a file, after every key, value and layer in it was checked, also in the settings of jobs.

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


def _write(file: Path, text: str, *, overwrite: bool) -> None:
    def write(target: BinaryIO) -> None:
        target.write(text.encode())

    atomic_write(file, write, overwrite=overwrite)
