"""One run in its directory: read the images, plan the levels, paint them, write the picture."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray

from hires_nst import events, files
from hires_nst.backbones.weights import own_file
from hires_nst.config import Config, FileRole
from hires_nst.errors import Interrupted, OutputError, ResourceError, out_of_memory
from hires_nst.events import Event, OnEvent
from hires_nst.executors.opening import tile_executor
from hires_nst.executors.pool import TilePool
from hires_nst.imageio import writing
from hires_nst.imageio.formats import WITHOUT_ALPHA, written_format
from hires_nst.imageio.metadata.record import Metadata
from hires_nst.imageio.picture import Floats
from hires_nst.imageio.transparency import fill_hidden, parse_colour
from hires_nst.run.cache import Cache
from hires_nst.run.canvases import read_styles
from hires_nst.run.checkpoint import CheckpointStore
from hires_nst.run.colours import recolour_inputs
from hires_nst.run.content import ContentImage, read_content
from hires_nst.run.context import RunContext, open_context
from hires_nst.run.directory import RunDirectory, folder_bytes, resume_command
from hires_nst.run.disk_space import CANVAS_REMEDIES, PICTURE_REMEDIES, RUN_REMEDIES, Need, check_disk, picture_bytes
from hires_nst.run.estimate import seconds_per_megapixel
from hires_nst.run.memory import canvas_bytes
from hires_nst.run.output_size import OutputSize
from hires_nst.run.painter import paint
from hires_nst.run.plan import later_start, level_plans, planned_run_bytes
from hires_nst.run.precision import in_checked_precision
from hires_nst.run.prepare import RunOptions
from hires_nst.run.provenance import picture_metadata
from hires_nst.run.record import (
    InputFile,
    Machine,
    RunRecord,
    check_machine,
    check_same,
    input_file,
    locate,
    output_places,
    registered_network,
    store_config,
)
from hires_nst.run.restore import is_restored, restore
from hires_nst.run.write_behind import WriteBehind
from hires_nst.stopping import Stop
from hires_nst.transfer.canvas import temporary_folder
from hires_nst.transfer.device import is_out_of_memory, model_of, release_memory, unless_memory_runs_out
from hires_nst.transfer.levels import LevelPlan
from hires_nst.transfer.minimise import import_optimizers
from hires_nst.transfer.weights import WeightedImage
from hires_nst.version import VERSION

MEASURED_SIDE = 256
"""Side of the tile, in pixels, by which a run with a deadline estimates the time of its first step."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """A finished run.

    Attributes:
        output: the file of the picture; None if it is returned.
        image: the picture, if it is returned: (H, W, 3), or (H, W, 4) where the photograph has transparency and
            `output.background` is None; uint8 or uint16 as `output.bit_depth` says; sRGB, the alpha channel not
            premultiplied. The same samples as a PNG or TIFF file would have.
        width, height: in pixels.
        seconds: of this part of the run.
        sha256: of the picture's file, in hexadecimal.
    """

    output: Path | None
    image: NDArray[np.uint8] | NDArray[np.uint16] | None
    width: int
    height: int
    seconds: float
    levels: tuple[LevelPlan, ...]
    sha256: str


@dataclass(kw_only=True)
class SingleRun:
    """A run in its directory, which this process has locked; a new one unless `resume` is called."""

    directory: RunDirectory
    options: RunOptions
    stop: Stop
    on_event: OnEvent
    cache: Cache

    def __post_init__(self) -> None:
        self.record: RunRecord | None = None
        self.began = time.monotonic()
        self.pending: list[Event] = []

    @property
    def command(self) -> str:
        """The command that resumes the run."""
        return resume_command(self.directory.path)

    def resume(self, record: RunRecord) -> None:
        """Continue the run of that record; raises as `check_same`."""
        check_same(record, self.directory.path, config=self.options.config, inputs=self._inputs(), version=VERSION)
        self.record = record

    def clear(self, record: RunRecord | None) -> None:
        """Remove what an earlier run left in the directory, and its half-written picture."""
        if record is not None:
            self._remove_part(record)
        self.directory.clear()

    def result(self, size: OutputSize) -> Result:
        """Paint and write the picture, from where the run stands."""
        if self.record is not None:
            if self.record.is_written(self.directory.path):
                return self.finish(self.record)
            files.check_free(self.options.output, self.options.overwrite)  # that of a new run has been checked
        try:
            with torch.no_grad(), _readable_memory_errors():
                record = self._run(size)
        except Interrupted:
            with suppress(ResourceError):  # a full disk is no reason to hide why it stopped
                self.emit(events.RunStopped(self.stop.reason or "", str(self.directory.path)))
            raise
        except ResourceError as error:
            if self.record is None:
                raise
            raise ResourceError(f"{error}; then resume with `{self.command}`") from None
        finally:
            release_memory()  # for what follows in this process, and for others that use the device
        return self.finish(record)

    def emit(self, event: Event) -> None:
        """Emit an event, and log it as soon as there is a run to log."""
        self.pending.append(event)
        if self.record is not None:
            pending, self.pending = self.pending, []
            for one in pending:
                self.directory.log(one)
        self.on_event(event)

    def check_stop(self, seconds: float = 0.0) -> None:
        """Raise `Interrupted` if the run is to stop before a piece of work that takes so long."""
        if self.stop.due(seconds):
            how = " before anything was painted" if self.record is None else f"; resume with `{self.command}`"
            raise Interrupted(f"stopped by {self.stop.reason}{how}", exit_code=self.stop.exit_code)

    def _run(self, size: OutputSize) -> RunRecord:
        """Everything up to the written picture."""
        is_resumed = self.record is not None
        context = open_context(
            self.options.config, size, emit=self.emit, check_stop=self.check_stop, cache=self.cache,
            executor=self.options.executor, share=self.options.share,
        )  # fmt: skip
        content = read_content(self.options.content, size, context=context)
        self._tell_background(content)
        styles, metadata = read_styles(context), self._metadata()
        context = recolour_inputs(content, styles, context=context)
        context = in_checked_precision(context, size, content=content, styles=styles)
        resumed: RunRecord | None = None
        if self.record is None:
            plans = level_plans(context, size)
            if text := size.loss(self.options.config):
                self.emit(events.Notice(text))
            if start := later_start(plans, self.options.config):
                self.emit(start)
        else:
            resumed = check_machine(
                self.record, _machine(context), folder=self.directory.path, other=self.options.other_machine,
                emit=self.emit,
            )  # fmt: skip
            plans = resumed.levels
        # Masks that cover nothing are found before anything is stored.
        content.regions_at(plans[0], content.weights_at(plans[0], context), context=context)
        self._check_disk(context, plans, content=content, styles=[image for image, _ in styles])
        record = self._save_record(context, plans, size=size, resumed=resumed)
        with WriteBehind() as writer, self._executor(context, plans) as executor:
            checkpoints = CheckpointStore(
                directory=self.directory, settings=self.options.config.checkpoint, emit=self.emit,
                check_stop=self.check_stop, is_late=self.stop.is_late, writer=writer, is_resumed=is_resumed,
                by_cost=writes_by_cost(self.options.config, context.extract.device),
            )  # fmt: skip
            if self.stop.deadline is not None:  # which holds for the first step too
                import_optimizers()
                self.check_stop()
                smallest = min(plans, key=lambda plan: plan.window_area)
                estimate = unless_memory_runs_out(partial(seconds_per_megapixel, context, smallest, side=MEASURED_SIDE))
                checkpoints.step_seconds = (estimate or 0.0) / 1e6
            context = replace(context, executor=executor)
            canvas = paint(context, plans, content=content, styles=styles, checkpoints=checkpoints)
        finest = plans[-1]
        pixels, alpha = canvas.pixels[finest.picture.slices()], None
        if is_restored(self.options.config, content.regions):
            photograph = locate(record.content, self.directory.path, digests=self.cache.digests)
            restore(pixels, photograph, size=size, regions=content.regions, context=context)
        if weights := content.weights_at(finest, context):
            alpha = weights.read(finest.picture).astype(np.float32, copy=False)
            fill_hidden(pixels, alpha)
        return self._write(record, pixels, alpha=alpha, metadata=metadata, dpi=size.dpi)

    def _executor(self, context: RunContext, plans: tuple[LevelPlan, ...]) -> AbstractContextManager[TilePool | None]:
        """What does the tiles, see `tile_executor`; nothing where no level has several, or the coupling is exact."""
        if all(plan.tiles == 1 for plan in plans) or context.config.tiles.coupling == "exact":
            return nullcontext()

        def tell(reason: str) -> None:
            self.emit(events.Notice(f"a worker was lost ({reason}); the others do its tiles"))

        return tile_executor(
            context.config, context.extract, executor=self.options.executor, address=self.options.address, on_lost=tell
        )

    def _metadata(self) -> Metadata | None:
        """The metadata of the result, see `picture_metadata`; that of a picture that is returned is None."""
        options = self.options
        if options.is_returned:
            return None
        return picture_metadata(options.content, options.output, config=options.config, emit=self.emit)

    def _tell_background(self, content: ContentImage) -> None:
        """Say what becomes of the transparency of a photograph that has some, if it is not kept."""
        background, kind = self.options.config.output.background, written_format(self.options.output)
        if content.alpha is None:
            return
        if background is not None:
            self.emit(events.Notice(f"the photograph has transparent parts; the result is flattened onto {background}"))
        elif kind in WITHOUT_ALPHA:
            self.emit(
                events.Notice(
                    f"the photograph has transparent parts and a {kind} cannot, so the result is flattened onto white; "
                    "choose another colour with --background, or a .png, .tif or .webp file to keep the transparency"
                )
            )

    def _check_disk(
        self, context: RunContext, plans: tuple[LevelPlan, ...], *, content: ContentImage, styles: list[WeightedImage]
    ) -> None:
        config, path, finest = self.options.config, self.directory.path, plans[-1]
        channels = 3 if content.alpha is None else 4
        picture = picture_bytes(finest.width * finest.height, bit_depth=config.output.bit_depth, channels=channels)
        needs = [
            Need(path, planned_run_bytes(config, plans) - folder_bytes(path), RUN_REMEDIES),
            Need(files.behind_links(self.options.output).parent, picture, PICTURE_REMEDIES),
        ]
        if context.on_disk:
            canvases = canvas_bytes(
                config, finest,
                styles=[style.size for style in styles],
                transparent=[content.alpha is not None, *(image.weights is not None for image in styles)],
            )  # fmt: skip
            needs.append(Need(temporary_folder(), canvases, CANVAS_REMEDIES))
        check_disk(needs)

    def _save_record(
        self, context: RunContext, plans: tuple[LevelPlan, ...], *, size: OutputSize, resumed: RunRecord | None
    ) -> RunRecord:
        """Write run.json and config.yaml, with which the run begins, or goes on as `resumed`."""
        options, path, before = self.options, self.directory.path, self.record
        config = options.config.model_dump(mode="json")
        record = resumed or RunRecord(
            version=VERSION, config=config, inputs=self._inputs(), **output_places(options.output, path),
            overwrite=options.overwrite, machine=_machine(context),
            width=size.width, height=size.height, levels=plans,
        )  # fmt: skip
        record = record.model_copy(update={"config": config, "overwrite": options.overwrite})
        if record != before:
            record.save(self.directory)
        if store_config(path, record, before=before):
            self.emit(events.Notice(f"{self.directory.config} was edited or damaged, so it is written again"))
        self.record = record
        self.emit(
            events.RunStarted(
                content=str(options.content), output=str(options.output), width=record.width, height=record.height,
                levels=tuple((p.width, p.height, p.rounds, p.steps, p.tiles) for p in plans),
                pixel_evaluations=float(sum(p.canvas_area * p.evaluations for p in plans)),
                model=options.config.model.name, device=str(context.extract.device),
                styles=tuple(str(painting.image) for painting in options.config.paintings),
                canvas_pixels=tuple(p.canvas_area for p in plans) if any(p.border for p in plans) else (),
            )
        )  # fmt: skip
        return record

    def _write(
        self, record: RunRecord, pixels: Floats, *, alpha: Floats | None, metadata: Metadata | None, dpi: float | None
    ) -> RunRecord:  # fmt: skip
        """Write the picture; its digest is recorded just before it gets its name."""
        config = self.options.config.output
        background = None if config.background is None else parse_colour(config.background)
        encoding = writing.Encoding(
            dpi=dpi, bit_depth=config.bit_depth, quality=config.quality, compression=config.compression
        )

        def complete(file: Path) -> None:
            nonlocal record
            record = record.model_copy(update={"written": files.sha256_of(file)})
            record.save(self.directory)

        self._remove_part(record)
        writing.write_picture(
            self.options.output, pixels, alpha=alpha, background=background, encoding=encoding, metadata=metadata,
            overwrite=self.options.overwrite, check_stop=self.check_stop, name=record.key, done=complete,
        )  # fmt: skip
        return record

    def finish(self, record: RunRecord) -> Result:
        """After the picture is written: emit the last event and remove the run directory."""
        self.record, output, is_returned = record, self.options.output, self.options.is_returned
        seconds = time.monotonic() - self.began
        with suppress(ResourceError):  # the log is not worth an error now
            self.emit(events.RunFinished(output=str(output), width=record.width, height=record.height, seconds=seconds))
        image = tifffile.imread(output) if is_returned else None
        if not self.options.config.checkpoint.keep_run:
            try:
                self.directory.remove()
            except OutputError as error:
                message = f"the picture is written, but the run directory cannot be removed: {error}"
                self.on_event(events.Notice(message))
        return Result(
            output=None if is_returned else output, image=image, width=record.width, height=record.height,
            seconds=seconds, levels=record.levels, sha256=record.written or "",
        )  # fmt: skip

    def _inputs(self) -> tuple[InputFile, ...]:
        """The input files as they are; a network that has not been downloaded yet is not among them."""
        config = self.options.config
        named: list[tuple[FileRole, Path]] = [("photograph", self.options.content), *config.files()]
        if config.model.weights is None:
            named.append(("weights", own_file(config.backbone)))
        files = [
            input_file(role, path, folder=self.directory.path, digests=self.cache.digests)
            for role, path in named
            if role != "weights" or path.is_file()
        ]
        if config.backbone.weights.provider == "python":
            files.append(registered_network(config.backbone))
        return tuple(files)

    def _remove_part(self, record: RunRecord) -> None:
        """Remove the half-written picture of a process that was killed."""
        with files.plain_os_errors(self.options.output):
            (files.behind_links(self.options.output).parent / f".{record.key}.part").unlink(missing_ok=True)


def writes_by_cost(config: Config, device: torch.device) -> bool:
    """Whether checkpoints are written only as often as their cost allows: a tile takes a processor much longer."""
    return config.checkpoint.every == "auto" and device.type != "cpu"


def _machine(context: RunContext) -> Machine:
    device = context.extract.device
    return Machine(
        device=str(device), model=model_of(device), precision=context.precision, torch=torch.__version__,
        threads=torch.get_num_threads(),
    )  # fmt: skip


@contextmanager
def _readable_memory_errors() -> Iterator[None]:
    """Turn running out of memory, where smaller tiles do not help, into one sentence."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory(remedies=("keep canvases on disk (--set runtime.canvas=disk)",)) from None
