"""What `hires-nst batch` does, as functions: its jobs, its plan, the run and how to resume it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from hires_nst import events
from hires_nst.batch.job import Job, Jobs
from hires_nst.batch.ledger_reading import reading
from hires_nst.batch.options import BatchOptions, read_batch
from hires_nst.batch.places import worker_places
from hires_nst.batch.selection import ConfigFor, expand
from hires_nst.batch.tasks import Executor
from hires_nst.config import Config, StyleImage, merge, parse_config
from hires_nst.errors import OutputError
from hires_nst.events import OnEvent
from hires_nst.executors.devices import check_executor
from hires_nst.files import url_of
from hires_nst.processors import cores
from hires_nst.run.output_size import MUCH_CROPPED, MUCH_ENLARGED
from hires_nst.stopping import Stop

if TYPE_CHECKING:
    from hires_nst.batch.runner import Summary

Contents: TypeAlias = "Path | str | Iterable[Path | str] | None"
"""A folder, a picture, a list of pictures in a text file, or several of these."""

Styles: TypeAlias = "Path | str | StyleImage | Iterable[Path | str | StyleImage]"
"""One painting or several, by path or with a weight and a scale."""


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """What a batch will do and need.

    Attributes:
        pictures: how many it will paint.
        unreadable: the photographs that cannot be read, whose jobs will fail, and why.
        left_out: files by the reason why they are not jobs.
        cropped, enlarged: how many of which much is lost, as for a single picture.
        megapixels: of all pictures together.
        output_bytes: of all pictures, uncompressed.
        run_bytes: the most that the run directories of the workers take, if memory allows the largest tiles.
        workers: that will paint at once.
        seconds: an estimate from one evaluation, timed at the largest picture; None when it was not timed. Workers
            that share a device count as one: what they gain depends on how much of it a picture leaves idle.
    """

    pictures: int
    unreadable: Mapping[str, str]
    left_out: Mapping[str, int]
    cropped: int
    enlarged: int
    megapixels: float
    output_bytes: int
    run_bytes: int
    workers: int
    seconds: float | None


def jobs(
    contents: Contents,
    output: Path | str,
    *,
    styles: Styles = (),
    config: Config | None = None,
    config_for: ConfigFor | None = None,
    preset: str | None = None,
) -> Jobs:
    """The jobs of a batch, before anything runs.

    Args:
        contents: a folder, a picture, or a text file with the path of a picture in each line, or several of these;
            None for the `jobs` of the configuration.
        output: the output folder; it need not exist.
        styles: one or several paintings, also by words of the gallery, or folders of them; each painting is a style of
            its own, whatever its weight, except those of a `StyleImage` with a `folder`, which are one. Without any,
            the paintings of the configuration are blended into one style, as for a single picture.
        config: the settings of all jobs, with the section `batch`; the schema's defaults when not given.
        config_for: the configuration of a job with settings of its own (`jobs.N.set`), which it gets; `config` with
            these settings merged into it when not given.
        preset: the value of {preset} in the names of the pictures.

    Raises:
        ConfigError: there is nothing to do, two jobs would write the same picture, a picture would replace an input,
            or a template or a pairing is not possible.
        InputError: `contents` or a folder of styles does not exist.
    """
    config = config or Config()
    return expand(
        None if contents is None else _paths(contents),
        _absolute(output),
        styles=_style_images(styles),
        config=config,
        config_for=config_for or partial(_with_own_settings, config),
        preset=preset,
    )


def plan(
    contents: Contents,
    output: Path | str | None = None,
    *,
    styles: Styles = (),
    config: Config | None = None,
    config_for: ConfigFor | None = None,
    preset: str | None = None,
    measure: bool = True,
    on_event: OnEvent = events.ignore,
) -> BatchPlan:
    """What a batch will do and need; nothing is written.

    Args:
        output: the output folder; one beside the photographs when not given.
        measure: time an evaluation of the largest picture, which loads the network.
        contents, styles, config, config_for, preset: see `jobs`.

    Raises:
        As `jobs`, and with `measure` as `hires_nst.plan`.
    """
    from hires_nst.batch.disk_space import job_picture_bytes, job_run_bytes

    config = config or Config()
    if output is None:
        contents = None if contents is None else _paths(contents)
        first = contents[0].absolute() if contents else Path()
        output = first.with_name(f"{first.name}-painted") if contents else Path("painted")
    found = jobs(contents, output, styles=styles, config=config, config_for=config_for, preset=preset)
    places = worker_places(found.jobs, batch=config.batch, runtime=config.runtime)
    workers = len(places)
    largest = max(found.jobs, key=lambda job: job.work)
    sizes = [job.output_size for job in found.jobs if job.output_size is not None]
    seconds = None
    if measure and largest.work:
        from hires_nst.run.pipeline import plan as plan_one

        alone = plan_one(largest.content, config=largest.config, on_event=on_event).seconds
        if alone is not None:
            devices = len({place.device for place in places})
            seconds = alone * sum(job.work for job in found.jobs) / largest.work / devices
    return BatchPlan(
        pictures=len(found.jobs),
        unreadable={str(job.content): job.unreadable for job in found.jobs if job.unreadable is not None},
        left_out=found.left_out,
        cropped=sum(size.cropped > MUCH_CROPPED for size in sizes),
        enlarged=sum(size.enlarged > MUCH_ENLARGED for size in sizes),
        megapixels=sum(job.pixels for job in found.jobs) / 1e6,
        output_bytes=sum(map(job_picture_bytes, found.jobs)),
        run_bytes=sum(sorted(map(job_run_bytes, found.jobs))[-workers:]),
        workers=workers,
        seconds=seconds,
    )


def run(
    contents: Contents,
    output: Path | str,
    *,
    styles: Styles = (),
    config: Config | None = None,
    config_for: ConfigFor | None = None,
    preset: str | None = None,
    executor: str = "local",
    address: str | None = None,
    ship: bool = False,
    overwrite: bool = False,
    retry_failed: bool = False,
    fail_fast: bool = False,
    stop: Stop | None = None,
    on_event: OnEvent = events.ignore,
) -> Summary:
    """Paint many photographs into a folder: every picture that is not there yet.

    The same call continues a batch that was interrupted, and does nothing twice; several processes that call it at once
    share the work. Workers are processes that import the calling script: call it under `if __name__ == "__main__":`.

    Args:
        contents, styles, config, config_for, preset: see `jobs`. `config.batch` sets how to match, name, order and
            retry the jobs, and how many workers there are.
        output: the output folder, made if needed; its state folder `.hires-nst` has the ledger and the logs.
        executor: `local` for processes on this machine, `ray` for a Ray cluster.
        address, ship: of the cluster, see `RayExecutor`.
        overwrite: replace pictures that are not of this batch.
        retry_failed: retry jobs that failed in earlier runs.
        fail_fast: end with the first job that fails for good.
        stop: when to stop in an orderly way: unfinished jobs wait for the next call.
        on_event: called with each event, see `hires_nst.events`.

    Raises:
        As `jobs`; ConfigError, OutputError: the folder or its ledger cannot be used, or there is no such executor.
        ResourceError: not enough disk space for all pictures, or for the ledger. HiresNstError: workers cannot be
        started.
    """
    config, output = config or Config(), _absolute(output)
    check_executor(executor, address=address, ship=ship)
    found = jobs(contents, output, styles=styles, config=config, config_for=config_for, preset=preset)
    options = BatchOptions(
        batch=config.batch, runtime=config.runtime, executor=executor, address=address, ship=ship, overwrite=overwrite,
        retry_failed=retry_failed, fail_fast=fail_fast,
    )  # fmt: skip
    return _run(found, output, options=options, stop=stop or Stop(), on_event=on_event)


def resume(
    folder: Path | str,
    *,
    overwrite: bool = False,
    retry_failed: bool = False,
    stop: Stop | None = None,
    on_event: OnEvent = events.ignore,
) -> Summary:
    """Continue the batch in a folder, with the jobs and the settings of its last run.

    Args:
        overwrite, retry_failed, stop, on_event: see `run`.

    Raises:
        As `run`; InputError: the folder is not that of a batch.
    """
    folder = _absolute(folder)
    with reading(folder) as database:
        found, options = read_batch(database, folder)
    options = replace(options, retry_failed=retry_failed, overwrite=overwrite)
    return _run(found, folder, options=options, stop=stop or Stop(), on_event=on_event)


def _run(found: Jobs, folder: Path, *, options: BatchOptions, stop: Stop, on_event: OnEvent) -> Summary:
    from hires_nst.batch.runner import run_batch  # imports NumPy, which a wrong command line should not wait for

    make = partial(_executor, found.jobs, options=options, stop=stop)
    return run_batch(found, folder, options=options, make_executor=make, stop=stop, on_event=on_event)


def _executor(jobs: Sequence[Job], *, options: BatchOptions, stop: Stop) -> Executor:
    """The executor that the options name, for these jobs; ConfigError where there is no such cluster."""
    if options.executor == "ray":
        from hires_nst.batch.ray_executor import RayExecutor

        return RayExecutor(options.batch, address=options.address, ship=options.ship, deadline=stop.deadline)
    from hires_nst.batch.engine import PaintingEngine
    from hires_nst.batch.workers import WorkerPool

    places = worker_places(jobs, batch=options.batch, runtime=options.runtime)
    threads = None if os.environ.get("OMP_NUM_THREADS") else max(1, cores() // len(places))
    engines = [partial(PaintingEngine, device=place.device, threads=threads, share=place.share) for place in places]
    return WorkerPool(engines, lease_seconds=options.batch.lease_seconds, deadline=stop.deadline)


def _style_images(styles: Styles) -> list[StyleImage]:
    several = [styles] if isinstance(styles, (Path, str, StyleImage)) else styles
    return [style if isinstance(style, StyleImage) else StyleImage(image=Path(style)) for style in several]


def _with_own_settings(config: Config, own: Mapping[str, Any]) -> Config:
    return parse_config(merge(config.model_dump(mode="json", exclude_unset=True, exclude={"jobs"}), own))


def _paths(contents: Path | str | Iterable[Path | str]) -> list[Path]:
    return [Path(contents)] if isinstance(contents, (Path, str)) else [Path(path) for path in contents]


def _absolute(path: Path | str) -> Path:
    if (url := url_of(path)) is not None:
        raise OutputError(f"{url} is a URL; give the name of a folder on this machine")
    return Path(path).expanduser().absolute()
