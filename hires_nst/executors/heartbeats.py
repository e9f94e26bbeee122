"""Heartbeats of worker processes, by which a process that hangs is told from one that works. Does not import torch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

START_SECONDS = 300.0
"""The most that a worker may take until its first message; a busy machine starts processes slowly."""

UNRESPONSIVE = "the worker process stopped responding and was killed"
"""Why a silent worker is lost, as a sentence without its full stop."""


class Silences:
    """How long each of some workers, by number, has been silent. The times in which nobody looked do not count."""

    def __init__(self, seconds: float) -> None:
        """Take the shortest silence that means something."""
        self._seconds = seconds
        self._heard: dict[int, float] = {}
        self._looked = time.monotonic()

    def heard(self, worker: int) -> None:
        """Begin a worker's silence now; any thread may tell."""
        self._heard[worker] = time.monotonic()

    def look(self) -> None:
        """To be called often: where it was not, the machine or this process was suspended, and all silences begin now.

        So they do where this process was busy with something else; then what hangs is noticed a little later.
        """
        now = time.monotonic()
        if now - self._looked > self._seconds / 2:
            self._heard.update(dict.fromkeys(self._heard, now))
        self._looked = now

    def of(self, worker: int) -> float:
        """Seconds since a worker was last heard, which it was once."""
        return time.monotonic() - self._heard[worker]


def keep_sending(send_heartbeat: Callable[[], None], *, lease_seconds: float) -> None:
    """Send heartbeats from a thread of their own, so often that a silence of `lease_seconds` means that this hangs."""

    def beat() -> None:
        with suppress(OSError):  # the other end is gone
            while True:
                send_heartbeat()
                time.sleep(lease_seconds / 4)

    threading.Thread(target=beat, daemon=True).start()
