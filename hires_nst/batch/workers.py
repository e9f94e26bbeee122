"""Worker processes on this machine: each paints one job after another, and may die without taking others along."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import connection, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from hires_nst.batch.executor import WorkerMessage
from hires_nst.batch.tasks import Engine, Failure, MakeEngine, Stopped, Task, perform, report_of, spaced
from hires_nst.errors import HiresNstError
from hires_nst.events import Event
from hires_nst.stopping import Stop

STARTS = 3
"""Workers in a row that may die before they say a word; then something is wrong with all of them."""

START_SECONDS = 300.0
"""How long a worker may take until its first sign of life; a busy machine takes its time to start a process."""

END_SECONDS = 10.0
"""How long a process that has closed its pipes may take to be over."""

ASKING = signal.SIGINT, signal.SIGTERM
"""Signals that ask for an end. A terminal and a service send them to the whole group: the parent decides."""


class _Worker:
    """A worker process as its parent sees it."""

    def __init__(self, number: int, make_engine: MakeEngine, beat_seconds: float, deadline: float | None) -> None:
        context = multiprocessing.get_context("spawn")
        self.number = number
        self.connection, other = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_work, args=(other, make_engine, beat_seconds, deadline), name=f"worker-{number}", daemon=True
        )
        with _held_back():
            self.process.start()
        other.close()
        self.task: Task | None = None
        self.spoke = False
        self.heard = time.monotonic()
        self.silent = False

    def messages(self) -> list[Any]:
        """What has come; everything that ever will where the process is dead."""
        found = []
        with suppress(EOFError, OSError):
            while self.connection.poll():
                found.append(self.connection.recv())
        if found:
            self.heard, self.spoke = time.monotonic(), True
        return found

    def send(self, message: object) -> None:
        """Say something to the process; that it is dead comes out elsewhere."""
        with suppress(OSError):
            self.connection.send(message)

    def why_dead(self) -> str:
        """What became of the process, in words."""
        self.process.join(END_SECONDS)  # its pipes close a little before it is over
        code = self.process.exitcode
        if self.silent:
            return "the worker process gave no sign of life any more and was killed"
        if code is not None and code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            hint = ", as the system does when memory runs out" if -code == signal.SIGKILL else ""
            return f"the worker process was killed by {name}{hint}"
        return f"the worker process ended by itself with exit code {code}"

    def end(self) -> None:
        """Kill the process if it lives, and let go of it."""
        self.process.kill()
        self.process.join()
        self.connection.close()
        self.process.close()


class WorkerPool:
    """As many worker processes as engines, each started when first needed and again when it died."""

    def __init__(self, engines: Sequence[MakeEngine], *, lease_seconds: float, deadline: float | None = None) -> None:
        """Take the makers of the engines, one for each worker.

        Args:
            lease_seconds: a worker that gives no sign of life for this long is killed.
            deadline: seconds since the epoch at which all must have stopped.
        """
        self._engines = engines
        self._silence = lease_seconds
        self._deadline = deadline
        self._workers: list[_Worker | None] = [None] * len(engines)
        self._stillborn = 0
        self._stopping: str | None = None
        self._looked = time.monotonic()  # for signs of life

    @property
    def workers(self) -> int:
        """How many tasks it can have in work."""
        return len(self._engines)

    @property
    def free(self) -> int:
        """How many more tasks it would take now."""
        return sum(worker is None or worker.task is None for worker in self._workers)

    def start(self, task: Task) -> int:
        """Take a task; the number of the worker."""
        idle = [number for number, worker in enumerate(self._workers) if worker is not None and worker.task is None]
        number = idle[0] if idle else self._workers.index(None)
        worker = self._workers[number]
        if worker is None:
            worker = _Worker(number, self._engines[number], self._silence / 4, self._deadline)
            self._workers[number] = worker
        worker.task = task
        worker.send(task)
        return number

    def wait(self, seconds: float) -> Sequence[WorkerMessage]:
        """WorkerMessage as soon as there are any."""
        alive = [worker for worker in self._workers if worker is not None]
        places = [place for worker in alive for place in (worker.connection, worker.process.sentinel)]
        if not places:
            time.sleep(seconds)
            return ()
        ready = set(connection.wait(places, min(seconds, self._silence / 4)))
        self._forgive(alive)
        news: list[WorkerMessage] = []
        for worker in alive:
            dead = worker.process.sentinel in ready
            if dead or worker.connection in ready:
                news += self._take(worker, worker.messages())
            if dead:
                news += self._bury(worker)
            elif time.monotonic() - worker.heard > (self._silence if worker.spoke else START_SECONDS):
                worker.silent = True
                worker.process.kill()
        return news

    def stop(self, reason: str) -> None:
        """Ask every worker for an orderly end."""
        self._stopping = reason
        for worker in self._workers:
            if worker is not None:
                worker.send(reason)

    def close(self) -> None:
        """Kill every worker."""
        for number, worker in enumerate(self._workers):
            if worker is not None:
                worker.end()
                self._workers[number] = None

    def _take(self, worker: _Worker, messages: Sequence[Any]) -> list[WorkerMessage]:
        """The messages of a worker as news; a beat of its heart is None."""
        news = []
        for message in messages:
            self._stillborn = 0
            if message is None or worker.task is None:
                continue
            news.append(WorkerMessage(worker.task.id, worker.number, message))
            if not isinstance(message, Event):
                worker.task = None
        return news

    def _forgive(self, alive: Sequence[_Worker]) -> None:
        """When this process has not looked for long, silence says nothing: the machine or the batch may have slept."""
        now = time.monotonic()
        if now - self._looked > self._silence / 2:
            for worker in alive:
                worker.heard = now
        self._looked = now

    def _bury(self, worker: _Worker) -> list[WorkerMessage]:
        """Make room for another worker, and report what the dead one was at."""
        self._stillborn += not worker.spoke
        reason = worker.why_dead()
        asked = worker.process.exitcode in [-number for number in ASKING]
        worker.end()
        self._workers[worker.number] = None
        if self._stillborn >= STARTS:
            raise HiresNstError(f"workers cannot be started: {reason}; `hires-nst doctor` may say why")
        if worker.task is None:
            return []
        report = Stopped() if self._stopping else Failure(reason, asked=asked)
        return [WorkerMessage(worker.task.id, worker.number, report)]


@contextmanager
def _held_back() -> Iterator[None]:
    """Signals that ask for an end wait while the block runs; a process that is started in it has to let them in."""
    if not hasattr(signal, "pthread_sigmask"):  # not on this system
        yield
        return
    resource_tracker.ensure_running()  # comes with the first process otherwise, and lets them in
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ASKING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ignore_signals() -> None:
    """Ignore those that ask for an end, the ones that came while this process was started included."""
    for number in ASKING:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKING)


def _work(parent: Connection, make_engine: MakeEngine, beat_seconds: float, deadline: float | None) -> None:
    """The life of a worker process."""
    _ignore_signals()
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
        except (EOFError, OSError):  # the parent is gone: what is unfinished belongs to others now
            os.kill(os.getpid(), signal.SIGKILL)

    def beat() -> None:
        with suppress(OSError):
            while True:
                send(None)
                time.sleep(beat_seconds)

    for thread in (listen, beat):
        threading.Thread(target=thread, daemon=True).start()
    engine: Engine | None = None
    tell = spaced(send)
    while True:
        task = tasks.get()
        if stop.due():  # it takes seconds to make an engine
            send(Stopped())
            continue
        try:
            engine = engine or make_engine()
        except Exception as error:
            send(report_of(error, task.folder))
            continue
        send(perform(task, engine, stop=stop, on_event=tell))
