"""Events on their way to JSON and back."""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, fields
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hires_nst import events
from hires_nst.events import EVENTS, Event, from_dict, json_line

TEXTS = st.text(st.characters())  # with lone surrogates: file names need not be UTF-8
st.register_type_strategy(str, TEXTS)
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))


def event_of(kind: type[Event], runs: st.SearchStrategy[Event]) -> st.SearchStrategy[Event]:
    values = {name: runs if hint is Event else st.from_type(hint) for name, hint in get_type_hints(kind).items()}
    return st.builds(kind, **values)


PLAIN = st.one_of(*(event_of(kind, st.nothing()) for kind in EVENTS.values() if kind is not events.JobProgress))
ANY = PLAIN | event_of(events.JobProgress, PLAIN)


@given(ANY)
def test_every_event_comes_back_from_json(event: Event) -> None:
    found = from_dict(json.loads(json_line(event.as_dict())))
    assert found == event
    assert type(found) is type(event)


@given(ANY)
def test_an_event_that_lacks_a_field_is_damaged(event: Event) -> None:
    for field in fields(event):
        data = event.as_dict()
        del data[field.name]
        assert (from_dict(data) is None) == (field.default is MISSING)


def test_every_type_of_event_is_registered() -> None:
    own = {value for value in vars(events).values() if isinstance(value, type) and issubclass(value, Event)}
    assert set(EVENTS.values()) == own - {Event}
    assert all(name == kind.__name__ for name, kind in EVENTS.items())


@pytest.mark.parametrize(
    "data",
    [
        {}, [], {"event": 3}, {"event": []}, {"event": "Error", "message": "x"}, {"event": "Event"},
        {"event": "Notice"},
        {"event": "Notice", "message": 3}, {"event": "LevelFinished", "index": 1.5, "count": 2, "seconds": 1},
        {"event": "LevelFinished", "index": True, "count": 2, "seconds": 1},
        {"event": "LevelFinished", "index": 1, "count": 2, "seconds": "1"},
        {"event": "JobProgress", "job": "a", "worker": 0, "run_event": {"event": "Error"}},
        {"event": "JobProgress", "job": "a", "worker": 0, "run_event": 3},
    ],
)  # fmt: skip
def test_data_of_unknown_events_and_damaged_data_is_no_event(data: Any) -> None:
    assert from_dict(data) is None


@given(event_of(events.RunStarted, st.nothing()))
def test_levels_of_another_length_are_damaged(event: Event) -> None:
    assert from_dict({**event.as_dict(), "levels": [[1, 2, 3, 4]]}) is None


def test_numbers_that_json_cannot_express_come_back_as_nan() -> None:
    for loss in (math.nan, math.inf):
        data = json.loads(json_line(events.LevelFinished(index=0, count=1, seconds=loss).as_dict()))
        found = from_dict(data)
        assert isinstance(found, events.LevelFinished)
        assert math.isnan(found.seconds)


def test_json_of_anything() -> None:
    assert json_line({"a": (1, math.inf, None, True, "ü")}) == '{"a": [1, null, null, true, "\\u00fc"]}'
