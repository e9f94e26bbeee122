"""The events that runs and batches emit to a callback while they work."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Event:
    """Base class of all events."""

    def as_dict(self) -> dict[str, Any]:
        """The event as JSON-ready data, with its name under `event`; the inverse of `from_dict`."""
        values = {name: value.as_dict() if isinstance(value, Event) else value for name, value in vars(self).items()}
        return {"event": type(self).__name__, **values}


@dataclass(frozen=True)
class Notice(Event):
    """A message for the user that does not stop the run."""

    message: str


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """The plan of the run.

    Attributes:
        styles: the paintings.
        width, height: pixels of the result.
        levels: (width, height, rounds, steps, tiles) of each level, coarse to fine.
        pixel_evaluations: sum over levels of pixels * evaluations, for the time left.
        canvas_pixels: of each level with its border; none where no level has one.
    """

    content: str
    output: str
    width: int
    height: int
    levels: tuple[tuple[int, int, int, int, int], ...]
    pixel_evaluations: float
    model: str
    device: str
    styles: tuple[str, ...] = ()
    canvas_pixels: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LevelStarted(Event):
    """A level starts; `index` counts from 0 (coarsest) to `count - 1`."""

    index: int
    count: int
    width: int
    height: int
    rounds: int
    steps: int
    tiles: int


@dataclass(frozen=True, kw_only=True)
class RoundStarted(Event):
    """A round starts.

    Attributes:
        style_loss: of the layers in the whole image at this moment; None if it was not measured.
        row_borders, column_borders: the borders between tiles, in pixels from the top and from the left.
    """

    level: int
    round: int
    rounds: int
    tiles: int
    style_loss: float | None
    row_borders: tuple[int, ...] = ()
    column_borders: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StepFinished(Event):
    """One evaluation inside a tile: its number, from 1, and the value of the objective."""

    level: int
    round: int
    tile: int
    step: int
    steps: int
    loss: float


@dataclass(frozen=True, kw_only=True)
class TileFinished(Event):
    """A tile is optimized; `pixel_evaluations` is the work done, in pixels of the canvas * evaluations."""

    level: int
    round: int
    tile: int
    tiles: int
    loss: float
    seconds: float
    pixel_evaluations: float


@dataclass(frozen=True, kw_only=True)
class TileRestored(Event):
    """A tile that was finished before an interruption is loaded from the run directory; see `TileFinished`."""

    level: int
    round: int
    tile: int
    tiles: int
    loss: float
    pixel_evaluations: float


@dataclass(frozen=True, kw_only=True)
class RoundFinished(Event):
    """All tiles are blended into the next canvas; `loss` is the mean of their last losses."""

    level: int
    round: int
    rounds: int
    loss: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class LevelFinished(Event):
    """A level is finished.

    `evaluations` of each pixel are given where `levels.tolerance` made them fewer than planned; else they are None.
    """

    index: int
    count: int
    seconds: float
    evaluations: int | None = None


@dataclass(frozen=True)
class TilesShrunk(Event):
    """Memory ran out; the rest of the round is done in tiles of `size` pixels."""

    level: int
    round: int
    size: int


@dataclass(frozen=True, kw_only=True)
class CheckpointWritten(Event):
    """A file of the run directory, of `bytes`, is on the disk after `seconds` of writing.

    Attributes:
        kind: tile, step (inside a tile), round, level, optimizer or moments (of a round), or objective (of a level).
    """

    kind: str
    level: int
    round: int
    bytes: int
    seconds: float


@dataclass(frozen=True)
class RunResumed(Event):
    """An interrupted run is resumed at a round of a level; after the last level, only the result is still to write."""

    run_dir: str
    level: int
    round: int


@dataclass(frozen=True)
class RunStopped(Event):
    """The run stops before its end, for `reason`; it can be resumed from `run_dir`."""

    reason: str
    run_dir: str


@dataclass(frozen=True)
class DownloadProgress(Event):
    """Weights are being downloaded: bytes done, of a total that is 0 if unknown."""

    file: str
    done: int
    total: int


@dataclass(frozen=True, kw_only=True)
class RunFinished(Event):
    """The result is written."""

    output: str
    width: int
    height: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class BatchStarted(Event):
    """The plan of a batch, counted in jobs.

    Attributes:
        jobs: all that are selected, of so many different `photographs` and `paintings`.
        waiting: of these, to be painted now; `done`, `failed`, `skipped` earlier, `running` in other processes.
        left_out: number of files by the reason why they are not jobs.
        megapixels: of the waiting jobs whose sizes are known.
        workers: their number.
    """

    jobs: int
    photographs: int = 0
    paintings: int = 0
    waiting: int
    running: int
    done: int
    failed: int
    skipped: int
    left_out: dict[str, int]
    megapixels: float
    workers: int


@dataclass(frozen=True, kw_only=True)
class JobChanged(Event):
    """A finished job whose settings, inputs or result have changed since; `action` is redo, skip or fail."""

    job: str
    output: str
    change: str
    action: str


@dataclass(frozen=True, kw_only=True)
class JobStarted(Event):
    """A worker (numbered from 0) starts a job; `attempt` counts from 1."""

    job: str
    worker: int
    content: str
    output: str
    attempt: int


@dataclass(frozen=True)
class JobProgress(Event):
    """An event of the run that paints a job."""

    job: str
    worker: int
    run_event: Event


@dataclass(frozen=True, kw_only=True)
class JobDone(Event):
    """A result is written. `seconds_left` is an estimate for the rest of the batch; None if unknown."""

    job: str
    worker: int
    output: str
    width: int
    height: int
    seconds: float
    seconds_left: float | None


@dataclass(frozen=True, kw_only=True)
class JobFailed(Event):
    """An attempt failed; unless it was the `final` one, the job is retried after `retry_seconds`."""

    job: str
    worker: int
    content: str
    output: str
    reason: str
    final: bool
    retry_seconds: float


@dataclass(frozen=True)
class JobSkipped(Event):
    """A job is not painted, for a reason."""

    job: str
    output: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class BatchFinished(Event):
    """The outcome of a batch, counted in jobs.

    Attributes:
        painted: by this process.
        megapixels_per_hour: of this process; None if it painted nothing.
        stopped: why it stopped before the end; None if it did not.
    """

    painted: int
    waiting: int
    running: int
    done: int
    failed: int
    skipped: int
    seconds: float
    megapixels_per_hour: float | None
    stopped: str | None


EVENTS: Mapping[str, type[Event]] = {
    kind.__name__: kind
    for kind in (
        Notice, RunStarted, LevelStarted, RoundStarted, StepFinished, TileFinished, TileRestored, RoundFinished,
        LevelFinished, TilesShrunk, CheckpointWritten, RunResumed, RunStopped, DownloadProgress, RunFinished,
        BatchStarted, JobChanged, JobStarted, JobProgress, JobDone, JobFailed, JobSkipped, BatchFinished,
    )
}  # fmt: skip
"""Every type of event by its name."""

OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """A callback that does nothing."""


def from_dict(data: Mapping[str, Any]) -> Event | None:
    """The event of `as_dict`, also after conversion to JSON and back; None for unknown events and damaged data.

    Numbers that JSON cannot express become NaN.
    """
    try:
        types = _types(data["event"])
        values = {name: _decoded(types[name], data[name]) for name in types if name in data}
        return EVENTS[data["event"]](**values)
    except (KeyError, TypeError, ValueError):
        return None


@cache
def _types(name: str) -> dict[str, Any]:
    return get_type_hints(EVENTS[name])


def _decoded(kind: Any, data: Any) -> Any:
    """JSON data as a value of an annotated type. (Pydantic refuses file names that are not UTF-8.)

    Raises:
        TypeError, ValueError: it is of another type.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType:  # with None
        return None if data is None else _decoded(arguments[0], data)
    if origin is tuple and isinstance(data, (list, tuple)):
        kinds = arguments[:1] * len(data) if arguments[-1] is ... else arguments
        return tuple(_decoded(inner, value) for inner, value in zip(kinds, data, strict=True))
    if origin is dict and isinstance(data, dict):
        return {_decoded(arguments[0], key): _decoded(arguments[1], value) for key, value in data.items()}
    if kind is Event and (event := from_dict(data)) is not None:
        return event
    if kind is float and (data is None or type(data) in (int, float)):
        return math.nan if data is None else float(data)
    if type(data) is kind:
        return data
    raise TypeError(f"{data!r} is not of the type {kind}")


def json_line(data: Any) -> str:
    """JSON on one line, in ASCII, as file names need not be UTF-8. Numbers that JSON cannot express become null."""
    return json.dumps(_plain(data), allow_nan=False)


def _plain(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_plain(value) for value in data]
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    return data if data is None or isinstance(data, (str, int, bool)) else str(data)
