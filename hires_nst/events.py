"""What the engine tells while it works: frozen dataclasses, handed to a callback. Nothing here imports torch."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
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
    """A round begins.

    Attributes:
        style_loss: the whole image's at this moment; None where nothing needed to measure it.
        row_borders, column_borders: where tiles meet, in pixels from the top and from the left.
    """

    level: int
    round: int
    rounds: int
    tiles: int
    style_loss: float | None
    row_borders: tuple[int, ...] = ()
    column_borders: tuple[int, ...] = ()


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
class TileRestored(Event):
    """A tile that was finished before an interruption was read from the run directory; as `TileFinished`."""

    level: int
    round: int
    tile: int
    tiles: int
    loss: float
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
    """Memory ran out; what is left of the round is done in tiles of `size` pixels."""

    level: int
    round: int
    size: int


@dataclass(frozen=True)
class CheckpointWritten(Event):
    """A file of the run directory is complete on the disk.

    Attributes:
        kind: tile, step (inside a tile), round, level, or what a round or level is measured by (moments, objective).
        bytes: of the file.
        seconds: that writing it took.
    """

    kind: str
    level: int
    round: int
    bytes: int
    seconds: float


@dataclass(frozen=True)
class RunResumed(Event):
    """An interrupted run goes on at this round of this level; past the last level, with writing the picture."""

    run_dir: str
    level: int
    round: int


@dataclass(frozen=True)
class RunStopped(Event):
    """The run ends in an orderly way before it is finished; `reason` says why, `run_dir` where to go on."""

    reason: str
    run_dir: str


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


def from_dict(data: Mapping[str, Any]) -> Event | None:
    """The event that `as_dict` made the data of; None when it is no event that is known here."""
    kind = next((kind for kind in Event.__subclasses__() if kind.__name__ == data.get("event")), None)
    names = [field.name for field in fields(kind)] if kind else []
    if kind is None or not data.keys() >= set(names):
        return None
    return kind(**{name: data[name] for name in names})


OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The callback of those who do not listen."""


def json_line(data: Any) -> str:
    """JSON on one line, in ASCII, for file names need not be UTF-8; numbers that JSON cannot say become null."""
    return json.dumps(_plain(data), allow_nan=False)


def _plain(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_plain(value) for value in data]
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    return data if data is None or isinstance(data, (str, int, bool)) else str(data)
