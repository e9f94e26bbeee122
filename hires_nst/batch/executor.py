"""What carries tasks out: the interface of the local workers and of the cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hires_nst.batch.tasks import Task, TaskResult
from hires_nst.events import Event


@dataclass(frozen=True)
class WorkerMessage:
    """Something about a task in work: an event of its engine, or the report that ends it."""

    job: str
    worker: int
    what: Event | TaskResult


class Executor(Protocol):
    """Carries tasks out, somewhere else; used from one thread."""

    @property
    def workers(self) -> int:
        """How many tasks it can have in work at once, at the moment."""

    @property
    def free(self) -> int:
        """How many more tasks it would take now."""

    def start(self, task: Task) -> int:
        """Take a task, where `free` is above 0; the number of the worker that has it."""

    def wait(self, seconds: float) -> Sequence[WorkerMessage]:
        """WorkerMessage as soon as there are any; none after that many seconds without.

        Each task started ends with exactly one report, also when its worker dies.

        Raises:
            HiresNstError: workers cannot be started.
        """

    def stop(self, reason: str) -> None:
        """Ask every task in work for an orderly end."""

    def close(self) -> None:
        """End at once, whatever is in work; may be called again."""


MakeExecutor = Callable[[], Executor]
"""Called when there is something to do."""
