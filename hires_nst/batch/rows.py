"""What stands in the ledger of a batch: its tables, their rows, and how to read them."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from hires_nst.batch.paths import STATE_FOLDER, BatchPaths
from hires_nst.errors import ConfigError, DiskFull, HiresNstError, InputError
from hires_nst.files import FileFingerprint

JobState = Literal["waiting", "running", "done", "failed", "skipped"]
STATES: tuple[JobState, ...] = get_args(JobState)
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

TEXTS = ("id", "output", "content", "config", "owner", "error")
NUMBERS = ("attempts", "failures", "not_before", "added")
OPTIONAL_NUMBERS = ("lease", "started", "ended", "seconds", "width", "height")

END_OF_TIME = 1e11
"""Seconds since the epoch, and more of anything than a sound ledger counts."""

NO_ACCESS = ("readonly", "read-only", "unable to open", "disk i/o error", "permission")
"""In SQLite's words, what is the fault of the file's surroundings and not of what stands in it."""


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
    state: JobState
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
    inputs: tuple[FileFingerprint, ...] | None
    picture: FileFingerprint | None


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
    state: JobState = "waiting"
    note: str | None = None
    seen: JobState | None = None


@dataclass(frozen=True)
class Outcome:
    """What a successful attempt left: see `Row`."""

    width: int
    height: int
    seconds: float
    losses: Mapping[str, float]
    fingerprint: str
    inputs: tuple[FileFingerprint, ...]
    picture: FileFingerprint


@contextmanager
def reading(folder: Path) -> Iterator[sqlite3.Connection]:
    """The ledger of a batch folder, to look at only; also where nothing may be written.

    Raises:
        InputError: there is none. ConfigError: it is of another version, or damaged; also where that comes out later,
        inside the block. HiresNstError: it cannot be read.
    """
    file = BatchPaths(folder).ledger
    if not file.is_file():
        raise InputError(f"{folder} is not the folder of a batch: it has no {STATE_FOLDER}/{file.name}")
    with plain_sqlite_errors(file, "read"):
        database = _readable(file)
        try:
            database.execute("PRAGMA query_only = 1")
            check_version(database, file, new=False)
            yield database
        finally:
            database.close()


def read_rows(database: sqlite3.Connection) -> dict[str, Row]:
    """Every job, by its id, in the order of entry; as all that is read here, sqlite3.DatabaseError when damaged."""
    rows = [as_row(row) for row in database.execute("SELECT * FROM jobs ORDER BY rowid")]
    known = {row[0] for row in database.execute("SELECT fingerprint FROM configs NOT INDEXED")}
    if not {row.config for row in rows} <= known:
        raise sqlite3.DatabaseError("the settings of a job are missing")
    return {row.id: row for row in rows}


def read_settings(database: sqlite3.Connection) -> dict[str, dict[str, Any]]:
    """The effective settings of each key in `Row.config`, ready for `parse_config`."""
    return {key: _mapping(text) for key, text in database.execute("SELECT fingerprint, settings FROM configs")}


def read_orders(database: sqlite3.Connection) -> dict[str, Any] | None:
    """The orders of the last run, and under `jobs` the id, the content and the key of the settings of each of its jobs;
    None when there was none."""
    found = database.execute("SELECT orders FROM runs ORDER BY rowid DESC LIMIT 1").fetchone()
    return None if found is None else _mapping(found[0])


def read_progress(database: sqlite3.Connection, folder: Path, *, now: float) -> tuple[list[Row], int]:
    """The jobs of a batch that are to be told of, in the order of entry, and how many others there are.

    Those are the ones that are asked for, and what earlier commands have painted, where the picture is there.
    """
    rows = read_rows(database)
    asked = read_asked(database, rows, now=now)
    told = [
        row
        for row in rows.values()
        if asked is None or row.id in asked or (row.state == "done" and (folder / row.output).exists())
    ]
    return told, len(rows) - len(told)


def read_asked(
    database: sqlite3.Connection, rows: Mapping[str, Row], *, now: float
) -> dict[str, tuple[str, str]] | None:
    """The jobs that are asked for, the last run's first: content and key of the settings, by id; None before any run.

    Those are the jobs of the last run, of the runs that were at work when it began, and of those that are at work `now`
    (seconds since the epoch); and failures of earlier ones whose photograph is there and none of these jobs'. Nobody
    asks for the others any more: their photograph was taken away, or the last command gives other names.
    """
    last = database.execute("SELECT rowid, time FROM runs ORDER BY rowid DESC LIMIT 1").fetchone()
    if last is None:
        return None
    runs = database.execute(
        "SELECT orders FROM runs WHERE rowid = :last OR owner IN (SELECT owner FROM changes WHERE time > :began) "
        "OR owner IN (SELECT owner FROM jobs WHERE state = 'running' AND lease > :now) ORDER BY rowid DESC",
        {"last": last[0], "began": last[1], "now": now},
    )
    asked: dict[str, tuple[str, str]] = {}
    for (orders,) in runs:
        asked |= {id: job for id, job in _jobs(orders).items() if id not in asked}
    contents = {content for content, _ in asked.values()}
    for row in rows.values():
        if row.state == "failed" and row.content not in contents and os.path.lexists(row.content):
            asked.setdefault(row.id, (row.content, row.config))
    return asked


def read_asked_since(database: sqlite3.Connection) -> float:
    """When the first run began of those, up to the last one, that have the same jobs; 0 when there was none."""
    since, jobs = 0.0, None
    for moment, orders in database.execute("SELECT time, orders FROM runs ORDER BY rowid DESC"):
        ids = _jobs(orders).keys()
        if jobs is not None and ids != jobs:
            break
        if not _is_sound(moment):
            raise sqlite3.DatabaseError("the time of a run is malformed")
        since, jobs = float(moment), ids
    return since


def read_changes(database: sqlite3.Connection) -> list[tuple[str, float, JobState, str | None]]:
    """Every change of a state in its order: the job's id, the time, the state and the reason."""
    changes = []
    for job, moment, state, note in database.execute("SELECT job, time, state, note FROM changes ORDER BY rowid"):
        if state not in STATES or not _is_sound(moment) or moment < 0:
            raise sqlite3.DatabaseError("a change of a job is malformed")
        changes.append((job, float(moment), state, as_text(note)))
    return changes


