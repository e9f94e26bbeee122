"""One picture: check the request, then paint it in a run directory; resume an interrupted run; plan one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hires_nst import events
from hires_nst.config import Config, parse_config
from hires_nst.errors import ConfigError, DamagedFile
from hires_nst.events import OnEvent
from hires_nst.files import FileDigests, make_folder
from hires_nst.run.directory import RESULT, RunDirectory, opened, run_directory
from hires_nst.run.image_files import ImageFiles, image_files
from hires_nst.run.output_file import names_folder, output_file
from hires_nst.run.output_size import OutputSize
from hires_nst.run.prepare import Resume, RunOptions, check_images, check_options, sizes_of
from hires_nst.run.provenance import picture_metadata
from hires_nst.run.record import RunRecord, locate, read_record, stored_config, with_recorded_pictures
from hires_nst.stopping import Stop
from hires_nst.transfer.memory import ALONE, MemoryShare

if TYPE_CHECKING:
    from hires_nst.imageio.images import ImageInput
    from hires_nst.run.cache import Cache
    from hires_nst.run.plan import Plan
    from hires_nst.run.single_run import Result, SingleRun


def stylize(
    content: ImageInput,
    output: Path | str | None = None,
    *,
    styles: ImageInput | Iterable[ImageInput] = (),
    config: Config | None = None,
    overwrite: bool = False,
    run_dir: Path | str | None = None,
    resume: Resume = "auto",
    other_machine: bool = False,
    executor: str = "local",
    address: str | None = None,
    share: MemoryShare = ALONE,
    stop: Stop | None = None,
    cache: Cache | None = None,
    on_event: OnEvent = events.ignore,
) -> Result:
    """Paint a photograph in the style of one or several paintings, and write or return the picture.

    Checkpoints are written to a run directory until the picture is finished, so that the same call resumes the run
    after an interruption, and gives the same bytes. Images in memory are stored there too, without loss, so that
    `hires_nst.resume` needs nothing else.

    Args:
        content: the photograph: a path, a Pillow image or an array, see `imageio.images.to_picture`.
        output: the file of the result, of a suffix in `imageio.formats.WRITTEN`; or a folder, which is made if the text
            ends with a separator, for a file as in `default_output`; None to return the picture, as `Result.image`.
        styles: one or a list, as `content` or in words of the gallery (`van gogh`), in place of `config.styles`.
        config: the settings; the schema's defaults when not given.
        overwrite: replace an existing output.
        run_dir: the run directory; `config.checkpoint.directory`, or `OUT.run` beside the output, when not given.
            Without an output either, it is a temporary one, and a run that is interrupted cannot be resumed.
        resume: `auto` resumes a run if there is one, `require` fails if there is none, and `never` starts over, with
            `overwrite` also if there is one.
        other_machine: resume also on another machine, see `record.check_machine`; the last bits may then differ.
        executor, address: where `config.runtime.workers` are, see `executors.opening.tile_executor`.
        share: what the run may use of the memory that other processes of the caller use too.
        stop: when to stop in an orderly way.
        cache: of loaded networks and other objects, to be shared by several calls.
        on_event: called with each event.

    Raises:
        Interrupted: `stop` said so; the run can be resumed. RunBusy: another process works in the run directory.
        ConfigError, InputError, OutputError, ResourceError, WeightsError: see `hires_nst.errors`.
    """
    with (
        image_files(content, styles, config=config or Config(), on_event=on_event) as images,
        _directory_for(file := _file_of(output, images), images.config, run_dir=run_dir) as path,
    ):
        options = RunOptions(
            content=images.content, output=file or path / RESULT, config=images.config, overwrite=overwrite,
            run_dir=path, makes_folder=names_folder(output), other_machine=other_machine, executor=executor,
            address=address, share=share,
        )  # fmt: skip
        size = _checked(options, resume=resume)
        with opened(path, make=True) as directory:
            run = _single_run(directory, options, stop=stop, cache=cache, on_event=on_event)
            _resume_or_clear(run, images, resume=resume)
            run.options = images.stored(run.options, directory)
            return run.result(size)


def _checked(options: RunOptions, *, resume: Resume) -> OutputSize:
    """Check a request as far as that is possible without its run directory; make the output's folder."""
    check_options(options, resume=resume)
    size, _ = sizes_of(options.content, options.output, config=options.config)
    if options.makes_folder:
        make_folder(options.output.parent)
    return size


def _resume_or_clear(run: SingleRun, images: ImageFiles, *, resume: Resume) -> None:
    """Continue the run in the directory, if there is one; with `never`, remove it. Raises as `_stored_record`."""
    record = _stored_record(run.directory, run.options, resume=resume)
    if record is not None and resume != "never":
        config = with_recorded_pictures(images.config, record, given=images.given)
        if config != images.config:
            run.emit(events.Notice("a folder of paintings has other pictures now; the run goes on with those it had"))
            run.options = replace(run.options, config=config)
        run.resume(record)
    else:
        run.clear(record)


