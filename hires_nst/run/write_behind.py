"""Writing in the background: one thread that writes, in order, and callbacks in the main thread."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar

from hires_nst.errors import HiresNstError, Interrupted

PATIENCE = 5.0
"""Seconds for which a run that stops waits for pending writes."""

Written = TypeVar("Written")
Write = Callable[[Callable[[], None]], Written]
"""Writes something, calling its argument between pieces, which raises when the write is cancelled."""


class WriteBehind:
    """Writes in a thread, in the order of the calls; a context manager.

    Its end waits for all writes; for `PATIENCE` only after an exception, and not at all after one that is not an
    `Exception` (a second Ctrl-C). A cancelled write leaves nothing behind, if it uses `atomic_write`.

    Args:
        most: pending writes; when there are more, `put` waits for the oldest.
    """

    def __init__(self, most: int = 2) -> None:
        self._most = most
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="write-behind")
        self._waiting: deque[tuple[Future[Any], Callable[[Any], None]]] = deque()
        self._cancelled = False

    def put(self, write: Write[Written], on_done: Callable[[Written], None]) -> None:
        """Write something; a later call of any of these methods calls `on_done` with the result, in its own thread.

        Raises:
            Exception: what an earlier write, or its `on_done`, raised.
        """
        while len(self._waiting) >= self._most:
            self._first(None)
        self._waiting.append((self._thread.submit(self._write, [write]), on_done))

    def poll(self) -> None:
        """Call `on_done` of finished writes; raises as `put` does."""
        while self._waiting and self._waiting[0][0].done():
            self._first(None)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything is written, or for so many seconds; raises as `put` does, and TimeoutError."""
        end = None if timeout is None else time.monotonic() + timeout
        while self._waiting:
            self._first(None if end is None else max(0.0, end - time.monotonic()))

    def __enter__(self) -> WriteBehind:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.flush()
            elif isinstance(error, Exception):
                with suppress(HiresNstError, TimeoutError):
                    self.flush(PATIENCE)
        finally:
            self._cancelled = True
            self._thread.shutdown(cancel_futures=True)

    def _write(self, writes: list[Write[Written]]) -> Written:
        """Do the one write, and drop it: the pool's thread refers to its arguments until after the result is known."""
        return writes.pop()(self._check_stop)

    def _first(self, timeout: float | None) -> None:
        future, on_done = self._waiting[0]
        future.exception(timeout)  # waits
        self._waiting.popleft()
        on_done(future.result())

    def _check_stop(self) -> None:
        if self._cancelled:
            raise Interrupted("the write was cancelled")
