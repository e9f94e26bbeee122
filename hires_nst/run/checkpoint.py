"""What a run leaves on the disk while it works, and how it finds its place again.

    levels/NN/objective.safetensors           what the level is measured against
    levels/NN/canvas.safetensors              a finished level
    levels/NN/rounds/RR/canvas.safetensors    a finished round, with what the optimiser takes from it
    levels/NN/rounds/RR/round.json            the geometry of the round under way
    levels/NN/rounds/RR/parts.json            from which tile on they are cut into parts, after memory ran out
    levels/NN/rounds/RR/moments.safetensors   the whole image's statistics at its start
    levels/NN/rounds/RR/step.safetensors      inside a tile: the optimiser after some step
    levels/NN/rounds/RR/tiles/TTTT.safetensors   a finished tile

A tile's result depends on the round's canvas, its statistics and its geometry, so a tile's file names the round.json
that it belongs to by its checksum. What is damaged counts as not there, with a notice.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hires_nst import events
from hires_nst.config import Checkpoint
from hires_nst.errors import DamagedFile
from hires_nst.events import OnEvent
from hires_nst.files import make_folder, plain_os_errors, read_json, write_json
from hires_nst.run import directory
from hires_nst.run.tensors import Array, read_tensors, write_tensors
from hires_nst.run.write_behind import WriteBehind
from hires_nst.transfer.canvas import Canvas, Place
from hires_nst.transfer.moments import Statistics
from hires_nst.transfer.optimizers import OptimizerState, Snapshot, TakeSnapshot
from hires_nst.transfer.rounds import OptimizerCanvases, RoundStore, TileResult
from hires_nst.transfer.tiles import Grid, Tile, make_grid

WRITE_RATE = 50e6
"""Bytes a second that are assumed before a write was measured."""

_NUMBER = re.compile(r"\d\d+", re.ASCII).fullmatch
"""The name of a level's folder, or of a round's."""

CheckStop = Callable[[float], None]
"""Raises `Interrupted` when the run is to stop before a piece of work that takes so many seconds."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands after a round.

    Attributes:
        level, round: indices of what was finished last; `round` is -1 for a level without rounds.
        rounds, steps: of the level, as it turned out.
        size: of its tiles, as it turned out.
        finished: whether the level is done.
    """

    level: int
    round: int
    rounds: int
    steps: int
    size: int
    finished: bool

    def is_past(self, level: int) -> bool:
        """Whether nothing is left to do at a level."""
        return level < self.level or (level == self.level and self.finished)


@dataclass
class Pace:
    """How long things take, measured; for stopping in time."""

    step: float = 0.0
    """Seconds of a step for one pixel of a tile's window."""
    write_rate: float = WRITE_RATE

    def wrote(self, size: int, seconds: float) -> None:
        """Take a measurement in; small files say nothing."""
        if size > 1e6 and seconds > 0:
            self.write_rate = size / seconds


@dataclass(frozen=True)
class File:
    """A file to write.

    Attributes:
        kind: tile, round, level, objective, moments or step.
        at: level and round.
        about: JSON-ready data that goes with the arrays.
    """

    path: Path
    kind: str
    at: tuple[int, int]
    arrays: Mapping[str, Array]
    about: Mapping[str, Any]


