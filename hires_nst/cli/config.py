"""`hires-nst config`: write, show and check configurations."""

from pathlib import Path
from typing import Annotated

import typer

from hires_nst import config
from hires_nst.cli.options import ConfigOptions, path_argument, takes_config_options
from hires_nst.cli.progress import print_line
from hires_nst.cli.schema_options import choice

app = typer.Typer(no_args_is_help=True, help="Write, show and check configurations.")


@app.command("init")
def init(
    file: Annotated[Path, path_argument(metavar="FILE", help="YAML file to write.")] = Path("hires-nst.yaml"),
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            parser=choice("--preset", config.PRESETS),
            help=f"Preset to start from: {', '.join(config.PRESETS)}.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
) -> None:
    """Write a YAML file of all settings, with a comment for each, and a JSON schema for editors beside it."""
    config.init(file, preset=preset, overwrite=force)
    print_line(f"wrote {file}; use it with --config {file}")


@app.command("show")
@takes_config_options()
def show(options: ConfigOptions) -> None:
    """Print the effective configuration as YAML."""
    typer.echo(config.to_yaml(options.effective()), nl=False)


@app.command("validate")
def validate(file: Annotated[Path, path_argument(metavar="FILE", help="YAML file to check.")]) -> None:
    """Check every key and value of a configuration file, including the settings of its jobs."""
    config.validate(file)
    print_line(f"{file} is valid")


@app.command("schema")
def schema() -> None:
    """Print the JSON schema of the configuration."""
    typer.echo(config.json_schema(), nl=False)
