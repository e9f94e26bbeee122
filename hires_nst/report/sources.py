"""The `Report` of a folder: a run directory, or the output folder of a batch."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from hires_nst.batch.paths import BatchPaths
from hires_nst.config import read_yaml
from hires_nst.errors import HiresNstError, InputError
from hires_nst.files import check_exists
from hires_nst.report.batches import of_batch
from hires_nst.report.model import Report, ReportedJob, ReportedState, moment, style_paths
from hires_nst.run import directory
from hires_nst.run.directory import CONFIG
from hires_nst.run.log import LOG
from hires_nst.run.progress import RunState, read_state
from hires_nst.run.record import read_record
from hires_nst.run.status import state_of
from hires_nst.version import VERSION


def gather(folder: Path) -> Report:
    """The report of the run or batch in a folder.

    Raises:
        InputError: it is not a folder of a run or a batch, or cannot be read.
    """
    check_exists(folder, otherwise="a run directory is removed when its run finishes")
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give a run directory or the output folder of a batch")
    if BatchPaths(folder).ledger.is_file():
        return of_batch(folder)
    if (folder / LOG).is_file():
        return of_run(folder)
    raise InputError(f"{folder} has neither a ledger nor {LOG}; give a run directory or the output folder of a batch")


def of_run(folder: Path) -> Report:
    """The report of one picture, from its run directory.

    Files of the log that do not exist are looked up beside the run directory, which may have been moved with its
    result.

    Raises:
        InputError: the log cannot be read.
    """
    try:
        run = read_state(folder / LOG)
    except OSError as error:
        raise InputError(f"{folder / LOG} cannot be read ({error.strerror}); ask for permission to read it") from error
    settings: dict[str, Any] = {}
    with suppress(HiresNstError):
        settings = read_yaml(folder / CONFIG)
    state, notes = _state(folder, run)
    plan, seconds = run.run, None if run.finished is None else run.finished.seconds
    output = _found(plan.output if plan else "", folder)
    job = ReportedJob(
        name=output.stem or folder.stem,
        state=state,
        content=_found(plan.content if plan else "", folder),
        styles=tuple(_found(path, folder) for path in style_paths(settings)),
        output=output,
        width=plan.width if plan else 0,
        height=plan.height if plan else 0,
        seconds=seconds,
        settings=settings,
        levels=run.history.levels,
        curves=run.history.curves,
        borders=run.history.borders,
        notes=(*run.notes, *notes),
    )
    return Report(
        title=job.name,
        jobs=(job,),
        version=VERSION,
        started=moment(run.started),
        finished=moment(run.finished_at),
        working_seconds=seconds,
        machine=f"{plan.model} on {plan.device}" if plan else "",
    )


def _state(folder: Path, run: RunState) -> tuple[ReportedState, tuple[str, ...]]:
    """The state of the run, and notes on it; also where its record cannot be read."""
    record = None
    with suppress(HiresNstError):
        record = read_record(folder)
    state, reason = state_of(folder, record, run=run, is_locked=directory.lock_owner(folder) is not None)
    if state == "finished":
        return "done", () if reason is None else (reason,)
    return "running" if state == "running" else "interrupted", ()


def _found(path: str, folder: Path) -> Path:
    """The file of that path, or one of its name beside the run directory; the path itself if neither exists."""
    plain = Path(path)
    parent = folder.resolve().parent
    return next((place for place in (plain, parent / plain, parent / plain.name) if place.is_file()), plain)