def _file_of(output: Path | str | None, images: ImageFiles) -> Path | None:
    """The file of the result, which may be given by its folder; None where there is none."""
    paintings = [style.path for style in images.config.styles]
    return None if output is None else output_file(output, images.content, styles=paintings)


def _single_run(
    directory: RunDirectory, options: RunOptions, *, stop: Stop | None, cache: Cache | None, on_event: OnEvent
) -> SingleRun:
    """A run in its directory; torch is imported here, after the checks."""
    from hires_nst.run.cache import Cache
    from hires_nst.run.single_run import SingleRun

    return SingleRun(
        directory=directory, options=options, stop=stop or Stop(), on_event=on_event, cache=cache or Cache()
    )


@contextmanager
def _directory_for(output: Path | None, config: Config, *, run_dir: Path | str | None) -> Iterator[Path]:
    """The run directory; a temporary one where nothing says where it should be."""
    if output is None and run_dir is None and config.checkpoint.directory is None:
        with tempfile.TemporaryDirectory(prefix="hires-nst-") as folder:
            yield Path(folder) / "run"
    else:
        yield run_directory(output or Path(RESULT), config, run_dir=run_dir)


def resume(
    run_dir: Path | str,
    *,
    overwrite: bool = False,
    other_machine: bool = False,
    stop: Stop | None = None,
    on_event: OnEvent = events.ignore,
) -> Result:
    """Resume an interrupted run with its own stored configuration and images.

    Args:
        overwrite: replace an existing output, also if the run began without that.
        other_machine, stop, on_event: see `stylize`.

    Raises:
        As `stylize`; DamagedFile: the record of the run is damaged.
    """
    path = Path(run_dir)
    with opened(path, make=False) as directory:
        record = read_record(path)
        is_written, digests = record.is_written(path), FileDigests()
        if is_written:  # the inputs are needed no longer
            content, config = record.content.path, parse_config(record.config)
        else:
            content = locate(record.content, path, digests=digests)
            config = stored_config(record, path, digests=digests)
        options = RunOptions(
            content=content, output=record.output_at(path), config=config, run_dir=path,
            overwrite=overwrite or record.overwrite, other_machine=other_machine,
        )  # fmt: skip

        from hires_nst.run.cache import Cache

        run = _single_run(directory, options, stop=stop, cache=Cache(digests), on_event=on_event)
        if is_written:
            return run.finish(record)
        run.resume(record)
        size, _ = sizes_of(content, options.output, config=config)
        return run.result(size)


def plan(
    content: ImageInput,
    *,
    output: Path | str | None = None,
    styles: ImageInput | Iterable[ImageInput] = (),
    config: Config | None = None,
    overwrite: bool = False,
    measure: bool = True,
    on_event: OnEvent = events.ignore,
) -> Plan:
    """What `stylize` would do and need; writes nothing that lasts.

    Args:
        output: checked if given, like `overwrite`.
        measure: time two evaluations of one tile, for the estimate of the whole run.
        content, styles, config, overwrite, on_event: see `stylize`.

    Raises:
        As `stylize`.
    """
    with image_files(content, styles, config=config or Config(), on_event=on_event) as images:
        config, target = images.config, _file_of(output, images)
        check_images(images.content, config)

        from hires_nst.imageio import writing

        if target is not None:
            inputs, makes_folder = (images.content, *config.pictures), names_folder(output)
            writing.check_output(target, overwrite=overwrite, inputs=inputs, makes_folder=makes_folder)
        notes: list[events.Event] = []
        size, own_sizes = sizes_of(images.content, target, config=config, emit=notes.append)
        picture_metadata(images.content, target or Path(RESULT), config=config, emit=notes.append)

        from hires_nst.run.plan import make_plan

        return make_plan(config, size, own_sizes=own_sizes, reading=notes, measure=measure, on_event=on_event)


def _stored_record(directory: RunDirectory, options: RunOptions, *, resume: Resume) -> RunRecord | None:
    """The record of the run in the directory, if there is one; ConfigError if it is the run of another output.

    With `never`, a record that cannot be read counts as none.
    """
    if not directory.record.exists():
        return None
    try:
        record = read_record(directory.path)
    except (DamagedFile, ConfigError):
        if resume == "never":
            return None
        raise
    output = record.output_at(directory.path)
    if output.resolve() != options.output.resolve():
        raise ConfigError(
            f"the run in {directory.path} paints {output}, not {options.output}; give another --run-dir, or remove "
            f"{directory.path} if that picture is no longer wanted"
        )
    return record
