"""events.jsonl, the log of a run: one event on each line as JSON, its time first and the line's CRC-32 last."""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hires_nst.events import Event, from_dict, json_line

LOG = "events.jsonl"


@dataclass(frozen=True)
class LoggedEvent:
    """An event and when it was logged, in seconds since the epoch."""

    time: float
    event: Event


class EventLog:
    """A log, open for appending.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="ascii")
        if self._file.tell():
            with path.open("rb") as end:
                end.seek(-1, os.SEEK_END)
                if end.read() != b"\n":  # an incomplete line of a killed process
                    self._file.write("\n")

    def write(self, event: Event) -> None:
        """Append an event, at once readable for other processes.

        Raises:
            OSError: it cannot be written.
        """
        self._file.write(log_line(event, time.time()) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file; data that can no longer be written is lost."""
        with suppress(OSError):
            self._file.close()


def read_log(path: Path) -> Iterator[LoggedEvent]:
    """The events of a log, oldest first; none if the file does not exist.

    Incomplete and damaged lines, and events of other versions, are skipped.

    Raises:
        OSError: the file cannot be read.
    """
    with suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            if (logged := _parsed(line)) is not None:
                yield logged


def log_line(event: Event, now: float) -> str:
    """A line of the log, without the line break."""
    line = json_line({"time": now, **event.as_dict()})
    return f'{line[:-1]}, "crc32": "{zlib.crc32(line.encode()):08x}"}}'


def _parsed(line: bytes) -> LoggedEvent | None:
    body, _, checksum = line.rstrip(b"\n").rpartition(b', "crc32": "')
    body += b"}"
    if checksum != f'{zlib.crc32(body):08x}"}}'.encode():
        return None
    data = json.loads(body)
    event = from_dict(data)
    return None if event is None else LoggedEvent(data["time"], event)
