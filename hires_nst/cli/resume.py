"""`hires-nst resume`."""

from functools import partial
from typing import Annotated, Any

import typer

import hires_nst
from hires_nst.cli.batch import run_batch
from hires_nst.cli.options import Folder, Json, OtherMachine, Quiet
from hires_nst.cli.progress import showing
from hires_nst.cli.signals import MaxHours, Until, ending_at_once, stopping
from hires_nst.cli.stylize import print_result


def resume(
    folder: Folder,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="In a batch, retry jobs that failed in earlier runs.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing file at the output path.")
    ] = False,
    other_machine: OtherMachine = False,
    until: Until = None,
    max_hours: MaxHours = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Resume an interrupted run or batch with its stored settings."""
    from hires_nst.batch.paths import working_folder
    from hires_nst.folders import is_batch

    folder = working_folder(folder)
    with stopping(until=until, max_hours=max_hours, quiet=quiet or json) as stop:
        run: partial[Any] = partial(
            hires_nst.resume, folder, overwrite=overwrite, retry_failed=retry_failed, other_machine=other_machine,
            stop=stop,
        )  # fmt: skip
        if is_batch(folder):
            run_batch(run, folder, stop=stop, page=True, quiet=quiet, as_json=json)
            return
        with ending_at_once(folder, stop), showing(quiet=quiet, as_json=json) as on_event:
            result = run(on_event=on_event)
    if not quiet and not json:
        print_result(result)
