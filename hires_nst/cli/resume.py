"""`hires-nst resume`."""

from pathlib import Path
from typing import Annotated

import typer

from hires_nst.cli.progress import duration, showing
from hires_nst.cli.signals import MaxHours, Until, stopping
from hires_nst.cli.stylize import Json


def resume(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The run directory, such as print.tif.run.")],
    until: Until = None,
    max_hours: MaxHours = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
    json: Json = False,
) -> None:
    """Go on with an interrupted run, with the settings that it began with."""
    with (
        stopping(until=until, max_hours=max_hours, quiet=quiet or json) as stop,
        showing(quiet=quiet, as_json=json) as on_event,
    ):
        from hires_nst import pipeline

        result = pipeline.resume(run_dir, stop=stop, on_event=on_event)
    if not quiet and not json:
        typer.echo(f"{result.output}: {result.width} x {result.height} px in {duration(result.seconds)}")
