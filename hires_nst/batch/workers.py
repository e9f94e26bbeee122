"""Worker processes on this machine: each paints one job after another, and may die without taking others along."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from hires_nst.batch.attempt import result_of, run_task, throttled
from hires_nst.batch.tasks import Engine, Failure, MakeEngine, Stopped, Task, WorkerMessage
from hires_nst.errors import HiresNstError
from hires_nst.events import Event
from hires_nst.executors.heartbeats import START_SECONDS, UNRESPONSIVE, Silences, keep_sending
from hires_nst.executors.spawning import (
    EXIT_SECONDS,
    TERMINATION_SIGNALS,
    exit_reason,
    ignore_signals,
    signals_blocked,
)
from hires_nst.stopping import Stop

MOST_FAILED_STARTS = 3
"""Workers in a row that may die before their first message; then something is wrong with all of them."""


class _Worker:
    """A worker process as its parent sees it."""

    def __init__(self, number: int, make_engine: MakeEngine, *, lease_seconds: float, deadline: float | None) -> None:
        context = multiprocessing.get_context("spawn")
        self.number = number
        self.connection, other = context.Pipe()
        times = {"lease_seconds": lease_seconds, "deadline": deadline}
        self.process: SpawnProcess = context.Process(
            target=_work, args=(other, make_engine), kwargs=times, name=f"worker-{number}", daemon=True
        )
        with signals_blocked():
            self.process.start()
        other.close()
        self.task: Task | None = None
        self.started = False  # its first message has come
        self.unresponsive = False

    def messages(self) -> list[Any]:
        found = []
        with suppress(EOFError, OSError):
            while self.connection.poll():
                found.append(self.connection.recv())
        return found

    def send(self, message: object) -> None:
        with suppress(OSError):  # where it is dead
            self.connection.send(message)

    def exit_reason(self) -> str:
        """Why the process ended, as a sentence."""
        self.process.join(EXIT_SECONDS)  # its pipes close a little before it exits
        if self.unresponsive:
            return UNRESPONSIVE
        return exit_reason(self.process.exitcode)

    def close(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()
        self.process.close()


class WorkerPool:
    """As many worker processes as engines, each started when first needed, and again after it died."""

    def __init__(self, engines: Sequence[MakeEngine], *, lease_seconds: float, deadline: float | None = None) -> None:
        """Take the makers of the engines, one for each worker.

        Args:
            lease_seconds: a worker that sends no heartbeat for this long is killed.
            deadline: seconds since the epoch at which all must have stopped.
        """
        self._engines, self._timeout, self._deadline = engines, lease_seconds, deadline
        self._workers: dict[int, _Worker] = {}  # by their numbers
        self._failed_starts = 0  # in a row
        self._stopping: str | None = None
        self._silences = Silences(lease_seconds)

    @property
    def workers(self) -> int:
        """How many tasks it runs at once."""
        return len(self._engines)

    def start(self, task: Task) -> None:
        """Run a task on an idle worker, or else on a new one."""
        worker = next((worker for worker in self._workers.values() if worker.task is None), None)
        if worker is None:
            number = min(set(range(self.workers)) - self._workers.keys())
            worker = self._workers[number] = _Worker(
                number, self._engines[number], lease_seconds=self._timeout, deadline=self._deadline
            )
            self._silences.heard(number)
        worker.task = task
        worker.send(task)

    def wait(self, seconds: float) -> Sequence[WorkerMessage]:
        """Messages of the workers, as soon as there are any."""
        alive = list(self._workers.values())
        places = [place for worker in alive for place in (worker.connection, worker.process.sentinel)]
        if not places:
            time.sleep(seconds)
            return ()
        ready = set(connection.wait(places, min(seconds, self._timeout / 4)))
        self._silences.look()
        messages: list[WorkerMessage] = []
        for worker in alive:
            dead = worker.process.sentinel in ready
            if dead or worker.connection in ready:
                messages += self._received(worker)
            if dead:
                messages += self._reap(worker)
            elif self._silences.of(worker.number) > (self._timeout if worker.started else START_SECONDS):
                worker.unresponsive = True
                worker.process.kill()
        return messages

    def stop(self, reason: str) -> None:
        """Ask every worker to stop in an orderly way."""
        self._stopping = reason
        for worker in self._workers.values():
            worker.send(reason)

    def close(self) -> None:
        """Kill every worker."""
        while self._workers:
            self._workers.popitem()[1].close()

    def _received(self, worker: _Worker) -> list[WorkerMessage]:
        """The messages of a worker without its heartbeats, which are None."""
        messages: list[WorkerMessage] = []
        for message in worker.messages():
            self._failed_starts, worker.started = 0, True
            self._silences.heard(worker.number)
            if message is None or worker.task is None:
                continue
            messages.append((worker.task.id, message))
            if not isinstance(message, Event):
                worker.task = None
        return messages

    def _reap(self, worker: _Worker) -> list[WorkerMessage]:
        """Remove a dead worker, so that another can start, and give the result of its task."""
        self._failed_starts += not worker.started
        reason = worker.exit_reason()
        signalled = worker.process.exitcode in [-number for number in TERMINATION_SIGNALS]
        self._workers.pop(worker.number).close()
        if self._failed_starts >= MOST_FAILED_STARTS:
            raise HiresNstError(f"workers cannot be started: {reason}; `hires-nst doctor` shows what is missing")
        if worker.task is None:
            return []
        result = Stopped() if self._stopping else Failure(reason, signalled=signalled)
        return [(worker.task.id, result)]


def _work(parent: Connection, make_engine: MakeEngine, *, lease_seconds: float, deadline: float | None) -> None:
    """The main function of a worker process."""
    ignore_signals()
    stop = Stop(deadline=deadline)
    tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
    sending = threading.Lock()

    def send(message: object) -> None:
        with sending:
            parent.send(message)

    def listen() -> None:
        try:
            while True:
                message = parent.recv()
                if isinstance(message, Task):
                    tasks.put(message)
                else:
                    stop.request(message)
        except (EOFError, OSError):  # the parent has ended: unfinished jobs belong to others now
            os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=listen, daemon=True).start()
    keep_sending(partial(send, None), lease_seconds=lease_seconds)
    engine: Engine | None = None
    on_event = throttled(send)
    while True:
        task = tasks.get()
        if stop.due():  # it takes seconds to make an engine
            send(Stopped())
            continue
        try:
            engine = engine or make_engine()
        except Exception as error:
            send(result_of(error, task.folder))
            continue
        send(run_task(task, engine, stop=stop, on_event=on_event))
