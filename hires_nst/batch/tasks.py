"""A job on its way to a worker and back: the task, the engine that does it, and the logs that it leaves."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO

from hires_nst import events
from hires_nst.batch.ledger_schema import Outcome
from hires_nst.batch.paths import JobPaths
from hires_nst.config import Config
from hires_nst.errors import LESS_MEMORY, DiskFull, HiresNstError, Interrupted, ResourceError, RunBusy, out_of_memory
from hires_nst.events import Event, OnEvent
from hires_nst.files import FileFingerprint, fingerprint, is_disk_full
from hires_nst.run.log import EventLog
from hires_nst.stopping import Stop

STEPS_APART = 0.2
"""Seconds between two steps that a worker tells about: displays need no more."""


@dataclass(frozen=True)
class Task:
    """A job as a worker gets it.

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


@dataclass(frozen=True)
class Painted:
    """What an engine says about a finished picture: its pixels, its last losses by name, and whether it went on with an
    earlier attempt's work."""

    width: int
    height: int
    losses: Mapping[str, float]
    resumed: bool = False


class Engine(Protocol):
    """Paints one job after another; what it may keep between them, it keeps."""

    def paint(self, task: Task, *, stop: Stop, on_event: OnEvent) -> Painted:
        """Write the picture to `task.picture`, whole or not at all.

        Raises:
            Interrupted: `stop` was due; the next attempt goes on from there where that is possible.
            RunBusy: an earlier attempt of another process is not over.
            HiresNstError: it is not possible.
        """


MakeEngine = Callable[[], Engine]
"""Makes the engine inside a worker; must be picklable."""


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed, in one sentence; `asked` when its worker died of a signal that asks for an end, as Ctrl-C
    sends it to every process of a terminal."""

    reason: str
    asked: bool = False


@dataclass(frozen=True)
class Stopped:
    """An attempt that was interrupted in an orderly way."""


@dataclass(frozen=True)
class Busy:
    """Another process, which has lost the job, still works in its run directory; `reason` says which."""

    reason: str


@dataclass(frozen=True)
class NoRoom:
    """A full disk ended an attempt, that of `place`; other jobs would fare no better."""

    place: Path


TaskResult = Outcome | Failure | Stopped | Busy | NoRoom


def perform(task: Task, engine: Engine, *, stop: Stop, on_event: OnEvent) -> TaskResult:
    """Do a task, whatever comes of it, with its logs."""
    began = time.time()
    try:
        with _logs(task.paths) as (log, text):
            _say(text, f"attempt {task.attempt}: {task.content}")

            def tell(event: Event) -> None:
                log.write(event)
                if not isinstance(event, events.StepFinished):
                    _say(text, _sentence(event))
                on_event(event)

            try:
                marks = _marks(task)  # before, lest a file that changes meanwhile pass for the one that was painted
                painted = engine.paint(task, stop=stop, on_event=tell)
                picture = fingerprint(task.picture)
            except Interrupted:  # how to go on, which it says, is not for a job of a batch
                _say(text, f"stopped for {stop.reason}")
                return Stopped()
            except RunBusy as error:
                _say(text, str(error))
                return Busy(str(error))
            except Exception as error:
                report = report_of(error, task.folder)
                if isinstance(report, NoRoom):
                    _say(text, f"stopped for want of room on the disk of {report.place}")
                elif isinstance(error, HiresNstError):
                    _say(text, f"failed: {error}")
                else:
                    _say(text, "".join(traceback.format_exception(error)).rstrip())
                return report
            with suppress(OSError):  # the picture is there
                _say(text, "done")
    except OSError as error:  # of the logs
        return report_of(error, task.folder)
    seconds = time.time() - began
    if painted.resumed:
        seconds += seconds_before(task.paths.events, began)
    return Outcome(
        width=painted.width, height=painted.height, seconds=seconds, losses=painted.losses,
        fingerprint=task.fingerprint, inputs=marks, picture=picture,
    )  # fmt: skip


def report_of(error: Exception, folder: Path) -> Failure | NoRoom:
    """What an error makes of an attempt; a full disk is that of `folder` where the error does not say which."""
    if isinstance(error, OSError) and is_disk_full(error):
        return NoRoom(Path(error.filename) if isinstance(error.filename, str) else folder)
    link: BaseException | None = error
    while isinstance(link, ResourceError):  # one may add to what another one says
        if isinstance(link, DiskFull):
            return NoRoom(link.path)
        link = link.__cause__ or link.__context__
    return Failure(reason_of(error))


def seconds_before(log: Path, began: float) -> float:
    """The seconds of the attempts whose work one that began then (in seconds since the epoch) went on with, by the log.

    Each lasted from the start of its run to the last thing that it told, for it may have been killed. What was before a
    run that began anew does not count.
    """
    seconds, before, start, last = 0.0, 0.0, None, 0.0
    with suppress(OSError), log.open("rb") as lines:
        for line in lines:
            with suppress(ValueError, KeyError, TypeError):  # a line that a killed process left torn
                event = json.loads(line)
                kind, moment = event["event"], float(event["time"])
                if moment >= began:
                    break
                if kind == "RunStarted":
                    before = seconds if start is None else seconds + last - start
                    seconds, start = 0.0, moment
                elif kind == "RunResumed":
                    seconds = before
                last = moment
    return seconds if start is None else seconds + last - start


def spaced(on_event: OnEvent) -> OnEvent:
    """A callback that tells `on_event` everything but steps that come too soon."""
    told = 0.0

    def tell(event: Event) -> None:
        nonlocal told
        now = time.monotonic()
        if not isinstance(event, events.StepFinished) or now - told > STEPS_APART:
            told = now
            on_event(event)

    return tell


def reason_of(error: Exception) -> str:
    """What is said about a failed attempt: one sentence."""
    if isinstance(error, HiresNstError):
        return str(error)
    if isinstance(error, MemoryError):
        return str(out_of_memory(remedies=(*LESS_MEMORY, "use fewer workers")))
    if isinstance(error, OSError):
        return f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}"
    return f"{type(error).__name__}: {error}".strip(": ").replace("\n", " ")


@contextmanager
def _logs(paths: JobPaths) -> Iterator[tuple[EventLog, TextIO]]:
    """A job's logs, at their ends; what cannot be written any more when they are closed is dropped."""
    paths.folder.mkdir(parents=True, exist_ok=True)
    with closing(EventLog(paths.events)) as log:
        text = paths.text.open("a", encoding="utf-8", errors="replace")
        try:
            yield log, text
        finally:
            _close(text)


def _close(file: TextIO) -> None:
    with suppress(OSError):
        file.close()


def _marks(task: Task) -> tuple[FileFingerprint, ...]:
    """The marks of the inputs; none when one cannot be read, which the engine will say better."""
    try:
        return tuple(fingerprint(path) for path in task.inputs)
    except OSError:
        return ()


def _say(file: TextIO, text: str) -> None:
    """A line for people, with the time."""
    file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
    file.flush()


def _sentence(event: Event) -> str:
    """An event for people: its name and what it says."""
    name, values = type(event).__name__, event.as_dict()
    said = ", ".join(f"{key} {_short(value)}" for key, value in values.items() if key != "event")
    return f"{name}: {said}"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
