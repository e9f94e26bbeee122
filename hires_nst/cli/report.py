"""`hires-nst report`, and the report at the end of a batch."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from hires_nst.cli.progress import print_error, print_json
from hires_nst.events import Notice
from hires_nst.stopping import Stop


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A run directory, or the output folder of a batch.")],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Write a page about a run or a batch, DIR/report.html: before and after, losses, scores, settings, failures.

    Neither writing it nor viewing it needs an internet connection.
    """
    page = _write(folder, Stop(), quiet=quiet)
    if not quiet:
        typer.echo(str(page))


def report_of_batch(folder: Path, stop: Stop, *, quiet: bool, as_json: bool) -> None:
    """Write the report of a batch, unless it is up to date; an error is a note and no more.

    When it is time to stop, it is written at once, with the pictures that are ready.
    """
    from hires_nst import report
    from hires_nst.run.directory import command

    try:
        if report.is_up_to_date(folder):
            return
        page = _write(folder, stop, quiet=quiet or as_json)
    except Exception as error:  # the batch is done, even if its report cannot be written
        _note(f"the report was not written: {error}; write it with `{command('report', folder)}`", as_json=as_json)
        return
    if not report.is_complete(page) and (as_json or not quiet):
        rest = f"complete it with `{command('report', folder)}`"
        _note(f"the report does not show all pictures yet ({stop.reason}); {rest}", as_json=as_json)
    if not quiet and not as_json:
        typer.echo(str(page))


def _write(folder: Path, stop: Stop, *, quiet: bool) -> Path:
    from hires_nst import report

    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task("making the pictures of the report")
        return report.write(
            folder, stop=stop, on_progress=lambda done, total: bar.update(task, completed=done, total=total)
        )


def _note(message: str, *, as_json: bool) -> None:
    """Print a note."""
    if as_json:
        print_json(Notice(message))
    else:
        print_error(f"note: {message}")
