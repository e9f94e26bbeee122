"""Writing while the work goes on: one thread that writes, in order, and a main thread that hears of it later."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError
from contextlib import suppress
from types import TracebackType

from hires_nst.errors import HiresNstError, Interrupted

PATIENCE = 5.0
"""Seconds for which a run that is to stop waits for what is being written."""

Write = Callable[[Callable[[], None]], None]
"""Writes something, calling its argument between pieces, which raises when the write is to be given up."""


class WriteBehind:
    """Writes in a thread, in the order in which they are asked for; a context manager.

    Leaving it waits for all of them; for `PATIENCE` only, where an exception is on its way, and not at all where that
    is not an ordinary one (a second Ctrl-C). What is given up leaves nothing behind, if it goes through `atomic_write`.

    Args:
        most: writes that may wait; when there are more, `put` waits for the oldest.
    """

    def __init__(self, most: int = 2) -> None:
        self._most = most
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="write-behind")
        self._waiting: deque[tuple[Future[None], Callable[[], None]]] = deque()
        self._given_up = False

    def put(self, write: Write, told: Callable[[], None]) -> None:
        """Have something written; `told` is called when it is, in the thread that asks: by any of these methods.

        Raises:
            Exception: whatever an earlier write, or its `told`, raised.
        """
        while len(self._waiting) >= self._most:
            self._first(None)
        self._waiting.append((self._thread.submit(write, self._check_stop), told))

    def poll(self) -> None:
        """Tell of what is written by now; raises as `put` does."""
        while self._waiting and self._waiting[0][0].done():
            self._first(None)

    def settle(self, patience: float | None = None) -> None:
        """Wait until everything is written, or for so many seconds; raises as `put` does, and TimeoutError."""
        end = None if patience is None else time.monotonic() + patience
        while self._waiting:
            self._first(None if end is None else max(0.0, end - time.monotonic()))

    def __enter__(self) -> WriteBehind:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.settle()
            elif isinstance(error, Exception):
                with suppress(HiresNstError, TimeoutError):
                    self.settle(PATIENCE)
        finally:
            self._given_up = True
            self._thread.shutdown(cancel_futures=True)

    def _first(self, patience: float | None) -> None:
        future, told = self._waiting[0]
        future.exception(patience)  # waits
        self._waiting.popleft()
        future.result()
        told()

    def _check_stop(self) -> None:
        if self._given_up:
            raise Interrupted("a write was given up")
