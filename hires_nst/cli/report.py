"""`hires-nst report`, and the report at the end of a batch."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from hires_nst import events
from hires_nst.events import json_line
from hires_nst.stopping import Stop


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


def written(folder: Path, *, quiet: bool, stop: Stop | None = None) -> Path:
    """Write the report of a folder, with the pictures that can be made until it is time to stop; the page's path.

    Raises:
        HiresNstError: as `gather` and `write_report`.
    """
    from hires_nst.report.render import write_report
    from hires_nst.report.sources import gather

    stop = stop or Stop()
    told = gather(folder)
    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task("making the pictures of the report", total=len(told.jobs))
        return write_report(told, folder, on_progress=lambda done, _: bar.update(task, completed=done), due=stop.due)


def report_of_batch(folder: Path, stop: Stop, *, quiet: bool, as_json: bool) -> None:
    """Write the report of a batch, unless nothing happened since the last one; that it fails is told, and no more.

    When it is time to stop, it is written at once, with the pictures that are ready.
    """
    from hires_nst.report.render import is_complete
    from hires_nst.run.directory import command

    try:
        if _is_fresh(folder):
            return
        page = written(folder, quiet=quiet or as_json, stop=stop)
    except Exception as error:  # a night's work is done, whatever becomes of its report
        _tell(f"the report was not written: {error}; `hires-nst report` makes it", as_json=as_json)
        return
    if not is_complete(page) and (as_json or not quiet):
        again = f"`{command('report', folder)}` does the rest"
        _tell(f"the report does not show all pictures yet, for {stop.reason}; {again}", as_json=as_json)
    if not quiet and not as_json:
        typer.echo(str(page))


def _tell(message: str, *, as_json: bool) -> None:
    """Say what is no error."""
    if as_json:
        typer.echo(json_line(events.Notice(message).as_dict()))
    else:
        typer.echo(f"note: {message}", err=True)


def _is_fresh(folder: Path) -> bool:
    """Whether the report is complete, and younger than the last change in the ledger and in the selection."""
    from hires_nst.batch.ledger_reading import read_changes, read_selected_since, reading
    from hires_nst.report.render import PAGE, is_complete

    page = folder / PAGE
    if not is_complete(page):
        return False
    with reading(folder) as database:
        last = max([read_selected_since(database), *(moment for _, moment, _, _ in read_changes(database))])
    return page.stat().st_mtime > last
