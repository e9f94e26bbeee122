"""What stands in the ledger of a batch: its tables, their rows, and how to read them."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from hires_nst.batch.marks import Mark
from hires_nst.batch.names import BOOKS
from hires_nst.errors import ConfigError, DiskFull, HiresNstError, InputError

State = Literal["waiting", "running", "done", "failed", "skipped"]
STATES: tuple[State, ...] = get_args(State)
VERSION = 1

INDEX_BYTES = 1 << 16
"""More than what SQLite needs at a time for its index of the log."""

SCHEMA = f"""
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    output TEXT NOT NULL UNIQUE,
    content TEXT NOT NULL,
    config TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ({", ".join(map(repr, STATES))})),
    attempts INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    not_before REAL NOT NULL DEFAULT 0,
    owner TEXT,
    lease REAL,
    owned INTEGER NOT NULL DEFAULT 0,
    added REAL NOT NULL,
    started REAL,
    ended REAL,
    seconds REAL,
    width INTEGER,
    height INTEGER,
    losses TEXT NOT NULL DEFAULT '{{}}',
    error TEXT,
    fingerprint TEXT,
    inputs TEXT,
    picture TEXT
);
CREATE INDEX jobs_state ON jobs (state);
CREATE TABLE configs (fingerprint TEXT PRIMARY KEY, settings TEXT NOT NULL);
CREATE TABLE changes (
    job TEXT NOT NULL REFERENCES jobs (id), time REAL NOT NULL, state TEXT NOT NULL, owner TEXT, note TEXT
);
CREATE INDEX changes_job ON changes (job);
CREATE TABLE runs (time REAL NOT NULL, owner TEXT NOT NULL, orders TEXT NOT NULL);
PRAGMA user_version = {VERSION};
"""


@dataclass(frozen=True)
class Row:
    """A job in the ledger.

    Attributes:
        output: the picture's path relative to the batch folder, in POSIX form.
        config: the key of its settings, see `Ledger.settings`.
        attempts: how often it was started; `failures`: how often that failed since it was last asked for.
        not_before: seconds since the epoch before which it is not to be started.
        owner, lease: who has it while it is running, and until when (seconds since the epoch).
        owned: the file at `output` was written by this batch, or may be replaced.
        added, started, ended: seconds since the epoch.
        seconds: that the picture took, in all attempts whose work is in it.
        width, height: of the picture, in pixels.
        losses: by name, as the engine measured them last.
        error: why it failed or was skipped, in one sentence.
        fingerprint, inputs, picture: of the settings, the input files in their order and the picture when it was done.
    """

    id: str
    output: str
    content: str
    config: str
    state: State
    attempts: int
    failures: int
    not_before: float
    owner: str | None
    lease: float | None
    owned: bool
    added: float
    started: float | None
    ended: float | None
    seconds: float | None
    width: int | None
    height: int | None
    losses: Mapping[str, float]
    error: str | None
    fingerprint: str | None
    inputs: tuple[Mark, ...] | None
    picture: Mark | None


@dataclass(frozen=True)
class Entry:
    """A job as a process wants it entered: the state that it begins in, and why if it is not `waiting`.

    `seen` is the state that this was concluded from, None where the job was not there: where another process changed it
    in the meantime, that holds.
    """

    id: str
    output: str
    content: str
    config: str
    state: State = "waiting"
    note: str | None = None
    seen: State | None = None


@dataclass(frozen=True)
class Outcome:
    """What a successful attempt left: see `Row`."""

    width: int
    height: int
    seconds: float
    losses: Mapping[str, float]
    fingerprint: str
    inputs: tuple[Mark, ...]
    picture: Mark


def ledger_file(folder: Path) -> Path:
    """Where the ledger of a batch folder is."""
    return folder / BOOKS / "ledger.sqlite"


@contextmanager
def reading(folder: Path) -> Iterator[sqlite3.Connection]:
    """The ledger of a batch folder, to look at only.

    Raises:
        InputError: there is none. ConfigError: it is of another version.
    """
    file = ledger_file(folder)
    if not file.is_file():
        raise InputError(f"{folder} is not the folder of a batch: it has no {BOOKS}/{file.name}")
    database = connect(file)  # not read-only, which cannot share a WAL on every system
    try:
        database.execute("PRAGMA query_only = 1")
        check_version(database, file, new=False)
        yield database
    finally:
        database.close()


def read_rows(database: sqlite3.Connection) -> dict[str, Row]:
    """Every job, by its id, in the order of entry."""
    return {row["id"]: as_row(row) for row in database.execute("SELECT * FROM jobs ORDER BY rowid")}


def read_settings(database: sqlite3.Connection) -> dict[str, dict[str, Any]]:
    """The effective settings of each key in `Row.config`, ready for `parse_config`."""
    return {key: json.loads(text) for key, text in database.execute("SELECT fingerprint, settings FROM configs")}


def read_orders(database: sqlite3.Connection) -> dict[str, Any] | None:
    """The orders of the last run, and under `jobs` the id, the content and the key of the settings of each of its jobs;
    None when there was none."""
    found = database.execute("SELECT orders FROM runs ORDER BY rowid DESC LIMIT 1").fetchone()
    return None if found is None else dict(json.loads(found[0]))


def read_changes(database: sqlite3.Connection) -> list[tuple[str, float, State, str | None]]:
    """Every change of a state in its order: the job's id, the time, the state and the reason."""
    return [tuple(row) for row in database.execute("SELECT job, time, state, note FROM changes ORDER BY rowid")]


def connect(file: Path) -> sqlite3.Connection:
    """An open ledger, without transactions of its own accord.

    Raises:
        HiresNstError: the file cannot be opened.
    """
    try:
        database = sqlite3.connect(file, timeout=60, isolation_level=None)
    except sqlite3.OperationalError as error:
        raise HiresNstError(f"the ledger {file} cannot be opened ({error}); check the folder's permissions") from None
    database.row_factory = sqlite3.Row
    return database


@contextmanager
def refusals(file: Path) -> Iterator[None]:
    """What the system refuses in the block becomes one sentence about the ledger.

    Raises:
        DiskFull: it has no room. HiresNstError: it cannot be used for another reason.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        # Without room for its index of the log, SQLite only speaks of an error of input or output.
        if "full" in str(error) or ("I/O" in str(error) and shutil.disk_usage(file.parent).free < INDEX_BYTES):
            message = f"no space left on the disk of {file}; free some, and the same command goes on"
            raise DiskFull(message, file) from error
        raise HiresNstError(f"the batch's ledger {file} cannot be used ({error}); check its folder") from error


def check_version(database: sqlite3.Connection, file: Path, *, new: bool) -> None:
    """Raise ConfigError unless it is a ledger of this version, or, where it may be `new`, an empty file; and as
    `refusals`."""
    try:
        with refusals(file):
            version = database.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"the ledger {file} is damaged ({error}); move it away to start anew") from None
    if version != VERSION and not (new and version == 0):
        raise ConfigError(f"the ledger {file} was written by another version of this program; take another folder")


def as_row(row: sqlite3.Row) -> Row:
    """A row of the table of jobs, whole."""
    values = dict(zip(row.keys(), row, strict=True))
    values["owned"] = bool(values["owned"])
    values["losses"] = json.loads(values["losses"])
    if values["inputs"] is not None:
        values["inputs"] = tuple(Mark(**mark) for mark in json.loads(values["inputs"]))
    if values["picture"] is not None:
        values["picture"] = Mark(**json.loads(values["picture"]))
    return Row(**values)
