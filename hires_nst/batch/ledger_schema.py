"""The ledger's file: its tables and their rows, how it is opened, and SQLite's errors in plain words."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, Json, ValidationError
from pydantic.dataclasses import dataclass

from hires_nst.errors import ConfigError, DiskFull, HiresNstError
from hires_nst.files import FileFingerprint

JobState = Literal["waiting", "running", "done", "failed", "skipped"]
STATES: tuple[JobState, ...] = get_args(JobState)
VERSION = 3

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
CREATE TABLE runs (
    number INTEGER PRIMARY KEY, time REAL NOT NULL, owner TEXT NOT NULL, options TEXT NOT NULL, same_since REAL NOT NULL
);
CREATE TABLE selections (
    run INTEGER NOT NULL REFERENCES runs (number), job TEXT NOT NULL REFERENCES jobs (id), content TEXT NOT NULL,
    config TEXT NOT NULL
);
CREATE INDEX selections_run ON selections (run);
CREATE TABLE files (
    role TEXT NOT NULL, number INTEGER NOT NULL, path TEXT, mark TEXT NOT NULL, PRIMARY KEY (role, number)
);
CREATE INDEX files_path ON files (path);
CREATE TABLE subjects (
    number INTEGER PRIMARY KEY, photograph INTEGER NOT NULL, styles TEXT NOT NULL, variant TEXT NOT NULL
);
CREATE TABLE names (
    subject INTEGER NOT NULL, template TEXT NOT NULL, output TEXT NOT NULL UNIQUE, PRIMARY KEY (subject, template)
);
PRAGMA user_version = {VERSION};
"""

NO_ACCESS = ("readonly", "read-only", "unable to open", "disk i/o error", "permission")
"""In SQLite's words, what is due to the file's surroundings and not to its content."""


def as_stored(text: str | None) -> str | bytes | None:
    """Text as SQLite takes it: a file name that is not UTF-8 as its bytes."""
    if text is not None:
        try:
            text.encode()
        except UnicodeEncodeError:
            return text.encode("utf-8", "surrogateescape")
    return text


def as_text(stored: Any) -> Any:
    """The text that `as_stored` got; anything else as it is."""
    return stored.decode("utf-8", "surrogateescape") if isinstance(stored, bytes) else stored


def _without_null(text: str) -> str:
    if "\0" in text:
        raise ValueError("a name with a null character")
    return text


Text = Annotated[str, BeforeValidator(as_text)]
Name = Annotated[Text, AfterValidator(_without_null)]
Number = Annotated[float, Field(gt=-1e11, lt=1e11)]
"""Seconds since the epoch, and anything else that a sound ledger measures."""
Count = Annotated[int, Field(ge=0, lt=10**11)]
STRICT = ConfigDict(strict=True)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Row:
    """A job in the ledger.

    Attributes:
        output: the picture's path relative to the batch folder, in POSIX form.
        config: the key of its settings, see `read_settings`.
        attempts: how often it was started; `failures`: how often that failed since it last became `waiting` for a run.
        not_before: seconds since the epoch before which it is not to be started.
        owner, lease: who has it while it is running, and until when (seconds since the epoch).
        owned: the file at `output` was written by this batch, or may be replaced.
        added, started, ended: seconds since the epoch.
        seconds: that the picture took, in all attempts whose work is in it.
        width, height: of the picture, in pixels.
        losses: the engine's last ones, by name.
        error: why it failed or was skipped, in one sentence.
        fingerprint, inputs, picture: of the settings, the input files in their order and the picture when it was done.
    """

    id: Name
    output: Name
    content: Name
    config: Text
    state: JobState
    attempts: Count
    failures: Count
    not_before: Number
    owner: Text | None
    lease: Number | None
    owned: Annotated[bool, BeforeValidator(bool)]
    added: Number
    started: Number | None
    ended: Number | None
    seconds: Number | None
    width: Count | None
    height: Count | None
    losses: Json[Mapping[str, float]]
    error: Text | None
    fingerprint: Text | None
    inputs: Json[tuple[FileFingerprint, ...]] | None
    picture: Json[FileFingerprint] | None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a successful attempt left: see `Row`."""

    width: int
    height: int
    seconds: float
    losses: Mapping[str, float]
    fingerprint: str
    inputs: tuple[FileFingerprint, ...]
    picture: FileFingerprint


def connect(file: Path, query: str = "") -> sqlite3.Connection:
    """An open ledger without implicit transactions; `query` is that of SQLite's file URIs."""
    name = f"{file.absolute().as_uri()}?{query}" if query else file
    database = sqlite3.connect(name, timeout=60, isolation_level=None, uri=bool(query))
    database.row_factory = sqlite3.Row
    return database


def check_version(database: sqlite3.Connection, file: Path, *, new: bool) -> None:
    """Raise ConfigError unless it is a ledger of this version, or, where it may be `new`, an empty file."""
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version != VERSION and not (new and version == 0):
        raise ConfigError(
            f"the ledger {file} was written by another version of this program; choose another output folder"
        )


def as_row(found: sqlite3.Row | None) -> Row:
    """A row of the table of jobs, checked.

    Raises:
        sqlite3.DatabaseError: it is missing or malformed.
    """
    if found is None:
        raise sqlite3.DatabaseError("a job is missing")
    try:
        return Row(**dict(found))
    except (ValidationError, TypeError, UnicodeDecodeError):
        raise sqlite3.DatabaseError("the entry of a job is malformed") from None


@contextmanager
def plain_sqlite_errors(file: Path, done: str) -> Iterator[None]:
    """SQLite's errors about a ledger as sentences that say what to do; `done` is `read` or `written`.

    Raises:
        ConfigError: it is damaged. DiskFull: no space left. HiresNstError: it cannot be read or written.
    """
    try:
        yield
    except sqlite3.ProgrammingError:  # not the ledger's fault
        raise
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter where SQLite's message is not UTF-8
        reason = str(error).lower()
        # Without space for its index of the log, SQLite only reports an error of input or output.
        if "full" in reason or ("i/o" in reason and shutil.disk_usage(file.parent).free < INDEX_BYTES):
            raise DiskFull(f"no space left on the disk of {file}; free some and run the command again", file) from error
        if "locked" in reason:
            raise HiresNstError(f"the ledger {file} is locked by another process; try again later") from error
        if is_no_access(error):
            raise HiresNstError(
                f"the ledger {file} cannot be {done} ({error}); check the disk and the permissions of its folder"
            ) from error
        raise ConfigError(f"the ledger {file} is damaged ({str(error)[:80]}); move it away to start over") from error


def is_no_access(error: Exception) -> bool:
    """Whether an error of SQLite is due to the file's surroundings."""
    return any(words in str(error).lower() for words in NO_ACCESS)
