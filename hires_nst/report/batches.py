"""The report of a batch, from its ledger and the logs of its jobs."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from hires_nst.batch.ledger_reading import read_changes, read_current, read_settings, reading
from hires_nst.batch.ledger_schema import Row
from hires_nst.batch.paths import BatchPaths
from hires_nst.batch.status import job_state
from hires_nst.report.model import Report, ReportedJob, moment, style_paths
from hires_nst.run.directory import resume_command
from hires_nst.run.progress import RunState, read_state
from hires_nst.version import VERSION

Span = tuple[float, float]
"""Start and end, in seconds since the epoch."""

Change = tuple[float, str]
"""The time of a change, and the new state of the job."""


def of_batch(folder: Path) -> Report:
    """The report of the batch in an output folder, also while it works.

    Raises:
        InputError, ConfigError: see `reading`.
    """
    folder = folder.absolute()
    with reading(folder) as database:
        rows, others = read_current(database, folder, now=time.time())
        settings = read_settings(database)
        changes: dict[str, list[Change]] = defaultdict(list)
        for job, moment_of_change, state, _ in read_changes(database):
            changes[job].append((moment_of_change, state))
    runs = {row.id: _run(folder, row) for row in rows}
    all_work = {row.id: attempts(changes[row.id], BatchPaths(folder).job(row.id).events) for row in rows}
    work = {row.id: all_work[row.id][attempts_before(changes[row.id]) :] for row in rows}
    spans = list(chain.from_iterable(all_work.values()))
    last_spans = list(chain.from_iterable(work.values()))
    plans = [run.run for run in runs.values() if run.run is not None]
    return Report(
        title=folder.name,
        jobs=tuple(
            _job(folder, row, settings=settings[row.config], run=runs[row.id], work=work[row.id]) for row in rows
        ),
        version=VERSION,
        started=moment(min((begin for begin, _ in spans), default=None)),
        finished=moment(max((end for _, end in spans), default=None)),
        working_seconds=together(last_spans) if last_spans else None,
        machine=f"{plans[-1].model} on {plans[-1].device}" if plans else "",
        no_longer_selected=others,
    )


def attempts(changes: Sequence[Change], log: Path) -> list[Span]:
    """The start and the end of each attempt at a job.

    The ledger lacks the end of an attempt whose process was killed: it is the time of the last event in the log.
    """
    spans = []
    for (begin, state), (end, next_state) in pairwise(changes):
        if state != "running":
            continue
        if next_state == "running":  # taken over from a process that was killed
            takeover, end = end, begin
            with suppress(OSError):
                end = max(begin, read_state(log, before=takeover).updated or begin)
        spans.append((begin, end))
    return spans


def attempts_before(changes: Sequence[Change]) -> int:
    """The number of attempts at earlier pictures, which have been painted again since."""
    states = [state for _, state in changes]
    ends = [place for place, state in enumerate(states) if state == "done" and "running" in states[place:]]
    return states[: ends[-1]].count("running") if ends else 0


def together(spans: Iterable[Span]) -> float:
    """The length of the union of spans."""
    total, until = 0.0, 0.0
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


def _job(folder: Path, row: Row, *, settings: Mapping[str, Any], run: RunState, work: Sequence[Span]) -> ReportedJob:
    state = job_state(folder, row, now=time.time())
    return ReportedJob(
        name=Path(row.output).with_suffix("").as_posix(),
        state=state,
        content=Path(row.content),
        styles=tuple(map(Path, style_paths(settings))),
        output=folder / row.output,
        width=row.width or (run.run.width if run.run else 0),
        height=row.height or (run.run.height if run.run else 0),
        seconds=row.seconds if state == "done" else sum(end - begin for begin, end in work) if work else None,
        attempts=row.attempts,
        error=row.error,
        retry_command=f"{resume_command(folder)} --retry-failed" if state == "failed" else None,
        settings={key: value for key, value in settings.items() if key not in ("batch", "jobs")},
        levels=run.history.levels,
        curves=run.history.curves,
        borders=run.history.borders,
        notes=tuple(run.notes),
        log=BatchPaths(folder).job(row.id).existing_text,
    )


def _run(folder: Path, row: Row) -> RunState:
    try:
        return read_state(BatchPaths(folder).job(row.id).events)
    except OSError:  # a report without its losses is better than none
        return RunState()
