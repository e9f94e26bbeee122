"""`hires-nst resume`."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

import hires_nst
from hires_nst.cli.batch import followed
from hires_nst.cli.progress import showing
from hires_nst.cli.signals import MaxHours, Until, ending_at_once, stopping
from hires_nst.cli.stylize import Json
from hires_nst.quantities import duration


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
    from hires_nst.folders import is_batch

    with stopping(until=until, max_hours=max_hours, quiet=quiet or json) as stop:
        again: Callable[..., Any] = partial(
            hires_nst.resume, folder, overwrite=overwrite, retry_failed=retry_failed, stop=stop
        )
        if is_batch(folder):
            code = followed(again, folder, stop=stop, page=True, quiet=quiet, as_json=json)
            raise typer.Exit(code)
        with ending_at_once(folder, stop), showing(quiet=quiet, as_json=json) as on_event:
            result = again(on_event=on_event)
    if not quiet and not json:
        typer.echo(f"{result.output}: {result.width} x {result.height} px in {duration(result.seconds)}")
