"""The status of a run, from its run directory, also while another process works on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hires_nst.run import directory
from hires_nst.run.log import LOG
from hires_nst.run.progress import RunState, read_state
from hires_nst.run.record import RunRecord, read_record

RunStateName = Literal["running", "stopped", "interrupted", "finished"]
"""`stopped` in an orderly way, `interrupted` when it was killed, `finished` when its directory was kept."""


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """The status of a run.

    Attributes:
        state: `stopped` in an orderly way, `interrupted` if it was killed, `finished` if its directory still exists.
        lock_owner: the process that works on it, if there is one.
        reason: why it was stopped, if it was; or what happened to a finished result, if anything.
        level, round: the current ones, from 1; None before the first.
        levels, rounds, tiles: their numbers; `tiles_done` of the current round.
        loss: the objective at the last evaluation; `style_loss` of the whole image at the start of the round.
        done: share of the work, 0 to 1.
        pixels_per_second: evaluations of pixels, in the present or the last process.
        seconds_left: at this rate.
        bytes: of the run directory.
    """

    run_dir: Path
    output: Path
    width: int
    height: int
    state: RunStateName
    lock_owner: str | None
    reason: str | None
    level: int | None
    levels: int
    round: int | None
    rounds: int | None
    tiles_done: int | None
    tiles: int | None
    loss: float | None
    style_loss: float | None
    done: float
    pixels_per_second: float | None
    seconds_left: float | None
    bytes: int


def run_status(run_dir: Path) -> RunStatus:
    """The status of the run in a directory.

    Raises:
        OutputError, DamagedFile, ConfigError: it is not a run directory, or not of this version of the program.
    """
    record = read_record(run_dir)
    run = read_state(run_dir / LOG)
    now = run.updated or 0.0
    lock_owner = directory.lock_owner(run_dir)
    state, reason = state_of(run_dir, record, run=run, is_locked=lock_owner is not None)
    level, round = run.level, run.round
    return RunStatus(
        run_dir=run_dir,
        output=record.output_at(run_dir),
        width=record.width,
        height=record.height,
        state=state,
        lock_owner=lock_owner,
        reason=reason,
        level=None if level is None else level.index + 1,
        levels=len(record.levels),
        round=None if round is None else round.round + 1,
        rounds=None if level is None else level.rounds,
        tiles_done=None if round is None else len(run.tiles_done),
        tiles=None if round is None else round.tiles,
        loss=run.loss,
        style_loss=None if round is None else round.style_loss,
        done=1.0 if state == "finished" else run.share,
        pixels_per_second=run.rate(now),
        seconds_left=0.0 if state == "finished" else run.seconds_left(now),
        bytes=directory.folder_bytes(run_dir),
    )


def state_of(
    run_dir: Path, record: RunRecord | None, *, run: RunState, is_locked: bool
) -> tuple[RunStateName, str | None]:
    """The state of a run, and why it was stopped or what happened to its result.

    Args:
        record: None where it cannot be read.
        run: the state by the log.
        is_locked: whether a process works on the run.
    """
    if is_locked:
        return "running", run.stop_reason
    if record is not None and record.is_written(run_dir):
        return "finished", None
    if run.finished is None:
        return "stopped" if run.stop_reason else "interrupted", run.stop_reason
    if record is None:
        return "finished", None
    exists = record.output_at(run_dir).is_file()
    return "finished", "the result was changed since it was painted" if exists else "the result no longer exists"
