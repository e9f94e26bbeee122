"""The orderly end of a command at Ctrl-C, SIGTERM or a deadline."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from hires_nst.cli.schema_options import number_or_word, with_a_point
from hires_nst.errors import ConfigError, Interrupted
from hires_nst.stopping import HOURS_OF_A_YEAR, Stop, deadline

SIGNALS = {signal.SIGINT: ("Ctrl-C", 130), signal.SIGTERM: ("SIGTERM", 143)}
"""The name and the exit code of each signal."""


def _hours(text: str) -> float:
    """The value of `--max-hours`."""
    hours = number_or_word(text, unit="h")
    if isinstance(hours, str) or not 0 < hours < HOURS_OF_A_YEAR:
        way_out = (with_a_point(text, _hours) or "for example {option} 8").format(option="--max-hours")
        raise ConfigError(f"--max-hours should be a number above 0 and below a year, not {text!r}; {way_out}")
    return float(hours)


Until = Annotated[
    str | None, typer.Option("--until", metavar="HH:MM", help="Stop before this time of day; resume later.")
]
MaxHours = Annotated[
    float | None,
    typer.Option(
        "--max-hours", metavar="X", parser=_hours, help="Stop before this many hours have passed; resume later."
    ),
]


@contextmanager
def stopping(*, until: str | None, max_hours: float | None, quiet: bool) -> Iterator[Stop]:
    """A `Stop` while the block runs: the first signal requests an orderly end, the second ends at once.

    Raises:
        ConfigError: `until` or `max_hours` is not valid. Interrupted: the second signal came.
    """
    stop = Stop(deadline=deadline(until=until, max_hours=max_hours))

    def handle(number: int, frame: FrameType | None) -> None:
        name, exit_code = SIGNALS[signal.Signals(number)]
        if stop.reason is None:
            stop.request(name, exit_code=exit_code)
            if not quiet:  # os.write, since the signal may have interrupted a print
                os.write(2, b"\nstopping at the next checkpoint; press again to end at once\n")
            return
        signal.signal(number, signal.SIG_DFL)
        stop.exit_code = exit_code
        raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield stop
    except KeyboardInterrupt:
        raise Interrupted("interrupted", exit_code=stop.exit_code) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ending_at_once(folder: Path, stop: Stop) -> Iterator[None]:
    """At the second signal, say how to resume the run or batch in a folder.

    Raises:
        Interrupted: it came.
    """
    from hires_nst.folders import is_batch
    from hires_nst.run.directory import RECORD, resume_command

    try:
        yield
    except KeyboardInterrupt:
        exists = is_batch(folder) or (folder / RECORD).exists()
        how = f"; resume with `{resume_command(folder)}`" if exists else " before anything was painted"
        raise Interrupted(f"interrupted{how}", exit_code=stop.exit_code) from None
