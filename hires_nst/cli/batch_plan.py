"""`hires-nst plan` for a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hires_nst.cli.batch import batch_arguments
from hires_nst.cli.options import ConfigOptions
from hires_nst.cli.progress import showing
from hires_nst.events import json_line
from hires_nst.quantities import amount, duration

if TYPE_CHECKING:
    from hires_nst.batch import BatchPlan


def show_batch_plan(
    contents: Path | None, output: Path | None, *, styles: Sequence[Path], options: ConfigOptions, measure: bool,
    quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Print the plan of a batch; arguments and errors as `batch`."""
    from hires_nst.batch import api

    selection = batch_arguments(styles, options)
    with showing(quiet=quiet or as_json, as_json=False) as on_event:
        planned = api.plan(contents, output, **selection, measure=measure, on_event=on_event)
    if as_json:
        typer.echo(json_line(asdict(planned)))
        return
    for line in batch_plan_lines(planned):
        typer.echo(line)


def batch_plan_lines(plan: BatchPlan) -> list[str]:
    """The plan in words."""
    pictures = f"{plan.pictures}, {plan.megapixels:.3g} megapixels"
    if plan.unreadable:
        pictures += f"; {plan.unreadable} of them cannot be read and will fail"
    lines = [
        f"pictures  {pictures}",
        f"disk      up to {amount(plan.output_bytes)} for them, and {amount(plan.run_bytes)} while they are painted",
        f"workers   {plan.workers}",
    ]
    if plan.left_out:
        lines.insert(1, f"left out  {', '.join(f'{reason} ({count})' for reason, count in plan.left_out.items())}")
    if plan.seconds is not None:
        lines.append(f"time      about {duration(plan.seconds)}")
    return lines
