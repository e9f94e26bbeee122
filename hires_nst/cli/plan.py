"""`hires-nst plan`."""

import dataclasses
from collections.abc import Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import hires_nst
from hires_nst.cli.batch import batch
from hires_nst.cli.batch_plan import show_batch_plan
from hires_nst.cli.options import BATCH_OPTIONS, ConfigOptions, takes_config_options, takes_options_of
from hires_nst.cli.progress import showing
from hires_nst.cli.stylize import Json, Styles, physical_size, stylize
from hires_nst.config import Config
from hires_nst.errors import ConfigError
from hires_nst.events import json_line
from hires_nst.quantities import amount, duration

if TYPE_CHECKING:
    from hires_nst.run.plan import Plan


@takes_options_of(stylize, batch)
@takes_config_options(*BATCH_OPTIONS)
def plan(
    content: Annotated[
        Path | None,
        typer.Argument(metavar="CONTENT", help="The photograph; or a folder or list of photographs, as for batch."),
    ] = None,
    styles: Styles = None,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="OUT", help="The result to check for; nothing is written.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Allow OUT to exist.")] = False,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Time one evaluation to estimate the total time.")
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress and no notes.")] = False,
    json: Json = False,
    options: ConfigOptions,
    others: Mapping[str, Set[str]],
) -> None:
    """Show what `stylize` would do with the same arguments: levels, tiles, memory, disk and time. Writes nothing.

    With a folder or list of photographs, or the jobs of a configuration, show what `batch` would do.
    """
    from hires_nst.batch.selection import is_batch

    if content is None or is_batch(content):
        refuse(others, command="batch", why="single pictures only; leave it out for a batch")
        show_batch_plan(
            content, output, styles=styles or (), options=options, measure=measure, quiet=quiet, as_json=json
        )
        return
    refuse(
        {**others, **{flag: {"batch"} for flag in options.of_batch}},
        command="stylize",
        why=f"batches only; {content} is a single photograph",
    )
    config = options.effective(styles or ())
    with showing(quiet=quiet or json, as_json=False) as on_event:
        planned = hires_nst.plan(
            content, output=output, config=config, overwrite=overwrite, measure=measure, on_event=on_event
        )
    if json:
        typer.echo(json_line(plan_as_dict(planned)))
    else:
        show_plan(planned, config)


def refuse(others: Mapping[str, Set[str]], *, command: str, why: str) -> None:
    """Raise ConfigError where an option was given that `command` does not have."""
    for option, commands in others.items():
        if command not in commands:
            raise ConfigError(f"{option} is for {why}")


def plan_as_dict(plan: "Plan") -> dict[str, Any]:
    """The plan as JSON-ready data."""
    data = dataclasses.asdict(plan)
    for entry, level in zip(data["levels"], plan.levels, strict=True):
        entry["evaluations"] = level.evaluations
    return data


def show_plan(plan: "Plan", config: Config) -> None:
    """Print the plan."""
    console = Console()
    table = Table(title=None)
    for heading in ("level", "size in px", "rounds x steps", "evaluations", "tiles", "tile", "window"):
        table.add_column(heading, justify="right")
    for level in plan.levels:
        table.add_row(
            str(level.index + 1),
            f"{level.width} x {level.height}",
            f"{level.rounds} x {level.steps}",
            str(level.evaluations),
            str(level.tiles),
            str(level.tile_size),
            str(level.window),
        )
    console.print(table)
    for line in plan_lines(plan, config):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def plan_lines(plan: "Plan", config: Config) -> list[str]:
    """The plan in words, without its levels."""
    size, folder = physical_size(plan.width, plan.height, config=config), plan.canvas_folder
    memory = f"{amount(plan.tile_bytes)} for a tile, {amount(plan.available_bytes)} is free"
    lines = [
        f"result       {plan.width} x {plan.height} px{f', {size}' if size else ''}, up to {amount(plan.output_bytes)}",
        f"runs on      {plan.device} with {plan.model} in {plan.precision}",
        f"memory       {memory}",
        f"canvases     {amount(plan.canvas_bytes)} {f'on disk, in {folder}' if folder else 'in memory'}",
        f"checkpoints  up to {amount(plan.run_bytes)} on disk, until the result is written",
    ]
    if plan.seconds is not None:
        each = plan.seconds_per_megapixel
        rate = "" if each is None else f" ({each:.3g} s per megapixel and evaluation)"
        lines.append(f"time         about {duration(plan.seconds)}{rate}")
    return lines + [f"note         {note}" for note in plan.notes]
