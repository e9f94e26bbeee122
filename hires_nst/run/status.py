"""The status of a run, from its run directory, also while another process works on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hires_nst.run import directory
from hires_nst.run.log import LOG
from hires_nst.run.progress import RunState, read_state
from hires_nst.run.record import RunRecord, read_record


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
    state: Literal["running", "stopped", "interrupted", "finished"]
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
    finished, reason = _outcome(run_dir, record, run=run)
    if lock_owner:
        reason = run.stop_reason
    level, round = run.level, run.round
    return RunStatus(
        run_dir=run_dir,
        output=record.output_at(run_dir),
        width=record.width,
        height=record.height,
        state="running" if lock_owner else "finished" if finished else "stopped" if reason else "interrupted",
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
        done=1.0 if finished else run.share,
        pixels_per_second=run.rate(now),
        seconds_left=0.0 if finished else run.seconds_left(now),
        bytes=directory.folder_bytes(run_dir),
    )


def _outcome(run_dir: Path, record: RunRecord, *, run: RunState) -> tuple[bool, str | None]:
    """Whether a run is finished, and why it stopped or what happened to its result."""
    if record.is_written(run_dir):
        return True, None
    if run.finished is None:
        return False, run.stop_reason
    exists = record.output_at(run_dir).is_file()
    return True, "the result was changed since" if exists else "the result no longer exists"
