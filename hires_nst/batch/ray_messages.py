"""What tasks of a cluster tell while they work, on its way to the driver.

It may get lost with the process that has it; no task fails for that, or waits for long.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hires_nst.batch.paths import LOGS
from hires_nst.batch.tasks import Task
from hires_nst.events import Event

SEND_SECONDS = 0.5
"""Between two letters of a task."""

MOST_LETTERS = 10_000
"""In the mailbox; the oldest go first when the driver does not fetch them."""

MOST_ON_THE_WAY = 20
"""Letters of a process that have not arrived; more are thrown away."""

START_SECONDS = 10.0
"""How long to wait for the process of the mailbox."""

ARRIVAL_SECONDS = 10.0
"""How long the end of a task waits for the arrival of its last letter: that takes milliseconds if all is well, and it
is given up at once when the mailbox is lost."""


@dataclass(frozen=True)
class TaskMessage:
    """What a task told since its letter before, in its order.

    Attributes:
        job, attempt: of the task.
        logs: what was added to the logs, by their names; empty where the driver sees the files themselves.
    """

    job: str
    attempt: int
    told: tuple[Event, ...]
    logs: Mapping[str, bytes]


class Mailbox:
    """Has letters until the driver fetches them; a Ray actor beside the driver, which lives and dies with it."""

    def __init__(self) -> None:
        self._letters: deque[TaskMessage] = deque(maxlen=MOST_LETTERS)

    def put(self, letter: TaskMessage) -> None:
        """Take a letter; those of one process come in the order in which it sends them."""
        self._letters.append(letter)

    def take(self) -> list[TaskMessage]:
        """Every letter that was not handed out yet, the oldest first."""
        letters = list(self._letters)
        self._letters.clear()
        return letters


def new_mailbox(ray: Any) -> Any:
    """A handle of a new mailbox on the node of the driver, or elsewhere where that takes no actors.

    It is ready, lest what the first tasks tell come late, unless that takes too long.
    """
    strategies: Any = importlib.import_module("ray.util.scheduling_strategies")
    here = strategies.NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    kind = ray.remote(num_cpus=0, max_pending_calls=MOST_ON_THE_WAY, scheduling_strategy=here)(Mailbox)
    mailbox = kind.remote()
    ray.wait([mailbox.take.remote()], timeout=START_SECONDS)
    return mailbox


class Sender:
    """Sends what a task tells, from a thread of its own; use it as a context manager."""

    def __init__(self, mailbox: Any, task: Task, *, logs: bool) -> None:
        """Take the handle of the mailbox, and whether to send what is written to the logs of the task, too."""
        self._mailbox, self._task = mailbox, task
        self._sent_bytes = dict.fromkeys(LOGS if logs else (), 0)
        self._told: deque[Event] = deque()
        self._last: Any = None  # what tells of the arrival of the last letter
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send_now_and_then, daemon=True)

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Send the rest; the driver has it, if all is well, before it hears how the task ended."""
        until = time.monotonic() + ARRIVAL_SECONDS
        self._over.set()
        self._thread.join(ARRIVAL_SECONDS)
        with suppress(Exception):
            ray: Any = importlib.import_module("ray")
            ray.wait([self._last], timeout=max(0.0, until - time.monotonic()))

    def tell(self, event: Event) -> None:
        """Send an event soon."""
        self._told.append(event)

    def _send_now_and_then(self) -> None:
        over = False
        while not over:
            over = self._over.wait(SEND_SECONDS)
            if self._told:
                with suppress(Exception):  # the picture is worth more than what is told about it
                    self._send()

    def _send(self) -> None:
        told = tuple(self._told.popleft() for _ in range(len(self._told)))
        logs = {name: self._news_of(self._task.folder / name) for name in self._sent_bytes}
        self._last = self._mailbox.put.remote(TaskMessage(self._task.id, self._task.attempt, told, logs))

    def _news_of(self, log: Path) -> bytes:
        with log.open("rb") as file:
            file.seek(self._sent_bytes[log.name])
            news = file.read()
        self._sent_bytes[log.name] += len(news)
        return news