def connect(file: Path, query: str = "") -> sqlite3.Connection:
    """An open ledger, without transactions of its own accord; `query` is that of SQLite's file URIs."""
    name = f"{file.absolute().as_uri()}?{query}" if query else file
    database = sqlite3.connect(name, timeout=60, isolation_level=None, uri=bool(query))
    database.row_factory = sqlite3.Row
    return database


def _readable(file: Path) -> sqlite3.Connection:
    """An open ledger of which anything can be read.

    At first not read-only, which cannot share the log of a WAL on every system. Where nothing may be written, the log
    cannot be shared: what a process that was killed left there and nowhere else is not seen then.
    """
    for query in ("", "mode=ro", "mode=ro&immutable=1"):
        database = connect(file, query)
        try:
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return database
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            database.close()
            if not _is_no_access(error) or "immutable" in query:
                raise
    raise AssertionError


@contextmanager
def plain_sqlite_errors(file: Path, done: str) -> Iterator[None]:
    """What SQLite says of a ledger, as a sentence that tells what to do; `done` is `read` or `written`.

    Raises:
        ConfigError: it is damaged. DiskFull: it has no room. HiresNstError: it cannot be read or written.
    """
    try:
        yield
    except sqlite3.ProgrammingError:  # not the ledger's fault
        raise
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter where SQLite's words hold such bytes
        said = str(error).lower()
        # Without room for its index of the log, SQLite only speaks of an error of input or output.
        if "full" in said or ("i/o" in said and shutil.disk_usage(file.parent).free < INDEX_BYTES):
            message = f"no space left on the disk of {file}; free some, and the same command goes on"
            raise DiskFull(message, file) from error
        if "locked" in said:
            raise HiresNstError(f"other processes do not let go of the ledger {file}; try again later") from error
        if _is_no_access(error):
            raise HiresNstError(
                f"the ledger {file} cannot be {done} ({error}); check the disk and the permissions of its folder"
            ) from error
        raise ConfigError(f"the ledger {file} is damaged ({str(error)[:80]}); move it away to start anew") from error


def _is_no_access(error: Exception) -> bool:
    return any(words in str(error).lower() for words in NO_ACCESS)


def check_version(database: sqlite3.Connection, file: Path, *, new: bool) -> None:
    """Raise ConfigError unless it is a ledger of this version, or, where it may be `new`, an empty file."""
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version != VERSION and not (new and version == 0):
        raise ConfigError(f"the ledger {file} was written by another version of this program; take another folder")


def as_row(row: sqlite3.Row | None) -> Row:
    """A row of the table of jobs, whole.

    Raises:
        sqlite3.DatabaseError: it is missing, or says what no ledger says.
    """
    if row is None:
        raise sqlite3.DatabaseError("a job is missing")
    values = dict(zip(row.keys(), row, strict=True))
    try:
        values |= {key: as_text(values[key]) for key in TEXTS}
        values["owned"] = bool(values["owned"])
        values["losses"] = {str(name): float(loss) for name, loss in json.loads(values["losses"]).items()}
        if values["inputs"] is not None:
            values["inputs"] = tuple(FileFingerprint(**mark) for mark in json.loads(values["inputs"]))
        if values["picture"] is not None:
            values["picture"] = FileFingerprint(**json.loads(values["picture"]))
        numbers = [values[key] for key in (*NUMBERS, *(key for key in OPTIONAL_NUMBERS if values[key] is not None))]
        paths = values["id"] + values["output"] + values["content"]
        sound = all(map(_is_sound, numbers)) and values["state"] in STATES and "\0" not in paths
    except (ValueError, TypeError, AttributeError, LookupError):
        sound = False
    if not sound:
        raise sqlite3.DatabaseError("the entry of a job is malformed")
    return Row(**values)


def as_stored(text: str | None) -> str | bytes | None:
    """Text as SQLite takes it: a file's name that is no UTF-8 as its bytes."""
    if text is not None:
        try:
            text.encode()
        except UnicodeEncodeError:
            return text.encode("utf-8", "surrogateescape")
    return text


def as_text(stored: object) -> str | None:
    """The text that `as_stored` made this of.

    Raises:
        TypeError: of none.
    """
    if stored is not None and not isinstance(stored, (str, bytes)):
        raise TypeError
    return stored.decode("utf-8", "surrogateescape") if isinstance(stored, bytes) else stored


def _mapping(text: object) -> dict[str, Any]:
    """Settings or orders, from their JSON."""
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise sqlite3.DatabaseError("the settings of a job are malformed")
    return found


def _jobs(orders: object) -> dict[str, tuple[str, str]]:
    """The content and the key of the settings of each job of a run, by id, from its orders as they are stored."""
    jobs = _mapping(orders).get("jobs")
    if not isinstance(jobs, list) or not all(
        isinstance(job, list) and list(map(type, job)) == [str] * 3 for job in jobs
    ):
        raise sqlite3.DatabaseError("the jobs of a run are malformed")
    return {id: (content, config) for id, content, config in jobs}


def _is_sound(number: object) -> bool:
    return isinstance(number, (int, float)) and abs(number) < END_OF_TIME