class CheckpointStore:
    """The checkpoints of one run.

    Tiles and canvases, which are large, are written while the work goes on. A tile is told of, and a canvas makes the
    tiles of its round superfluous, only when it is in its place. Until then the run would go on from the canvas before,
    with the tiles that are there.

    Args:
        folder: the run directory, which this process holds.
        check_stop: called at every point where the run may end.
        is_late: whether work that takes so many seconds would pass the deadline.
        writer: of tiles and canvases.
        resumed: whether there may be something from an earlier process.
    """

    def __init__(
        self,
        folder: Path,
        settings: Checkpoint,
        emit: OnEvent,
        check_stop: CheckStop,
        is_late: Callable[[float], bool],
        writer: WriteBehind,
        *,
        resumed: bool,
    ) -> None:
        self.resumed, self.writer, self.is_late = resumed, writer, is_late
        self.folder, self.settings, self.emit, self.check_stop = folder, settings, emit, check_stop
        self.pace = Pace()

    def level_folder(self, level: int) -> Path:
        """Of one level."""
        return self.folder / directory.LEVELS / f"{level:02d}"

    def round_folder(self, level: int, number: int) -> Path:
        """Of one round."""
        return self.level_folder(level) / "rounds" / f"{number:02d}"

    def _rounds(self) -> list[tuple[int, int]]:
        """Levels and numbers of the rounds that have a folder; what else lies there (.DS_Store, @eaDir) is not ours."""
        folders = self.folder.glob(f"{directory.LEVELS}/*/rounds/*")
        found = [(p.parts[-3], p.name) for p in folders if p.is_dir()]
        return [(int(level), int(number)) for level, number in found if _NUMBER(level) and _NUMBER(number)]

    def write(self, file: File) -> None:
        """Write one file, and say so.

        Raises:
            ResourceError: the disk is full. OutputError: it cannot be written.
        """
        self.emit(self._written(file, lambda: None))

    def write_behind(self, file: File, told: Callable[[], None]) -> None:
        """The same while the work goes on, which must leave the arrays alone; `told` is called when the file is there.

        Raises:
            ResourceError, OutputError: an earlier one could not be written.
        """
        done: list[events.CheckpointWritten] = []

        def tell() -> None:
            self.emit(done[0])
            told()

        self.writer.put(lambda check_stop: done.append(self._written(file, check_stop)), tell)

    def _written(self, file: File, check_stop: Callable[[], None]) -> events.CheckpointWritten:
        began = time.monotonic()
        make_folder(file.path.parent)
        size = write_tensors(file.path, file.arrays, file.about, check_stop=check_stop)
        seconds = time.monotonic() - began
        self.pace.wrote(size, seconds)
        level, number = file.at
        return events.CheckpointWritten(kind=file.kind, level=level, round=number, bytes=size, seconds=seconds)

    def read(self, path: Path) -> tuple[dict[str, Array], dict[str, Any]] | None:
        """Read one file; None where there is none, or a damaged one, which is removed and told."""
        try:
            return read_tensors(path, check_stop=lambda: self.check_stop(0.0))
        except FileNotFoundError:
            return None
        except DamagedFile:
            self.emit(events.Notice(f"{path} is damaged, so what it held is computed again"))
            with plain_os_errors(path):
                path.unlink(missing_ok=True)
            return None

    def find(
        self, sizes: Mapping[int, tuple[int, int]], place: Place
    ) -> tuple[Progress, Canvas, OptimizerCanvases] | None:
        """The newest good canvas; None to begin at the beginning.

        Args:
            sizes: height and width of each level.
        """
        for level in sorted(sizes, reverse=True):
            numbers = sorted((number for at, number in self._rounds() if at == level), reverse=True)
            files = [self.round_folder(level, number) / "canvas.safetensors" for number in numbers]
            for file in (self.level_folder(level) / "canvas.safetensors", *files):
                read = self.read(file)
                if read is None:
                    continue
                arrays, about = read
                canvases = {}
                for name, array in arrays.items():
                    canvases[name] = place(*sizes[level])
                    self._copy(array, canvases[name])
                progress = Progress(**{name: about[name] for name in Progress.__dataclass_fields__})
                with plain_os_errors(self.folder):
                    self._prune(progress)
                return progress, canvases.pop("pixels"), OptimizerCanvases(canvases, about["optimizer_steps"])
        return None

    def _copy(self, array: Array, canvas: Canvas) -> None:
        for top in range(0, canvas.height, 256):
            self.check_stop(0.0)
            canvas.pixels[top : top + 256] = array[top : top + 256]

    def save_canvas(
        self, progress: Progress, canvas: Canvas, memory: OptimizerCanvases, told: Callable[[], None] = lambda: None
    ) -> None:
        """A round is finished, or a level: write its canvas, then remove what nobody needs any more, then tell.

        The run may end here before the write only if that would miss the deadline: with `checkpoint.every` other than
        `tile`, and with exact coupling, nothing else on the disk knows of the round.
        """
        every, at = self.settings.every, (progress.level, progress.round)

        def finished() -> None:
            with plain_os_errors(self.folder):
                self._prune(progress)
            told()

        if every == "level" and not progress.finished:
            finished()
            return
        arrays: dict[str, Array] = {"pixels": canvas.pixels}
        if not progress.finished:
            arrays |= {name: kept.pixels for name, kept in memory.canvases.items()}
        about = {name: getattr(progress, name) for name in Progress.__dataclass_fields__}
        about["optimizer_steps"] = memory.steps
        self.writer.settle()  # so that no older canvases are kept in memory
        seconds = sum(array.nbytes for array in arrays.values()) / self.pace.write_rate
        if self.is_late(seconds):
            self.check_stop(seconds)
        folder = self.level_folder(progress.level) if progress.finished else self.round_folder(*at)
        kind = "level" if progress.finished else "round"
        self.write_behind(File(folder / "canvas.safetensors", kind, at, arrays, about), finished)
        self.check_stop(0.0)

    def _prune(self, progress: Progress) -> None:
        for level, number in self._rounds():
            folder = self.round_folder(level, number)
            old = level < progress.level or (level == progress.level and number <= progress.round - self.settings.keep)
            if old:
                shutil.rmtree(folder)
            elif (level, number) == (progress.level, progress.round):
                shutil.rmtree(folder / "tiles", ignore_errors=True)
                for name in ("round.json", "parts.json", "moments.safetensors", "step.safetensors"):
                    (folder / name).unlink(missing_ok=True)

    def geometry(self, level: int, number: int) -> dict[str, Any] | None:
        """What round.json of a round under way says, if it is there."""
        return self.read_json(self.round_folder(level, number) / "round.json")

    def read_json(self, path: Path) -> dict[str, Any] | None:
        """Read one JSON file; None where there is none, or a damaged one, which is removed and told."""
        try:
            return read_json(path)
        except FileNotFoundError:
            return None
        except DamagedFile:
            self.emit(events.Notice(f"{path} is damaged, so it is written again"))
            with plain_os_errors(path):
                path.unlink()
            return None

    def forget_round(self, level: int, number: int) -> None:
        """Remove what is known of a round under way, which begins again in another geometry."""
        with plain_os_errors(self.folder):
            shutil.rmtree(self.round_folder(level, number), ignore_errors=True)

    def objective(self, level: int) -> tuple[dict[str, Statistics], dict[str, float], int] | None:
        """The paintings' statistics, the photograph's norms and the tile size they were measured with, if known."""
        read = self.read(self.level_folder(level) / "objective.safetensors")
        return None if read is None else (_statistics(read[0]), read[1]["norms"], read[1]["tile_size"])

    def save_objective(
        self, level: int, style: Mapping[str, Statistics], norms: Mapping[str, float], tile_size: int
    ) -> None:
        """They were measured."""
        path = self.level_folder(level) / "objective.safetensors"
        about = {"norms": dict(norms), "tile_size": tile_size}
        self.write(File(path, "objective", (level, -1), _arrays(style), about))


