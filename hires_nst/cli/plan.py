"""`hires-nst plan`."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from hires_nst.cli.batch_plan import is_batch, show_batch_plan
from hires_nst.cli.options import ConfigOptions, takes_config_options
from hires_nst.cli.progress import duration, showing
from hires_nst.cli.stylize import Content, Json, Styles, amount, check_inputs, physical_size
from hires_nst.config import Config
from hires_nst.events import json_line

if TYPE_CHECKING:
    from hires_nst.planning import Plan


@takes_config_options
def plan(
    content: Content,
    styles: Styles = None,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="OUT", help="Checked if given; nothing is written.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="OUT may be there already.")] = False,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Time one evaluation, to estimate the whole.")
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")] = False,
    json: Json = False,
    options: ConfigOptions,
) -> None:
    """Tell what `stylize` would do with the same arguments: levels, tiles, memory, disk and time. Writes nothing.

    With a folder or a list of photographs, tell what `batch` would do.
    """
    if is_batch(content):
        show_batch_plan(content, styles or (), output, options, measure=measure, quiet=quiet, as_json=json)
        return
    config = options.effective(styles or ())
    if output is not None:
        from hires_nst.image_files import check_output

        check_output(output, overwrite=overwrite)
    check_inputs(content, config)
    with showing(quiet=quiet or json, as_json=False) as on_event:
        from hires_nst import planning

        planned = planning.plan(content, config=config, measure=measure, on_event=on_event)
    if output is not None:
        from hires_nst.image_files import check_format

        check_format(output, planned.width, planned.height, bit_depth=config.output.bit_depth)
    if json:
        typer.echo(json_line(plan_as_dict(planned)))
    else:
        show_plan(planned, config)


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
    """What is said about the plan besides its levels."""
    size = physical_size(plan.width, plan.height, config)
    memory = f"{amount(plan.tile_bytes)} for a tile, {amount(plan.available_bytes)} are free"
    lines = [
        f"result    {plan.width} x {plan.height} px{f', {size}' if size else ''}, up to {amount(plan.output_bytes)}",
        f"runs on   {plan.device} with {plan.model} in {plan.precision}",
        f"memory    {memory}",
        f"canvases  {amount(plan.canvas_bytes)} {'on disk' if plan.canvas_place == 'disk' else 'in memory'}",
        f"to go on  up to {amount(plan.run_bytes)} on disk, until the result is written",
    ]
    if plan.seconds is not None:
        each = (
            "" if plan.seconds_per_megapixel is None else f" ({plan.seconds_per_megapixel:.3g} s for a megapixel once)"
        )
        lines.append(f"time      about {duration(plan.seconds)}{each}")
    return lines + [f"note      {note}" for note in plan.notes]
