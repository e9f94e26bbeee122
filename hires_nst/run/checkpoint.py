"""The checkpoints of a run: what it writes while it works, and where it resumes.

    levels/NN/objective.safetensors           the statistics and norms of the level's objective
    levels/NN/canvas.safetensors              a finished level
    levels/NN/rounds/RR/canvas.safetensors    a finished round, with the optimiser's canvases
    levels/NN/rounds/RR/...                   the round under way, see `round_store`

A damaged file counts as missing, with a notice.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from hires_nst import events
from hires_nst.config import Checkpoint
from hires_nst.errors import DamagedFile
from hires_nst.events import OnEvent
from hires_nst.files import make_folder, plain_os_errors, read_json
from hires_nst.run.directory import RunDirectory
from hires_nst.run.tensors import Array, read_tensors, write_tensors
from hires_nst.run.write_behind import WriteBehind
from hires_nst.transfer.canvas import Canvas, Place
from hires_nst.transfer.moments import Statistics
from hires_nst.transfer.rounds import OptimizerCanvases

WRITE_RATE = 50e6
"""Bytes per second that are assumed until a large file was written."""

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
    """

    level: int
    round: int
    rounds: int
    steps: int
    size: int
    finished: bool
    losses: tuple[float, ...] = ()

    def is_past(self, level: int) -> bool:
        """Whether a level is finished."""
        return level < self.level or (level == self.level and self.finished)


@dataclass(frozen=True, kw_only=True)
class File:
    """A file to write.

    Attributes:
        kind: tile, round, level, objective, moments or step.
        round: its index; -1 for none.
        about: JSON-ready data about the arrays.
    """

    path: Path
    kind: str
    level: int
    round: int
    arrays: Mapping[str, Array]
    about: Mapping[str, Any]


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
        step_seconds: measured time of a step for each pixel of a tile's window.
        write_rate: bytes per second of the last large write.
    """

    directory: RunDirectory
    settings: Checkpoint
    emit: OnEvent
    check_stop: CheckStop
    is_late: Callable[[float], bool]
    writer: WriteBehind
    is_resumed: bool
    step_seconds: float = 0.0
    write_rate: float = WRITE_RATE

    def write(self, file: File) -> None:
        """Write one file, and emit its event; raises as `plain_os_errors`."""
        self.emit(self._written(file, lambda: None))

    def write_behind(self, file: File, on_saved: Callable[[], None]) -> None:
        """The same in the background, where the arrays must not change; `on_saved` is called when the file is there.

        The errors are those of earlier files.
        """

        def finished(written: events.CheckpointWritten) -> None:
            self.emit(written)
            on_saved()

        self.writer.put(partial(self._written, file), finished)

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
            files = [self.directory.round(level, number) / "canvas.safetensors" for number in numbers]
            for file in (self.directory.level(level) / "canvas.safetensors", *files):
                stored = self.read(file)
                if stored is None:
                    continue
                arrays, about = stored
                canvases = {}
                for name, array in arrays.items():
                    canvases[name] = place(*sizes[level])
                    for top in range(0, canvases[name].height, 256):
                        self.check_stop(0.0)
                        canvases[name].pixels[top : top + 256] = array[top : top + 256]
                steps = about.pop("optimizer_steps")
                progress = Progress(**{**about, "losses": tuple(about["losses"])})
                with plain_os_errors(self.directory.path):
                    self._prune(progress)
                return progress, canvases.pop("pixels"), OptimizerCanvases(canvases, steps)
        return None

    def save_canvas(
        self,
        progress: Progress,
        canvas: Canvas,
        *,
        optimizer_canvases: OptimizerCanvases,
        on_saved: Callable[[], None],
    ) -> None:
        """Write the canvas of a finished round or level, then remove the files that it replaces, then call `on_saved`.

        The run may end here before the write only if that would pass the deadline: with `checkpoint.every` other than
        `tile`, and with exact coupling, the round has no other file.
        """

        def finished() -> None:
            with plain_os_errors(self.directory.path):
                self._prune(progress)
            on_saved()

        if self.settings.every == "level" and not progress.finished:
            finished()
            return
        arrays: dict[str, Array] = {"pixels": canvas.pixels}
        if not progress.finished:
            arrays |= {name: extra.pixels for name, extra in optimizer_canvases.canvases.items()}
        about = asdict(progress)
        about["optimizer_steps"] = optimizer_canvases.steps
        self.writer.flush()  # so that no older canvases stay in memory
        seconds = sum(array.nbytes for array in arrays.values()) / self.write_rate
        if self.is_late(seconds):
            self.check_stop(seconds)
        folder, kind = self.directory.round(progress.level, progress.round), "round"
        if progress.finished:
            folder, kind = self.directory.level(progress.level), "level"
        file = File(
            path=folder / "canvas.safetensors", kind=kind, level=progress.level, round=progress.round, arrays=arrays,
            about=about,
        )  # fmt: skip
        self.write_behind(file, finished)
        self.check_stop(0.0)

    def _prune(self, progress: Progress) -> None:
        for level, number in self.directory.rounds():
            folder = self.directory.round(level, number)
            old = level < progress.level or (level == progress.level and number <= progress.round - self.settings.keep)
            if old:
                shutil.rmtree(folder)
            elif (level, number) == (progress.level, progress.round):
                shutil.rmtree(folder / "tiles", ignore_errors=True)
                for name in ("round.json", "parts.json", "moments.safetensors", "step.safetensors"):
                    (folder / name).unlink(missing_ok=True)

    def load_objective(self, level: int) -> tuple[dict[str, Statistics], dict[str, float], int] | None:
        """The stored style statistics, content norms and their tile size, if there are any."""
        stored = self.read(self.directory.level(level) / "objective.safetensors")
        return None if stored is None else (statistics_of(stored[0]), stored[1]["norms"], stored[1]["tile_size"])

    def save_objective(
        self, level: int, style: Mapping[str, Statistics], *, norms: Mapping[str, float], tile_size: int
    ) -> None:
        """Store the style statistics, the content norms and the tile size with which they were measured."""
        path = self.directory.level(level) / "objective.safetensors"
        about = {"norms": dict(norms), "tile_size": tile_size}
        self.write(File(path=path, kind="objective", level=level, round=-1, arrays=arrays_of(style), about=about))


def numpy_of(tensors: Mapping[str, Tensor]) -> dict[str, Array]:
    """Tensors as arrays, by name."""
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors.items()}


def tensors_of(arrays: Mapping[str, Array]) -> dict[str, Tensor]:
    """Arrays, which may be mapped from a file, as tensors of their own memory."""
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}


def arrays_of(statistics: Mapping[str, Statistics]) -> dict[str, Array]:
    """Statistics by layer as arrays for a file, named `layer.tensor`."""
    found = {layer: of_layer.tensors for layer, of_layer in statistics.items()}
    return numpy_of({f"{layer}.{name}": tensor for layer, tensors in found.items() for name, tensor in tensors.items()})


def statistics_of(arrays: Mapping[str, Array]) -> dict[str, Statistics]:
    """The opposite of `arrays_of`."""
    found: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors_of(arrays).items():
        layer, _, name = key.partition(".")
        found.setdefault(layer, {})[name] = tensor
    return {layer: Statistics(tensors) for layer, tensors in found.items()}
