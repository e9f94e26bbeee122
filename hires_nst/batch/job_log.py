"""The logs of a job: its events for programs, and lines for people."""

from __future__ import annotations

import time
from contextlib import suppress

from hires_nst.batch.paths import JobPaths
from hires_nst.events import Event, StepFinished
from hires_nst.run.log import EventLog


class JobLog:
    """Appends to both logs of a job; use it as a context manager.

    All methods raise OSError when a log cannot be written.
    """

    def __init__(self, paths: JobPaths) -> None:
        """Open the logs, and make the job's folder if necessary."""
        paths.folder.mkdir(parents=True, exist_ok=True)
        self._events = EventLog(paths.events)
        try:
            self._text = paths.text.open("a", encoding="utf-8", errors="replace")
        except BaseException:
            self._events.close()
            raise

    def __enter__(self) -> JobLog:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the logs; what cannot be written then is dropped."""
        self._events.close()
        with suppress(OSError):
            self._text.close()

    def event(self, event: Event) -> None:
        """Append an event; people read of all but the steps."""
        self._events.write(event)
        if not isinstance(event, StepFinished):
            self.write(_line(event))

    def write(self, text: str) -> None:
        """Append a line for people, with the time."""
        self._text.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
        self._text.flush()


def _line(event: Event) -> str:
    """An event for people: its name and its values."""
    values = ", ".join(f"{key} {_short(value)}" for key, value in event.as_dict().items() if key != "event")
    return f"{type(event).__name__}: {values}"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
