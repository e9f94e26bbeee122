"""`resume` and `status` of a folder, which may be that of a single run or of a batch."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hires_nst import events
from hires_nst.batch.paths import BatchPaths, working_folder
from hires_nst.batch.status import BatchStatus, batch_status
from hires_nst.errors import ConfigError
from hires_nst.events import OnEvent
from hires_nst.files import check_exists
from hires_nst.run.status import RunStatus, run_status
from hires_nst.stopping import Stop

if TYPE_CHECKING:
    from hires_nst.batch.runner import Summary
    from hires_nst.run.single_run import Result


def is_batch(folder: Path | str) -> bool:
    """Whether a folder is the output folder of a batch."""
    with suppress(OSError):  # a name that is too long, for example
        return BatchPaths(Path(folder)).ledger.is_file()
    return False


def _check(folder: Path | str) -> None:
    """Raise InputError where there is no such folder."""
    check_exists(Path(folder), otherwise="a run directory is removed when its run finishes, so look for the picture")


def resume(
    folder: Path | str,
    *,
    overwrite: bool = False,
    retry_failed: bool = False,
    other_machine: bool = False,
    stop: Stop | None = None,
    on_event: OnEvent = events.ignore,
) -> Result | Summary:
    """Resume an interrupted run or batch with its stored settings.

    Args:
        folder: a run directory, or the output folder of a batch; the picture stands for its run directory.
        overwrite: replace an existing result, also if the run started without that.
        retry_failed: retry the failed jobs of a batch.
        other_machine: resume a run that began on another machine, see `stylize`; pictures of a batch always are.
        stop: when to stop in an orderly way.
        on_event: called with each event.

    Returns:
        The `Result` of a run, the `Summary` of a batch.

    Raises:
        ConfigError: `retry_failed` for a single run. Others: as `stylize` and `batch.run`.
    """
    folder = working_folder(Path(folder))
    _check(folder)
    if is_batch(folder):
        from hires_nst.batch import api

        return api.resume(folder, overwrite=overwrite, retry_failed=retry_failed, stop=stop, on_event=on_event)
    if retry_failed:
        raise ConfigError(f"--retry-failed is for batches only; {folder} is the run directory of a single picture")
    from hires_nst.run import pipeline

    return pipeline.resume(folder, overwrite=overwrite, other_machine=other_machine, stop=stop, on_event=on_event)


def status(folder: Path | str) -> RunStatus | BatchStatus:
    """The status of a run or a batch, also while another process works on it.

    Args:
        folder: as for `resume`.

    Raises:
        InputError: it is neither. ConfigError: another version of the program wrote it.
    """
    folder = working_folder(Path(folder))
    _check(folder)
    return batch_status(folder) if is_batch(folder) else run_status(folder)
