"""`hires-nst report`, and the report at the end of a batch."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from hires_nst import events
from hires_nst.events import json_line


def report(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder of a run, or the output folder of a batch.")
    ],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Write a page about a run or a batch, DIR/report.html: before and after, losses, scores, settings, failures.

    No network is needed to make it or to look at it.
    """
    page = written(folder, quiet=quiet)
    if not quiet:
        typer.echo(str(page))


def written(folder: Path, *, quiet: bool) -> Path:
    """Write the report of a folder; the page's path.

    Raises:
        HiresNstError: as `gather` and `write_report`.
    """
    from hires_nst.report.render import write_report
    from hires_nst.report.sources import gather

    told = gather(folder)
    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task("making the pictures of the report", total=len(told.jobs))
        return write_report(told, folder, on_progress=lambda done, _: bar.update(task, completed=done))


def report_of_batch(folder: Path, *, quiet: bool, as_json: bool) -> None:
    """Write the report of a batch, unless nothing happened since the last one; that it fails is told, and no more."""
    try:
        if _is_fresh(folder):
            return
        page = written(folder, quiet=quiet or as_json)
    except Exception as error:  # a night's work is done, whatever becomes of its report
        notice = events.Notice(f"the report was not written: {error}; `hires-nst report` makes it")
        if as_json:
            typer.echo(json_line(notice.as_dict()))
        else:
            typer.echo(f"note: {notice.message}", err=True)
        return
    if not quiet and not as_json:
        typer.echo(str(page))


def _is_fresh(folder: Path) -> bool:
    """Whether the report is younger than the last change in the ledger."""
    from hires_nst.batch.rows import read_changes, reading
    from hires_nst.report.render import PAGE

    page = folder / PAGE
    if not page.is_file():
        return False
    with reading(folder) as database:
        last = max((moment for _, moment, _, _ in read_changes(database)), default=0.0)
    return page.stat().st_mtime > last
