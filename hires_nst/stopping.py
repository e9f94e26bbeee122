"""Stopping in an orderly way, on request or before a deadline."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from hires_nst.errors import ConfigError

HOURS_OF_A_YEAR = 24 * 365


@dataclass
class Stop:
    """A request to stop, checked between pieces of work.

    Attributes:
        deadline: the time by which everything must have ended, in seconds since the epoch; None for none.
        reason: why the run is to stop (`Ctrl-C`, `SIGTERM`, `the deadline 07:00`); None while it may continue. A signal
            handler only needs to set it.
        exit_code: of a program that ends for this reason.
    """

    deadline: float | None = None
    reason: str | None = None
    exit_code: int = 130

    def request(self, reason: str, *, exit_code: int = 130) -> None:
        """Request an orderly end; later requests change nothing."""
        if self.reason is None:
            self.reason, self.exit_code = reason, exit_code

    def due(self, seconds: float = 0.0) -> bool:
        """Whether to stop now: it was requested, or the next piece of work, of `seconds`, would pass the deadline."""
        if self.reason is None and self.deadline is not None and self.is_late(seconds):
            self.request(f"the deadline {datetime.fromtimestamp(self.deadline):%H:%M}")
        return self.reason is not None

    def is_late(self, seconds: float) -> bool:
        """Whether work that takes `seconds` would pass the deadline, if there is one."""
        return self.deadline is not None and time.time() + seconds > self.deadline


def deadline(*, until: str | None = None, max_hours: float | None = None, now: datetime | None = None) -> float | None:
    """The earlier one of a time of day and a number of hours from now, in seconds since the epoch.

    Args:
        until: `07:00` or `7:00`, the next time of day in local time.
        max_hours: from now.
        now: the current time when not given.

    Raises:
        ConfigError: `until` is not a time of day, or `max_hours` is not positive.
    """
    now = now or datetime.now()
    ends: list[datetime] = []
    if until is not None:
        match = re.fullmatch("([01]?[0-9]|2[0-3]):([0-5][0-9])", until.strip())
        if match is None:
            raise ConfigError(f"--until should be a time of day, not {until!r}; for example --until 07:00")
        end = now.replace(hour=int(match[1]), minute=int(match[2]), second=0, microsecond=0)
        ends.append(end if end > now else end + timedelta(days=1))
    if max_hours is not None:
        if not 0 < max_hours < HOURS_OF_A_YEAR:
            raise ConfigError(
                f"--max-hours should be above 0 and below a year, not {max_hours:g}; for example --max-hours 8"
            )
        ends.append(now + timedelta(hours=max_hours))
    return min(ends).timestamp() if ends else None
