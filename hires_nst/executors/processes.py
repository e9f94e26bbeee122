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
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import Any

from hires_nst.executors.messages import Lost, MakeMessage, Ready, receive, send
from hires_nst.executors.spawning import exit_reason, ignore_signals, signals_blocked
from hires_nst.executors.worker import Setup, TileWorker

EXIT_SECONDS = 10.0
"""The most that a process that has closed its pipe may take to exit."""


class _Process:
    """A worker process as its parent sees it."""

    def __init__(self, number: int, setup: Setup) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_work, args=(other,), name=f"tiles-{number}", daemon=True)
        with signals_blocked(), _without_main():
            self.process.start()
        other.close()
        self.device = setup.device
        self.setup: Setup | None = setup  # until it is sent
        self.messages: queue.SimpleQueue[MakeMessage | None] = queue.SimpleQueue()
        self.error: BaseException | None = None  # in the making of a message
        self._sender = threading.Thread(target=self._send, daemon=True)
        self._sender.start()

    def close(self) -> None:
        self.process.kill()
        self.process.join()
        self.messages.put(None)
        self._sender.join()
        self.connection.close()
        self.process.close()

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


class ProcessCrew:
    """A worker process for each setup, and a thread of this process that reads its windows and sends them."""

    def __init__(self, setups: Sequence[Setup]) -> None:
        """Start them; they load torch meanwhile, and get their setups when they have."""
        self._processes: dict[int, _Process] = {}
        try:
            for number, setup in enumerate(setups):
                self._processes[number] = _Process(number, setup)
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
        by_connection: dict[Any, int] = {one.connection: number for number, one in self._processes.items()}
        messages: list[tuple[int, Any]] = []
        for one in self._processes.values():
            if one.error is not None:
                raise one.error
        for ready in connection.wait(list(by_connection), seconds):
            number = by_connection[ready]
            process = self._processes[number]
            try:
                message = receive(process.connection)
            except (EOFError, OSError):
                message = Lost(self._reap(number))
            if isinstance(message, Lost) and number in self._processes:
                self._processes.pop(number).close()
                message = Lost(f"{message.reason}, on {process.device}")
            if isinstance(message, Ready) and process.setup is not None:  # torch is loaded: its first message
                setup, process.setup = process.setup, None
                process.messages.put(lambda setup=setup: setup)  # type: ignore[misc]
                continue
            messages.append((number, message))
        return messages

    def close(self) -> None:
        """See `Crew`."""
        while self._processes:
            self._processes.popitem()[1].close()

    def _reap(self, number: int) -> str:
        """Why a process ended that has closed its pipe."""
        process = self._processes.pop(number)
        process.process.join(EXIT_SECONDS)
        reason = f"{exit_reason(process.process.exitcode)}, on {process.device}"
        process.close()
        return reason


@contextmanager
def _without_main() -> Iterator[None]:
    """Let processes that are started in the block not import the calling script, which need not be made for that."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _work(parent: Connection) -> None:
    """The main function of a worker process."""
    ignore_signals()
    messages: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def listen() -> None:
        try:
            while True:
                messages.put(receive(parent))
        except (EOFError, OSError):  # the parent has ended, or this worker is not needed any more
            os.kill(os.getpid(), signal.SIGKILL)

    def answer(message: Any) -> None:
        send(parent, message)

    send(parent, Ready())
    threading.Thread(target=listen, daemon=True).start()
    try:
        worker = TileWorker(messages.get())
    except Exception as error:
        send(parent, Lost(f"{type(error).__name__}: {error}"))
        return
    send(parent, Ready())
    while worker.do(messages.get(), answer):
        pass
