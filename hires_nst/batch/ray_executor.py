"""Jobs as tasks of a Ray cluster. Ray runs them again when a node or a worker is lost; the ledger stays the driver's.

Needs `pip install hires-nst[cluster]`.
"""

from __future__ import annotations

import importlib
import re
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hires_nst.batch import ray_worker
from hires_nst.batch.engine import PaintingEngine
from hires_nst.batch.executor import WorkerMessage
from hires_nst.batch.paths import LOGS
from hires_nst.batch.ray_messages import TaskMessage, new_mailbox
from hires_nst.batch.tasks import Failure, MakeEngine, Stopped, Task, TaskResult, result_of
from hires_nst.config import Batch
from hires_nst.errors import ConfigError

LOST_NODES = 3
"""How often Ray runs a task again whose worker or node was lost, before that counts as a failed attempt."""

REACH_SECONDS = 10.0
"""How long the head of a cluster may take to answer."""

CANCEL_SECONDS, PATIENCE = 5.0, 3
"""How long a task may take to hear that it is cancelled, and how often it is asked: Ray may lose a request."""

MAIL_SECONDS = 5.0
"""How long to wait for an answer of the mailbox; one that is late is asked about again, but not waited for."""


@dataclass(frozen=True)
class _Given:
    """A task in work: the number of its place, and the bytes that its logs had before."""

    task: Task
    number: int
    logs: Mapping[str, int]


