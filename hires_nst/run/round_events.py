"""The progress of a round as events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hires_nst import events
from hires_nst.events import OnEvent
from hires_nst.transfer.levels import Level
from hires_nst.transfer.rounds import RoundListener
from hires_nst.transfer.tiles import Grid


@dataclass(kw_only=True)
class RoundEvents(RoundListener):
    """A round as events; `between_tiles` is called before the first tile, and after each."""

    emit: OnEvent
    level: Level
    number: int
    grid: Grid
    exact: bool
    between_tiles: Callable[[], None] = lambda: None

    @property
    def tiles(self) -> int:
        """The number of tiles; exact coupling has no tiles of its own."""
        return 1 if self.exact else len(self.grid.tiles)

    def _work(self, tile: int, steps: int) -> float:
        area = self.grid.image.area if self.exact else self.grid.tiles[tile].owned.area
        return float(area * steps)

    def round_started(self, style_loss: float | None) -> None:
        """See `RoundListener`."""
        self.between_tiles()
        level = self.level
        self.emit(
            events.RoundStarted(
                level=level.index, round=self.number, rounds=level.rounds, tiles=self.tiles, style_loss=style_loss,
                row_borders=_inside(self.grid.row_cuts, level.height, border=level.border),
                column_borders=_inside(self.grid.column_cuts, level.width, border=level.border),
            )
        )  # fmt: skip

    def step_finished(self, tile: int, step: int, *, loss: float) -> None:
        """See `RoundListener`."""
        level = self.level
        self.emit(
            events.StepFinished(
                level=level.index, round=self.number, tile=tile, step=step, steps=level.steps, loss=loss
            )
        )

    def tile_finished(self, tile: int, *, loss: float, seconds: float, steps: int) -> None:
        """See `RoundListener`."""
        self.between_tiles()
        self.emit(
            events.TileFinished(
                level=self.level.index, round=self.number, tile=tile, tiles=self.tiles, loss=loss, seconds=seconds,
                pixel_evaluations=self._work(tile, steps),
            )
        )  # fmt: skip

    def tile_restored(self, tile: int, *, loss: float, steps: int) -> None:
        """See `RoundListener`."""
        self.emit(
            events.TileRestored(
                level=self.level.index, round=self.number, tile=tile, tiles=self.tiles, loss=loss,
                pixel_evaluations=self._work(tile, steps),
            )
        )  # fmt: skip


def _inside(cuts: Sequence[int], length: int, *, border: int) -> tuple[int, ...]:
    """Cuts of a canvas, counted in the picture, where they are inside it."""
    return tuple(cut - border for cut in cuts if 0 < cut - border < length)
