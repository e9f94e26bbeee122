"""An attempt at a task: it writes the logs of the job, and whatever happens becomes a result."""

from __future__ import annotations

import time
import traceback
from contextlib import suppress
from pathlib import Path

from hires_nst import events
from hires_nst.batch.ledger_schema import Outcome
from hires_nst.batch.paths import JobPaths
from hires_nst.batch.tasks import BusyResult, DiskFullResult, Engine, Failure, Stopped, Task, TaskResult
from hires_nst.errors import LESS_MEMORY, DiskFull, HiresNstError, Interrupted, ResourceError, RunBusy, out_of_memory
from hires_nst.events import Event, OnEvent
from hires_nst.files import FileDigests, FileFingerprint, fingerprint, is_disk_full
from hires_nst.run.log import EventLog
from hires_nst.run.progress import RunState, read_state
from hires_nst.stopping import Stop

STEP_SECONDS = 0.2
"""The least time between two steps that a worker reports: displays need no more."""


def run_task(task: Task, engine: Engine, *, stop: Stop, on_event: OnEvent) -> TaskResult:
    """Run a task and write its logs; whatever happens is in the result."""
    began, run = time.time(), RunState()
    try:
        with _JobLog(task.paths) as log:
            log.write(f"attempt {task.attempt}: {task.content}")

            def emit(event: Event) -> None:
                run.update(event, time.time())
                log.event(event)
                on_event(event)

            try:
                inputs = _fingerprints(task, engine.digests)  # before painting, in which a file may change
                width, height = engine.paint(task, stop=stop, on_event=emit)
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
    if run.resumed or run.run is None:  # without a start, an earlier attempt had written the picture
        with suppress(OSError):
            seconds += read_state(task.paths.events, before=began).seconds
    return Outcome(
        width=width, height=height, seconds=seconds, losses=run.losses, fingerprint=task.fingerprint, inputs=inputs,
        picture=picture,
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
    return Failure(_reason(error))


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


def _reason(error: Exception) -> str:
    """Why an attempt failed, in one sentence."""
    if isinstance(error, HiresNstError):
        return str(error)
    if isinstance(error, MemoryError):
        return str(out_of_memory(remedies=(*LESS_MEMORY, "use fewer workers")))
    if isinstance(error, OSError):
        return f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}"
    return f"{type(error).__name__}: {error}".strip(": ").replace("\n", " ")


def _fingerprints(task: Task, digests: FileDigests) -> tuple[FileFingerprint, ...]:
    """The fingerprints of the inputs; none when one cannot be read, since the engine reports the error."""
    try:
        return tuple(map(digests.fingerprint, task.inputs))
    except OSError:
        return ()


class _JobLog:
    """Appends to both logs of a job, JSON lines and human-readable; OSError when one cannot be written."""

    def __init__(self, paths: JobPaths) -> None:
        paths.folder.mkdir(parents=True, exist_ok=True)
        self._events = EventLog(paths.events)
        try:
            self._text = paths.text.open("a", encoding="utf-8", errors="replace")
        except BaseException:
            self._events.close()
            raise

    def __enter__(self) -> _JobLog:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the logs; what cannot be written then is dropped."""
        self._events.close()
        with suppress(OSError):
            self._text.close()

    def event(self, event: Event) -> None:
        """Append an event; people read all but the steps."""
        self._events.write(event)
        if not isinstance(event, events.StepFinished):
            values = ", ".join(f"{key} {_short(value)}" for key, value in event.as_dict().items() if key != "event")
            self.write(f"{type(event).__name__}: {values}")

    def write(self, text: str) -> None:
        """Append a line to the human-readable log, with the time."""
        self._text.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
        self._text.flush()


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