class RayExecutor:
    """Gives tasks to a Ray cluster; each takes `cluster_cpus` cores and `cluster_gpus` GPUs of a node."""

    def __init__(
        self,
        batch: Batch,
        *,
        address: str | None = None,
        ship: bool = False,
        deadline: float | None = None,
        make_engine: MakeEngine | None = None,
    ) -> None:
        """Connect to a cluster, or start one on this machine.

        Args:
            address: of the cluster's head, or `auto` for the one that runs here; without it, one is started.
            ship: send pictures through Ray's object store; without it, every node sees the same folders.
            deadline: seconds since the epoch at which all must have stopped.
            make_engine: made in a worker process of a node, which keeps it for all tasks that Ray gives it.

        Raises:
            ConfigError: Ray is not installed, or the cluster cannot be reached.
        """
        try:
            self._ray: Any = importlib.import_module("ray")
        except ImportError:
            raise ConfigError("Ray is not installed; pip install 'hires-nst[cluster]' brings it") from None
        self._started = not self._ray.is_initialized()
        if self._started:
            check_reachable(address)
            try:
                with _own_signals():
                    self._ray.init(address=address, log_to_driver=False, logging_level="ERROR")
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise ConfigError(f"there is no Ray cluster at {address}: {error}") from None
        self._ship = ship
        self._tasks: dict[Any, _Given] = {}  # references of results
        self._shipped: dict[Path, Any] = {}  # references of paintings and other files of many jobs
        self._stopping = False
        self._cancelled, self._cancelled_at = 0, 0.0
        gpus = batch.cluster_gpus
        if gpus is None:
            gpus = 1.0 if self._ray.cluster_resources().get("GPU", 0) else 0.0
        self._needs = {"CPU": batch.cluster_cpus, **({"GPU": gpus} if gpus else {})}
        device = "cuda" if gpus else "cpu"
        make_engine = make_engine or partial(PaintingEngine, device=device, threads=max(1, int(batch.cluster_cpus)))
        self._mailbox: Any = new_mailbox(self._ray)
        self._letters: Any = None  # the reference of those asked for
        self._terms = ray_worker.RayBatch(secrets.token_hex(8), make_engine, gpus > 0, deadline, self._mailbox)
        # Without max_calls=0, a process that was given a GPU ends after one task, and its engine with it.
        remote = self._ray.remote(num_cpus=batch.cluster_cpus, num_gpus=gpus, max_retries=LOST_NODES, max_calls=0)
        self._paint = remote(ray_worker.paint_shipped if ship else ray_worker.paint)

    @property
    def workers(self) -> int:
        """How many tasks the cluster has room for at the moment; at least one, for which it then waits."""
        found = self._ray.cluster_resources()
        return max(1, min(int(found.get(name, 0) // need) for name, need in self._needs.items()))

    @property
    def free(self) -> int:
        """How many more tasks it would take now."""
        return max(0, self.workers - len(self._tasks))

    def start(self, task: Task) -> int:
        """Hand a task to the cluster; the number says which of the places it has, as Ray chooses the node."""
        taken = {given.number for given in self._tasks.values()}
        number = next(number for number in range(len(taken) + 1) if number not in taken)
        paths = task.inputs if self._ship else ()
        files = [self._reference(path, keep=path != task.content) for path in paths]
        logs = {name: _length(task.folder / name) for name in LOGS}
        self._tasks[self._paint.remote(task, self._terms, *files)] = _Given(task, number, logs)
        return number

    def wait(self, seconds: float) -> Sequence[WorkerMessage]:
        """WorkerMessage as soon as there are any."""
        if not self._tasks:
            time.sleep(seconds)
            return ()
        if self._stopping and time.monotonic() - self._cancelled_at > CANCEL_SECONDS:
            self._cancel()
        ready, _ = self._ray.wait(list(self._tasks), num_returns=1, timeout=seconds)
        news = self._mail()
        for result in ready:
            given = self._tasks.pop(result)
            try:
                report = _received(self._ray.get(result), given)
            except self._ray.exceptions.TaskCancelledError:
                report = Stopped()
            except self._ray.exceptions.RayError as error:
                report = Stopped() if self._stopping else Failure(f"lost in the cluster: {str(error).splitlines()[0]}")
            news.append(WorkerMessage(given.task.id, given.number, report))
        return news

    def stop(self, reason: str) -> None:
        """Cancel every task: those in work are interrupted, where they are, and go on there when they are run again."""
        self._stopping = True
        self._cancel()

    def _cancel(self) -> None:
        """Cancel every task; when that was of no avail, without asking the task."""
        for result in self._tasks:
            self._ray.cancel(result, recursive=False, force=self._cancelled >= PATIENCE)
        self._cancelled += 1
        self._cancelled_at = time.monotonic()

    def close(self) -> None:
        """Cancel what is in work at once, and leave the cluster."""
        for result in self._tasks:
            self._ray.cancel(result, force=True)
        self._tasks.clear()
        if self._mailbox is not None:
            with suppress(Exception):  # it may be gone, and the cluster with it
                self._ray.kill(self._mailbox)
            self._mailbox = None
        if self._started:
            self._ray.shutdown()
            self._started = False

    def _reference(self, path: Path, *, keep: bool) -> Any:
        """A file in the object store; None where it cannot be read, which the engine will say better."""
        if path not in self._shipped:
            try:
                reference = self._ray.put(path.read_bytes())
            except OSError:
                reference = None
            if not keep:
                return reference
            self._shipped[path] = reference
        return self._shipped[path]

    def _mail(self) -> list[WorkerMessage]:
        """What tasks in work have told since the last time; the logs that they sent with it go where they belong."""
        if self._mailbox is None:
            return []
        try:
            late = self._letters is not None
            self._letters = self._letters if late else self._mailbox.take.remote()
            if not self._ray.wait([self._letters], timeout=0 if late else MAIL_SECONDS)[0]:
                return []
            letters: list[TaskMessage] = self._ray.get(self._letters)
        except self._ray.exceptions.RayError:  # the mailbox is lost: the batch goes on without
            self._mailbox = None
            return []
        self._letters = None
        working = {(given.task.id, given.task.attempt): given for given in self._tasks.values()}
        news = []
        for letter in letters:
            given = working.get((letter.job, letter.attempt))
            if given is None:
                continue
            news += [WorkerMessage(letter.job, given.number, event) for event in letter.told]
            with suppress(OSError):  # at the end of the task, it will be said
                _write(given.task.folder, letter.logs)
        return news


@contextmanager
def _own_signals() -> Iterator[None]:
    """What this process does on signals that ask for an end stays as it is, whatever Ray sets in the block."""
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():  # Ray sets none elsewhere, and none may be set
            for kind, handler in before.items():
                if handler is not None:
                    signal.signal(kind, handler)


def _received(result: tuple[TaskResult, dict[str, bytes]], given: _Given) -> TaskResult:
    """The report of a task, with the files that it sent back in their places, where logs may have come in part."""
    report, files = result
    try:
        _write(given.task.folder, files, given.logs)
    except OSError as error:
        return result_of(error, given.task.folder)
    return report


def _write(folder: Path, files: Mapping[str, bytes], lengths: Mapping[str, int] | None = None) -> None:
    """Write files as they are, and logs after what is there, or after so many bytes of it."""
    if not files:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        with (folder / name).open("ab" if name in LOGS else "wb") as file:
            if name in LOGS and lengths is not None:
                file.truncate(lengths[name])
            file.write(content)


def _length(path: Path) -> int:
    """The bytes of a file; 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def check_reachable(address: str | None) -> None:
    """Raise ConfigError unless something listens at an address such as `10.0.0.7:6379`: Ray would try for minutes."""
    match = re.fullmatch(r"(?:ray://)?([^:/]+):([0-9]{1,5})", address or "")
    if match is None:
        return
    try:
        socket.create_connection((match[1], int(match[2])), timeout=REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"there is no Ray cluster at {address} ({error}); start its head, or check its address"
        ) from None
