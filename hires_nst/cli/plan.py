"""`hires-nst plan`, of a single picture or a batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

import hires_nst
from hires_nst.cli.batch import batch, batch_arguments
from hires_nst.cli.options import (
    BATCH_OPTIONS,
    ConfigOptions,
    Json,
    path_argument,
    takes_config_options,
    takes_options_of,
)
from hires_nst.cli.progress import counted, print_line, showing
from hires_nst.cli.roles import Roles, StyleOption, StyleWords
from hires_nst.cli.stylize import physical_size, stylize, target_of
from hires_nst.config import Config
from hires_nst.errors import ConfigError
from hires_nst.events import Notice, json_line
from hires_nst.quantities import amount, counts, duration, printable
from hires_nst.run.output_size import MUCH_CROPPED, MUCH_ENLARGED

if TYPE_CHECKING:
    from hires_nst import Plan
    from hires_nst.batch import BatchPlan

COLUMNS = ("level", "size in px", "rounds x steps", "evaluations", "tiles", "tile", "window")


@takes_options_of(stylize, batch)
@takes_config_options(*BATCH_OPTIONS)
def plan(
    content: Annotated[
        Path | None,
        path_argument(metavar="CONTENT", help="The photograph; or a folder or list of photographs, as for batch."),
    ] = None,
    styles: StyleWords = None,
    *,
    painting: StyleOption = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="OUT", help="Output path to check; nothing is written.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Allow OUT to exist.")] = False,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Time one evaluation to estimate the total time.")
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress.")] = False,
    json: Json = False,
    options: ConfigOptions,
    others: Mapping[str, Set[str]],
) -> None:
    """Show what `stylize` would do with the same arguments: levels, tiles, memory, disk and time. Writes nothing.

    With a folder or list of photographs, or the jobs of a configuration, show what `batch` would do.
    """
    from hires_nst.batch.selection import is_batch

    roles = Roles.of(content, styles, options=painting, gallery=options.gallery)
    if content is None or is_batch(content) or len(roles.contents) > 1:
        refuse(others, command="batch", why="single pictures only; leave it out for a batch")
        selection = batch_arguments(roles.styles, options)
        with showing(quiet=quiet or json, as_json=False) as on_event:
            batch_plan = hires_nst.batch.plan(
                roles.contents or None, output, **selection, measure=measure, on_event=on_event
            )
        if json:
            typer.echo(json_line(asdict(batch_plan)))
        for line in batch_plan_lines(batch_plan) if not json else ():
            print_line(line)
        return
    refuse(
        {**others, **{flag: {"batch"} for flag in options.of_batch}},
        command="stylize",
        why=f"batches only; {content} is a single photograph",
    )
    roles.check_single("plan", output=output, merged=options.merge_styles)
    config = options.effective(roles.styles)
    _, file = target_of(output, content, config=config)
    with showing(quiet=quiet or json, as_json=False) as on_event:
        plan = hires_nst.plan(
            content, output=output, config=config, overwrite=overwrite, measure=measure,
            on_event=lambda event: None if isinstance(event, Notice) else on_event(event),  # notes are in the plan
        )  # fmt: skip
    if json:
        levels = [{**vars(level), "evaluations": level.evaluations} for level in plan.levels]
        typer.echo(json_line({**vars(plan), "levels": levels, "output": str(file)}))
    else:
        print_plan(plan, config, output=file)


def refuse(others: Mapping[str, Set[str]], *, command: str, why: str) -> None:
    """Raise ConfigError where an option was given that `command` does not have."""
    for option, commands in others.items():
        if command not in commands:
            raise ConfigError(f"{option} is for {why}")


def print_plan(plan: Plan, config: Config, *, output: Path) -> None:
    """Print the plan of a single picture."""
    table = Table()
    for heading in COLUMNS:
        table.add_column(heading, justify="right")
    for level in plan.levels:
        size, rounds = f"{level.width} x {level.height}", f"{level.rounds} x {level.steps}"
        if level.skipped:
            table.add_row(str(level.index + 1), size, "skipped")
            continue
        numbers = level.evaluations, level.tiles, level.tile_size
        window = f"{level.window_width} x {level.window_height}"
        table.add_row(str(level.index + 1), size, rounds, *map(str, numbers), window)
    console = Console()
    console.print(table)
    for line in plan_lines(plan, config, output=output):
        console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


def plan_lines(plan: Plan, config: Config, *, output: Path) -> Iterator[str]:
    """The plan of a single picture in words, without its levels."""
    yield f"file         {output}"
    paper, folder = physical_size(plan.width, plan.height, config=config), plan.canvas_folder
    yield f"result       {plan.width} x {plan.height} px{paper and f', {paper}'}, up to {amount(plan.output_bytes)}"
    yield f"photograph   {plan.photograph}"
    yield f"runs on      {plan.device} with {plan.model} in {plan.precision}"
    yield f"memory       {amount(plan.tile_bytes)} for a tile, {amount(plan.available_bytes)} is free"
    yield f"canvases     {amount(plan.canvas_bytes)} {f'on disk, in {folder}' if folder else 'in memory'}"
    yield f"checkpoints  up to {amount(plan.run_bytes)} on disk, until the result is written"
    if plan.seconds is not None:
        each = plan.seconds_per_megapixel
        rate = "" if each is None else f" ({each:.3g} s per megapixel and evaluation)"
        yield f"time         about {duration(plan.seconds)}{rate}"
    for note in plan.notes:
        yield f"note         {note}"


def batch_plan_lines(plan: BatchPlan) -> Iterator[str]:
    """The plan of a batch in words."""
    unreadable = f"; {counted(len(plan.unreadable), 'photograph')} cannot be read" if plan.unreadable else ""
    yield f"pictures  {plan.pictures}, {plan.megapixels:.3g} megapixels{unreadable}"
    for reason in plan.unreadable.values():
        yield f"fails     {reason}"
    if plan.cropped:
        yield f"cropped   {plan.cropped} by more than {MUCH_CROPPED:.0%}; --fit contain keeps all of each photograph"
    if plan.enlarged:
        yield f"enlarged  {plan.enlarged} more than {MUCH_ENLARGED:g} times; a smaller size or fewer --dpi is sharper"
    if plan.left_out:
        yield f"left out  {counts(plan.left_out)}"
    yield f"disk      up to {amount(plan.output_bytes)} for results, and {amount(plan.run_bytes)} for checkpoints"
    yield f"workers   {plan.workers}"
    if plan.seconds is not None:
        yield f"time      about {duration(plan.seconds)}"
