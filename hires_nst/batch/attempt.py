"""An attempt at a task: its logs and its result."""

from __future__ import annotations

import time
import traceback
from contextlib import closing, nullcontext, suppress
from pathlib import Path

from hires_nst import events
from hires_nst.batch.ledger_schema import Outcome
from hires_nst.batch.tasks import BusyResult, DiskFullResult, Engine, Failure, Stopped, Task, TaskResult
from hires_nst.errors import LESS_MEMORY, DiskFull, HiresNstError, Interrupted, ResourceError, RunBusy, out_of_memory
from hires_nst.events import Event, OnEvent
from hires_nst.files import FileDigests, FileFingerprint, is_disk_full, may_pass
from hires_nst.quantities import printable
from hires_nst.run.log import EventLog
from hires_nst.run.progress import RunState, read_state
from hires_nst.stopping import Stop

STEP_SECONDS = 0.2
"""The least time between two steps that a worker reports: displays need no more."""


def run_task(task: Task, engine: Engine, *, stop: Stop, on_event: OnEvent) -> TaskResult:
    """Run a task and write its logs, JSON lines and human-readable; an error is a result too."""
    try:
        task.folder.mkdir(parents=True, exist_ok=True)
        with closing(EventLog(task.paths.events)) as log, task.paths.text.open("ab", buffering=0) as text_log:

            def write(text: str) -> None:
                text_log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n".encode(errors="replace"))

            def emit(event: Event) -> None:
                log.write(event)
                if not isinstance(event, events.StepFinished):
                    write(_line(event))
                on_event(event)

            write(printable(f"attempt {task.attempt}: {task.content}"))
            result, text = _attempt(task, engine, stop=stop, on_event=emit)
            with suppress(OSError) if isinstance(result, Outcome) else nullcontext():  # the picture exists
                write(text)
            return result
    except OSError as error:  # of the logs
        return result_of(error, task.folder)


def _attempt(task: Task, engine: Engine, *, stop: Stop, on_event: OnEvent) -> tuple[TaskResult, str]:
    """The result of the attempt, and the last line of the human-readable log."""
    began, run = time.time(), RunState()

    def emit(event: Event) -> None:
        run.update(event, time.time())
        on_event(event)

    try:
        inputs = _fingerprints(task, engine.digests)  # before painting, in which a file may change
        painted = engine.paint(task, stop=stop, on_event=emit)
        file = task.picture.stat()
    except Interrupted:  # its message says how to resume a run, not a batch
        return Stopped(), f"stopped: {stop.reason}"
    except RunBusy as error:
        return BusyResult(str(error)), str(error)
    except Exception as error:
        result = result_of(error, task.folder)
        if isinstance(result, DiskFullResult):
            return result, f"stopped: no space left on the disk of {result.path}"
        if isinstance(error, HiresNstError):
            return result, printable(f"failed: {error}")
        return result, "".join(traceback.format_exception(error)).rstrip()
    seconds = time.time() - began
    if run.resumed or run.run is None:  # without a start, an earlier attempt had written the picture
        with suppress(OSError):
            seconds += read_state(task.paths.events, before=began).seconds
    outcome = Outcome(
        width=painted.width, height=painted.height, seconds=seconds, losses=run.losses, fingerprint=task.fingerprint,
        inputs=inputs, picture=FileFingerprint(file.st_size, file.st_mtime_ns, painted.sha256),
    )  # fmt: skip
    return outcome, "done"


def result_of(error: Exception, folder: Path) -> Failure | DiskFullResult:
    """The result of an attempt that ended with an error; a full disk is that of `folder` unless it names a file."""
    if isinstance(error, OSError) and is_disk_full(error):
        return DiskFullResult(Path(error.filename) if isinstance(error.filename, str) else folder)
    link: BaseException | None = error
    while isinstance(link, ResourceError):  # one may extend another
        if isinstance(link, DiskFull):
            return DiskFullResult(link.path)
        link = link.__cause__ or link.__context__
    return Failure(_reason(error), may_pass=_may_pass(error))


def _may_pass(error: BaseException) -> bool:
    """Whether another attempt may succeed; an input that the system could not read just now may be read later."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and may_pass(link):
            return True
        link = link.__cause__ or link.__context__
    return error.may_pass if isinstance(error, HiresNstError) else True


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


def _line(event: Event) -> str:
    """An event in the human-readable log: its name and its values."""
    values = {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in event.as_dict().items()}
    return printable(f"{values.pop('event')}: {', '.join(f'{key} {value}' for key, value in values.items())}")
