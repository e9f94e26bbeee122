"""Tasks shared out over workers: each has one in work and at most one waiting, and asks for the next when it is done.

A worker that is lost costs the tasks that it has, which others do again. So does one that takes far too long: the
heartbeats of a worker come from a thread of its process, and tell nothing of a device that hangs in the middle of a
task.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, Protocol

import torch

from hires_nst.errors import HiresNstError
from hires_nst.executors.heartbeats import Silences
from hires_nst.executors.messages import Done, Job, Lost, MakeMessage, OutOfMemory, Ready, StartLevel, StartRound, Step
from hires_nst.transfer.device import release_memory
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.tasks import Finished, MakeTask, SentObjective
from hires_nst.transfer.terms import WholeImage
from hires_nst.transfer.tiles import Rect, Tile

POLL_SECONDS = 0.1
"""The most between two looks at whether the run is to stop."""

LOOKAHEAD = 2
"""Tiles for each worker among which the next is chosen; results wait in memory for those of the tiles before them."""

FAR_TOO_LONG = 20
"""A worker is taken to hang where a step takes it so many times as long as whole tasks of that round took others."""


class Crew(Protocol):
    """The workers of a pool, by number; they are sent a `Setup` when they start, and answer `Ready`."""

    @property
    def numbers(self) -> Sequence[int]:
        """Of the workers that it began with."""

    def send(self, number: int, make: MakeMessage) -> None:
        """Send a message to a worker, in whatever state it is, after those before; what `make` raises, `wait` may."""

    def wait(self, seconds: float) -> Sequence[tuple[int, Any]]:
        """Messages with the numbers of their workers, as soon as there are any; the last of a worker is `Lost`."""

    def end(self, number: int, reason: str) -> None:
        """Kill a worker, which is `Lost` for that reason."""

    def close(self) -> None:
        """End all workers at once."""


@dataclass(kw_only=True)
class _Member:
    """A worker as the pool knows it."""

    is_ready: bool = False
    jobs: dict[int, Tile] = field(default_factory=dict)  # in work and waiting, in their order
    kept: set[Any] = field(default_factory=set)  # keys of activations
    objective: Objective | None = None  # the last that it was sent
    start: Any = None  # the last start of a round, in a tuple


class TilePool:
    """An `Executor` on a crew of workers; a context manager, whose end is theirs."""

    def __init__(
        self, crew: Crew, *, on_lost: Callable[[str], None] = lambda reason: None, lease_seconds: float = math.inf
    ) -> None:
        """Take the workers.

        Args:
            on_lost: called with the reason when one is lost.
            lease_seconds: no worker is taken to hang before it has been silent in a task for this long.
        """
        self._crew, self._on_lost = crew, on_lost
        self._lease_seconds, self._silences = lease_seconds, Silences(lease_seconds)
        self._members = {number: _Member() for number in crew.numbers}
        self._numbers = count()  # of jobs
        self._objective: Objective | None = None  # of the last run
        self._homes: dict[Rect, int] = {}  # windows to the workers that keep the photograph's activations there
        self._last_loss = "there were none"

    def __enter__(self) -> TilePool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all workers at once."""
        self._crew.close()

    def run(
        self,
        objective: Objective,
        tiles: Iterable[Tile],
        *,
        make: MakeTask,
        start: WholeImage | None = None,
        on_step: Callable[[Tile, int, float], None] = lambda tile, step, loss: None,
    ) -> Iterator[Finished]:
        """See `Executor`."""
        for member in self._members.values():  # a round that was given up may have left some
            member.jobs.clear()
        if objective is not self._objective:
            self._objective = objective
            self._homes.clear()
            release_memory()  # a worker may share the device with this process, which keeps memory for later
        upcoming = _Upcoming(tiles, most=LOOKAHEAD * len(self._members))
        ran_out: str | None = None
        slowest: float | None = None  # seconds of a task; nobody can say how long they take before one is done
        while True:
            if ran_out is None:
                self._hand_out(objective, start, upcoming=upcoming, make=make)
            if not any(member.jobs for member in self._members.values()) and (ran_out is not None or not upcoming):
                break
            if not self._members:
                raise HiresNstError(
                    f"no worker is left for the tiles: the last one was lost ({self._last_loss}); `hires-nst doctor` "
                    "shows the devices of this machine"
                )
            objective.extract.check_stop()
            self._silences.look()
            messages = self._crew.wait(POLL_SECONDS)
            if not messages and slowest is not None:  # else some may only not have been read yet
                self._end_hanging(slowest)
            for number, message in messages:
                member = self._members.get(number, _Member())
                self._silences.heard(number)
                if isinstance(message, Ready):
                    member.is_ready = True
                elif isinstance(message, Lost):
                    upcoming.give_back(self._lose(number, message.reason))
                elif isinstance(message, Step) and message.number in member.jobs:
                    on_step(member.jobs[message.number], message.step, message.loss)
                elif isinstance(message, OutOfMemory) and message.number in member.jobs:
                    del member.jobs[message.number]
                    ran_out = message.reason
                elif isinstance(message, Done) and message.number in member.jobs:
                    tile = member.jobs.pop(message.number)
                    if message.kept:
                        member.kept |= message.kept
                        self._homes[tile.window] = number
                    slowest = max(slowest or 0.0, message.seconds)
                    yield Finished(tile, message.result, message.seconds)
        if ran_out is not None:
            raise torch.OutOfMemoryError(ran_out)

    def _end_hanging(self, slowest: float) -> None:
        """End workers that have told of no step of their task for far longer than the slowest whole one took."""
        limit = max(self._lease_seconds, FAR_TOO_LONG * slowest)
        for number, member in self._members.items():
            if member.jobs and self._silences.of(number) > limit:
                self._silences.heard(number)
                self._crew.end(number, f"a tile took more than {limit:.3g} s, and others at most {slowest:.3g} s")

    def _lose(self, number: int, reason: str) -> list[Tile]:
        """Do without a worker; the tiles that it had."""
        member = self._members.pop(number, None)
        if member is None:
            return []
        self._last_loss = reason
        self._on_lost(reason)
        self._homes = {window: home for window, home in self._homes.items() if home != number}
        return list(member.jobs.values())

    def _hand_out(self, objective: Objective, start: WholeImage | None, *, upcoming: _Upcoming, make: MakeTask) -> None:
        """Give each worker a tile; then each a second one to wait, as long as there are more tiles than workers."""
        ready = [number for number, member in self._members.items() if member.is_ready]
        for waiting in range(2):
            for number in ready:
                member = self._members[number]
                if len(member.jobs) == waiting and upcoming.fill() > waiting * len(ready):
                    tile = upcoming.take(partial(self._preference, number=number))
                    self._send(number, tile, objective=objective, start=start, make=make)

    def _preference(self, tile: Tile, *, number: int) -> int:
        """How well a tile suits a worker: best if it keeps the photograph's activations, worst if another does."""
        home = self._homes.get(tile.window)
        return 1 if home is None else 0 if home == number else 2

    def _send(self, number: int, tile: Tile, *, objective: Objective, start: WholeImage | None, make: MakeTask) -> None:
        member = self._members[number]
        if member.objective is not objective:
            self._crew.send(number, partial(_start_level, objective))
            member.objective, member.kept, member.start = objective, set(), None
        if member.start is None or member.start[0] is not start:
            self._crew.send(number, partial(StartRound.of, start))
            member.start = (start,)
        job = next(self._numbers)
        if not member.jobs:
            self._silences.heard(number)
        member.jobs[job] = tile
        keeps = member.kept.__contains__
        self._crew.send(number, lambda: Job(job, make(tile, keeps)))


def _start_level(objective: Objective) -> StartLevel:
    return StartLevel(SentObjective.of(objective))


class _Upcoming:
    """The tiles that are still to be given out, as many as `most` of them known."""

    def __init__(self, tiles: Iterable[Tile], *, most: int) -> None:
        self._tiles, self._most = iter(tiles), most
        self._known: deque[Tile] = deque()

    def __bool__(self) -> bool:
        return self.fill() > 0

    def fill(self) -> int:
        """How many are known."""
        while len(self._known) < self._most and (tile := next(self._tiles, None)) is not None:
            self._known.append(tile)
        return len(self._known)

    def take(self, preference: Callable[[Tile], int]) -> Tile:
        """The first of those with the lowest preference."""
        tile = min(self._known, key=preference)
        self._known.remove(tile)
        return tile

    def give_back(self, tiles: Sequence[Tile]) -> None:
        """Put tiles first again."""
        self._known.extendleft(reversed(tiles))
