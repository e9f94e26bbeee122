"""Jobs as tasks of a Ray cluster. Ray runs them again when a node or a worker is lost; only the driver has the ledger.

Needs `pip install hires-nst[cluster]`.
"""

from __future__ import annotations

import importlib
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hires_nst.batch import ray_worker
from hires_nst.batch.attempt import result_of
from hires_nst.batch.engine import PaintingEngine
from hires_nst.batch.paths import LOGS
from hires_nst.batch.tasks import Failure, MakeEngine, Stopped, Task, TaskResult, WorkerMessage
from hires_nst.config import Batch
from hires_nst.executors.ray_cluster import connect
from hires_nst.transfer.memory import ALONE, MemoryShare

LOST_NODES = 3
"""How often Ray runs a task again after its worker or node was lost, before that counts as a failed attempt."""

CANCEL_SECONDS, CANCELS = 5.0, 3
"""The time between requests to cancel a task, and their number before it is killed: Ray may lose a request."""

QUEUE_SIZE = 10_000
"""Messages in the queue; while it is full, further ones are dropped."""

QUEUE_SECONDS = 10.0
"""The most to wait for the queue's process."""


@dataclass(frozen=True)
class _Running:
    """A running task, and the sizes of its logs before it, in bytes."""

    task: Task
    logs: Mapping[str, int]


class RayExecutor:
    """Runs tasks on a Ray cluster; each takes `cluster_cpus` cores and `cluster_gpus` GPUs of a node."""

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
            make_engine: called in a worker process of a node, which reuses the engine for all its tasks.

        Raises:
            ConfigError: Ray is not installed, or the cluster cannot be reached.
        """
        self._cluster = connect(address)
        self._ray = self._cluster.ray
        self._ship = ship
        self._tasks: dict[Any, _Running] = {}  # by the references of their results
        self._shipped: dict[Path, Any] = {}  # references of the files of many jobs, such as paintings
        self._stopping = False
        self._cancelled, self._cancelled_at = 0, 0.0
        gpus = self._cluster.gpus_for(batch.cluster_gpus)
        self._needs = {"CPU": batch.cluster_cpus, **({"GPU": gpus} if gpus else {})}
        device = "cuda" if gpus else "cpu"
        share = MemoryShare(workers=int(1 / gpus)) if 0 < gpus < 1 else ALONE
        make_engine = make_engine or partial(
            PaintingEngine, device=device, threads=max(1, int(batch.cluster_cpus)), share=share
        )
        self._queue: Any = _new_queue(self._ray)
        self._batch = ray_worker.RayBatch(
            name=secrets.token_hex(8), make_engine=make_engine, on_gpu=gpus > 0, deadline=deadline, queue=self._queue
        )
        # Without max_calls=0, a process with a GPU ends after one task, and its engine with it.
        remote = self._ray.remote(num_cpus=batch.cluster_cpus, num_gpus=gpus, max_retries=LOST_NODES, max_calls=0)
        self._paint = remote(ray_worker.paint_shipped if ship else ray_worker.paint)

    @property
    def workers(self) -> int:
        """How many tasks the cluster can run at once now; at least one, which then waits for resources."""
        return self._cluster.room(self._needs)

    def start(self, task: Task) -> None:
        """Submit a task; Ray chooses the node."""
        paths = task.inputs if self._ship else ()
        files = [self._reference(path, shared=path != task.content) for path in paths]
        logs = {name: _length(task.folder / name) for name in LOGS}
        self._tasks[self._paint.remote(task, self._batch, *files)] = _Running(task, logs)

    def wait(self, seconds: float) -> Sequence[WorkerMessage]:
        """Messages as soon as there are any."""
        if not self._tasks:
            time.sleep(seconds)
            return ()
        if self._stopping and time.monotonic() - self._cancelled_at > CANCEL_SECONDS:
            self._cancel()
        ready, _ = self._ray.wait(list(self._tasks), num_returns=1, timeout=seconds)
        messages = self._received()
        for reference in ready:
            running = self._tasks.pop(reference)
            try:
                result = _result(self._ray.get(reference), running)
            except self._ray.exceptions.TaskCancelledError:
                result = Stopped()
            except self._ray.exceptions.RayError as error:
                result = Stopped() if self._stopping else Failure(f"lost in the cluster: {str(error).splitlines()[0]}")
            messages.append((running.task.id, result))
        return messages

    def stop(self, reason: str) -> None:
        """Cancel every task: the running ones are interrupted, and resumed from there when they run again."""
        self._stopping = True
        self._cancel()

    def _cancel(self) -> None:
        """Cancel every task; by force after several requests."""
        for reference in self._tasks:
            self._ray.cancel(reference, recursive=False, force=self._cancelled >= CANCELS)
        self._cancelled += 1
        self._cancelled_at = time.monotonic()

    def close(self) -> None:
        """Kill what is running at once, and leave the cluster."""
        for reference in self._tasks:
            self._ray.cancel(reference, force=True)
        self._tasks.clear()
        if self._queue is not None:
            with suppress(Exception):  # it may have ended, and the cluster too
                self._queue.shutdown(force=True)
            self._queue = None
        self._cluster.leave()

    def _reference(self, path: Path, *, shared: bool) -> Any:
        """A file in the object store; None where it cannot be read, since the engine reports the error."""
        if path not in self._shipped:
            try:
                reference = self._ray.put(path.read_bytes())
            except OSError:
                reference = None
            if not shared:
                return reference
            self._shipped[path] = reference
        return self._shipped[path]

    def _received(self) -> list[WorkerMessage]:
        """The new events of running tasks; the log pieces that come with them are written to their places."""
        if self._queue is None:
            return []
        try:
            found: list[ray_worker.TaskMessage] = self._queue.get_nowait_batch(self._queue.qsize())
        except self._ray.exceptions.RayError:  # the queue is lost: the batch continues without
            self._queue = None
            return []
        attempts = {(running.task.id, running.task.attempt): running for running in self._tasks.values()}
        messages: list[WorkerMessage] = []
        for message in found:
            running = attempts.get((message.job, message.attempt))
            if running is None:
                continue
            messages += [(message.job, event) for event in message.events]
            with suppress(OSError):  # reported at the end of the task
                _write(running.task.folder, message.logs)
        return messages


def _new_queue(ray: Any) -> Any:
    """A new `ray.util.queue.Queue` on the driver's node, or elsewhere if that takes no actors.

    It is ready, so that the first tasks' messages are not late, unless that takes too long.
    """
    strategies: Any = importlib.import_module("ray.util.scheduling_strategies")
    here = strategies.NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    queues: Any = importlib.import_module("ray.util.queue")
    queue = queues.Queue(QUEUE_SIZE, actor_options={"num_cpus": 0, "scheduling_strategy": here})
    ray.wait([queue.actor.qsize.remote()], timeout=QUEUE_SECONDS)
    return queue


def _result(returned: tuple[TaskResult, dict[str, bytes]], running: _Running) -> TaskResult:
    """The result of a task, after writing the files that it sent back; parts of its logs may have come before."""
    result, files = returned
    try:
        _write(running.task.folder, files, lengths=running.logs)
    except OSError as error:
        return result_of(error, running.task.folder)
    return result


def _write(folder: Path, files: Mapping[str, bytes], *, lengths: Mapping[str, int] | None = None) -> None:
    """Write files, and append to logs: at their ends, or after the first `lengths` bytes."""
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
