"""Workers of a pool as processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import sys
import threading
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

from hires_nst.executors.heartbeats import START_SECONDS, UNRESPONSIVE, Silences, keep_sending
from hires_nst.executors.messages import Alive, Lost, MakeMessage, Ready, receive, send
from hires_nst.executors.spawning import EXIT_SECONDS, exit_reason, ignore_signals, signals_blocked
from hires_nst.executors.worker import Setup, TileWorker


class _Process:
    """A worker process as its parent sees it, with threads of the parent that send and receive its messages.

    So the parent waits neither for a message to be made nor for the rest of one whose sender hangs.
    """

    def __init__(self, number: int, setup: Setup, *, crew: ProcessCrew) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(
            target=_work, args=(other, crew.lease_seconds), name=f"tiles-{number}", daemon=True
        )
        with signals_blocked(), _without_main():
            self.process.start()
        other.close()
        self.number, self.device, self._crew = number, setup.device, crew
        self.is_set_up = False
        self.messages: queue.SimpleQueue[MakeMessage | None] = queue.SimpleQueue()
        self.messages.put(lambda: setup)
        self.error: BaseException | None = None  # in the making of a message, or the reading of one
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Kill it. A process that a driver holds back may not die of that; then it is left alone."""
        self.process.kill()
        self.process.join(EXIT_SECONDS)
        if self.process.exitcode is None:
            return
        self.messages.put(None)
        for thread in self._threads:
            thread.join()
        self.connection.close()
        self.process.close()

    def exit_reason(self) -> str:
        """Why a process ends that has closed its pipe."""
        self.process.join(EXIT_SECONDS)
        return exit_reason(self.process.exitcode)

    def _send(self) -> None:
        """Make and send messages, so that nobody waits for that; those to a process that is dead are dropped."""
        while (make := self.messages.get()) is not None:
            with suppress(OSError):
                try:
                    message = make()
                except BaseException as error:  # for the one who asked for it
                    self.error = error
                else:
                    send(self.connection, message)
                    del message

    def _receive(self) -> None:
        """Pass messages on to the crew, the last of them None; heartbeats are only heard."""
        message: Any = Alive()
        while message is not None:
            try:
                message = receive(self.connection)
            except (EOFError, OSError):
                message = None
            except BaseException as error:  # for the one who waits for it
                self.error, message = error, None
            self._crew.silences.heard(self.number)
            if not isinstance(message, Alive):
                self._crew.inbox.put((self.number, message))


class ProcessCrew:
    """A worker process for each setup. One that sends no heartbeat any more is killed."""

    def __init__(self, setups: Sequence[Setup], *, lease_seconds: float) -> None:
        """Start them; they load torch, and get their setups when they have.

        Args:
            lease_seconds: a worker that sends no heartbeat for this long is lost.
        """
        self.lease_seconds, self.silences = lease_seconds, Silences(lease_seconds)
        self.inbox: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self._processes: dict[int, _Process] = {}
        try:
            for number, setup in enumerate(setups):
                self.silences.heard(number)
                self._processes[number] = _Process(number, setup, crew=self)
        except BaseException:
            self.close()
            raise

    @property
    def numbers(self) -> Sequence[int]:
        """See `Crew`."""
        return tuple(self._processes)

    @property
    def pids(self) -> Sequence[int]:
        """The processes' ids."""
        return [one.process.pid for one in self._processes.values() if one.process.pid is not None]

    def send(self, number: int, make: MakeMessage) -> None:
        """See `Crew`."""
        if number in self._processes:
            self._processes[number].messages.put(make)

    def wait(self, seconds: float) -> Sequence[tuple[int, Any]]:
        """See `Crew`."""
        self.silences.look()
        for process in self._processes.values():
            if process.error is not None:
                raise process.error
        for number, process in tuple(self._processes.items()):
            if self.silences.of(number) > (self.lease_seconds if process.is_set_up else START_SECONDS):
                self.end(number, UNRESPONSIVE)
        try:
            number, message = self.inbox.get(timeout=seconds)
        except queue.Empty:
            return ()
        if number not in self._processes:  # it was lost before
            return ()
        process = self._processes[number]
        if message is None:
            message = Lost(process.exit_reason())
        if isinstance(message, Ready):
            process.is_set_up = True
        if isinstance(message, Lost):
            self._processes.pop(number).close()
            message = Lost(f"{message.reason}, on {process.device}")
        return [(number, message)]

    def end(self, number: int, reason: str) -> None:
        """See `Crew`."""
        if number in self._processes:
            self.silences.heard(number)
            self.inbox.put((number, Lost(reason)))
            self._processes[number].process.kill()

    def close(self) -> None:
        """See `Crew`."""
        while self._processes:
            self._processes.popitem()[1].close()


@contextmanager
def _without_main() -> Iterator[None]:
    """Let processes that are started in the block not import the calling script, which need not be made for that."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _work(parent: Connection, lease_seconds: float) -> None:
    """The main function of a worker process."""
    ignore_signals()
    messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
    sending = threading.Lock()

    def listen() -> None:
        try:
            while True:
                messages.put(receive(parent))
        except (EOFError, OSError):  # the parent has ended, or this worker is not needed any more
            os.kill(os.getpid(), signal.SIGKILL)

    def answer(message: Any) -> None:
        with sending:
            send(parent, message)

    threading.Thread(target=listen, daemon=True).start()
    try:
        worker = TileWorker(messages.get())
    except Exception as error:
        answer(Lost(f"{type(error).__name__}: {error}"))
        return
    answer(Ready())
    keep_sending(lambda: answer(Alive()), lease_seconds=lease_seconds)
    while worker.do(messages.get(), answer):
        pass
