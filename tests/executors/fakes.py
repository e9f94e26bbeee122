"""Workers without processes: in this one, one message after the other."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hires_nst.backbones.network import Network
from hires_nst.executors.messages import Job, Lost, MakeMessage, OutOfMemory, Ready, packed, unpacked
from hires_nst.executors.worker import Setup, TileWorker


@dataclass(frozen=True)
class Sleeping:
    """A task that never ends, as on a device that hangs."""

    def do(self, *_: Any, **__: Any) -> None:
        time.sleep(3600)


Trouble = Callable[[int, Job], "Lost | OutOfMemory | None"]
"""What happens instead of a job."""


def setup_for(network: Network, dtype: torch.dtype = torch.float64) -> Setup:
    return Setup(network=network, device="cpu", dtype=dtype, deterministic=True, threads=1)


class FakeCrew:
    """Workers that take turns; each does a message in `pace[number]` looks at it."""

    def __init__(
        self, workers: int, setup: Setup, *, trouble: Trouble = lambda number, job: None, pace: Sequence[int] = ()
    ) -> None:
        self.numbers = tuple(range(workers))
        self.done = dict.fromkeys(self.numbers, 0)  # jobs
        self.sent: list[Any] = []
        self.closed = False
        self._ended: list[tuple[int, Any]] = []
        self._pace, self._looks, self._trouble = pace or [1] * workers, 0, trouble
        self._inbox: dict[int, deque[Any]] = {number: deque([Ready()]) for number in self.numbers}
        self._workers = {number: TileWorker(unpacked(packed(setup))) for number in self.numbers}

    def send(self, number: int, make: MakeMessage) -> None:
        if number in self._workers:
            message = make()
            self.sent.append(message)
            self._inbox[number].append(unpacked(packed(message)))

    def wait(self, seconds: float) -> Sequence[tuple[int, Any]]:
        self._looks += 1
        answers, self._ended = self._ended, []
        for number in tuple(self._workers):
            if self._inbox[number] and self._looks % self._pace[number] == 0:
                self._do(number, self._inbox[number].popleft(), answers)
        return answers

    def _do(self, number: int, message: Any, answers: list[tuple[int, Any]]) -> None:
        trouble = self._trouble(number, message) if isinstance(message, Job) else None
        if isinstance(message, Ready) or trouble is not None:
            answers.append((number, trouble or message))
        else:
            self.done[number] += isinstance(message, Job)
            self._workers[number].do(message, lambda answer: answers.append((number, unpacked(packed(answer)))))
        if isinstance(trouble, Lost):
            del self._workers[number]

    def end(self, number: int, reason: str) -> None:
        if number in self._workers:
            del self._workers[number]
            self._ended.append((number, Lost(reason)))

    def close(self) -> None:
        self.closed = True
