"""The worker processes of a Ray cluster: they run tasks, reuse the engine for the next ones, and send messages.

The messages go to the driver through a queue of Ray, which may be lost with the process that has it; no task fails
because of that, or waits for long.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hires_nst.batch.attempt import result_of, run_task, throttled
from hires_nst.batch.engine import on_device
from hires_nst.batch.ledger_schema import Outcome
from hires_nst.batch.paths import LOGS
from hires_nst.batch.tasks import Engine, MakeEngine, Stopped, Task, TaskResult
from hires_nst.config import Config
from hires_nst.events import Event
from hires_nst.stopping import Stop

SEND_SECONDS = 0.5
"""Between two messages of a task."""

ARRIVAL_SECONDS = 10.0
"""The most that the end of a task waits for its last message to arrive: normally milliseconds, and a lost queue is
noticed at once."""

_ENGINES: dict[str, Engine] = {}
"""At most one, by the name of its batch. Ray runs one task after another in a process, and only a module's variables
survive them."""


@dataclass(frozen=True, kw_only=True)
class RayBatch:
    """What all tasks of a batch share.

    Attributes:
        name: unique to the batch; a process reuses its engine for tasks of the same batch.
        on_gpu: whether tasks have a GPU each, which Ray chooses.
        deadline: seconds since the epoch at which all must have stopped.
        queue: for messages to the driver.
    """

    name: str
    make_engine: MakeEngine
    on_gpu: bool
    deadline: float | None
    queue: Any


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


def paint(task: Task, batch: RayBatch) -> tuple[TaskResult, dict[str, bytes]]:
    """Run a task on a node that sees the same folders."""
    return _run(task, batch, logs=False), {}


def paint_shipped(task: Task, batch: RayBatch, *files: bytes | None) -> tuple[TaskResult, dict[str, bytes]]:
    """Run a task on a node without these folders: its input files come with it, and the files that it makes go back."""
    folder = Path(tempfile.mkdtemp(prefix="hires-nst-"))
    try:
        places = {}
        for number, (path, content) in enumerate(zip(task.inputs, files, strict=True)):
            places[path] = folder / str(number) / path.name
            places[path].parent.mkdir()
            if content is not None:
                places[path].write_bytes(content)
        here = replace(task, content=places[task.content], config=task.config.with_files(places), folder=folder / "job")
        result = _run(here, batch, logs=True)
        wanted = (*LOGS, here.picture.name) if isinstance(result, Outcome) else LOGS
        return result, {name: (here.folder / name).read_bytes() for name in wanted if (here.folder / name).exists()}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(task: Task, batch: RayBatch, *, logs: bool) -> TaskResult:
    if batch.on_gpu:
        task = replace(task, config=_on_given_gpu(task.config))
    try:
        try:
            engine = _engine(batch)
        except Exception as error:
            return result_of(error, task.folder)
        with _Sender(batch.queue, task, logs=logs) as sender:
            return run_task(task, engine, stop=Stop(deadline=batch.deadline), on_event=throttled(sender.emit))
    except KeyboardInterrupt:  # Ray cancels with it
        _ENGINES.clear()  # it may be in any state
        return Stopped()


def _engine(batch: RayBatch) -> Engine:
    """This process's engine for the batch."""
    if batch.name not in _ENGINES:
        _ENGINES.clear()  # first: memory is for one
        _ENGINES[batch.name] = batch.make_engine()
    return _ENGINES[batch.name]


def _on_given_gpu(config: Config) -> Config:
    """The settings with the GPU that Ray assigned to this task, unless they name a device themselves.

    Ray sets CUDA_VISIBLE_DEVICES, which a process reads only once, when it first uses CUDA, and the next task of this
    process may get another GPU: so the process sees all GPUs, and each task's device is set in its configuration.
    """
    given = os.environ.pop("CUDA_VISIBLE_DEVICES", "").split(",")[0]
    return on_device(config, f"cuda:{given}") if given.isdigit() else config


class _Sender:
    """Sends a task's events from a thread of its own; use it as a context manager."""

    def __init__(self, queue: Any, task: Task, *, logs: bool) -> None:
        """Take the queue, and whether to send what is appended to the task's logs, too."""
        self._queue, self._task = queue, task
        self._sent_bytes = dict.fromkeys(LOGS if logs else (), 0)
        self._events: deque[Event] = deque()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send_regularly, daemon=True)

    def __enter__(self) -> _Sender:
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
