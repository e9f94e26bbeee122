"""Tasks and what runs them: the interfaces of an engine and an executor, and the results of an attempt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

from hires_nst.batch.job import Job
from hires_nst.batch.ledger_schema import Outcome
from hires_nst.batch.paths import JobPaths
from hires_nst.events import Event, OnEvent
from hires_nst.files import FileDigests
from hires_nst.stopping import Stop


@dataclass(frozen=True, kw_only=True)
class Task(Job):
    """A job for a worker, with its folder (see `JobPaths`); `attempt` counts from 1."""

    folder: Path
    attempt: int

    @property
    def paths(self) -> JobPaths:
        """The job's files."""
        return JobPaths(self.folder)

    @property
    def picture(self) -> Path:
        """The picture until it is published."""
        return self.folder / f"picture{PurePosixPath(self.output).suffix.lower()}"


class Painted(NamedTuple):
    """A picture that an engine wrote: its width and height in pixels, and the SHA-256 of its file."""

    width: int
    height: int
    sha256: str


class Engine(Protocol):
    """Paints one job after another, with a cache for what they share."""

    @property
    def digests(self) -> FileDigests:
        """Of the input files, so that each is read once."""

    def paint(self, task: Task, *, stop: Stop, on_event: OnEvent) -> Painted:
        """Write the picture to `task.picture`, whole or not at all.

        Raises:
            Interrupted: `stop` was due; the next attempt resumes where that is possible.
            RunBusy: another process still works on an earlier attempt.
            HiresNstError: it is not possible.
        """


MakeEngine = Callable[[], Engine]
"""Makes the engine inside a worker; must be picklable."""


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed, in one sentence.

    Attributes:
        signalled: its worker died of a termination signal, which Ctrl-C sends to every process of a terminal.
        may_pass: another attempt may succeed.
    """

    reason: str
    signalled: bool = False
    may_pass: bool = True


@dataclass(frozen=True)
class Stopped:
    """An attempt that was interrupted in an orderly way."""


@dataclass(frozen=True)
class BusyResult:
    """Another process, which no longer owns the job, still works in its run directory; `reason` says which."""

    reason: str


@dataclass(frozen=True)
class DiskFullResult:
    """An attempt ended because no space is left on the disk of `path`; other jobs would end in the same way."""

    path: Path


TaskResult = Outcome | Failure | Stopped | BusyResult | DiskFullResult

WorkerMessage = tuple[str, Event | TaskResult]
"""The id of a running task's job, and an event of its engine or the result that ends it."""


class Executor(Protocol):
    """Runs tasks in other processes, local workers or a cluster; used from one thread."""

    @property
    def workers(self) -> int:
        """How many tasks it can run at once now."""

    def start(self, task: Task) -> None:
        """Run a task, where fewer than `workers` are running."""

    def wait(self, seconds: float) -> Sequence[WorkerMessage]:
        """Messages as soon as there are any; none after this many seconds without.

        Each started task ends with exactly one result, also when its worker dies.

        Raises:
            HiresNstError: workers cannot be started.
        """

    def stop(self, reason: str) -> None:
        """Ask every running task to stop in an orderly way."""

    def close(self) -> None:
        """End all running tasks at once; may be called again."""


MakeExecutor = Callable[[], Executor]
"""Called when there is something to paint."""
