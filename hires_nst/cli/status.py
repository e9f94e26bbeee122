"""`hires-nst status`: where a run stands, also from another terminal while it runs."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from hires_nst import events
from hires_nst.cli.progress import Tally, duration, json_line
from hires_nst.cli.stylize import Json, amount


@dataclass(frozen=True)
class RunStatus:
    """Where a run stands.

    Attributes:
        state: `running`, `stopped` (orderly), `interrupted` (killed), or `finished` (a run directory that was kept).
        holder: the process that works on it, if one does.
        reason: why it was stopped, if it was.
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
    holder: str | None
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
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The run directory, such as print.tif.run.")],
    json: Json = False,
) -> None:
    """Tell where a run stands: level, round, tiles, losses, rate, time left, and size on the disk."""
    found = run_status(run_dir)
    if json:
        typer.echo(json_line(asdict(found)))
        return
    for line in status_lines(found):
        typer.echo(line)


def run_status(run_dir: Path) -> RunStatus:
    """Where the run in a directory stands, by its record and its log.

    Raises:
        DamagedFile, ConfigError: it is no run directory, or none of this program.
    """
    from hires_nst import run_folder, run_record

    record = run_record.read_record(run_dir)
    now = [0.0]
    tally = Tally(clock=lambda: now[0])
    tiles, reason = set[int](), None
    for data in run_folder.read_log(run_dir):
        event = events.from_dict(data)
        if event is None:
            continue
        now[0] = float(data["time"])
        tally.update(event)
        match event:
            case events.RunStarted():
                reason = None
            case events.RunStopped():
                reason = event.reason
            case events.LevelStarted() | events.RoundStarted() | events.TilesShrunk():
                tiles.clear()
            case events.TileFinished() | events.TileRestored():
                tiles.add(event.tile)
    holder = run_folder.holder(run_dir)
    finished = record.written is not None and record.is_written(run_dir)
    state = "running" if holder else "finished" if finished else "stopped" if reason else "interrupted"
    return RunStatus(
        run_dir=str(run_dir),
        output=str(record.output_at(run_dir)),
        width=record.width,
        height=record.height,
        state=state,
        holder=holder,
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
        bytes=run_folder.size(run_dir),
    )


def status_lines(found: RunStatus) -> list[str]:
    """The status for people."""
    how = found.state
    if found.holder:
        how = f"running ({found.holder})"
    elif found.reason and found.state == "stopped":
        how = f"stopped by {found.reason}"
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
        lines.append(f"go on     hires-nst resume {found.run_dir}")
    return lines
