"""What the engine tells while it works: frozen dataclasses, handed to a callback. Nothing here imports torch."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """Base class of all events."""

    def as_dict(self) -> dict[str, Any]:
        """The event as JSON-ready data, with its name under `event`."""
        return {"event": type(self).__name__, **asdict(self)}


@dataclass(frozen=True)
class Notice(Event):
    """Something that the user should know and that does not stop the run."""

    message: str


@dataclass(frozen=True)
class RunStarted(Event):
    """The plan of the run.

    Attributes:
        width, height: pixels of the result.
        levels: (width, height, rounds, steps, tiles) of each level, coarse to fine.
        pixel_evaluations: sum over levels of pixels * evaluations, for the time left.
    """

    content: str
    output: str
    width: int
    height: int
    levels: tuple[tuple[int, int, int, int, int], ...]
    pixel_evaluations: float
    model: str
    device: str


@dataclass(frozen=True)
class LevelStarted(Event):
    """A level begins; `index` counts from 0 (coarsest) to `count - 1`."""

    index: int
    count: int
    width: int
    height: int
    rounds: int
    steps: int
    tiles: int


@dataclass(frozen=True)
class RoundStarted(Event):
    """A round begins. `style_loss` is the whole image's at this moment; None where nothing needed to measure it."""

    level: int
    round: int
    rounds: int
    tiles: int
    style_loss: float | None


@dataclass(frozen=True)
class StepFinished(Event):
    """One evaluation inside a tile: its number (from 1), and the objective's value at it."""

    level: int
    round: int
    tile: int
    step: int
    steps: int
    loss: float


@dataclass(frozen=True)
class TileFinished(Event):
    """A tile's optimisation ended. `pixel_evaluations` is the work done, in pixels of the canvas * evaluations."""

    level: int
    round: int
    tile: int
    tiles: int
    loss: float
    seconds: float
    pixel_evaluations: float


@dataclass(frozen=True)
class RoundFinished(Event):
    """All tiles are blended into the next canvas; `loss` is the mean of the tiles' last losses."""

    level: int
    round: int
    rounds: int
    loss: float
    seconds: float


@dataclass(frozen=True)
class LevelFinished(Event):
    """A level is done."""

    index: int
    count: int
    seconds: float


@dataclass(frozen=True)
class TilesShrunk(Event):
    """Memory ran out; the round begins again with tiles of `size` pixels."""

    level: int
    round: int
    size: int


@dataclass(frozen=True)
class DownloadProgress(Event):
    """Weights are being downloaded: bytes so far of all bytes (0 when unknown)."""

    file: str
    done: int
    total: int


@dataclass(frozen=True)
class RunFinished(Event):
    """The result is written."""

    output: str
    width: int
    height: int
    seconds: float


OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The callback of those who do not listen."""


def json_line(data: Any) -> str:
    """JSON on one line; numbers that JSON cannot say become null."""
    return json.dumps(_plain(data), ensure_ascii=False, allow_nan=False)


def _plain(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_plain(value) for value in data]
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    return data if data is None or isinstance(data, (str, int, bool)) else str(data)
