"""`hires-nst status`: where a run or a batch stands, also from another terminal while it works."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hires_nst.cli.stylize import Json
from hires_nst.events import json_line
from hires_nst.quantities import amount, duration

if TYPE_CHECKING:
    from hires_nst.batch.status import BatchStatus
    from hires_nst.run.status import RunStatus


def status(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A run directory, such as print.tif.run, or a batch's output folder.")
    ],
    json: Json = False,
) -> None:
    """Show where a run or a batch stands, also while it works: what is done, and what is left."""
    import hires_nst
    from hires_nst.batch.status import BatchStatus

    found = hires_nst.status(folder)
    if json:
        typer.echo(json_line(asdict(found)))
        return
    for line in batch_status_lines(found) if isinstance(found, BatchStatus) else status_lines(found):
        typer.echo(line)


def status_lines(found: "RunStatus") -> list[str]:
    """The status of a run, human-readable."""
    from hires_nst.run.directory import resume_command

    state = found.state
    detail = f" ({found.lock_owner})" if found.lock_owner else ""
    if found.reason and not found.lock_owner:
        detail = f" by {found.reason}" if state == "stopped" else f", but {found.reason}"
    lines = [f"result    {found.output}, {found.width} x {found.height} px", f"state     {state}{detail}"]
    if found.level is not None and state != "finished":
        place = f"level {found.level}/{found.levels}"
        if found.round is not None:
            place += f", round {found.round}/{found.rounds}, {found.tiles_done} of {found.tiles} tiles done"
        lines.append(f"place     {place}")
    if found.loss is not None:
        style = "" if found.style_loss is None else f", style loss {found.style_loss:.4g} at the start of the round"
        lines.append(f"loss      {found.loss:.4g}{style}")
    lines.append(f"done      {100 * found.done:.0f} %")
    if found.pixels_per_second is not None:
        lines.append(f"rate      {found.pixels_per_second / 1e6:.3g} million pixel evaluations per second")
    if found.seconds_left is not None and state != "finished":
        lines.append(f"time left about {duration(found.seconds_left)}")
    lines.append(f"on disk   {amount(found.bytes)}")
    if state in ("stopped", "interrupted"):
        lines.append(f"resume    {resume_command(found.run_dir)}")
    return lines


def batch_status_lines(found: "BatchStatus") -> list[str]:
    """The status of a batch, human-readable."""
    counts = ", ".join(f"{count} {state}" for state, count in found.counts.items() if count)
    lines = [f"{found.folder}: {counts or 'no jobs'}"]
    for job in found.running:
        detail = f"for {duration(job.seconds)}" if job.alive else "interrupted; run the same command again to resume it"
        lines.append(f"running   {job.output}, attempt {job.attempt}, {detail}")
    for closed in found.failed:
        lines.append(f"failed    {closed.output}: {closed.reason}")
        if closed.log is not None:
            lines.append(f"log       {closed.log}")
    lines += [f"skipped   {closed.output}: {closed.reason}" for closed in found.skipped]
    if found.megapixels_per_hour is not None:
        lines.append(f"speed     {found.megapixels_per_hour:.3g} megapixels per hour and worker")
    if others := found.no_longer_selected:
        which = "job of an earlier command is" if others == 1 else "jobs of earlier commands are"
        lines.append(f"also      {others} {which} no longer selected")
    return lines
