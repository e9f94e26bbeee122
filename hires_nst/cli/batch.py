"""`hires-nst batch`."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import hires_nst
from hires_nst.cli.batch_progress import following
from hires_nst.cli.options import (
    BATCH_OPTIONS,
    CLUSTER,
    JOBS,
    RUNNING,
    Address,
    ConfigOptions,
    ExecutorOption,
    Json,
    Quiet,
    path_argument,
    path_option,
    takes_config_options,
)
from hires_nst.cli.report import report_of_batch
from hires_nst.cli.roles import Roles, StyleOption
from hires_nst.cli.signals import MaxHours, Until, ending_at_once, stopping
from hires_nst.config import merge, parse_config
from hires_nst.errors import ConfigError
from hires_nst.stopping import Stop

if TYPE_CHECKING:
    from hires_nst.batch import Summary


@takes_config_options(*BATCH_OPTIONS)
def batch(
    contents: Annotated[
        Path | None,
        path_argument(
            metavar="CONTENTS",
            help="A folder of photographs, a photograph, or a text file with one path per line; several with --style; "
            "when not given, jobs: of --config.",
        ),
    ] = None,
    styles: Annotated[
        list[Path] | None,
        path_argument(
            metavar="STYLE",
            help="Paintings, by file or by words of the gallery, or folders of paintings, each painting a separate "
            "style; when not given, the paintings of the configuration are blended.",
        ),
    ] = None,
    *,
    painting: StyleOption = None,
    output: Annotated[
        Path, path_option("--output", "-o", metavar="OUT_DIR", help="Folder for the pictures; created if missing.")
    ],
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace existing files that this batch did not write.", rich_help_panel=JOBS),
    ] = False,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Retry jobs that failed in earlier runs.", rich_help_panel=RUNNING),
    ] = False,
    fail_fast: Annotated[
        bool,
        typer.Option(
            "--fail-fast", help="Stop at the first job that fails after its retries.", rich_help_panel=RUNNING
        ),
    ] = False,
    until: Until = None,
    max_hours: MaxHours = None,
    executor: ExecutorOption = "local",
    address: Address = None,
    ship: Annotated[
        bool,
        typer.Option(
            "--ship",
            help="Send files through Ray; without it, all machines must share the folders.",
            rich_help_panel=CLUSTER,
        ),
    ] = False,
    page: Annotated[bool, typer.Option("--report/--no-report", help="Write OUT_DIR/report.html at the end.")] = True,
    quiet: Quiet = False,
    json: Json = False,
    options: ConfigOptions,
) -> None:
    """Paint many photographs in the style of one or more paintings, into a folder.

    The same command resumes an interrupted batch without repeating finished pictures. Several processes may share one
    batch.
    """
    roles = Roles.of(contents, styles, options=painting, gallery=options.gallery)
    if contents is not None:
        roles.check_batch(output=output)
    with stopping(until=until, max_hours=max_hours, quiet=quiet or json) as stop:
        run = partial(
            hires_nst.batch.run, roles.contents or None, output, **batch_arguments(roles.styles, options),
            executor=executor, address=address, ship=ship, overwrite=overwrite,
            retry_failed=retry_failed, fail_fast=fail_fast, stop=stop,
        )  # fmt: skip
        run_batch(run, output, stop=stop, page=page, quiet=quiet, as_json=json)


def run_batch(
    run: "Callable[..., Summary]", output: Path, *, stop: Stop, page: bool, quiet: bool, as_json: bool
) -> None:
    """Run a batch, show its progress, write its report if `page`, and exit with its code unless all went well.

    Args:
        run: called with `on_event`.

    Raises:
        As the batch; Interrupted: a second signal ended it at once.
    """
    output = output.expanduser().absolute()
    with ending_at_once(output, stop), following(output, quiet=quiet, as_json=as_json) as on_event:
        summary = run(on_event=on_event)
    if page:
        report_of_batch(output, stop, quiet=quiet, as_json=as_json)
    if summary.exit_code:
        raise typer.Exit(summary.exit_code)


def batch_arguments(styles: Sequence[Path], options: ConfigOptions) -> dict[str, Any]:
    """The selection of a batch: arguments of `hires_nst.batch.jobs`.

    Raises:
        ConfigError, InputError: as `ConfigOptions.effective`.
    """
    if styles and options.style_weights is not None:
        raise ConfigError("--style-weights blends paintings, but in a batch each is a separate style; leave it out")
    if styles and options.masks:
        raise ConfigError(
            "--mask is for the paintings of one picture, but in a batch each is a separate style; give masks under "
            "styles: in a configuration"
        )
    sources = options.sources()
    common = {key: value for key, value in sources.items() if key != "jobs"}  # the list may be long
    return {
        "styles": parse_config({"styles": options.styles_of(styles)}).styles,
        "config": options.effective(sources=sources),
        "config_for": lambda own: options.effective(sources=merge(common, own)),
        "preset": options.preset,
    }
