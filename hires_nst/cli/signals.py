"""Ctrl-C, SIGTERM and deadlines as an orderly end."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from hires_nst.errors import Interrupted
from hires_nst.stopping import Stop, deadline

_EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}

Until = Annotated[
    str | None, typer.Option("--until", metavar="HH:MM", help="Stop before this time of day; resume later.")
]
MaxHours = Annotated[
    float | None, typer.Option("--max-hours", metavar="X", help="Stop before so many hours have passed; resume later.")
]


@contextmanager
def stopping(*, until: str | None, max_hours: float | None, quiet: bool) -> Iterator[Stop]:
    """A `Stop` while the block runs: the first signal requests an orderly end, the second ends at once.

    Raises:
        ConfigError: `until` or `max_hours` is not valid. Interrupted: the second signal came.
    """
    stop = Stop(deadline=deadline(until=until, max_hours=max_hours))

    def handle(number: int, frame: FrameType | None) -> None:
        kind = signal.Signals(number)
        if stop.reason is None:
            stop.request(_NAMES[kind], exit_code=_EXIT_CODES[kind])
            if not quiet:  # os.write, since a print might be what the signal came into
                os.write(2, b"\nstopping at the next checkpoint; press again to end at once\n")
            return
        signal.signal(kind, signal.SIG_DFL)
        stop.exit_code = _EXIT_CODES[kind]
        raise KeyboardInterrupt

    before = {kind: signal.signal(kind, handle) for kind in _EXIT_CODES}
    try:
        yield stop
    except KeyboardInterrupt:
        raise Interrupted("interrupted", exit_code=stop.exit_code) from None
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


@contextmanager
def ending_at_once(run_dir: Path, stop: Stop) -> Iterator[None]:
    """Have the second signal say how to resume the run in a directory.

    Raises:
        Interrupted: it came.
    """
    from hires_nst.run.directory import RECORD, resume_command

    try:
        yield
    except KeyboardInterrupt:
        exists = (run_dir / RECORD).exists()
        how = f"; resume with `{resume_command(run_dir)}`" if exists else " before anything was painted"
        raise Interrupted(f"interrupted{how}", exit_code=stop.exit_code) from None
