"""`hires-nst status`: where a batch stands, also while it runs."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hires_nst.cli.progress import duration
from hires_nst.cli.stylize import Json
from hires_nst.events import json_line

if TYPE_CHECKING:
    from hires_nst.batch.ledger import Row


def status(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The output folder of a batch.")],
    json: Json = False,
) -> None:
    """Tell where a batch stands, from elsewhere and while it runs: what is done, in work, waiting and failed."""
    batch_status(folder, as_json=json)


def batch_status(folder: Path, *, as_json: bool) -> None:
    """Print where the batch in `folder` stands.

    Raises:
        InputError: it is no batch's. ConfigError: its ledger is of another version.
    """
    from hires_nst.batch.ledger import read_rows, reading

    with reading(folder) as database:
        rows = list(read_rows(database).values())
    data = batch_standing(rows, time.time())
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
    if data["megapixels_per_hour"] is not None:
        typer.echo(f"speed     {data['megapixels_per_hour']:.3g} megapixels an hour for each worker")


def batch_standing(rows: "list[Row]", now: float) -> dict[str, Any]:
    """Where a batch stands, as JSON-ready data; `now` in seconds since the epoch."""
    from hires_nst.batch.ledger import STATES

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
            state: [{"output": row.output, "reason": row.error or ""} for row in rows if row.state == state]
            for state in ("failed", "skipped")
        },
        "megapixels_per_hour": pixels / 1e6 / seconds * 3600 if seconds else None,
    }
