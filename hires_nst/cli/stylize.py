"""`hires-nst stylize` and `hires-nst plan`."""

import dataclasses
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from hires_nst.cli.options import ConfigOptions, takes_config_options
from hires_nst.cli.progress import duration, showing
from hires_nst.cli.signals import MaxHours, Until, stopping
from hires_nst.config import Config
from hires_nst.errors import ConfigError, InputError
from hires_nst.events import json_line

if TYPE_CHECKING:
    from hires_nst.planning import Plan

MM_PER_INCH = 25.4


def _wants_json(ctx: typer.Context, wanted: bool) -> bool:
    ctx.meta["json"] = wanted  # so that an error is told as JSON too
    return wanted


class Resume(str, Enum):
    """What to do about a run directory that is there."""

    auto = "auto"
    never = "never"
    require = "require"


Content = Annotated[Path, typer.Argument(metavar="CONTENT", help="The photograph: PNG, JPEG, TIFF or WebP.")]
Styles = Annotated[
    list[Path] | None,
    typer.Argument(metavar="STYLE", help="The paintings; they replace those of the configuration."),
]
Json = Annotated[
    bool, typer.Option("--json", is_eager=True, callback=_wants_json, help="Tell everything as JSON on stdout.")
]


@takes_config_options
def stylize(
    content: Content,
    styles: Styles = None,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="The result: .png, .jpg or .tif.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it is there.")] = False,
    run_dir: Annotated[
        Path | None, typer.Option("--run-dir", metavar="DIR", help="Where to keep what going on needs; OUT.run.")
    ] = None,
    resume: Annotated[
        Resume, typer.Option("--resume", help="Go on where there is a run, start anew, or insist on going on.")
    ] = Resume.auto,
    until: Until = None,
    max_hours: MaxHours = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
    json: Json = False,
    options: ConfigOptions,
) -> None:
    """Paint a photograph in the style of one or more paintings.

    Without a size, the result is as large as the photograph. See the cost first: `hires-nst plan`.
    """
    from hires_nst.image_files import check_output

    config = options.effective(styles or ())
    folder = run_dir or config.checkpoint.directory or output.with_name(f"{output.name}.run")
    check_output(output, overwrite=overwrite or folder.is_dir())  # which it may be that made it
    check_inputs(content, config)
    with (
        stopping(until=until, max_hours=max_hours, quiet=quiet or json) as stop,
        showing(quiet=quiet, as_json=json) as on_event,
    ):
        from hires_nst import pipeline

        result = pipeline.stylize(
            content, output, config=config, overwrite=overwrite, run_dir=run_dir, resume=resume.value, stop=stop,
            on_event=on_event,
        )  # fmt: skip
    if not quiet and not json:
        size = physical_size(result.width, result.height, config)
        size = f"{result.width} x {result.height} px{f' ({size})' if size else ''}"
        typer.echo(f"{result.output}: {size} in {duration(result.seconds)}")


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
    from hires_nst.cli.batch_plan import is_batch, show_batch_plan

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


def check_inputs(content: Path, config: Config) -> None:
    """Find what is missing at once, before torch is loaded.

    Raises:
        ConfigError: there is no painting.
        InputError: a picture is not there.
    """
    if not config.styles and (config.loss.active_style_layers or config.init.kind == "style"):
        raise ConfigError("there is no painting: name one after the photograph, or under styles: in a configuration")
    starts = [config.init.file] if config.init.file is not None else []
    for path in (content, *(style.image for style in config.styles), *starts):
        if not path.exists():
            raise InputError(f"{path} does not exist; check the name and the folder")
        if path.is_dir():
            raise InputError(f"{path} is a folder; give the picture file itself")


def physical_size(width: int, height: int, config: Config) -> str:
    """Centimetres of a print, or nothing when no print was asked for."""
    if config.output.print is None:
        return ""
    dpi = config.output.print.dpi
    across, down = (pixels / dpi * MM_PER_INCH / 10 for pixels in (width, height))
    return f"{across:.1f} x {down:.1f} cm at {dpi:g} dpi"


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


def amount(size: float) -> str:
    """Bytes for people."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size:.0f} bytes"
