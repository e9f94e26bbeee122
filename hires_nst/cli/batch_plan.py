"""`hires-nst plan` for a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from hires_nst.cli.batch import jobs_of, worker_devices
from hires_nst.cli.options import ConfigOptions
from hires_nst.cli.progress import showing
from hires_nst.config import Batch
from hires_nst.events import json_line
from hires_nst.quantities import amount, duration


@dataclass(frozen=True)
class BatchPlan:
    """What a batch will do and need.

    Attributes:
        pictures: how many it will paint; `unreadable` of them cannot be read, and will fail.
        left_out: files by the reason why they are no jobs.
        megapixels: of all pictures together.
        output_bytes: of all pictures, uncompressed.
        run_bytes: what the workers keep at most while they paint, if memory allows the largest tiles.
        workers: that will paint at once.
        seconds: an estimate from one evaluation, timed at the largest picture; None when it was not timed.
    """

    pictures: int
    unreadable: int
    left_out: dict[str, int]
    megapixels: float
    output_bytes: int
    run_bytes: int
    workers: int
    seconds: float | None


def is_batch(content: Path) -> bool:
    """Whether a command line's first argument is a folder or a list of photographs."""
    if not content.is_file():
        return content.is_dir()
    from hires_nst.batch.jobs import PICTURES

    return content.suffix.lower() not in PICTURES


def show_batch_plan(
    contents: Path | None, styles: Sequence[Path], output: Path | None, options: ConfigOptions,
    given: Mapping[str, Any], *, measure: bool, quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Print what a batch will do and need; arguments and errors as `batch`."""
    planned = batch_plan(contents, styles, output, options, given, measure=measure, quiet=quiet or as_json)
    if as_json:
        typer.echo(json_line(asdict(planned)))
        return
    for line in batch_plan_lines(planned):
        typer.echo(line)


def batch_plan(
    contents: Path | None, styles: Sequence[Path], output: Path | None, options: ConfigOptions,
    given: Mapping[str, Any], *, measure: bool, quiet: bool,
) -> BatchPlan:  # fmt: skip
    """What a batch will do and need; errors as `batch`.

    Args:
        given: other options of `batch` that were given; those of the configuration's section `batch` count.
    """
    from hires_nst.batch.disk_space import picture_bytes, run_bytes

    beside = Path("painted") if contents is None else contents.with_name(f"{contents.name}-painted")
    place = (output or beside).expanduser().absolute()
    section = {name: value for name, value in given.items() if name in Batch.model_fields}
    config, jobs = jobs_of(contents, list(styles), place, options, section)
    workers = len(worker_devices(config.batch.workers, config.runtime.device))
    largest = max(jobs.jobs, key=lambda job: job.work)
    seconds = None
    if measure and largest.work:
        with showing(quiet=quiet, as_json=False) as on_event:
            from hires_nst.run import plan

            alone = plan.plan(largest.content, config=largest.config, on_event=on_event).seconds
        if alone is not None:
            seconds = alone * sum(job.work for job in jobs.jobs) / largest.work / workers
    return BatchPlan(
        pictures=len(jobs.jobs),
        unreadable=sum(job.size is None for job in jobs.jobs),
        left_out=dict(jobs.left_out),
        megapixels=sum(job.pixels for job in jobs.jobs) / 1e6,
        output_bytes=sum(map(picture_bytes, jobs.jobs)),
        run_bytes=sum(sorted(map(run_bytes, jobs.jobs))[-workers:]),
        workers=workers,
        seconds=seconds,
    )


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
