"""Reading the ledger of a batch from outside: for status, report and resume, also while the batch works."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hires_nst.batch.ledger_schema import (
    STATES,
    JobState,
    Row,
    as_row,
    as_text,
    check_version,
    connect,
    is_no_access,
    plain_sqlite_errors,
)
from hires_nst.batch.paths import STATE_FOLDER, BatchPaths
from hires_nst.errors import InputError


@contextmanager
def reading(folder: Path) -> Iterator[sqlite3.Connection]:
    """The ledger of a batch folder, read-only; also where nothing may be written.

    Raises:
        InputError: there is none. ConfigError: it is of another version, or damaged; also where that is found out
        inside the block. HiresNstError: it cannot be read.
    """
    file = BatchPaths(folder).ledger
    if not file.is_file():
        raise InputError(
            f"{folder} is not the folder of a batch: it has no {STATE_FOLDER}/{file.name}; give the one after batch -o"
        )
    with plain_sqlite_errors(file, "read"):
        database = _readable(file)
        try:
            database.execute("PRAGMA query_only = 1")
            check_version(database, file, new=False)
            yield database
        finally:
            database.close()


def _readable(file: Path) -> sqlite3.Connection:
    """An open ledger that can be read.

    At first not read-only, which cannot share the log of a WAL on every system. Where nothing may be written, the log
    cannot be shared: what a killed process left only there is not seen then.
    """
    for query in ("", "mode=ro", "mode=ro&immutable=1"):
        database = connect(file, query)
        try:
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return database
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            database.close()
            if not is_no_access(error) or "immutable" in query:
                raise
    raise AssertionError


def read_rows(database: sqlite3.Connection) -> dict[str, Row]:
    """Every job, by its id, in the order of entry; as all functions here, sqlite3.DatabaseError when damaged."""
    rows = [as_row(row) for row in database.execute("SELECT * FROM jobs ORDER BY rowid")]
    known = {row[0] for row in database.execute("SELECT fingerprint FROM configs NOT INDEXED")}
    if not {row.config for row in rows} <= known:
        raise sqlite3.DatabaseError("the settings of a job are missing")
    return {row.id: row for row in rows}


def read_settings(database: sqlite3.Connection) -> dict[str, dict[str, Any]]:
    """The effective settings of each key in `Row.config`, ready for `parse_config`."""
    return {key: _mapping(text) for key, text in database.execute("SELECT fingerprint, settings FROM configs")}


def read_options(database: sqlite3.Connection) -> dict[str, Any] | None:
    """The stored options of the last run, see `BatchOptions`; None when there was none."""
    found = database.execute("SELECT options FROM runs ORDER BY number DESC LIMIT 1").fetchone()
    return None if found is None else _mapping(found[0])


def read_current(database: sqlite3.Connection, folder: Path, *, now: float) -> tuple[list[Row], int]:
    """The jobs of a batch that status and report show, in the order of entry, and how many others there are.

    These are the selected ones, and the pictures of earlier commands that still exist.
    """
    rows = read_rows(database)
    selected = read_selected(database, rows, now=now)
    current = [
        row
        for row in rows.values()
        if selected is None or row.id in selected or (row.state == "done" and (folder / row.output).exists())
    ]
    return current, len(rows) - len(current)


def read_selected(
    database: sqlite3.Connection, rows: Mapping[str, Row], *, now: float
) -> dict[str, tuple[str, str]] | None:
    """The selected jobs, the last run's first: content and key of the settings, by id; None before any run.

    These are the jobs of the last run, of the runs that were at work when it began, and of those that are at work `now`
    (seconds since the epoch); and failures of earlier ones whose photograph exists and is not one of these jobs'. The
    others are no longer selected: their photograph was removed, or the last command gives other names.
    """
    last = database.execute("SELECT number, time FROM runs ORDER BY number DESC LIMIT 1").fetchone()
    if last is None:
        return None
    found = database.execute(
        "SELECT job, content, config FROM selections JOIN runs ON run = number "
        "WHERE run = :last OR owner IN (SELECT owner FROM changes WHERE time > :began) "
        "OR owner IN (SELECT owner FROM jobs WHERE state = 'running' AND lease > :now) "
        "ORDER BY run DESC, selections.rowid",
        {"last": last[0], "began": last[1], "now": now},
    )
    selected: dict[str, tuple[str, str]] = {}
    for job in found:
        id, content, config = map(as_text, job)
        if id not in rows or not isinstance(content, str) or not isinstance(config, str):
            raise sqlite3.DatabaseError("the selection of a run is malformed")
        selected.setdefault(id, (content, config))
    contents = {content for content, _ in selected.values()}
    for row in rows.values():
        if row.state == "failed" and row.content not in contents and os.path.lexists(row.content):
            selected.setdefault(row.id, (row.content, row.config))
    return selected


def read_selected_since(database: sqlite3.Connection) -> float:
    """When the first of the last runs with the same jobs began, in seconds since the epoch; 0 before any run."""
    found = database.execute("SELECT same_since FROM runs ORDER BY number DESC LIMIT 1").fetchone()
    return 0.0 if found is None else _moment(found[0])


def read_changes(database: sqlite3.Connection) -> list[tuple[str, float, JobState, str | None]]:
    """Every change of a state in its order: the job's id, the time, the state and the reason."""
    changes = []
    for job, moment, state, note in database.execute("SELECT job, time, state, note FROM changes ORDER BY rowid"):
        if state not in STATES or not isinstance(note, (str, bytes, type(None))):
            raise sqlite3.DatabaseError("a change of a job is malformed")
        changes.append((job, _moment(moment), state, as_text(note)))
    return changes


def _moment(value: object) -> float:
    """Seconds since the epoch."""
    if not isinstance(value, (int, float)) or not 0 <= value < 1e11:
        raise sqlite3.DatabaseError("a time is malformed")
    return float(value)


def _mapping(text: object) -> dict[str, Any]:
    """Settings or options, from their JSON."""
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise sqlite3.DatabaseError("settings are malformed")
    return found
