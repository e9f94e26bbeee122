"""`hires-nst stylize`, and what other commands share with it."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

import hires_nst
from hires_nst.cli.options import ConfigOptions, takes_config_options
from hires_nst.cli.progress import showing
from hires_nst.cli.signals import MaxHours, Until, ending_at_once, stopping
from hires_nst.config import Config
from hires_nst.imageio.formats import FORMATS
from hires_nst.quantities import duration

MM_PER_INCH = 25.4


def _wants_json(ctx: typer.Context, wanted: bool) -> bool:
    ctx.meta["json"] = wanted  # so that an error is printed as JSON too
    return wanted


class Resume(str, Enum):
    """What to do with an existing run directory."""

    auto = "auto"
    never = "never"
    require = "require"


Content = Annotated[Path, typer.Argument(metavar="CONTENT", help=f"The photograph: {FORMATS}.")]
Styles = Annotated[
    list[Path] | None,
    typer.Argument(metavar="STYLE", help="The paintings; they replace those of the configuration."),
]
Json = Annotated[
    bool, typer.Option("--json", is_eager=True, callback=_wants_json, help="Print JSON on stdout, one object per line.")
]


@takes_config_options()
def stylize(
    content: Content,
    styles: Styles = None,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="The result: .png, .jpg or .tif.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
    run_dir: Annotated[
        Path | None,
        typer.Option("--run-dir", metavar="DIR", help="Run directory for checkpoints; OUT.run when not given."),
    ] = None,
    resume: Annotated[
        Resume,
        typer.Option(
            "--resume",
            help="auto resumes an interrupted run; never starts over; require fails if there is nothing to resume.",
        ),
    ] = Resume.auto,
    until: Until = None,
    max_hours: MaxHours = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
    json: Json = False,
    options: ConfigOptions,
) -> None:
    """Paint a photograph in the style of one or more paintings.

    Without a size, the result is as large as the photograph. `hires-nst plan` shows the cost beforehand.
    """
    from hires_nst.run.directory import run_directory

    config = options.effective(styles or ())
    folder = run_directory(output, config, run_dir=run_dir)
    with (
        stopping(until=until, max_hours=max_hours, quiet=quiet or json) as stop,
        ending_at_once(folder, stop),
        showing(quiet=quiet, as_json=json) as on_event,
    ):
        result = hires_nst.stylize(
            content, output, config=config, overwrite=overwrite, run_dir=run_dir, resume=resume.value, stop=stop,
            on_event=on_event,
        )  # fmt: skip
    if not quiet and not json:
        size = physical_size(result.width, result.height, config=config)
        size = f"{result.width} x {result.height} px{f' ({size})' if size else ''}"
        typer.echo(f"{result.output}: {size} in {duration(result.seconds)}")


def physical_size(width: int, height: int, *, config: Config) -> str:
    """The size of a print in centimetres; empty without a print."""
    if config.output.print is None:
        return ""
    dpi = config.output.print.dpi
    across, down = (pixels / dpi * MM_PER_INCH / 10 for pixels in (width, height))
    return f"{across:.1f} x {down:.1f} cm at {dpi:g} dpi"
