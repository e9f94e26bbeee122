"""The log of a run: what is written is read back, and damage is left out."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from hires_nst import events
from hires_nst.events import Event
from hires_nst.run.log import EventLog, log_line, read_log

TOLD: list[Event] = [
    events.Notice(os.fsdecode(b"bad\xff and \xc3\xbc")),
    events.LevelFinished(index=0, count=2, seconds=1.5),
    events.JobProgress("a", 0, events.TilesShrunk(1, 0, 64)),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    for event in TOLD:
        log.write(event)
    log.close()
    return path


def found(path: Path) -> list[Event]:
    return [logged.event for logged in read_log(path)]


def test_what_is_written_is_read_back(path: Path) -> None:
    assert found(path) == TOLD
    times = [logged.time for logged in read_log(path)]
    assert times == sorted(times)


def test_a_log_is_appended_to_and_read_while_it_is_open(path: Path) -> None:
    log = EventLog(path)
    log.write(TOLD[0])
    assert found(path) == [*TOLD, TOLD[0]]
    log.close()


def test_every_line_is_valid_json_with_its_time_first_and_its_checksum_last(path: Path) -> None:
    log = EventLog(path)
    log.write(events.LevelFinished(index=0, count=1, seconds=math.nan))
    log.close()
    for line in path.read_text(encoding="ascii").splitlines():
        data = json.loads(line, parse_constant=pytest.fail)
        assert list(data)[:1] + list(data)[-1:] == ["time", "crc32"]


@pytest.mark.parametrize("kept", range(1, 60, 7))
def test_writing_goes_on_after_an_incomplete_line(path: Path, kept: int) -> None:
    path.write_bytes(path.read_bytes()[:-kept])
    before = found(path)
    log = EventLog(path)
    log.write(events.Notice("after"))
    log.close()
    assert found(path) == [*before, events.Notice("after")]
    assert before == (TOLD if kept == 1 else TOLD[:-1])


def test_a_changed_byte_loses_its_line_and_no_other(path: Path) -> None:
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    for at in range(len(lines[0]), len(lines[0]) + len(lines[1]) - 1):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert found(path) == [TOLD[0], TOLD[2]]


@pytest.mark.parametrize("line", [b"\xff\xfe\0", b"[1, 2]", b"null", b"", b'{"event": "Notice", "message": "x"}',
                                  b'{"event": 3}', b'{"event": "StepFinished"}', b'{"event": "Round',
                                  b'{"event": "Unknown", "time": 1e300}'])  # fmt: skip
def test_lines_that_are_not_of_a_log_are_skipped(path: Path, line: bytes) -> None:
    lines = path.read_bytes().splitlines()
    for at in range(len(lines) + 1):
        path.write_bytes(b"\n".join([*lines[:at], line, *lines[at:]]) + b"\n")
        assert found(path) == TOLD


def test_events_of_another_version_are_skipped(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = path.read_text().splitlines()
    with path.open("a") as file:
        file.write(log_line(type("Unknown", (Event,), {})(), 3.0) + "\n")
    assert len(path.read_text().splitlines()) == len(lines) + 1
    assert found(path) == TOLD


def test_no_log_has_no_events(tmp_path: Path) -> None:
    assert found(tmp_path / "events.jsonl") == []
    with pytest.raises(IsADirectoryError):
        found(tmp_path)
