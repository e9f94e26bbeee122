"""`hires-nst stylize`."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import hires_nst
from hires_nst.cli.options import (
    TILE_OPTIONS,
    Address,
    ConfigOptions,
    ExecutorOption,
    Json,
    OtherMachine,
    Quiet,
    path_argument,
    path_option,
    takes_config_options,
)
from hires_nst.cli.progress import print_line, showing
from hires_nst.cli.roles import Roles, StyleOption, StyleWords
from hires_nst.cli.schema_options import choice
from hires_nst.cli.signals import MaxHours, Until, ending_at_once, stopping
from hires_nst.config import Config
from hires_nst.gallery import resolved
from hires_nst.imageio.formats import FORMATS, SUFFIXES
from hires_nst.quantities import duration

if TYPE_CHECKING:
    from hires_nst import Result

CM_PER_INCH = 2.54


class Resume(str, Enum):
    """The choices of `--resume`."""

    auto = "auto"
    never = "never"
    require = "require"


@takes_config_options(*TILE_OPTIONS)
def stylize(
    content: Annotated[Path, path_argument(metavar="CONTENT", help=f"The photograph: {FORMATS}.")],
    styles: StyleWords = None,
    *,
    painting: StyleOption = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help=f"The result: {SUFFIXES}; or a folder for it. CONTENT-STYLE.png beside the photograph when not given.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
    run_dir: Annotated[
        Path | None,
        path_option("--run-dir", metavar="DIR", help="Run directory for checkpoints; OUT.run when not given."),
    ] = None,
    resume: Annotated[
        Resume,
        typer.Option(
            "--resume",
            metavar="auto|never|require",
            parser=lambda text: Resume(choice("--resume", [one.value for one in Resume])(text)),
            help="auto resumes an interrupted run; never starts over; require fails if there is nothing to resume.",
        ),
    ] = Resume.auto,
    other_machine: OtherMachine = False,
    until: Until = None,
    max_hours: MaxHours = None,
    executor: ExecutorOption = "local",
    address: Address = None,
    quiet: Quiet = False,
    json: Json = False,
    options: ConfigOptions,
) -> None:
    """Paint a photograph in the style of one or more paintings, which are blended.

    The name of this command may be left out: `hires-nst photo.jpg painting.jpg`.

    Without a size, the result is as large as the photograph. `hires-nst plan` shows the cost in advance.
    """
    from hires_nst.run.directory import run_directory

    roles = Roles.of(content, styles, options=painting, gallery=options.gallery)
    roles.check_single("stylize", output=output, merged=options.merge_styles)
    config = options.effective(roles.styles)
    target, file = target_of(output, content, config=config)
    folder = run_directory(file, config, run_dir=run_dir)
    with (
        stopping(until=until, max_hours=max_hours, quiet=quiet or json) as stop,
        ending_at_once(folder, stop),
        showing(quiet=quiet, as_json=json) as on_event,
    ):
        result = hires_nst.stylize(
            content, target, config=config, overwrite=overwrite, run_dir=run_dir, resume=resume.value,
            other_machine=other_machine, executor=executor, address=address, stop=stop, on_event=on_event,
        )  # fmt: skip
    if not quiet and not json:
        print_result(result, paper=physical_size(result.width, result.height, config=config))


def target_of(output: str | None, content: Path, *, config: Config) -> tuple[Path | str, Path]:
    """The output for the library, and the file that the result will be."""
    from hires_nst.run.output_file import default_output, output_file

    paintings = [style.path for style in resolved(config).styles]
    target = default_output(content, paintings) if output is None else output
    return target, output_file(target, content, styles=paintings)


def print_result(result: "Result", *, paper: str = "") -> None:
    """Print the file of a result, its size, the size on paper, and the time."""
    size = f"{result.width} x {result.height} px{paper and f' ({paper})'}"
    print_line(f"{result.output}: {size} in {duration(result.seconds)}")


def physical_size(width: int, height: int, *, config: Config) -> str:
    """The size of a print in centimetres; empty without a print."""
    if config.output.print is None:
        return ""
    dpi = config.output.print.dpi
    return f"{width / dpi * CM_PER_INCH:.1f} x {height / dpi * CM_PER_INCH:.1f} cm at {dpi:g} dpi"
