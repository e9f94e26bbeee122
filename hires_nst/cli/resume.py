"""`hires-nst resume`."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

import hires_nst
from hires_nst.cli.batch import followed
from hires_nst.cli.progress import showing
from hires_nst.cli.signals import MaxHours, Until, ending_at_once, stopping
from hires_nst.cli.stylize import Json
from hires_nst.errors import ConfigError
from hires_nst.quantities import duration
from hires_nst.stopping import Stop


def resume(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A run directory, such as print.tif.run, or a batch's output folder.")
    ],
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="In a batch, retry jobs that failed in earlier runs.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing file at the output path.")
    ] = False,
    until: Until = None,
    max_hours: MaxHours = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
    json: Json = False,
) -> None:
    """Resume an interrupted run or batch with its stored settings."""
    from hires_nst.batch import api
    from hires_nst.batch.paths import BatchPaths

    code = 0
    with stopping(until=until, max_hours=max_hours, quiet=quiet or json) as stop:
        if BatchPaths(folder).ledger.is_file():
            painting = partial(api.resume, folder, retry_failed=retry_failed, overwrite=overwrite, stop=stop)
            code = followed(painting, folder, stop=stop, page=True, quiet=quiet, as_json=json)
        elif retry_failed:
            raise ConfigError(f"--retry-failed belongs to a batch, and {folder} is not the output folder of one")
        else:
            resume_run(folder, stop, overwrite=overwrite, quiet=quiet, as_json=json)
    if code:
        raise typer.Exit(code)


def resume_run(folder: Path, stop: Stop, *, overwrite: bool, quiet: bool, as_json: bool) -> None:
    """Resume a run."""
    with ending_at_once(folder, stop), showing(quiet=quiet, as_json=as_json) as on_event:
        result = hires_nst.resume(folder, overwrite=overwrite, stop=stop, on_event=on_event)
    if not quiet and not as_json:
        typer.echo(f"{result.output}: {result.width} x {result.height} px in {duration(result.seconds)}")