class DiskRoundStore(RoundStore):
    """What a round keeps.

    Args:
        geometry: JSON-ready data on which the tiles' results depend.
        device: of the statistics.
    """

    def __init__(
        self, checkpoints: CheckpointStore, level: int, number: int, geometry: Mapping[str, Any], device: torch.device
    ) -> None:
        self.checkpoints, self.at, self.device = checkpoints, (level, number), device
        self.folder = checkpoints.round_folder(level, number)
        self.keeps_tiles = checkpoints.settings.every == "tile"
        self.checksum = ""
        if self.keeps_tiles:
            make_folder(self.folder / "tiles")
            self.checksum = self._geometry(geometry)
        self.geometry = geometry
        self.done = 0
        """Tiles that are on the disk."""
        known = checkpoints.read_json(self.folder / "parts.json") if self.keeps_tiles else None
        cuts = known["cuts"] if known is not None and known["round"] == self.checksum else []
        self.cuts: list[tuple[int, int]] = [(first, size) for first, size in cuts]
        """From which tile on they are cut into parts, and into how large ones."""
        self._began = self._saved = time.monotonic()
        self._latest: tuple[Tile, TakeSnapshot] | None = None
        self._stepped: int | None = None  # the tile that step.safetensors is of

    def _geometry(self, geometry: Mapping[str, Any]) -> str:
        path = self.folder / "round.json"
        with suppress(FileNotFoundError):
            data = read_json(path)
            checksum = str(data.pop("checksum"))
            if data == geometry:
                return checksum
        return write_json(path, geometry)

    @property
    def size(self) -> int:
        """Of the tiles, or of their parts."""
        return self.cuts[-1][1] if self.cuts else int(self.geometry["size"])

    def cut(self, size: int) -> None:
        """Have the tiles that are left cut into parts."""
        self.cuts.append((self.done, size))
        write_json(self.folder / "parts.json", {"round": self.checksum, "cuts": self.cuts})

    def parts_of(self, tile: Tile) -> Grid | None:
        """See `RoundStore`."""
        sizes = [size for first, size in self.cuts if first <= tile.index]
        if not sizes:
            return None
        return make_grid(
            tile.window.height, tile.window.width, size=sizes[-1], stride=self.geometry["stride"],
            overlap=self.geometry["overlap"],
        )  # fmt: skip

    def load_statistics(self) -> dict[str, Statistics] | None:
        """See `RoundStore`."""
        read = self._read("moments.safetensors")
        return None if read is None else {k: s.to(self.device) for k, s in _statistics(read[0]).items()}

    def save_statistics(self, statistics: dict[str, Statistics]) -> None:
        """See `RoundStore`."""
        if self.keeps_tiles:
            self._write("moments.safetensors", "moments", _arrays(statistics), {})

    def load_tile(self, tile: Tile) -> TileResult | None:
        """See `RoundStore`; before a tile that is not known, the run may end."""
        self.checkpoints.writer.poll()
        read = self._read(_tile_name(tile))
        if read is not None:
            arrays, about = read
            tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
            self.done += 1
            image, steps = tensors.pop("image"), about["steps"]
            return TileResult(image, about["loss"], None if steps is None else OptimizerState(tensors, steps))
        self.checkpoints.check_stop(self.checkpoints.pace.step * tile.window.area)
        self._began = time.monotonic()
        return None

    def save_tile(self, tile: Tile, result: TileResult, *, on_saved: Callable[[], None]) -> None:
        """See `RoundStore`."""
        self._latest = None
        if not self.keeps_tiles:
            on_saved()
            return
        state = result.state
        tensors = {"image": result.image, **({} if state is None else state.tensors)}
        about = {"round": self.checksum, "loss": result.loss, "steps": None if state is None else state.steps}

        def finished() -> None:
            self.done += 1
            if self._stepped == tile.index:
                (self.folder / "step.safetensors").unlink(missing_ok=True)
            on_saved()

        self._saved = time.monotonic()
        path = self.folder / _tile_name(tile)
        self.checkpoints.write_behind(File(path, "tile", self.at, _numpy(tensors), about), finished)

    def flush(self) -> None:
        """See `RoundStore`."""
        self.checkpoints.writer.settle()

    def load_snapshot(self, tile: Tile) -> Snapshot | None:
        """See `RoundStore`."""
        read = self._read("step.safetensors")
        if read is None or read[1]["tile"] != tile.index:
            return None
        self._stepped = tile.index
        arrays, about = read
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
        return Snapshot(about["step"], tensors, about["numbers"])

    def save_snapshot(self, tile: Tile, take: TakeSnapshot) -> None:
        """See `RoundStore`; written after some time, or when the run is to stop."""
        self.checkpoints.writer.poll()
        now = time.monotonic()
        seconds = now - self._began
        self.checkpoints.pace.step = seconds / tile.window.area
        self._latest = (tile, take)
        if now - self._saved >= self.checkpoints.settings.every_seconds:
            self.save_latest()
        size = sum(tensor.nbytes for tensor in take().tensors.values())
        self.checkpoints.check_stop(seconds + size / self.checkpoints.pace.write_rate)
        self._began = time.monotonic()

    def forget_latest(self) -> None:
        """Let go of the tensors of the tile under way."""
        self._latest = None

    def save_latest(self) -> None:
        """Write where the tile under way stands, if it is one."""
        if self._latest is None or not self.keeps_tiles:
            return
        tile, take = self._latest
        snapshot = take()
        about = {"tile": tile.index, "step": snapshot.step, "numbers": snapshot.numbers}
        self._write("step.safetensors", "step", _numpy(snapshot.tensors), about)
        self._stepped = tile.index
        self._saved = time.monotonic()

    def _read(self, name: str) -> tuple[dict[str, Array], dict[str, Any]] | None:
        read = self.checkpoints.read(self.folder / name) if self.keeps_tiles else None
        return read if read is not None and read[1]["round"] == self.checksum else None

    def _write(self, name: str, kind: str, arrays: Mapping[str, Array], about: Mapping[str, Any]) -> None:
        self.checkpoints.write(File(self.folder / name, kind, self.at, arrays, {"round": self.checksum, **about}))


def _tile_name(tile: Tile) -> str:
    return f"tiles/{tile.index:04d}.safetensors"


def _numpy(tensors: Mapping[str, Tensor]) -> dict[str, Array]:
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors.items()}


def _arrays(statistics: Mapping[str, Statistics]) -> dict[str, Array]:
    tensors = {f"{layer}.mean": s.mean for layer, s in statistics.items()}
    return _numpy(tensors | {f"{layer}.second": s.second for layer, s in statistics.items()})


def _statistics(arrays: Mapping[str, Array]) -> dict[str, Statistics]:
    def tensor(name: str) -> Tensor:
        return torch.from_numpy(np.array(arrays[name]))

    layers = [name.removesuffix(".mean") for name in arrays if name.endswith(".mean")]
    return {layer: Statistics(tensor(f"{layer}.mean"), tensor(f"{layer}.second")) for layer in layers}
