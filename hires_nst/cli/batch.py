"""`hires-nst batch`."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hires_nst.cli.batch_progress import following
from hires_nst.cli.options import ConfigOptions, number_or_word, takes_config_options
from hires_nst.cli.report import report_of_batch
from hires_nst.cli.signals import MaxHours, Until, stopping
from hires_nst.cli.stylize import Json
from hires_nst.config import StyleImage, merge, parse_config
from hires_nst.errors import ConfigError, Interrupted
from hires_nst.stopping import Stop

if TYPE_CHECKING:
    from hires_nst.batch.runner import Summary

JOBS, RUNNING, CLUSTER = "Jobs", "Running", "Cluster"


@takes_config_options
def batch(
    contents: Annotated[
        Path | None,
        typer.Argument(
            metavar="CONTENTS",
            help="A folder of photographs, or a text file with a path in each line; without it, the jobs: of --config.",
        ),
    ] = None,
    styles: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="STYLE",
            help="Paintings, or folders of them, each for pictures of its own; without any, those of the configuration "
            "together.",
        ),
    ] = None,
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT_DIR", help="The folder for the pictures; made if need be.")
    ],
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Take the folders inside the folder, too.", rich_help_panel=JOBS)
    ] = False,
    include: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Only such names, as IMG_*.jpg; repeatable.", rich_help_panel=JOBS),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="No such names; repeatable.", rich_help_panel=JOBS)
    ] = None,
    match: Annotated[
        str | None,
        typer.Option(
            metavar="product|zip|stem",
            help="Each photograph with each painting, in pairs in their order, or in pairs of the same name.",
            rich_help_panel=JOBS,
        ),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Names of the pictures, with {content}, {style}, {index}, {parent}, {width}, {height} and {preset}.",
            rich_help_panel=JOBS,
        ),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(
            metavar="name|size|shuffle|shortest",
            help="What comes first: by name, the most pixels, anything, or the least work.",
            rich_help_panel=JOBS,
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace pictures that are not of this batch.", rich_help_panel=JOBS),
    ] = False,
    changed: Annotated[
        str | None,
        typer.Option(
            metavar="redo|skip|fail",
            help="What to do about a picture that is done, but whose settings, input or file changed.",
            rich_help_panel=JOBS,
        ),
    ] = None,
    retries: Annotated[
        int | None,
        typer.Option(metavar="N", help="How often a failed job is tried again.", rich_help_panel=RUNNING),
    ] = None,
    retry_wait: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="How long to wait before that.", rich_help_panel=RUNNING)
    ] = None,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Try what failed in earlier runs again.", rich_help_panel=RUNNING),
    ] = False,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="End with the first job that fails for good.", rich_help_panel=RUNNING)
    ] = False,
    workers: Annotated[
        str | None,
        typer.Option(
            parser=number_or_word,
            metavar="N|auto",
            help="Processes that paint; auto is one for each CUDA device, or one.",
            rich_help_panel=RUNNING,
        ),
    ] = None,
    until: Until = None,
    max_hours: MaxHours = None,
    executor: Annotated[
        str,
        typer.Option(metavar="local|ray", help="Paint on this machine, or on a Ray cluster.", rich_help_panel=CLUSTER),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Of the Ray cluster; auto finds one here.", rich_help_panel=CLUSTER),
    ] = None,
    ship: Annotated[
        bool,
        typer.Option(
            "--ship",
            help="Send pictures through Ray; without it, all machines share the folders.",
            rich_help_panel=CLUSTER,
        ),
    ] = False,
    page: Annotated[bool, typer.Option("--report/--no-report", help="Write OUT_DIR/report.html at the end.")] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
    json: Json = False,
    options: ConfigOptions,
) -> None:
    """Paint many photographs in the style of one or more paintings, into a folder.

    The same command goes on where it was interrupted, and does nothing twice; several at once share the work.
    """
    from hires_nst.batch import api

    given = {
        "recursive": recursive or None, "include": include, "exclude": exclude, "match": match, "template": template,
        "order": order, "changed": changed, "retries": retries, "retry_wait": retry_wait, "workers": workers,
    }  # fmt: skip
    with stopping(until=until, max_hours=max_hours, quiet=quiet or json) as stop:
        selection = batch_arguments(styles or (), options, {k: v for k, v in given.items() if v is not None})
        painting = partial(
            api.run, contents, output, **selection, executor=executor, address=address, ship=ship, overwrite=overwrite,
            retry_failed=retry_failed, fail_fast=fail_fast, stop=stop,
        )  # fmt: skip
        code = followed(painting, output, stop, page=page, quiet=quiet, as_json=json)
    if code:
        raise typer.Exit(code)


def followed(
    painting: "Callable[..., Summary]", output: Path, stop: Stop, *, page: bool, quiet: bool, as_json: bool
) -> int:
    """Run a batch, which is called with `on_event`, and afterwards make its report if `page`; the exit code.

    Raises:
        As the batch; Interrupted: a second signal ended it at once.
    """
    from hires_nst.run.directory import resume_command

    output = output.expanduser().absolute()
    with following(output, quiet=quiet, as_json=as_json) as on_event:
        try:
            summary = painting(on_event=on_event)
        except KeyboardInterrupt:
            again = f"`{resume_command(output)}` goes on"
            raise Interrupted(f"ended at once; {again}", exit_code=stop.exit_code) from None
    if page:
        report_of_batch(output, stop, quiet=quiet, as_json=as_json)
    return summary.exit_code


def batch_arguments(styles: Sequence[Path], options: ConfigOptions, given: Mapping[str, Any]) -> dict[str, Any]:
    """The selection of a batch, as arguments of `hires_nst.batch.jobs`; `given` are options of the section batch.

    Raises:
        ConfigError, InputError: as `ConfigOptions.effective`.
    """
    if styles and options.style_weights is not None:
        raise ConfigError("--style-weights is for paintings that go into one picture; here each makes its own")
    sources = options.sources()
    common = {key: value for key, value in sources.items() if key != "jobs"}  # the list may be long
    config = options.effective(sources=sources)
    section = {**config.batch.model_dump(mode="json"), **given}
    scale = {} if options.style_scale is None else {"scale": options.style_scale}
    return {
        "styles": [StyleImage(image=path, **scale) for path in styles],
        "config": config.model_copy(update={"batch": parse_config({"batch": section}).batch}),
        "config_for": lambda own: options.effective(sources=merge(common, own)),
        "preset": options.preset,
    }
