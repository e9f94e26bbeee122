"""Messages of a cluster's tasks while they run, on their way to the driver, through a queue of Ray.

The queue may be lost with the process that has it; no task fails because of that, or waits for long.
"""

from __future__ import annotations

import importlib
import threading
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
"""Between two messages of a task."""

MOST_MESSAGES = 10_000
"""In the queue; while it is full, messages are dropped."""

START_SECONDS = 10.0
"""The most to wait for the queue's process."""

ARRIVAL_SECONDS = 10.0
"""The most that the end of a task waits for its last message to arrive: normally milliseconds, and a lost queue is
noticed at once."""


@dataclass(frozen=True, kw_only=True)
class TaskMessage:
    """What happened in a task since its last message.

    Attributes:
        job, attempt: of the task.
        events: in their order.
        logs: what was appended to the logs, by their names; empty where the driver sees the files themselves.
    """

    job: str
    attempt: int
    events: tuple[Event, ...]
    logs: Mapping[str, bytes]


def new_queue(ray: Any) -> Any:
    """A new `ray.util.queue.Queue` on the driver's node, or elsewhere if that takes no actors.

    It is ready, so that the first tasks' messages are not late, unless that takes too long.
    """
    strategies: Any = importlib.import_module("ray.util.scheduling_strategies")
    here = strategies.NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    queues: Any = importlib.import_module("ray.util.queue")
    queue = queues.Queue(MOST_MESSAGES, actor_options={"num_cpus": 0, "scheduling_strategy": here})
    ray.wait([queue.actor.qsize.remote()], timeout=START_SECONDS)
    return queue


class Sender:
    """Sends a task's events from a thread of its own; use it as a context manager."""

    def __init__(self, queue: Any, task: Task, *, logs: bool) -> None:
        """Take the queue, and whether to send what is appended to the task's logs, too."""
        self._queue, self._task = queue, task
        self._sent_bytes = dict.fromkeys(LOGS if logs else (), 0)
        self._events: deque[Event] = deque()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send_regularly, daemon=True)

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Send the rest, so that the driver normally has it before it gets the task's result."""
        self._over.set()
        self._thread.join(ARRIVAL_SECONDS)

    def emit(self, event: Event) -> None:
        """Send an event soon."""
        self._events.append(event)

    def _send_regularly(self) -> None:
        over = False
        while not over:
            over = self._over.wait(SEND_SECONDS)
            if self._events:
                with suppress(Exception):  # the picture matters more than the messages about it
                    self._send()

    def _send(self) -> None:
        events = tuple(self._events.popleft() for _ in range(len(self._events)))
        logs = {name: self._appended(self._task.folder / name) for name in self._sent_bytes}
        self._queue.put_nowait(TaskMessage(job=self._task.id, attempt=self._task.attempt, events=events, logs=logs))

    def _appended(self, log: Path) -> bytes:
        with log.open("rb") as file:
            file.seek(self._sent_bytes[log.name])
            appended = file.read()
        self._sent_bytes[log.name] += len(appended)
        return appended
