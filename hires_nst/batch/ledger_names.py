"""The numbers and names of pictures in the ledger: how they are read and written."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path

from pydantic import Json, TypeAdapter, ValidationError

from hires_nst.batch.known_files import KnownFile, place_of
from hires_nst.batch.ledger_reading import reading
from hires_nst.batch.ledger_schema import STRICT, Count, Name, Text, as_stored, as_text
from hires_nst.batch.names import folded
from hires_nst.batch.naming import Register, Role, Subject
from hires_nst.batch.paths import BatchPaths
from hires_nst.files import FileFingerprint

FILE = TypeAdapter(tuple[Role, Count, Name | None, Json[FileFingerprint]], config=STRICT)
SUBJECT = TypeAdapter(tuple[Count, Count, Json[tuple[Count, ...]], Text], config=STRICT)
NAME = TypeAdapter(tuple[Count, Name, Name], config=STRICT)


def register_of(folder: Path) -> Register:
    """What the ledger of a folder has numbered and named; an empty register where there is no ledger."""
    if not BatchPaths(folder).ledger.is_file():
        return Register()
    with reading(folder) as database:
        return read_register(database)


def read_register(database: sqlite3.Connection) -> Register:
    """What was numbered and named so far."""
    register = Register()
    try:
        for row in database.execute("SELECT role, number, path, mark FROM files"):
            role, number, path, mark = FILE.validate_python(tuple(row))
            register.files[role][number] = KnownFile(None if path is None else Path(path), mark)
        for row in database.execute("SELECT number, photograph, styles, variant FROM subjects"):
            number, photograph, styles, variant = SUBJECT.validate_python(tuple(row))
            register.subjects[number] = Subject(photograph, styles, variant)
            register.files_of(number)
        for row in database.execute("SELECT subject, template, output FROM names"):
            number, template, output = NAME.validate_python(tuple(row))
            register.names[number, template] = output
    except (ValidationError, UnicodeDecodeError, KeyError):
        raise sqlite3.DatabaseError("the names of the pictures are malformed") from None
    if not {number for number, _ in register.names} <= register.subjects.keys():
        raise sqlite3.DatabaseError("the number of a picture is missing")
    outputs = (str(as_text(row[0])) for row in database.execute("SELECT output FROM jobs"))
    register.taken.update(map(folded, chain(outputs, register.names.values())))
    return register


def write_register(database: sqlite3.Connection, register: Register, *, before: Register) -> None:
    """Enter what is new or has changed."""
    for role, files in register.files.items():
        database.executemany(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)",
            [
                (role, number, as_stored(None if file.path is None else str(file.path)), json.dumps(asdict(file.mark)))
                for number, file in files.items() - before.files[role].items()
            ],
        )
    database.executemany(
        "INSERT OR REPLACE INTO subjects VALUES (?, ?, ?, ?)",
        [
            (number, subject.photograph, json.dumps(subject.styles), subject.variant)
            for number, subject in register.subjects.items() - before.subjects.items()
        ],
    )
    database.executemany(
        "INSERT INTO names VALUES (?, ?, ?)",
        [
            (number, as_stored(template), as_stored(output))
            for (number, template), output in register.names.items() - before.names.items()
        ],
    )


def mark_files(database: sqlite3.Connection, *, inputs: Sequence[Path], marks: Sequence[FileFingerprint]) -> None:
    """Enter how the files of a job, the photograph first, were when it was painted."""
    for number, (path, mark) in enumerate(zip(inputs, marks, strict=False)):  # no marks of files that could not be read
        role: Role = "painting" if number else "photograph"
        database.execute(
            "UPDATE files SET mark = ? WHERE role = ? AND path = ?",
            (json.dumps(asdict(mark)), role, as_stored(str(place_of(path)))),
        )
