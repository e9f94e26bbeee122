"""One picture: check the request, then paint it in a run directory; or resume an interrupted run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hires_nst import events
from hires_nst.config import Config, parse_config
from hires_nst.errors import ConfigError, DamagedFile
from hires_nst.events import OnEvent
from hires_nst.files import FileDigests
from hires_nst.run.directory import RunDirectory, opened, run_directory
from hires_nst.run.prepare import Resume, RunOptions, check_images, prepare, size_of, style_sizes
from hires_nst.run.record import RunRecord, locate, read_record, stored_config
from hires_nst.stopping import Stop

if TYPE_CHECKING:
    from hires_nst.run.cache import Cache
    from hires_nst.run.plan import Plan
    from hires_nst.run.single_run import Result


def stylize(
    content: Path | str,
    output: Path | str,
    *,
    styles: Path | str | Sequence[Path | str] = (),
    config: Config | None = None,
    overwrite: bool = False,
    run_dir: Path | str | None = None,
    resume: Resume = "auto",
    stop: Stop | None = None,
    cache: Cache | None = None,
    on_event: OnEvent = events.ignore,
) -> Result:
    """Paint a photograph in the style of one or several paintings, and write the picture.

    Checkpoints are written to a run directory until the picture is written, so that the same call resumes the run after
    an interruption, and gives the same bytes.

    Args:
        content: the file of the photograph.
        output: the file of the result; .png, .jpg or .tif.
        styles: the files of the paintings; they replace `config.styles`.
        config: the settings; the schema's defaults when not given.
        overwrite: replace an existing output.
        run_dir: the run directory; `config.checkpoint.directory`, or `OUT.run` beside the output, when not given.
        resume: `auto` resumes a run if there is one, `require` fails if there is none, and `never` starts over, with
            `overwrite` also if there is one.
        stop: when to stop in an orderly way.
        cache: of loaded networks and other objects, to be shared by several calls.
        on_event: called with each event.

    Raises:
        Interrupted: `stop` said so; the run can be resumed.
        RunBusy: another process works in the run directory.
        ConfigError, InputError, OutputError, ResourceError, WeightsError: see `hires_nst.errors`.
    """
    output = Path(output)
    config = _with_styles(config, styles)
    options = RunOptions(
        content=Path(content), output=output, config=config, overwrite=overwrite,
        run_dir=run_directory(output, config, run_dir=run_dir),
    )  # fmt: skip
    size = prepare(options, resume=resume)
    with opened(options.run_dir, make=True) as directory:
        record = _stored_record(directory, options, resume=resume)

        from hires_nst.run.single_run import SingleRun

        run = SingleRun(directory, options, stop=stop or Stop(), on_event=on_event, cache=cache)
        if record is not None and resume != "never":
            run.resume(record)
        else:
            run.clear(record)
        return run.result(size)


def resume(
    run_dir: Path | str, *, overwrite: bool = False, stop: Stop | None = None, on_event: OnEvent = events.ignore
) -> Result:
    """Resume an interrupted run with its own stored configuration.

    Args:
        overwrite: replace an existing output, also if the run began without that.
        stop, on_event: see `stylize`.

    Raises:
        As `stylize`; DamagedFile: the record of the run is damaged.
    """
    path = Path(run_dir)
    with opened(path, make=False) as directory:
        record = read_record(path)
        is_written, digests = record.is_written(path), FileDigests()
        if is_written:  # whatever has become of the inputs
            content, config = record.content.path, parse_config(record.config)
        else:
            content = locate(record.content, path, digests=digests)
            config = stored_config(record, path, digests=digests)
        options = RunOptions(
            content=content, output=record.output_at(path), config=config, run_dir=path,
            overwrite=overwrite or record.overwrite,
        )  # fmt: skip

        from hires_nst.run.cache import Cache
        from hires_nst.run.single_run import SingleRun

        run = SingleRun(directory, options, stop=stop or Stop(), on_event=on_event, cache=Cache(digests))
        if is_written:
            return run.finish(record)
        run.resume(record)
        return run.result(size_of(content, config))


def plan(
    content: Path | str,
    *,
    output: Path | str | None = None,
    styles: Path | str | Sequence[Path | str] = (),
    config: Config | None = None,
    overwrite: bool = False,
    measure: bool = True,
    on_event: OnEvent = events.ignore,
) -> Plan:
    """What `stylize` would do and need; writes nothing.

    Args:
        output: checked if given, like `overwrite`.
        measure: time two evaluations of one tile, for the estimate of the whole run.
        content, styles, config, overwrite, on_event: see `stylize`.

    Raises:
        As `stylize`.
    """
    content = Path(content)
    config = _with_styles(config, styles)
    check_images(content, config)

    from hires_nst.imageio import writing

    if output is not None:
        writing.check_apart(Path(output), (content, *config.pictures))
        writing.check_output(Path(output), overwrite=overwrite)
    size, own_sizes = size_of(content, config), style_sizes(config)
    if output is not None:
        writing.check_format(Path(output), size.width, size.height, bit_depth=config.output.bit_depth)

    from hires_nst.run.plan import make_plan

    return make_plan(config, size, own_sizes=own_sizes, measure=measure, on_event=on_event)


def _with_styles(config: Config | None, styles: Path | str | Sequence[Path | str]) -> Config:
    return (config or Config()).with_styles([styles] if isinstance(styles, (str, Path)) else styles)


def _stored_record(directory: RunDirectory, options: RunOptions, *, resume: Resume) -> RunRecord | None:
    """The record of the run that is in the directory, if there is one.

    Raises:
        ConfigError: it is the run of another output, or cannot be resumed. DamagedFile: unless `resume` is `never`.
    """
    record = None
    if directory.record.exists():
        with suppress(DamagedFile, ConfigError) if resume == "never" else nullcontext():
            record = read_record(directory.path)
    if record is not None:
        before = record.output_at(directory.path)
        if before.resolve() != options.output.resolve():
            raise ConfigError(
                f"the run in {directory.path} paints {before}, not {options.output}; give another --run-dir, or remove "
                f"{directory.path} if that picture is no longer wanted"
            )
    return record
