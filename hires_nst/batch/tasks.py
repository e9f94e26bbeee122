"""A task: a job for a worker, the engine that paints it, and its result."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hires_nst import events
from hires_nst.batch.job_log import JobLog
from hires_nst.batch.ledger_schema import Outcome
from hires_nst.batch.paths import JobPaths
from hires_nst.config import Config
from hires_nst.errors import LESS_MEMORY, DiskFull, HiresNstError, Interrupted, ResourceError, RunBusy, out_of_memory
from hires_nst.events import Event, OnEvent
from hires_nst.files import FileDigests, FileFingerprint, fingerprint, is_disk_full
from hires_nst.run.progress import read_state
from hires_nst.stopping import Stop

STEP_SECONDS = 0.2
"""The least time between two steps that a worker reports: displays need no more."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A job for a worker.

    Attributes:
        content: the photograph.
        config: the effective settings, the paintings included.
        inputs: every file that the picture depends on.
        fingerprint: of the settings.
        folder: of the job, see `JobPaths`.
        suffix: of the picture, with the dot.
        attempt: from 1.
    """

    id: str
    content: Path
    config: Config
    inputs: tuple[Path, ...]
    fingerprint: str
    folder: Path
    suffix: str
    attempt: int

    @property
    def paths(self) -> JobPaths:
        """The job's files."""
        return JobPaths(self.folder)

    @property
    def picture(self) -> Path:
        """The picture until it is published."""
        return self.paths.picture(self.suffix)

    @property
    def run_dir(self) -> Path:
        """The run directory, which an interrupted attempt leaves to the next one."""
        return self.paths.run_dir


@dataclass(frozen=True, kw_only=True)
class EngineResult:
    """A finished picture: its size in pixels, its last losses by name, and whether an earlier attempt was resumed."""

    width: int
    height: int
    losses: Mapping[str, float]
    resumed: bool = False


class Engine(Protocol):
    """Paints one job after another, with a cache for what they share."""

    @property
    def digests(self) -> FileDigests:
        """Of the input files, so that each is read once."""

    def paint(self, task: Task, *, stop: Stop, on_event: OnEvent) -> EngineResult:
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
    """Why an attempt failed, in one sentence; `signalled` when its worker died of a termination signal, which Ctrl-C
    sends to every process of a terminal."""

    reason: str
    signalled: bool = False


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


def run_task(task: Task, engine: Engine, *, stop: Stop, on_event: OnEvent) -> TaskResult:
    """Run a task and write its logs; whatever happens is in the result."""
    began = time.time()
    try:
        with JobLog(task.paths) as log:
            log.write(f"attempt {task.attempt}: {task.content}")

            def emit(event: Event) -> None:
                log.event(event)
                on_event(event)

            try:
                inputs = _fingerprints(task, engine.digests)  # before painting, in which a file may change
                painted = engine.paint(task, stop=stop, on_event=emit)
                picture = fingerprint(task.picture)
            except Interrupted:  # its message says how to resume a run, not a batch
                log.write(f"stopped: {stop.reason}")
                return Stopped()
            except RunBusy as error:
                log.write(str(error))
                return BusyResult(str(error))
            except Exception as error:
                result = result_of(error, task.folder)
                if isinstance(result, DiskFullResult):
                    log.write(f"stopped: no space left on the disk of {result.path}")
                elif isinstance(error, HiresNstError):
                    log.write(f"failed: {error}")
                else:
                    log.write("".join(traceback.format_exception(error)).rstrip())
                return result
            with suppress(OSError):  # the picture is there
                log.write("done")
    except OSError as error:  # of the logs
        return result_of(error, task.folder)
    seconds = time.time() - began
    if painted.resumed:
        with suppress(OSError):
            seconds += read_state(task.paths.events, before=began).seconds
    return Outcome(
        width=painted.width, height=painted.height, seconds=seconds, losses=painted.losses,
        fingerprint=task.fingerprint, inputs=inputs, picture=picture,
    )  # fmt: skip


def result_of(error: Exception, folder: Path) -> Failure | DiskFullResult:
    """The result of an attempt that ended with an error; a full disk is that of `folder` unless it names a file."""
    if isinstance(error, OSError) and is_disk_full(error):
        return DiskFullResult(Path(error.filename) if isinstance(error.filename, str) else folder)
    link: BaseException | None = error
    while isinstance(link, ResourceError):  # one may extend another
        if isinstance(link, DiskFull):
            return DiskFullResult(link.path)
        link = link.__cause__ or link.__context__
    return Failure(reason_of(error))


def throttled(on_event: OnEvent) -> OnEvent:
    """A callback that passes all events to `on_event` but steps that follow too soon."""
    last = 0.0

    def emit(event: Event) -> None:
        nonlocal last
        now = time.monotonic()
        if not isinstance(event, events.StepFinished) or now - last > STEP_SECONDS:
            last = now
            on_event(event)

    return emit


def reason_of(error: Exception) -> str:
    """Why an attempt failed, in one sentence."""
    if isinstance(error, HiresNstError):
        return str(error)
    if isinstance(error, MemoryError):
        return str(out_of_memory(remedies=(*LESS_MEMORY, "use fewer workers")))
    if isinstance(error, OSError):
        return f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}"
    return f"{type(error).__name__}: {error}".strip(": ").replace("\n", " ")


def _fingerprints(task: Task, digests: FileDigests) -> tuple[FileFingerprint, ...]:
    """The fingerprints of the inputs; none when one cannot be read, which the engine explains better."""
    try:
        return tuple(map(digests.fingerprint, task.inputs))
    except OSError:
        return ()
