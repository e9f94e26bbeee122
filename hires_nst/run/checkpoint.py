"""The checkpoints of a run: what it writes while it works, and where it resumes.

    levels/NN/objective.safetensors           the statistics and norms of the level's objective
    levels/NN/canvas.safetensors              a finished level
    levels/NN/rounds/RR/canvas.safetensors    a finished round
    levels/NN/rounds/RR/optimizer.safetensors the optimiser's canvases after it, with the change of the image
    levels/NN/rounds/RR/complete.json         the tiles' files, when all of them are there
    levels/NN/rounds/RR/...                   the round under way, see `round_store`

A damaged file counts as missing, with a notice.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from hires_nst import events
from hires_nst.config import Checkpoint
from hires_nst.errors import DamagedFile
from hires_nst.events import OnEvent
from hires_nst.files import make_folder, plain_os_errors, read_json, write_json
from hires_nst.run.arrays import array_of, arrays_of, numpy_of, statistics_of, tensor_of
from hires_nst.run.directory import RunDirectory
from hires_nst.run.tensors import Array, WholeNumbers, read_tensors, write_tensors
from hires_nst.run.write_behind import WriteBehind
from hires_nst.transfer.canvas import HALF_BYTES_PER_PIXEL, QUANTA, STRIP_ROWS, Canvas, Place
from hires_nst.transfer.moments import Statistics
from hires_nst.transfer.rounds import OptimizerCanvases, RoundResult
from hires_nst.transfer.sums import Norm

CANVAS, OPTIMIZER, COMPLETE = "canvas.safetensors", "optimizer.safetensors", "complete.json"
"""Files of a round, see above."""

WRITE_RATE = 50e6
"""Bytes per second that are assumed until a large file was written."""

WRITING_SHARE = 0.03
"""Of the time that may be spent on writing where it is done by its cost."""

CheckStop = Callable[[float], None]
"""Raises `Interrupted` when the run is to stop before a piece of work that takes so many seconds."""

Content = TypeVar("Content")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands after a round.

    Attributes:
        level, round: indices of the last finished round; `round` is -1 for a level without rounds.
        rounds, steps, size: of the level and its tiles, which may differ from the plan where memory ran out.
        finished: whether the level is finished.
        losses: of the last rounds, by which `levels.tolerance` judges.
        content_factor: see `ObjectiveData`.
    """

    level: int
    round: int
    rounds: int
    steps: int
    size: int
    finished: bool
    losses: tuple[float, ...] = ()
    content_factor: float = 1.0

    def is_past(self, level: int) -> bool:
        """Whether a level is finished."""
        return level < self.level or (level == self.level and self.finished)


@dataclass(frozen=True, kw_only=True)
class ObjectiveData:
    """What is measured once for a level's objective.

    Attributes:
        style: data of the style images by style term.
        norms: of the content layers, see `content_norms`.
        tile_size: with which they were measured.
        content_factor: of the content weight, where `loss.balance` asks for one.
    """

    style: Mapping[str, Statistics]
    norms: Mapping[str, Norm]
    tile_size: int
    content_factor: float = 1.0


@dataclass(frozen=True, kw_only=True)
class File:
    """A file to write.

    Attributes:
        kind: tile, round, level, optimizer, objective, moments or step; an image is quantised, see `Canvas.quantise`.
        round: its index; -1 for none.
        about: JSON-ready data about the arrays.
    """

    path: Path
    kind: str
    level: int
    round: int
    arrays: Mapping[str, Array | WholeNumbers]
    about: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class UnsavedCanvas:
    """The files of a finished round that are not written yet.

    Attributes:
        size: bytes of all of them.
        files: makes them, in their order, each with what removes those that it replaces.
    """

    size: int
    files: Callable[[], Sequence[tuple[File, Callable[[], None]]]]


