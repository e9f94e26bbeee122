"""The results of tiles, blended into a new canvas."""

from __future__ import annotations

import torch

from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.rounds import TileResult
from hires_nst.transfer.tiles import Grid, Tile


class Blend:
    """Tiles' changes added to a copy of the canvas, always in the order of their indices.

    Changes are blended, not pixels, so that tiles that change nothing leave the canvas as it is to the bit. A result
    that comes early waits for those before it.
    """

    def __init__(self, canvas: Canvas, grid: Grid) -> None:
        self.before, self.after = canvas, canvas.copy()
        self.grid = grid
        self.state_canvases: dict[str, Canvas] = {}
        self._waiting: dict[int, TileResult] = {}
        self._next = 0

    def add(self, tile: Tile, result: TileResult) -> None:
        """Add the result of a tile, as soon as all before it are added."""
        self._waiting[tile.index] = result
        while self._next in self._waiting:
            self._add(self.grid.tiles[self._next], self._waiting.pop(self._next))
            self._next += 1

    def _add(self, tile: Tile, result: TileResult) -> None:
        weight = self.grid.feather(tile)
        old = self.before.read(tile.window, device=torch.device("cpu"), dtype=result.image.dtype)
        self.after.add(tile.window, result.image.cpu() - old, weight=weight)
        if result.state is None:
            return
        for name, tensor in result.state.tensors.items():
            if name not in self.state_canvases:
                self.state_canvases[name] = self.before.blank()
            self.state_canvases[name].add(tile.window, tensor, weight=weight)

    def finish(self) -> tuple[Canvas, dict[str, Canvas]]:
        """The new canvas, and those of the optimiser's tensors, after all tiles."""
        assert not self._waiting and self._next == len(self.grid.tiles)
        self.after.clip()
        return self.after, self.state_canvases
