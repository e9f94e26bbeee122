"""`hires-nst batch`."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hires_nst.cli.batch_progress import following
from hires_nst.cli.options import ConfigOptions, takes_config_options
from hires_nst.cli.report import report_of_batch
from hires_nst.cli.signals import MaxHours, Until, stopping
from hires_nst.cli.stylize import Json
from hires_nst.config import Config, StyleImage, merge, parse_config
from hires_nst.errors import ConfigError, Interrupted, nearest
from hires_nst.stopping import Stop

if TYPE_CHECKING:
    from hires_nst.batch.executor import Executor
    from hires_nst.batch.jobs import Jobs
    from hires_nst.batch.options import BatchOptions

JOBS, RUNNING, CLUSTER = "Jobs", "Running", "Cluster"
EXECUTORS = ("local", "ray")


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
    from hires_nst.batch.options import BatchOptions

    given = {
        "recursive": recursive or None, "include": include, "exclude": exclude, "match": match, "template": template,
        "order": order, "changed": changed, "retries": retries, "retry_wait": retry_wait, "workers": workers,
    }  # fmt: skip
    if executor not in EXECUTORS:
        raise ConfigError(f"there is no executor {executor!r}{nearest(executor, EXECUTORS)}")
    if executor != "ray" and (address is not None or ship):
        raise ConfigError(f"{'--ship' if ship else '--address'} belongs to a cluster: give --executor ray too")
    with stopping(until=until, max_hours=max_hours, quiet=quiet or json) as stop:
        output = output.expanduser().absolute()
        config, jobs = jobs_of(
            contents, styles or (), output, options, {k: v for k, v in given.items() if v is not None}
        )
        orders = BatchOptions(
            config.batch, config.runtime.seed, config.runtime.device, executor, address, ship, overwrite, retry_failed,
            fail_fast,
        )  # fmt: skip
        code = carried_out(jobs, output, orders, stop, page=page, quiet=quiet, as_json=json)
    if code:
        raise typer.Exit(code)


def carried_out(
    jobs: "Jobs", output: Path, orders: "BatchOptions", stop: Stop, *, page: bool, quiet: bool, as_json: bool
) -> int:
    """Run a batch, with its report afterwards if `page` is wanted; the exit code.

    Raises:
        As `run_batch`; Interrupted: a second signal ended it at once.
    """
    from hires_nst.batch.runner import run_batch
    from hires_nst.run.directory import resume_command

    make_executor = partial(executor_for, orders, stop)
    with following(output, quiet=quiet, as_json=as_json) as on_event:
        try:
            summary = run_batch(jobs, output, orders=orders, make_executor=make_executor, stop=stop, on_event=on_event)
        except KeyboardInterrupt:
            again = f"`{resume_command(output)}` goes on"
            raise Interrupted(f"ended at once; {again}", exit_code=stop.exit_code) from None
    if page:
        report_of_batch(output, stop, quiet=quiet, as_json=as_json)
    return summary.exit_code


def jobs_of(
    contents: Path | None,
    styles: "tuple[Path, ...] | list[Path]",
    output: Path,
    options: ConfigOptions,
    given: Mapping[str, Any],
) -> "tuple[Config, Jobs]":
    """The jobs of a command line, and the configuration that they share; `given` are options of the section batch.

    Raises:
        ConfigError, InputError: as `expand` and `ConfigOptions.effective`.
    """
    from hires_nst.batch.jobs import expand

    if styles and options.style_weights is not None:
        raise ConfigError("--style-weights is for paintings that go into one picture; here each makes its own")
    sources = options.sources()
    one = {key: value for key, value in sources.items() if key != "jobs"}  # the list may be long

    def config_for(own: Mapping[str, Any]) -> Config:
        config = options.effective(sources=merge(one, own) if own else sources)
        section = {**config.batch.model_dump(mode="json"), **given}
        return config.model_copy(update={"batch": parse_config({"batch": section}).batch})

    scale = {} if options.style_scale is None else {"scale": options.style_scale}
    paintings = [StyleImage(image=path, **scale) for path in styles]
    config = config_for({})
    jobs = expand(contents, paintings, output, config_for=config_for, preset=options.preset)
    return config, jobs


def worker_devices(workers: int | Literal["auto"], device: str) -> list[str]:
    """The device of each worker on this machine."""
    from hires_nst.batch.workers import devices

    found = devices(device)
    return [found[number % len(found)] for number in range(len(found) if workers == "auto" else workers)]


def executor_for(orders: "BatchOptions", stop: Stop) -> "Executor":
    """The executor that the orders name.

    Raises:
        ConfigError: there is no such cluster.
    """
    if orders.executor == "ray":
        from hires_nst.batch.ray_executor import RayExecutor

        return RayExecutor(orders.batch, address=orders.address, ship=orders.ship, deadline=stop.deadline)
    from hires_nst.batch.engine import PaintingEngine
    from hires_nst.batch.workers import WorkerPool, cores

    places = worker_devices(orders.batch.workers, orders.device)
    threads = None if os.environ.get("OMP_NUM_THREADS") else max(1, cores() // len(places))
    engines = [partial(PaintingEngine, device=place, threads=threads) for place in places]
    return WorkerPool(engines, lease_seconds=orders.batch.lease_seconds, deadline=stop.deadline)
