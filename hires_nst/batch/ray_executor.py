"""Jobs as tasks of a Ray cluster. Ray runs them again when a node or a worker is lost; the ledger stays the driver's.

Needs `pip install hires-nst[cluster]`.
"""

from __future__ import annotations

import importlib
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hires_nst import events
from hires_nst.batch.engine import PaintingEngine
from hires_nst.batch.executor import News
from hires_nst.batch.ledger import Outcome
from hires_nst.batch.tasks import Failure, MakeEngine, Report, Stopped, Task, perform, reason_of
from hires_nst.config import Batch, Config
from hires_nst.errors import ConfigError
from hires_nst.stopping import Stop

LOST_NODES = 3
"""How often Ray runs a task again whose worker or node was lost, before that counts as a failed attempt."""

REACH_SECONDS = 10.0
"""How long the head of a cluster may take to answer."""

CANCEL_SECONDS, PATIENCE = 5.0, 3
"""How long a task may take to hear that it is cancelled, and how often it is asked: Ray may lose a request."""

SHIPPED_LOGS = ("events.jsonl", "log.txt")


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
            make_engine: made on a node, for each task.

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
                self._ray.init(address=address, log_to_driver=False, logging_level="ERROR")
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise ConfigError(f"there is no Ray cluster at {address}: {error}") from None
        self._deadline = deadline
        self._ship = ship
        self._tasks: dict[Any, tuple[Task, int]] = {}  # references of results
        self._shipped: dict[Path, Any] = {}  # references of paintings and other files of many jobs
        self._stopping = False
        self._cancelled, self._cancelled_at = 0, 0.0
        gpus = batch.cluster_gpus
        if gpus is None:
            gpus = 1.0 if self._ray.cluster_resources().get("GPU", 0) else 0.0
        self._needs = {"CPU": batch.cluster_cpus, **({"GPU": gpus} if gpus else {})}
        device = "cuda" if gpus else "cpu"
        self._make_engine = make_engine or partial(
            PaintingEngine, device=device, threads=max(1, int(batch.cluster_cpus))
        )
        self._remote = self._ray.remote(num_cpus=batch.cluster_cpus, num_gpus=gpus, max_retries=LOST_NODES)

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
        taken = {number for _, number in self._tasks.values()}
        number = next(number for number in range(len(taken) + 1) if number not in taken)
        if self._ship:
            files = [self._reference(path, keep=path != task.content) for path in task.inputs]
            result = self._remote(_paint_shipped).remote(task, self._make_engine, self._deadline, *files)
        else:
            result = self._remote(_paint).remote(task, self._make_engine, self._deadline)
        self._tasks[result] = task, number
        return number

    def wait(self, seconds: float) -> Sequence[News]:
        """News as soon as there are any."""
        if not self._tasks:
            time.sleep(seconds)
            return ()
        if self._stopping and time.monotonic() - self._cancelled_at > CANCEL_SECONDS:
            self._cancel()
        ready, _ = self._ray.wait(list(self._tasks), num_returns=1, timeout=seconds)
        news = []
        for result in ready:
            task, number = self._tasks.pop(result)
            try:
                report = self._received(self._ray.get(result), task)
            except self._ray.exceptions.TaskCancelledError:
                report = Stopped()
            except self._ray.exceptions.RayError as error:
                report = Stopped() if self._stopping else Failure(f"lost in the cluster: {str(error).splitlines()[0]}")
            news.append(News(task.id, number, report))
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

    def _received(self, result: tuple[Report, dict[str, bytes]], task: Task) -> Report:
        """The report of a task, with the files that it sent back in their places."""
        report, files = result
        try:
            task.folder.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                with (task.folder / name).open("ab" if name in SHIPPED_LOGS else "wb") as file:
                    file.write(content)
        except OSError as error:
            return Failure(reason_of(error))
        return report


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


def _paint(task: Task, make_engine: MakeEngine, deadline: float | None) -> tuple[Report, dict[str, bytes]]:
    """A task on a node that sees the same folders."""
    return _performed(task, make_engine, deadline), {}


def _paint_shipped(
    task: Task, make_engine: MakeEngine, deadline: float | None, *files: bytes | None
) -> tuple[Report, dict[str, bytes]]:
    """A task on a node of its own: the files that it needs come along, and what it makes goes back."""
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
            config=_moved(task.config, places),
            inputs=tuple(places[path] for path in task.inputs),
            folder=folder / "job",
        )
        report = _performed(here, make_engine, deadline)
        wanted = (*SHIPPED_LOGS, here.picture.name) if isinstance(report, Outcome) else SHIPPED_LOGS
        return report, {name: (here.folder / name).read_bytes() for name in wanted}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _performed(task: Task, make_engine: MakeEngine, deadline: float | None) -> Report:
    stop = Stop(deadline=deadline)
    try:
        return perform(task, make_engine(), stop=stop, on_event=events.ignore)
    except KeyboardInterrupt:  # how Ray cancels
        return Stopped()


def _moved(config: Config, places: dict[Path, Path]) -> Config:
    """The settings with the files at other places."""
    styles = tuple(style.model_copy(update={"image": places[style.image]}) for style in config.styles)
    start, weights = config.init.file, config.model.weights
    return config.model_copy(
        update={
            "styles": styles,
            "init": config.init.model_copy(update={"file": places[start] if start is not None else None}),
            "model": config.model.model_copy(update={"weights": places[weights] if weights is not None else None}),
        }
    )
