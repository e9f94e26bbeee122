"""`hires-nst report`, and the report at the end of a batch."""

from pathlib import Path

from rich.console import Console
from rich.progress import Progress

import hires_nst
from hires_nst.cli.options import Folder, Quiet
from hires_nst.cli.progress import print_error, print_json, print_line
from hires_nst.events import Notice
from hires_nst.stopping import Stop


def report(folder: Folder, quiet: Quiet = False) -> None:
    """Write a page about a run or a batch, DIR/report.html: before and after, losses, scores, settings, failures.

    Neither writing it nor viewing it needs an internet connection.
    """
    page = _write(folder, Stop(), quiet=quiet)
    if not quiet:
        print_line(str(page))


def report_of_batch(folder: Path, stop: Stop, *, quiet: bool, as_json: bool) -> None:
    """Write the report of a batch, unless it is up to date; an error becomes a note.

    When it is time to stop, it is written at once, with the pictures that are ready.
    """
    from hires_nst.run.directory import command

    def print_note(message: str) -> None:
        if as_json:
            print_json(Notice(message))
        else:
            print_error(f"note: {message}")

    try:
        if hires_nst.report.is_up_to_date(folder):
            return
        page = _write(folder, stop, quiet=quiet or as_json)
    except Exception as error:  # the batch itself has succeeded
        print_note(f"the report was not written: {error}; write it with `{command('report', folder)}`")
        return
    if not hires_nst.report.is_complete(page) and (as_json or not quiet):
        rest = f"complete it with `{command('report', folder)}`"
        print_note(f"the report does not show all pictures yet ({stop.reason}); {rest}")
    if not quiet and not as_json:
        print_line(str(page))


def _write(folder: Path, stop: Stop, *, quiet: bool) -> Path:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("making the pictures of the report")
        return hires_nst.report.write(
            folder, stop=stop, on_progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
