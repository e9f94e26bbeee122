"""`hires-nst status`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

import hires_nst
from hires_nst.cli.options import Folder, Json
from hires_nst.cli.progress import print_line
from hires_nst.events import json_line
from hires_nst.quantities import amount, duration

if TYPE_CHECKING:
    from hires_nst.batch.status import BatchStatus
    from hires_nst.run.status import RunStatus


def status(folder: Folder, json: Json = False) -> None:
    """Show the progress of a run or a batch, also while it works."""
    from hires_nst.batch.status import BatchStatus

    status = hires_nst.status(folder)
    if json:
        typer.echo(json_line(asdict(status)))
        return
    for line in batch_status_lines(status) if isinstance(status, BatchStatus) else status_lines(status):
        print_line(line)


def status_lines(status: RunStatus) -> Iterator[str]:
    """The status of a run, line by line."""
    from hires_nst.run.directory import resume_command

    state = status.state
    detail = f" ({status.lock_owner})" if status.lock_owner else ""
    if status.reason and not status.lock_owner:
        detail = f" by {status.reason}" if state == "stopped" else f", but {status.reason}"
    yield f"result    {status.output}, {status.width} x {status.height} px"
    yield f"state     {state}{detail}"
    if status.level is not None and state != "finished":
        place = f"level {status.level}/{status.levels}"
        if status.round is not None:
            place += f", round {status.round}/{status.rounds}, {status.tiles_done} of {status.tiles} tiles done"
        yield f"place     {place}"
    if status.loss is not None:
        style = "" if status.style_loss is None else f", style loss {status.style_loss:.4g} at the start of the round"
        yield f"loss      {status.loss:.4g}{style}"
    yield f"done      {100 * status.done:.0f} %"
    if status.pixels_per_second is not None:
        yield f"rate      {status.pixels_per_second / 1e6:.3g} million pixel evaluations per second"
    if status.seconds_left is not None and state != "finished":
        yield f"time left about {duration(status.seconds_left)}"
    yield f"on disk   {amount(status.bytes)}"
    if state in ("stopped", "interrupted"):
        yield f"resume    {resume_command(status.run_dir)}"


def batch_status_lines(status: BatchStatus) -> Iterator[str]:
    """The status of a batch, line by line."""
    counts = ", ".join(f"{count} {state}" for state, count in status.counts.items() if count)
    yield f"{status.folder}: {counts or 'no jobs'}"
    for job in status.running:
        detail = f"for {duration(job.seconds)}" if job.alive else "interrupted; run the same command again to resume it"
        yield f"running   {job.output}, attempt {job.attempt}, {detail}"
    for failed in status.failed:
        yield f"failed    {failed.output}: {failed.reason}"
        if failed.log is not None:
            yield f"log       {failed.log}"
    for skipped in status.skipped:
        yield f"skipped   {skipped.output}: {skipped.reason}"
    if status.megapixels_per_hour is not None:
        yield f"rate      {status.megapixels_per_hour:.3g} megapixels per hour and worker"
    if others := status.no_longer_selected:
        which = "job of an earlier command is" if others == 1 else "jobs of earlier commands are"
        yield f"also      {others} {which} no longer selected"
