"""`hires-nst config`: write, show and check configurations."""

import json as json_format
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from hires_nst.cli.options import ConfigOptions, takes_config_options
from hires_nst.config import PRESETS, Config, commented_yaml, gather, load_config, merge, parse_config, to_yaml
from hires_nst.errors import ConfigError, OutputError

app = typer.Typer(no_args_is_help=True, help="Write, show and check configurations.")


@app.command("init")
def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The YAML file to write.")] = Path("hires-nst.yaml"),
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"With the values of one of {', '.join(PRESETS)}.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")] = False,
) -> None:
    """Write a YAML file of every setting with its value and a comment that says what it is."""
    text = commented_yaml(load_config(preset=preset))
    if file.exists() and not force:
        raise OutputError(f"{file} is there already; choose another name, or replace it with --force")
    if not file.parent.is_dir():
        raise OutputError(f"the folder {file.parent} for {file.name} does not exist; make it first or choose another")
    from hires_nst.files import atomic_write

    def write(target: BinaryIO) -> None:
        target.write(text.encode())

    atomic_write(file, write, overwrite=force)
    typer.echo(f"wrote {file}; use it with --config {file}")


@app.command("show")
@takes_config_options()
def show(options: ConfigOptions) -> None:
    """Print the configuration that these options, a file and a preset amount to, as YAML."""
    typer.echo(to_yaml(options.effective()), nl=False)


@app.command("validate")
def validate(file: Annotated[Path, typer.Argument(metavar="FILE", help="The YAML file to check.")]) -> None:
    """Check a configuration file: every key, value and layer, also of the jobs' own settings."""
    data = gather(file)
    common = {key: value for key, value in data.items() if key != "jobs"}
    for number, job in enumerate(parse_config(data).jobs):
        try:
            parse_config(merge(common, job.set))
        except ConfigError as error:
            raise ConfigError(f"jobs.{number}.set: {error}") from None
    typer.echo(f"{file} is valid")


@app.command("schema")
def schema() -> None:
    """Print the JSON schema of the configuration, for editors."""
    typer.echo(json_format.dumps(Config.model_json_schema(), indent=2))
