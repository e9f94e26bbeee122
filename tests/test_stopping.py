"""When a run is to stop."""

from __future__ import annotations

import time
from datetime import datetime

import pytest

from hires_nst.errors import ConfigError
from hires_nst.stopping import Stop, deadline

NOON = datetime(2026, 3, 4, 12, 0)


@pytest.mark.parametrize(
    ("until", "end"),
    [
        ("13:30", datetime(2026, 3, 4, 13, 30)),
        ("07:00", datetime(2026, 3, 5, 7, 0)),
        ("7:00", datetime(2026, 3, 5, 7, 0)),
        ("12:00", datetime(2026, 3, 5, 12, 0)),
    ],
)
def test_until_is_the_next_time_that_a_clock_shows_it(until: str, end: datetime) -> None:
    assert deadline(until=until, now=NOON) == end.timestamp()


def test_the_earlier_one_counts() -> None:
    assert deadline(until="13:00", max_hours=0.5, now=NOON) == datetime(2026, 3, 4, 12, 30).timestamp()
    assert deadline(until="12:10", max_hours=0.5, now=NOON) == datetime(2026, 3, 4, 12, 10).timestamp()
    assert deadline(now=NOON) is None


@pytest.mark.parametrize("until", ["25:00", "7", "07:60", "seven", ""])
def test_what_is_no_time_of_day_is_refused(until: str) -> None:
    with pytest.raises(ConfigError, match="time of day"):
        deadline(until=until)


@pytest.mark.parametrize("hours", [0.0, -1.0, float("nan"), float("inf")])
def test_hours_must_be_positive_and_finite(hours: float) -> None:
    with pytest.raises(ConfigError, match="max-hours"):
        deadline(max_hours=hours)


def test_a_stop_is_due_when_asked_for_or_when_the_next_piece_of_work_would_pass_the_deadline() -> None:
    assert not Stop().due(1e9)
    stop = Stop(deadline=time.time() + 100)
    assert not stop.due(50)
    assert stop.due(150)
    assert stop.reason is not None
    assert "deadline" in stop.reason
    stop.request("Ctrl-C")
    assert "deadline" in stop.reason, "the first reason stays"
    asked = Stop()
    asked.request("SIGTERM", exit_code=143)
    assert asked.due()
    assert (asked.reason, asked.exit_code) == ("SIGTERM", 143)
