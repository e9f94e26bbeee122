"""The interface of what runs tasks: local workers, or a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hires_nst.batch.tasks import Task, TaskResult
from hires_nst.events import Event


@dataclass(frozen=True)
class WorkerMessage:
    """A message about a running task: an event of its engine, or the result that ends it."""

    job: str
    worker: int
    content: Event | TaskResult


class Executor(Protocol):
    """Runs tasks in other processes; used from one thread."""

    @property
    def workers(self) -> int:
        """How many tasks it can run at once, at the moment."""

    @property
    def free(self) -> int:
        """How many more tasks it accepts now."""

    def start(self, task: Task) -> int:
        """Run a task, where `free` is above 0; the number of its worker."""

    def wait(self, seconds: float) -> Sequence[WorkerMessage]:
        """Messages as soon as there are any; none after this many seconds without.

        Each started task ends with exactly one result, also when its worker dies.

        Raises:
            HiresNstError: workers cannot be started.
        """

    def stop(self, reason: str) -> None:
        """Ask every running task to stop in an orderly way."""

    def close(self) -> None:
        """End at once, whatever is running; may be called again."""


MakeExecutor = Callable[[], Executor]
"""Called when there is something to paint."""
