"""`hires-nst report`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a run.")],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Write a page about a run, DIR/report.html: before and after, losses, scores, settings. No network is needed."""
    from hires_nst.report.render import write_report
    from hires_nst.report.sources import gather

    told = gather(folder)
    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task("making the pictures", total=len(told.jobs))
        page = write_report(told, folder, on_progress=lambda done, _: bar.update(task, completed=done))
    if not quiet:
        typer.echo(str(page))
