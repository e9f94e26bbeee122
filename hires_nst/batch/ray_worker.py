"""What runs in the worker processes of a Ray cluster: a task, with what the process keeps for those that come after."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hires_nst.batch.ledger_schema import Outcome
from hires_nst.batch.paths import LOGS
from hires_nst.batch.ray_messages import Sender
from hires_nst.batch.tasks import Engine, MakeEngine, Stopped, Task, TaskResult, result_of, run_task, throttled
from hires_nst.config import Config
from hires_nst.stopping import Stop

_ENGINES: dict[str, Engine] = {}
"""At most one: that of the batch whose tasks this process does. Ray gives a process one task after another, and nothing
but the module outlives them."""


@dataclass(frozen=True)
class RayBatch:
    """What is the same for all tasks of a batch.

    Attributes:
        batch: a name that no other batch has; a process keeps its engine as long as tasks are of the same one.
        on_gpu: whether tasks have a GPU each, which Ray chooses.
        deadline: seconds since the epoch at which all must have stopped.
        mailbox: see `new_mailbox`.
    """

    batch: str
    make_engine: MakeEngine
    on_gpu: bool
    deadline: float | None
    mailbox: Any


def paint(task: Task, terms: RayBatch) -> tuple[TaskResult, dict[str, bytes]]:
    """Do a task on a node that sees the same folders."""
    return _performed(task, terms, logs=False), {}


def paint_shipped(task: Task, terms: RayBatch, *files: bytes | None) -> tuple[TaskResult, dict[str, bytes]]:
    """Do a task on a node of its own: the files that it needs come along, and what it makes goes back."""
    folder = Path(tempfile.mkdtemp(prefix="hires-nst-"))
    try:
        places = {}
        for number, (path, content) in enumerate(zip(task.inputs, files, strict=True)):
            places[path] = folder / str(number) / path.name
            places[path].parent.mkdir()
            if content is not None:
                places[path].write_bytes(content)
        here = replace(
            task,
            content=places[task.content],
            config=task.config.with_files(places),
            inputs=tuple(places[path] for path in task.inputs),
            folder=folder / "job",
        )
        report = _performed(here, terms, logs=True)
        wanted = (*LOGS, here.picture.name) if isinstance(report, Outcome) else LOGS
        return report, {name: (here.folder / name).read_bytes() for name in wanted if (here.folder / name).exists()}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _performed(task: Task, terms: RayBatch, *, logs: bool) -> TaskResult:
    if terms.on_gpu:
        task = replace(task, config=_on_given_gpu(task.config))
    try:
        try:
            engine = _engine(terms)
        except Exception as error:
            return result_of(error, task.folder)
        with Sender(terms.mailbox, task, logs=logs) as sender:
            return run_task(task, engine, stop=Stop(deadline=terms.deadline), on_event=throttled(sender.tell))
    except KeyboardInterrupt:  # how Ray cancels
        _ENGINES.clear()  # it may have been in the middle of anything
        return Stopped()


def _engine(terms: RayBatch) -> Engine:
    """The engine that this process keeps for the batch."""
    if terms.batch not in _ENGINES:
        _ENGINES.clear()  # first: there is room for one
        _ENGINES[terms.batch] = terms.make_engine()
    return _ENGINES[terms.batch]


def _on_given_gpu(config: Config) -> Config:
    """The settings with the GPU that Ray has chosen for this task, unless they name a device themselves.

    Ray tells by CUDA_VISIBLE_DEVICES, which a process reads only when it begins to use CUDA, and the next task of this
    process may be given another GPU: so the process sees all of them, and each task is told its own.
    """
    given = os.environ.pop("CUDA_VISIBLE_DEVICES", "").split(",")[0]
    if not given.isdigit() or config.runtime.device not in ("auto", "cuda"):
        return config
    return config.model_copy(update={"runtime": config.runtime.model_copy(update={"device": f"cuda:{given}"})})
