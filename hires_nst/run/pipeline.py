"""One run: read the images, plan the levels, paint them, write the picture; or go on with an interrupted one."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from hires_nst import events, files
from hires_nst.backbones.registry import BACKBONES
from hires_nst.backbones.weights import own_file
from hires_nst.config import Config, StyleImage, parse_config
from hires_nst.errors import (
    ConfigError,
    DamagedFile,
    DiskFull,
    InputError,
    Interrupted,
    OutputError,
    ResourceError,
    out_of_memory,
)
from hires_nst.events import Event, OnEvent
from hires_nst.imageio import reading, resize, writing
from hires_nst.quantities import amount
from hires_nst.run import directory
from hires_nst.run.cache import Cache
from hires_nst.run.checkpoint import CheckpointStore
from hires_nst.run.context import RunContext, canvas_bytes, open_context
from hires_nst.run.directory import RunDirectory, opened, resume_command
from hires_nst.run.output_size import OutputSize, output_size_of
from hires_nst.run.painter import paint
from hires_nst.run.plan import level_plans, run_bytes, seconds_per_megapixel
from hires_nst.run.record import (
    ANEW,
    Machine,
    Role,
    RunRecord,
    Source,
    check_same,
    digest,
    found,
    new_record,
    read_record,
    relative,
    source,
    store_config,
    stored_config,
)
from hires_nst.run.write_behind import WriteBehind
from hires_nst.stopping import Stop
from hires_nst.transfer.canvas import Canvas, temporary_folder
from hires_nst.transfer.device import is_out_of_memory, unless_memory_runs_out
from hires_nst.transfer.levels import LevelPlan
from hires_nst.transfer.minimise import import_optimizers
from hires_nst.transfer.style_images import check_side
from hires_nst.version import VERSION

Resume = Literal["auto", "never", "require"]

MEASURED_SIDE = 256
"""Of the tile, in pixels, by which a run with a deadline guesses the time of its first step."""


@dataclass(frozen=True)
class Result:
    """A finished run."""

    output: Path
    width: int
    height: int
    seconds: float
    levels: tuple[LevelPlan, ...]


def stylize(
    content: Path | str,
    output: Path | str,
    *,
    style: Path | str | Sequence[Path | str] = (),
    config: Config | None = None,
    overwrite: bool = False,
    run_dir: Path | str | None = None,
    resume: Resume = "auto",
    stop: Stop | None = None,
    kept: Cache | None = None,
    on_event: OnEvent = events.ignore,
) -> Result:
    """Paint a photograph in the style of one or several paintings, and write the picture.

    What is finished is kept in a run directory until the picture is written, so that the same call goes on after an
    interruption, to the same bytes.

    Args:
        content: the photograph's file.
        output: where the picture goes; .png, .jpg or .tif.
        style: the paintings; they replace `config.styles`.
        config: the settings; the schema's defaults when not given.
        overwrite: replace an existing output.
        run_dir: the run directory; `config.checkpoint.directory`, or `OUT.run` beside the output, when not given.
        resume: `auto` goes on where there is a run, `require` is an error where there is none, and `never` starts
            anew, with `overwrite` also where there is one.
        stop: when to stop in an orderly way.
        kept: what earlier calls loaded, for those that come after; nothing is kept when not given.
        on_event: told what happens.

    Raises:
        Interrupted: `stop` said so; the run can go on.
        RunBusy: another process works in the run directory.
        ConfigError, InputError, OutputError, ResourceError, WeightsError: see `hires_nst.errors`.
    """
    content, output = Path(content), Path(output)
    config = (config or Config()).with_styles([style] if isinstance(style, (str, Path)) else style)
    config.check_styles()
    path = run_directory(output, config, run_dir)
    writing.check_apart(output, (content, *config.pictures))
    there = directory.is_run(path)
    if resume == "require" and not there:
        raise ConfigError(f"there is no run in {path} to go on with; leave out --resume require to begin one")
    if resume == "never" and there and not overwrite:
        raise OutputError(f"{path} holds an interrupted run; `{resume_command(path)}` goes on with it, and {ANEW}")
    writing.check_output(output, overwrite=overwrite or there)
    sheet = output_size_of(reading.picture_size(content, max_megapixels=config.images.max_megapixels), config, content)
    writing.check_format(output, sheet.width, sheet.height, bit_depth=config.output.bit_depth)
    with opened(path, make=True) as folder:
        record = None
        if folder.record.exists():
            with suppress(DamagedFile, ConfigError) if resume == "never" else nullcontext():
                record = read_record(path)
        if record is not None:
            before = record.output_at(path)
            if before.resolve() != output.resolve():
                raise ConfigError(
                    f"the run in {path} paints {before}, not {output}; give another --run-dir, or remove {path} if "
                    "nobody wants that picture any more"
                )
        if record is not None and resume != "never":
            check_same(record, path, config, _sources(content, config, path), VERSION)
        else:
            if record is not None:  # a process that was killed may have left a part of the picture
                _remove_part(output, record)
                record = None
            folder.clear()
        run = _SingleRun(folder, config, content, output, overwrite, stop or Stop(), on_event, record, kept)
        return run.result(sheet)


def resume(
    run_dir: Path | str, *, overwrite: bool = False, stop: Stop | None = None, on_event: OnEvent = events.ignore
) -> Result:
    """Go on with an interrupted run, from its own stored configuration.

    Args:
        overwrite: replace an existing output, also where the run began without that.
        stop, on_event: see `stylize`.

    Raises:
        As `stylize`; DamagedFile: the directory does not say what the run was.
    """
    path = Path(run_dir)
    with opened(path, make=False) as folder:
        record = read_record(path)
        if record.is_written(path):  # whatever became of the inputs since
            told = parse_config(record.config)
            return _SingleRun(folder, told, Path(), record.output_at(path), False, Stop(), on_event, record).finished(
                record
            )
        config = stored_config(record, path)
        photograph = found(next(known for known in record.sources if known.role == "photograph"), path)
        check_same(record, path, config, _sources(photograph, config, path), VERSION)
        sheet = output_size_of(
            reading.picture_size(photograph, max_megapixels=config.images.max_megapixels), config, photograph
        )
        overwrite = overwrite or record.overwrite
        run = _SingleRun(
            folder, config, photograph, record.output_at(path), overwrite, stop or Stop(), on_event, record
        )
        return run.result(sheet)


def run_directory(output: Path, config: Config, run_dir: Path | str | None = None) -> Path:
    """Where a run keeps what it needs to go on."""
    if run_dir is not None:
        return Path(run_dir)
    return config.checkpoint.directory or output.with_name(f"{output.name}.run")


class _SingleRun:
    """One run in its directory, new or interrupted (`record`)."""

    def __init__(
        self,
        folder: RunDirectory,
        config: Config,
        content: Path,
        output: Path,
        overwrite: bool,
        stop: Stop,
        on_event: OnEvent,
        record: RunRecord | None,
        kept: Cache | None = None,
    ) -> None:
        self.folder, self.config, self.content, self.output = folder, config, content, output
        self.overwrite, self.stop, self.on_event, self.record, self.kept = overwrite, stop, on_event, record, kept
        self.began = time.monotonic()
        self.untold: list[Event] = []

    @property
    def command(self) -> str:
        """The command that goes on."""
        return resume_command(self.folder.path)

    def result(self, sheet: OutputSize) -> Result:
        """Do it, from wherever it stands."""
        if self.record is not None and self.record.is_written(self.folder.path):
            return self.finished(self.record)
        writing.check_output(self.output, overwrite=self.overwrite)
        try:
            with torch.no_grad(), _readable_memory_errors():
                record = self._painted(sheet)
        except Interrupted:
            with suppress(ResourceError):  # a full disk is no reason to forget why it stopped
                self.emit(events.RunStopped(self.stop.reason or "", str(self.folder.path)))
            raise
        except ResourceError as error:
            if self.record is None:
                raise
            raise ResourceError(f"{error}; then go on with `{self.command}`") from None
        return self.finished(record)

    def emit(self, event: Event) -> None:
        """Tell an event, and log it as soon as there is a run to log."""
        self.untold.append(event)
        if self.record is not None:
            untold, self.untold = self.untold, []
            for earlier in untold:
                self.folder.log(earlier)
        self.on_event(event)

    def check_stop(self, seconds: float = 0.0) -> None:
        """End the run here if it is to stop before a piece of work that takes so long.

        Raises:
            Interrupted: it is.
        """
        if not self.stop.due(seconds):
            return
        how = "before anything was painted" if self.record is None else f"; `{self.command}` goes on"
        raise Interrupted(
            f"stopped by {self.stop.reason}{' ' if self.record is None else ''}{how}", exit_code=self.stop.exit_code
        )

    def _painted(self, sheet: OutputSize) -> RunRecord:
        """The work, up to the written picture."""
        config, path, resumed = self.config, self.folder.path, self.record is not None
        context = open_context(config, sheet, self.emit, self.check_stop, kept=self.kept)
        photograph, alpha = read_content(self.content, sheet, context)
        if alpha is not None and self.output.suffix.lower() in (".jpg", ".jpeg"):
            self.emit(
                events.Notice("a JPEG holds no transparency, so the photograph's is left out; .png or .tif keep it")
            )
            alpha = None
        paintings = read_paintings(context)
        if self.record is None:
            plans = level_plans(context, sheet)
        else:
            check_machine(self.record, _machine(context), path, self.emit)
            plans = self.record.levels
        needs = [
            Need(path, run_bytes(config, plans) - directory.size(path), RUN_ROOM),
            Need(self.output.parent, sheet.width * sheet.height * 3 * config.output.bit_depth // 8, PICTURE_ROOM),
        ]
        if context.on_disk:
            sizes = [(painting.height, painting.width) for painting, _ in paintings]
            canvases = canvas_bytes(config, sheet.height, sheet.width, sizes) - photograph.pixels.nbytes  # it is there
            needs.append(Need(temporary_folder(), canvases, CANVAS_ROOM))
        check_disk(needs)
        record = self.record or new_record(
            version=VERSION, config=config.model_dump(mode="json"), sources=_sources(self.content, config, path),
            output=self.output.resolve(), output_relative=relative(self.output, path), overwrite=self.overwrite,
            machine=_machine(context), width=sheet.width, height=sheet.height,
            levels=plans,
        )  # fmt: skip
        record = record.model_copy(update={"config": config.model_dump(mode="json"), "overwrite": self.overwrite})
        if record != self.record:
            record.save(self.folder)
        if store_config(path, record, self.record):
            self.emit(events.Notice(f"{path / directory.CONFIG} was edited or damaged, so it is written again"))
        self.record = record
        self.emit(
            events.RunStarted(
                content=str(self.content), output=str(self.output), width=sheet.width, height=sheet.height,
                levels=tuple((p.width, p.height, p.rounds, p.steps, p.tiles) for p in plans),
                pixel_evaluations=float(sum(p.width * p.height * p.evaluations for p in plans)),
                model=config.model.name, device=str(context.extract.device),
            )
        )  # fmt: skip
        with WriteBehind() as writer:
            checkpoints = CheckpointStore(
                path, config.checkpoint, self.emit, self.check_stop, self.stop.is_late, writer, resumed=resumed
            )
            if self.stop.deadline is not None:  # which the first step is to keep as well
                import_optimizers()
                self.check_stop()
                side = min(MEASURED_SIDE, *(plan.window for plan in plans))
                guess = unless_memory_runs_out(partial(seconds_per_megapixel, context, side))
                checkpoints.pace.step = (guess or 0.0) / 1e6
            canvas = paint(context, plans, photograph, paintings, checkpoints)
        return self._written(record, sheet, canvas, alpha)

    def _written(self, record: RunRecord, sheet: OutputSize, canvas: Canvas, alpha: np.ndarray | None) -> RunRecord:
        """Write the picture; the record knows of it just before it gets its name."""
        config, folder, written = self.config.output, self.folder, record

        def done(file: Path) -> None:
            nonlocal written
            written = record.model_copy(update={"written": digest(file)})
            written.save(folder)

        _remove_part(self.output, record)
        writing.write_picture(
            self.output, canvas.pixels, alpha, dpi=sheet.dpi, bit_depth=config.bit_depth, quality=config.quality,
            compression=config.compression, overwrite=self.overwrite, check_stop=self.check_stop, name=record.key,
            done=done,
        )  # fmt: skip
        return written

    def finished(self, record: RunRecord) -> Result:
        """The picture is written: say so, and remove the run directory."""
        self.record = record
        seconds = time.monotonic() - self.began
        with suppress(ResourceError):  # the log is not worth an error now
            self.emit(
                events.RunFinished(output=str(self.output), width=record.width, height=record.height, seconds=seconds)
            )
        if not self.config.checkpoint.keep_run:
            try:
                self.folder.remove()
            except OutputError as error:
                self.on_event(
                    events.Notice(f"the picture is written, but the run directory cannot be removed: {error}")
                )
        return Result(self.output, record.width, record.height, seconds, record.levels)


def _remove_part(output: Path, record: RunRecord) -> None:
    """Remove the half-written picture of a process that was killed."""
    with files.plain_os_errors(output):
        (output.parent / f".{record.key}.part").unlink(missing_ok=True)


def check_machine(record: RunRecord, now: Machine, path: Path, emit: OnEvent) -> None:
    """Refuse another kind of device or precision than the run began with; tell what may change the last bits.

    Raises:
        ConfigError: one sentence that says what to do.
    """
    for name in ("device", "precision"):
        before, after = getattr(record.machine, name), getattr(now, name)
        if before.partition(":")[0] != after.partition(":")[0]:
            raise ConfigError(
                f"the run in {path} began with {name} {before}, and here it would be {after}; go on where it began, "
                f"or {ANEW}"
            )
    others = (
        ("device", "another device of its kind"), ("torch", "another version of torch"),
        ("threads", "another number of threads"),
    )  # fmt: skip
    for name, what in others:
        before, after = getattr(record.machine, name), getattr(now, name)
        if before != after:
            emit(
                events.Notice(
                    f"the run began with {what} ({before}, now {after}), so the last bits of the result may not be "
                    "those of a run without interruption"
                )
            )


@dataclass(frozen=True)
class Need:
    """So many bytes in a folder at most, and what to do when there is no room for them."""

    folder: Path
    size: int
    remedies: tuple[str, ...]


RUN_ROOM = ("choose another disk with --run-dir", "keep less with --set checkpoint.every=level")
PICTURE_ROOM = ("write the picture to another disk",)
CANVAS_ROOM = (
    "set TMPDIR to a folder on another disk",
    "keep canvases in memory with --set runtime.canvas=memory",
)


def check_disk(needs: Sequence[Need]) -> None:
    """Refuse to begin what will not fit on the disks.

    Raises:
        DiskFull: there is too little room.
    """
    disks: dict[int, list[Need]] = {}
    for need in needs:
        if need.size > 0:
            disks.setdefault(need.folder.stat().st_dev, []).append(need)
    for there in disks.values():
        most, size = max(there, key=lambda need: need.size), sum(need.size for need in there)
        free = shutil.disk_usage(most.folder).free
        if size > free:
            *others, last = (remedy for need in there for remedy in need.remedies)
            raise DiskFull(
                f"the run needs up to {amount(size)} on the disk of {most.folder.absolute()}, and {amount(free)} are "
                f"free; {', '.join(['make room', *others])}, or {last}",
                most.folder,
            )


def _machine(context: RunContext) -> Machine:
    return Machine(
        device=str(context.extract.device),
        precision=str(context.extract.autocast or context.extract.dtype).removeprefix("torch."),
        torch=torch.__version__,
        threads=torch.get_num_threads(),
    )


def _sources(content: Path, config: Config, folder: Path) -> tuple[Source, ...]:
    """The input files as they are; a network that has not been downloaded yet is not among them."""
    named: list[tuple[Role, Path]] = [("photograph", content), *config.files()]
    if config.model.weights is None:
        named.append(("weights", own_file(BACKBONES[config.model.name])))
    return tuple(source(role, path, folder) for role, path in named if role != "weights" or path.is_file())


def read_content(path: Path, sheet: OutputSize, context: RunContext) -> tuple[Canvas, np.ndarray | None]:
    """The photograph at the result's size, and its alpha channel if it has one."""
    picture = reading.read_picture(path, max_megapixels=context.config.images.max_megapixels)
    for text in picture.notes:
        context.emit(events.Notice(f"{path}: {text}"))
    left, top, width, height = sheet.crop
    pixels = picture.pixels[top : top + height, left : left + width]
    canvas = context.place(sheet.height, sheet.width)
    resize.resize_strips(pixels, canvas.pixels)
    alpha = None
    if picture.alpha is not None:
        alpha = resize.resize_pixels(picture.alpha[top : top + height, left : left + width], sheet.width, sheet.height)
    return canvas, alpha


def read_paintings(context: RunContext) -> list[tuple[Canvas, StyleImage]]:
    """The paintings at their own sizes.

    Raises:
        InputError: one has transparent pixels, or is smaller than the deepest layer needs.
    """
    result = []
    for style in context.config.styles:
        picture = reading.read_picture(style.image, max_megapixels=context.config.images.max_megapixels)
        if picture.alpha is not None and float(picture.alpha.min()) < 1:
            raise InputError(
                f"the style {style.image} has transparent pixels, which have no colour to learn from; flatten it onto "
                "a background first"
            )
        check_side(f"the style {style.image}", (picture.width, picture.height), config=context.config)
        for text in picture.notes:
            context.emit(events.Notice(f"{style.image}: {text}"))
        result.append((Canvas(picture.pixels), style))
    return result


@contextmanager
def _readable_memory_errors() -> Iterator[None]:
    """Say in one sentence that memory ran out where halving tiles is no help."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory(remedies=("keep canvases on disk (--set runtime.canvas=disk)",)) from None
