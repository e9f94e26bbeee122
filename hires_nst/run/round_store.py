"""The checkpoints of a round under way.

    levels/NN/rounds/RR/round.json            the geometry
    levels/NN/rounds/RR/parts.json            first tile that is cut into parts, after memory ran out
    levels/NN/rounds/RR/moments.safetensors   the statistics of the whole image at the start
    levels/NN/rounds/RR/step.safetensors      the state of the optimiser inside a tile
    levels/NN/rounds/RR/tiles/TTTT.safetensors   a finished tile

A tile's result depends on the round's canvas, its statistics and its geometry, so a tile's file names the round.json
that it belongs to by its checksum.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import torch
from torch import Tensor

from hires_nst.files import make_folder, write_json
from hires_nst.run.arrays import arrays_of, numpy_of, statistics_of, tensors_of
from hires_nst.run.checkpoint import CheckpointStore, File
from hires_nst.run.tensors import Array
from hires_nst.transfer.moments import Statistics
from hires_nst.transfer.optimizers import OptimizerState, Snapshot, TakeSnapshot
from hires_nst.transfer.rounds import RoundStore, TileResult
from hires_nst.transfer.tiles import Grid, Tile, make_grid


class DiskRoundStore(RoundStore):
    """The files of one round.

    Its `geometry` is JSON-ready data on which the tiles' results depend, `device` is the one of the statistics.
    """

    def __init__(
        self,
        checkpoints: CheckpointStore,
        *,
        level: int,
        number: int,
        geometry: Mapping[str, Any],
        device: torch.device,
    ) -> None:
        self.checkpoints, self.level, self.number, self.device = checkpoints, level, number, device
        self.folder = checkpoints.directory.round(level, number)
        self.stores_tiles = checkpoints.stores_tiles
        self.geometry = geometry
        self.checksum = ""
        self.done: set[int] = set()
        """The indices of the tiles that are on the disk; with several workers, in no order."""
        self.cuts: list[tuple[int, int]] = []
        """First tile that is cut into parts, and the size of the parts."""
        if self.stores_tiles:
            make_folder(self.folder / "tiles")
            self.checksum = self._store_geometry()
            stored = checkpoints.read_json(self.folder / "parts.json")
            if stored is not None and stored["round"] == self.checksum:
                self.cuts = [(first, size) for first, size in stored["cuts"]]
        self._began = time.monotonic()
        self._unwritten: list[tuple[Tile, TileResult]] = []
        self._latest: tuple[Tile, TakeSnapshot] | None = None
        self._snapshot_of: int | None = None  # the tile of step.safetensors

    def _store_geometry(self) -> str:
        path = self.folder / "round.json"
        stored = self.checkpoints.read_json(path)
        if stored is not None:
            checksum = str(stored.pop("checksum"))
            if stored == self.geometry:
                return checksum
        return write_json(path, self.geometry)

    @property
    def size(self) -> int:
        """Of the tiles, or of their parts."""
        return self.cuts[-1][1] if self.cuts else int(self.geometry["size"])

    def cut(self, size: int) -> None:
        """Cut the remaining tiles into parts."""
        first = next(index for index in count() if index not in self.done)
        self.cuts.append((first, size))
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
        stored = self._read("moments.safetensors")
        if stored is None:
            return None
        return {layer: statistics.to(self.device) for layer, statistics in statistics_of(stored[0]).items()}

    def save_statistics(self, statistics: dict[str, Statistics]) -> None:
        """See `RoundStore`."""
        if self.stores_tiles:
            file = self._file("moments.safetensors", kind="moments", arrays=arrays_of(statistics), about={})
            self.checkpoints.write(file)

    def load_tile(self, tile: Tile) -> TileResult | None:
        """See `RoundStore`; the run may end before a tile that is not stored."""
        self.checkpoints.writer.poll()
        stored = self._read(_tile_name(tile))
        if stored is not None:
            arrays, about = stored
            tensors = tensors_of(arrays)
            self.done.add(tile.index)
            step, total = tensors.pop("step"), about["total_steps"]
            state = None if total is None else OptimizerState(tensors, total)
            return TileResult(step=step, loss=about["loss"], state=state, steps=about["steps"])
        waiting = self._unwritten_bytes / self.checkpoints.write_rate
        self.checkpoints.check_stop(self.checkpoints.step_seconds * tile.window.area + waiting)
        self._began = time.monotonic()
        return None

    def save_tile(self, tile: Tile, result: TileResult, *, on_saved: Callable[[], None]) -> None:
        """See `RoundStore`; where files are written by their cost, a tile may wait for others, and counts as saved."""
        self._latest = None
        if not self.stores_tiles:
            on_saved()
            return
        if not self.checkpoints.by_cost:
            self._write_tile(tile, result, on_saved=on_saved)
            return
        self._unwritten.append((tile, result))
        on_saved()
        if self.checkpoints.is_due(self._unwritten_bytes):
            self.write_tiles()

    @property
    def _unwritten_bytes(self) -> int:
        """Of the tiles that wait, and of the canvas that they start from if that waits too."""
        before = 0 if self.checkpoints.unsaved is None else self.checkpoints.unsaved.size
        return before + sum(array.nbytes for _, result in self._unwritten for array in _tensors(result).values())

    def write_tiles(self) -> None:
        """Write the tiles that wait, in the background."""
        if self._unwritten:
            self.checkpoints.save_unsaved()
        for tile, result in self._unwritten:
            self._write_tile(tile, result, on_saved=lambda: None)
        self._unwritten = []

    def _write_tile(self, tile: Tile, result: TileResult, *, on_saved: Callable[[], None]) -> None:
        state = result.state
        about = {
            "loss": result.loss, "steps": result.steps, "total_steps": None if state is None else state.steps
        }  # fmt: skip

        def finished() -> None:
            self.done.add(tile.index)
            if self._snapshot_of == tile.index:
                (self.folder / "step.safetensors").unlink(missing_ok=True)
            on_saved()

        self.checkpoints.saved = time.monotonic()
        file = self._file(_tile_name(tile), kind="tile", arrays=numpy_of(_tensors(result)), about=about)
        self.checkpoints.write_behind(file, finished)

    def tile_files(self, grid: Grid) -> tuple[str, ...]:
        """The names of the files of all tiles in their folder; none where not every tile is there."""
        if len(self.done) < len(grid.tiles):
            return ()
        return tuple(_tile_name(tile).removeprefix("tiles/") for tile in grid.tiles)

    def flush(self) -> None:
        """See `RoundStore`; the canvas at the start of the round changes now."""
        self.checkpoints.writer.flush()
        self.checkpoints.unsaved = None

    def load_snapshot(self, tile: Tile) -> Snapshot | None:
        """See `RoundStore`."""
        stored = self._read("step.safetensors")
        if stored is None or stored[1]["tile"] != tile.index:
            return None
        self._snapshot_of = tile.index
        arrays, about = stored
        return Snapshot(step=about["step"], tensors=tensors_of(arrays), losses=tuple(about["losses"]))

    def save_snapshot(self, tile: Tile, take: TakeSnapshot) -> None:
        """See `RoundStore`; written after some time, or when the run is to stop."""
        self.checkpoints.writer.poll()
        now = time.monotonic()
        seconds = now - self._began
        self.checkpoints.step_seconds = seconds / tile.window.area
        self._latest = (tile, take)
        if now - self.checkpoints.saved >= self.checkpoints.settings.every_seconds:
            self.save_latest()
        size = sum(tensor.nbytes for tensor in take().tensors.values()) + self._unwritten_bytes
        self.checkpoints.check_stop(seconds + size / self.checkpoints.write_rate)
        self._began = time.monotonic()

    def drop_latest(self) -> None:
        """Drop the references to the tensors of the tile under way."""
        self._latest = None

    def save_latest(self) -> None:
        """Write what waits, and the optimiser's state in the tile under way, if there is one."""
        if not self.stores_tiles:
            return
        if self.checkpoints.by_cost:
            self.checkpoints.save_unsaved()
            self.write_tiles()
            self.flush()
        self.checkpoints.saved = time.monotonic()
        if self._latest is None:
            return
        tile, take = self._latest
        snapshot = take()
        about = {
            "tile": tile.index, "step": snapshot.step, "losses": snapshot.losses
        }  # fmt: skip
        self.checkpoints.write(
            self._file("step.safetensors", kind="step", arrays=numpy_of(snapshot.tensors), about=about)
        )
        self._snapshot_of = tile.index

    def _read(self, name: str) -> tuple[dict[str, Array], dict[str, Any]] | None:
        stored = self.checkpoints.read(self.folder / name) if self.stores_tiles else None
        return stored if stored is not None and stored[1]["round"] == self.checksum else None

    def _file(self, name: str, *, kind: str, arrays: Mapping[str, Array], about: Mapping[str, Any]) -> File:
        about = {"round": self.checksum, **about}
        path = self.folder / name
        return File(path=path, kind=kind, level=self.level, round=self.number, arrays=arrays, about=about)


def _tensors(result: TileResult) -> dict[str, Tensor]:
    """What the file of a tile holds, by name."""
    return {"step": result.step, **({} if result.state is None else result.state.tensors)}


def _tile_name(tile: Tile) -> str:
    return f"tiles/{tile.index:04d}.safetensors"
