"""Starting processes: without the signals of the terminal, and why one ended. Does not import torch."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

EXIT_SECONDS = 10.0
"""The most that a process that was killed, or that has closed its pipes, may take to exit."""

TERMINATION_SIGNALS = signal.SIGINT, signal.SIGTERM
"""A terminal and a service send them to the whole process group: the parent decides what follows."""


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Block the termination signals while the block runs; a process that is started in it has to unblock them."""
    if not hasattr(signal, "pthread_sigmask"):  # not on this system
        yield
        return
    resource_tracker.ensure_running()  # starts with the first process otherwise, and unblocks them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, TERMINATION_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_signals() -> None:
    """Ignore the termination signals, including those that came while this process was started."""
    for number in TERMINATION_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, TERMINATION_SIGNALS)


def exit_reason(code: int | None) -> str:
    """Why a worker process ended, as a sentence without its full stop."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        hint = ", as the system does when memory runs out" if -code == signal.SIGKILL else ""
        return f"the worker process was killed by {name}{hint}"
    return f"the worker process exited with exit code {code}"