@dataclass(kw_only=True)
class CheckpointStore:
    """The checkpoints of one run.

    Tiles and canvases, which are large, are written in the background. A tile is reported, and a canvas replaces the
    tiles of its round, only when the file is complete. Until then the run would resume from the canvas before, with the
    tiles that are there.

    Attributes:
        check_stop: called at every point where the run may end.
        is_late: whether work that takes so many seconds would pass the deadline.
        is_resumed: whether an earlier process may have left checkpoints.
        by_cost: whether tiles and rounds are written only as often as `WRITING_SHARE` and `checkpoint.every_seconds`
            say. What was not written is when the run is stopped.
        step_seconds: measured time of a step for each pixel of a tile's window.
        write_rate: bytes per second of the last large write.
        saved: when something was last written for the sake of an interruption, by `time.monotonic`.
        unsaved: writes the canvas of the last finished round, where that was left out.
    """

    directory: RunDirectory
    settings: Checkpoint
    emit: OnEvent
    check_stop: CheckStop
    is_late: Callable[[float], bool]
    writer: WriteBehind
    is_resumed: bool
    by_cost: bool = False
    step_seconds: float = 0.0
    write_rate: float = WRITE_RATE
    saved: float = field(default_factory=time.monotonic)
    unsaved: UnsavedCanvas | None = None

    @property
    def stores_tiles(self) -> bool:
        """Whether the files of a round under way are written."""
        return self.settings.every in ("auto", "tile")

    def is_due(self, size: int) -> bool:
        """Whether so many bytes are to be written now, by what that costs and what a stop would lose."""
        if not self.by_cost:
            return True
        seconds = time.monotonic() - self.saved
        return seconds >= self.settings.every_seconds or size / self.write_rate <= WRITING_SHARE * seconds

    def save_unsaved(self) -> None:
        """Write the canvas of the last finished round, if it was left out; before anything of the round after it."""
        if self.unsaved is not None:
            unsaved, self.unsaved = self.unsaved, None
            for file, then in unsaved.files():
                self.write(file)
                with plain_os_errors(self.directory.path):
                    then()

    def write(self, file: File) -> None:
        """Write one file, and emit its event; raises as `plain_os_errors`."""
        self.emit(self._written(file, lambda: None))

    def write_behind(
        self, file: File, on_saved: Callable[[], None], *, then: Callable[[], None] = lambda: None
    ) -> None:
        """The same in the background, where the arrays must not change; `on_saved` is called when the file is there.

        The errors are those of earlier files.

        Args:
            then: called in the background too, to remove what the file replaces before another one is written.
        """

        def write(check_stop: Callable[[], None]) -> events.CheckpointWritten:
            written = self._written(file, check_stop)
            with plain_os_errors(self.directory.path):
                then()
            return written

        def finished(written: events.CheckpointWritten) -> None:
            self.emit(written)
            on_saved()

        self.writer.put(write, finished)

    def _written(self, file: File, check_stop: Callable[[], None]) -> events.CheckpointWritten:
        began = time.monotonic()
        make_folder(file.path.parent)
        size = write_tensors(file.path, file.arrays, about=file.about, check_stop=check_stop)
        seconds = time.monotonic() - began
        if size > 1e6 and seconds > 0:
            self.write_rate = size / seconds
        return events.CheckpointWritten(kind=file.kind, level=file.level, round=file.round, bytes=size, seconds=seconds)

    def read(self, path: Path) -> tuple[dict[str, Array], dict[str, Any]] | None:
        """The arrays in a file and the data about them; None if there is none, or a damaged one, which is removed."""
        return self._read(path, lambda path: read_tensors(path, check_stop=lambda: self.check_stop(0.0)))

    def read_json(self, path: Path) -> dict[str, Any] | None:
        """The same of a JSON file."""
        return self._read(path, read_json)

    def _read(self, path: Path, read: Callable[[Path], Content]) -> Content | None:
        try:
            return read(path)
        except FileNotFoundError:
            return None
        except DamagedFile:
            self.emit(events.Notice(f"{path} is damaged, so its content is computed again"))
            with plain_os_errors(path):
                path.unlink(missing_ok=True)
            return None

    def load_canvas(
        self, sizes: Mapping[int, tuple[int, int]], place: Place
    ) -> tuple[Progress, Canvas, OptimizerCanvases] | None:
        """The newest intact canvas; None to start from the beginning. `sizes` are the levels' heights and widths."""
        for level in sorted(sizes, reverse=True):
            numbers = sorted((number for index, number in self.directory.rounds() if index == level), reverse=True)
            for folder in (self.directory.level(level), *(self.directory.round(level, number) for number in numbers)):
                found = self._load(folder, partial(place, *sizes[level]))
                if found is not None:
                    with plain_os_errors(self.directory.path):
                        self._prune(found[0])
                    return found
        return None

    def _load(self, folder: Path, place: Callable[..., Canvas]) -> tuple[Progress, Canvas, OptimizerCanvases] | None:
        """The canvas in a folder, and what goes with it; None where that is not there or not intact."""
        stored = self.read(folder / CANVAS)
        if stored is None:
            return None
        arrays, about = stored
        progress, steps = _progress(about), about["optimizer_steps"]
        after = self.directory.round(progress.level, progress.round + 1)
        changed = None if progress.finished else self.read(after / OPTIMIZER)
        carried = changed or (self.read(folder / OPTIMIZER) if about["has_optimizer"] else ({}, {}))
        if carried is None:
            if not self._is_complete(after):
                return None
            carried = {}, {}
        canvas = self._canvas(arrays["pixels"], place)
        canvases = {name: self._canvas(array, place) for name, array in carried[0].items()}
        if changed is not None:  # the canvas with that change was not written any more
            canvas.add_clipped(canvases["step"])
            canvas.quantise()
            progress, steps = _progress(changed[1]), changed[1]["optimizer_steps"]
        if "gradient" not in canvases:
            canvases.pop("step", None)
        return progress, canvas, OptimizerCanvases(canvases, steps)

    def _canvas(self, array: Array, place: Callable[..., Canvas]) -> Canvas:
        canvas = place(sample=str(tensor_of(array[:1]).dtype).removeprefix("torch."))
        for top in range(0, canvas.height, STRIP_ROWS):
            self.check_stop(0.0)
            canvas.samples[top : top + STRIP_ROWS] = tensor_of(array[top : top + STRIP_ROWS])
        return canvas

    def _is_complete(self, folder: Path) -> bool:
        """Whether all tiles of a round are there, and intact, so that nothing else is needed for it."""
        complete = self.read_json(folder / COMPLETE)
        files = [] if complete is None else [folder / "tiles" / name for name in complete["tiles"]]
        return bool(files) and all(self.read(file) is not None for file in files)

    def save_canvas(
        self,
        progress: Progress,
        canvas: Canvas,
        *,
        result: RoundResult | None,
        on_saved: Callable[[], None],
        tiles: Sequence[str] = (),
    ) -> None:
        """Write the canvas of a finished round or level, then remove the files that it replaces, then call `on_saved`.

        With all tiles of the round on the disk, the optimiser's canvases before it are removed first; then those after
        it, with the change of the image, take the place of the tiles, and the canvas that of the one before.

        The run may end here before the write only if that would pass the deadline: with `checkpoint.every` other than
        `tile`, and with exact coupling, the round has no other file.

        Args:
            result: of the round; None for a level without rounds.
            tiles: the names of the files of all tiles of the round, where it has stored them.
        """

        if self.settings.every == "level" and not progress.finished:
            with plain_os_errors(self.directory.path):
                self._prune(progress)
            on_saved()
            return
        carried = _carried(progress, result)
        size = canvas.image.area * HALF_BYTES_PER_PIXEL + sum(each.samples.nbytes for each in carried.values())
        steps = 0 if result is None or result.optimizer_canvases is None else result.optimizer_canvases.steps
        about = {**asdict(progress), "optimizer_steps": steps, "has_optimizer": bool(carried)}
        unsaved = UnsavedCanvas(
            size=size, files=partial(self._files, progress, canvas, carried=carried, about=about)
        )  # fmt: skip
        self.writer.flush()  # so that no older canvases stay in memory
        seconds = unsaved.size / self.write_rate
        if self.by_cost:  # where the run ends here, it is written
            self.unsaved = unsaved
            if not (progress.finished or self.is_due(unsaved.size)):
                on_saved()
                self.check_stop(seconds)
                return
        if self.is_late(seconds):
            self.check_stop(seconds)
        self.unsaved = None
        if tiles and self.settings.keep == 1:
            self._drop_optimizer(progress, tiles)
        *first, (last, prune) = unsaved.files()
        for file, then in first:
            self.write_behind(file, lambda: None, then=then)
        self.write_behind(last, on_saved, then=prune)
        self.saved = time.monotonic()
        self.check_stop(0.0)

    def _files(
        self, progress: Progress, canvas: Canvas, *, carried: Mapping[str, Canvas], about: Mapping[str, Any]
    ) -> list[tuple[File, Callable[[], None]]]:
        """The files of a finished round or level, see `save_canvas` and `UnsavedCanvas.files`."""
        folder, kind = self.directory.round(progress.level, progress.round), "round"
        if progress.finished:
            folder, kind = self.directory.level(progress.level), "level"
        file = partial(File, level=progress.level, round=progress.round, about=about)
        files: list[tuple[File, Callable[[], None]]] = []
        if carried:
            arrays = numpy_of({name: extra.samples for name, extra in carried.items()})
            # Before the first round there is no canvas of the level to which the change could be added.
            replaces = self.settings.keep == 1 and progress.round > 0
            drop = partial(self._drop_tiles, folder) if replaces else lambda: None
            files.append((file(path=folder / OPTIMIZER, kind="optimizer", arrays=arrays), drop))
        pixels = {"pixels": WholeNumbers(array_of(canvas.samples.cpu()), QUANTA)}
        files.append((file(path=folder / CANVAS, kind=kind, arrays=pixels), partial(self._prune, progress)))
        return files

    def _drop_optimizer(self, progress: Progress, tiles: Sequence[str]) -> None:
        """Remove the optimiser's canvases before a round of which all tiles are on the disk."""
        write_json(self.directory.round(progress.level, progress.round) / COMPLETE, {"tiles": list(tiles)})
        with plain_os_errors(self.directory.path):
            (self.directory.round(progress.level, progress.round - 1) / OPTIMIZER).unlink(missing_ok=True)

    def _drop_tiles(self, folder: Path) -> None:
        """Remove the files of a round under way."""
        shutil.rmtree(folder / "tiles", ignore_errors=True)
        for name in ("round.json", "parts.json", "moments.safetensors", "step.safetensors", COMPLETE):
            (folder / name).unlink(missing_ok=True)

    def _prune(self, progress: Progress) -> None:
        for level, number in self.directory.rounds():
            folder = self.directory.round(level, number)
            old = level < progress.level or (level == progress.level and number <= progress.round - self.settings.keep)
            if old:
                shutil.rmtree(folder)
            elif (level, number) == (progress.level, progress.round):
                self._drop_tiles(folder)

    def load_objective(self, level: int) -> ObjectiveData | None:
        """The stored data of a level's objective, if there are any."""
        stored = self.read(self.directory.level(level) / "objective.safetensors")
        if stored is None:
            return None
        arrays, about = stored
        norms = {layer: tuple(norm) if isinstance(norm, list) else norm for layer, norm in about["norms"].items()}
        return ObjectiveData(**{**about, "norms": norms}, style=statistics_of(arrays))

    def save_objective(self, level: int, data: ObjectiveData) -> None:
        """Store the data of a level's objective."""
        path = self.directory.level(level) / "objective.safetensors"
        arrays, about = arrays_of(data.style), {k: v for k, v in vars(data).items() if k != "style"}
        self.write(File(path=path, kind="objective", level=level, round=-1, arrays=arrays, about=about))


def _carried(progress: Progress, result: RoundResult | None) -> dict[str, Canvas]:
    """The optimiser's canvases after a round, with the change of the image; none at the end of a level."""
    if progress.finished or result is None or result.optimizer_canvases is None:
        return {}
    canvases = result.optimizer_canvases.canvases
    return {"step": result.step, **canvases} if canvases else {}


def _progress(about: Mapping[str, Any]) -> Progress:
    """Where a run stands, from what a file of a round says about itself."""
    own = {name: about[name] for name in (field.name for field in fields(Progress)) if name in about}
    return Progress(**{**own, "losses": tuple(own["losses"])})
