"""`hires-nst status`: where a run or a batch stands, also from another terminal while it works."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hires_nst import events
from hires_nst.cli.progress import Tally
from hires_nst.cli.stylize import Json
from hires_nst.events import json_line
from hires_nst.quantities import amount, duration

if TYPE_CHECKING:
    from hires_nst.batch.ledger_schema import Row


@dataclass(frozen=True)
class RunStatus:
    """Where a run stands.

    Attributes:
        state: `running`, `stopped` (orderly), `interrupted` (killed), or `finished` (a run directory that was kept).
        lock_owner: the process that works on it, if one does.
        reason: why it was stopped, if it was; or what became of a finished picture, if anything.
        level, round, tile: the ones under way, from 1; None before there is one.
        levels, rounds, tiles: how many there are; `tiles_done` of this round.
        loss: the objective at the last evaluation; `style_loss` the whole image's at the start of the round.
        done: share of the work, 0 to 1.
        pixels_per_second: evaluations of pixels, in the process that works or worked last.
        seconds_left: at this rate.
        bytes: of the run directory.
    """

    run_dir: str
    output: str
    width: int
    height: int
    state: str
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


def status(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A run directory, such as print.tif.run, or a batch's output folder.")
    ],
    json: Json = False,
) -> None:
    """Tell where a run or a batch stands, from elsewhere and while it works: what is done, and what is left."""
    from hires_nst.batch.paths import BatchPaths

    if BatchPaths(folder).ledger.is_file():
        batch_status(folder, as_json=json)
        return
    found = run_status(folder)
    if json:
        typer.echo(json_line(asdict(found)))
        return
    for line in status_lines(found):
        typer.echo(line)


def run_status(run_dir: Path) -> RunStatus:
    """Where the run in a directory stands, by its record and its log.

    Raises:
        OutputError, DamagedFile, ConfigError: it is no run directory, or none of this program.
    """
    from hires_nst.run import directory
    from hires_nst.run.log import LOG, read_log
    from hires_nst.run.record import read_record

    record = read_record(run_dir)
    now = [0.0]
    tally = Tally(clock=lambda: now[0])
    tiles, reason, over = set[int](), None, False
    for logged in read_log(run_dir / LOG):
        event, now[0] = logged.event, logged.time
        tally.update(event)
        match event:
            case events.RunStarted():
                reason, over = None, False
            case events.RunFinished():
                over = True
            case events.RunStopped():
                reason = event.reason
            case events.LevelStarted() | events.RoundStarted() | events.TilesShrunk():
                tiles.clear()
            case events.TileFinished() | events.TileRestored():
                tiles.add(event.tile)
    lock_owner = directory.lock_owner(run_dir)
    written = record.is_written(run_dir)
    finished = written or over
    if finished and not lock_owner:
        there = record.output_at(run_dir).is_file()
        reason = None if written else "the picture was changed since" if there else "the picture is not there any more"
    state = "running" if lock_owner else "finished" if finished else "stopped" if reason else "interrupted"
    return RunStatus(
        run_dir=str(run_dir),
        output=str(record.output_at(run_dir)),
        width=record.width,
        height=record.height,
        state=state,
        lock_owner=lock_owner,
        reason=reason,
        level=None if tally.level is None else tally.level.index + 1,
        levels=len(record.levels),
        round=None if tally.round is None else tally.round.round + 1,
        rounds=None if tally.level is None else tally.level.rounds,
        tiles_done=None if tally.round is None else len(tiles),
        tiles=None if tally.round is None else tally.round.tiles,
        loss=tally.loss,
        style_loss=None if tally.round is None else tally.round.style_loss,
        done=1.0 if finished else tally.done / tally.total if tally.total else 0.0,
        pixels_per_second=tally.rate,
        seconds_left=0.0 if finished else tally.left,
        bytes=directory.size(run_dir),
    )


def status_lines(found: RunStatus) -> list[str]:
    """The status for people."""
    from hires_nst.run.directory import resume_command

    how = found.state
    if found.lock_owner:
        how = f"running ({found.lock_owner})"
    elif found.reason and found.state == "stopped":
        how = f"stopped by {found.reason}"
    elif found.reason and found.state == "finished":
        how = f"finished, but {found.reason}"
    lines = [f"result    {found.output}, {found.width} x {found.height} px", f"state     {how}"]
    if found.level is not None and found.state != "finished":
        place = f"level {found.level}/{found.levels}"
        if found.round is not None:
            place += f", round {found.round}/{found.rounds}, {found.tiles_done} of {found.tiles} tiles done"
        lines.append(f"place     {place}")
    if found.loss is not None:
        style = "" if found.style_loss is None else f", style loss {found.style_loss:.4g} at the start of the round"
        lines.append(f"loss      {found.loss:.4g}{style}")
    lines.append(f"done      {100 * found.done:.0f} %")
    if found.pixels_per_second is not None:
        lines.append(f"rate      {found.pixels_per_second / 1e6:.3g} million pixel evaluations a second")
    if found.seconds_left is not None and found.state != "finished":
        lines.append(f"time left about {duration(found.seconds_left)} of work")
    lines.append(f"on disk   {amount(found.bytes)}")
    if found.state in ("stopped", "interrupted"):
        lines.append(f"go on     {resume_command(found.run_dir)}")
    return lines


def batch_status(folder: Path, *, as_json: bool) -> None:
    """Print where the batch in `folder` stands.

    Raises:
        InputError: it is no batch's. ConfigError: its ledger is of another version.
    """
    from hires_nst.batch.ledger_reading import read_current, reading

    now = time.time()
    with reading(folder) as database:
        rows, others = read_current(database, folder, now=now)
    data = {**batch_progress(rows, now, folder), "no_longer_selected": others}
    if as_json:
        typer.echo(json_line(data))
        return
    counts = ", ".join(f"{count} {state}" for state, count in data["counts"].items() if count)
    typer.echo(f"{folder}: {counts or 'no jobs'}")
    for job in data["running"]:
        told = f"since {duration(job['seconds'])}" if job["alive"] else "interrupted; the same command goes on"
        typer.echo(f"running   {job['output']}, attempt {job['attempt']}, {told}")
    for state in ("failed", "skipped"):
        for job in data[state]:
            typer.echo(f"{state:10}{job['output']}: {job['reason']}")
            if state == "failed" and job["log"] is not None:
                typer.echo(f"log       {job['log']}")
    if data["megapixels_per_hour"] is not None:
        typer.echo(f"speed     {data['megapixels_per_hour']:.3g} megapixels an hour for each worker")
    if others:
        which = "job of an earlier command is" if others == 1 else "jobs of earlier commands are"
        typer.echo(f"besides   {others} {which} no longer selected")


def batch_progress(rows: "list[Row]", now: float, folder: Path) -> dict[str, Any]:
    """Where the batch in a folder stands, as JSON-ready data; `now` in seconds since the epoch."""
    from hires_nst.batch.ledger_schema import STATES
    from hires_nst.batch.paths import BatchPaths

    paths = BatchPaths(folder)
    done = [row for row in rows if row.state == "done" and row.width and row.height and row.seconds]
    pixels = sum((row.width or 0) * (row.height or 0) for row in done)
    seconds = sum(row.seconds or 0.0 for row in done)
    return {
        "counts": {state: sum(row.state == state for row in rows) for state in STATES},
        "running": [
            {
                "output": row.output,
                "attempt": row.attempts,
                "seconds": now - (row.started or now),
                "alive": row.lease is not None and row.lease > now,
            }
            for row in rows
            if row.state == "running"
        ],
        **{
            state: [
                {
                    "output": row.output,
                    "reason": row.error or "",
                    "log": paths.job(row.id).existing_text,
                }
                for row in rows
                if row.state == state
            ]
            for state in ("failed", "skipped")
        },
        "megapixels_per_hour": pixels / 1e6 / seconds * 3600 if seconds else None,
    }
