"""The ledger of a batch: what became of each job, in a SQLite file that several processes share.

Every change of a state is one transaction. A job that is running belongs to the process that claimed it until its lease
runs out; the owner renews it as long as it lives, so the jobs of a killed one become free by themselves. Processes of
the same machine see at once that the owner is gone.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import socket
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hires_nst.batch.paths import BatchPaths
from hires_nst.batch.rows import (
    SCHEMA,
    STATES,
    Entry,
    JobState,
    Outcome,
    Row,
    as_row,
    as_stored,
    as_text,
    check_version,
    connect,
    plain_sqlite_errors,
    read_rows,
)


class Ledger:
    """The ledger of a batch folder, for one process; use it as a context manager, from one thread.

    Attributes:
        owner: this process, in words.
        lease_seconds: after which a claim that is not renewed is void.
    """

    def __init__(self, folder: Path, *, lease_seconds: float, clock: Callable[[], float] = time.time) -> None:
        """Open the ledger of `folder`, and make it if there is none.

        Raises:
            ConfigError: the ledger is of another version of this program, or is none. HiresNstError: as
                `plain_sqlite_errors`, as all that this class does.
        """
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{_here()}:{secrets.token_hex(4)}"
        self.lease_seconds = lease_seconds
        self._clock = clock
        file = BatchPaths(folder).ledger
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file
        with plain_sqlite_errors(file, "written"):
            self._database = connect(file)
            try:
                check_version(self._database, file, new=True)
                self._database.create_function("is_gone", 1, _is_gone)
                self._database.execute("PRAGMA journal_mode = WAL")
                self._database.execute("PRAGMA synchronous = NORMAL")  # see `flush`
                with self._transaction():
                    if not self._database.execute("PRAGMA user_version").fetchone()[0]:
                        for statement in SCHEMA.split(";\n"):
                            self._database.execute(statement)
                self._database.execute(
                    "CREATE TEMP TABLE plan (id TEXT PRIMARY KEY, position INTEGER, content TEXT, config TEXT)"
                )
            except BaseException:
                self._database.close()
                raise

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def flush(self) -> None:
        """Bring what was entered to the disk, lest a power cut take it.

        Transactions alone outlive the death of this process, and keep their order in a power cut; to wait for the disk
        at each of them would take longer than everything else that the ledger does.
        """
        with suppress(OSError):  # a file system that cannot
            log = os.open(f"{self._file}-wal", os.O_RDONLY)
            try:
                os.fsync(log)
            finally:
                os.close(log)

    def rows(self) -> dict[str, Row]:
        """Every job, by its id, in the order of entry."""
        with plain_sqlite_errors(self._file, "read"):
            return read_rows(self._database)

    def enter(self, entries: Sequence[Entry], settings: Mapping[str, Any]) -> None:
        """Enter jobs that are not there yet, and change the state of those that are and that nobody works on.

        `settings` has the JSON-ready settings of each key in `Entry.config`. A job whose state and note are as they
        should be stays as it is.
        """
        now = self._clock()
        with self._transaction() as database:
            database.executemany(
                "INSERT OR IGNORE INTO configs VALUES (?, ?)",
                [(key, json.dumps(value)) for key, value in settings.items()],
            )
            before = {
                row[0]: (row[1], as_text(row[2])) for row in database.execute("SELECT id, state, error FROM jobs")
            }
            for entry in entries:
                if entry.id not in before:
                    database.execute(
                        "INSERT INTO jobs (id, output, content, config, state, error, added) "
                        "VALUES (?, ?, ?, ?, ?, ?, ?)",
                        (
                            entry.id,
                            as_stored(entry.output),
                            as_stored(entry.content),
                            entry.config,
                            entry.state,
                            as_stored(entry.note),
                            now,
                        ),
                    )
                elif before[entry.id][0] != entry.seen or before[entry.id] == (entry.state, entry.note):
                    continue
                else:
                    database.execute(
                        "UPDATE jobs SET state = ?, error = ?, failures = 0, not_before = 0 WHERE id = ?",
                        (entry.state, as_stored(entry.note), entry.id),
                    )
                self._note(entry.id, entry.state, entry.note, now)

    def note_run(self, orders: Mapping[str, Any], entries: Iterable[Entry]) -> None:
        """Keep the JSON-ready orders of a run that begins, and its jobs: see `read_orders`."""
        jobs = [(entry.id, entry.content, entry.config) for entry in entries]
        text = json.dumps({**orders, "jobs": jobs})
        with self._transaction() as database:
            database.execute("INSERT INTO runs VALUES (?, ?, ?)", (self._clock(), self.owner, text))

    def plan(self, entries: Iterable[Entry]) -> None:
        """The jobs that this process works on, in this order."""
        with self._transaction() as database:
            database.execute("DELETE FROM plan")
            database.executemany(
                "INSERT INTO plan VALUES (?, ?, ?, ?)",
                [(entry.id, place, as_stored(entry.content), entry.config) for place, entry in enumerate(entries)],
            )

    def claim(self) -> Row | None:
        """Take the plan's first job that is free, if there is one: waiting, or of another that is gone or let its lease
        run out."""
        now = self._clock()
        with self._transaction() as database:
            found = database.execute(
                "SELECT jobs.id, plan.content, plan.config FROM plan JOIN jobs USING (id) "
                "WHERE (state = 'waiting' AND not_before <= :now) "
                "OR (state = 'running' AND owner <> :owner AND (lease < :now OR is_gone(owner))) "
                "ORDER BY position LIMIT 1",
                {"now": now, "owner": self.owner},
            ).fetchone()
            if found is None:
                return None
            database.execute(
                "UPDATE jobs SET state = 'running', owner = ?, lease = ?, attempts = attempts + 1, started = ?, "
                "content = ?, config = ?, ended = NULL, error = NULL, fingerprint = NULL, inputs = NULL, "
                "picture = NULL WHERE id = ?",
                (self.owner, now + self.lease_seconds, now, found[1], found[2], found[0]),
            )
            self._note(found[0], "running", None, now)
            return self._row(found[0])

    def renew(self, working: Iterable[str] = ()) -> frozenset[str]:
        """Prolong every lease of this process; the ids of the jobs that it still has.

        Of those that it is `working` at, it takes back what it lost while it slept and nobody is at now.
        """
        with self._transaction() as database:
            for id in working:
                self._take_back(id)
            database.execute(
                "UPDATE jobs SET lease = ? WHERE owner = ? AND state = 'running'",
                (self._clock() + self.lease_seconds, self.owner),
            )
            held = database.execute("SELECT id FROM jobs WHERE owner = ? AND state = 'running'", (self.owner,))
            return frozenset(row[0] for row in held)

    def finish(self, id: str, outcome: Outcome, *, publish: Callable[[], None]) -> bool:
        """Bring the picture to its place with `publish`, and enter the job as done, unless another has it by now.

        The place is marked as this batch's own first, so that a crash between the two leaves nothing that a later
        attempt may not replace. A job that another took over and let go again is taken back: its picture is here.

        Returns:
            Whether it was this process's to finish.
        """
        with self._transaction() as database:
            self._take_back(id)
            if not self._holds(id):
                return False
            database.execute("UPDATE jobs SET owned = 1 WHERE id = ?", (id,))
        with self._transaction() as database:
            if not self._holds(id):
                return False
            publish()
            now = self._clock()
            database.execute(
                "UPDATE jobs SET state = 'done', owner = NULL, lease = NULL, failures = 0, ended = ?, seconds = ?, "
                "width = ?, height = ?, losses = ?, fingerprint = ?, inputs = ?, picture = ? WHERE id = ?",
                (
                    now, outcome.seconds, outcome.width, outcome.height, json.dumps(dict(outcome.losses)),
                    outcome.fingerprint, json.dumps([asdict(mark) for mark in outcome.inputs]),
                    json.dumps(asdict(outcome.picture)), id,
                ),
            )  # fmt: skip
            self._note(id, "done", None, now)
        return True

    def fail(self, id: str, reason: str, *, retries: int, wait: float) -> JobState | None:
        """Enter a failed attempt: the job waits for another one after `wait` seconds, or is failed for good.

        Returns:
            Its state; None when it was not this process's any more.
        """
        with self._transaction() as database:
            if not self._holds(id):
                return None
            now = self._clock()
            failures = database.execute("SELECT failures FROM jobs WHERE id = ?", (id,)).fetchone()[0] + 1
            state: JobState = "failed" if failures > retries else "waiting"
            self._let_go(id, state, reason, now, failures=failures, not_before=now + wait)
        return state

    def set_aside(self, id: str, reason: str) -> bool:
        """Enter a claimed job as skipped; whether it was this process's."""
        with self._transaction():
            held = self._holds(id)
            if held:
                self._let_go(id, "skipped", reason, self._clock())
        return held

    def release(self, id: str) -> None:
        """Give an interrupted job back: it waits, and counts as no failure."""
        with self._transaction():
            if self._holds(id):
                self._let_go(id, "waiting", None, self._clock())

    def postpone(self, id: str, reason: str, *, wait: float) -> None:
        """Give a job back that cannot be begun yet: it waits for so many seconds, and counts as no failure."""
        with self._transaction():
            if self._holds(id):
                now = self._clock()
                self._let_go(id, "waiting", reason, now, not_before=now + wait)

    def counts(self) -> dict[JobState, int]:
        """How many jobs of the plan are in which state; all states are there."""
        with plain_sqlite_errors(self._file, "read"):
            found = self._database.execute("SELECT state, count(*) FROM plan JOIN jobs USING (id) GROUP BY state")
            return {**dict.fromkeys(STATES, 0), **dict(found.fetchall())}

    def pending(self) -> frozenset[str]:
        """The ids of the plan's jobs that are waiting or running."""
        which = "SELECT id FROM plan JOIN jobs USING (id) WHERE state IN ('waiting', 'running')"
        with plain_sqlite_errors(self._file, "read"):
            return frozenset(row[0] for row in self._database.execute(which))

    def next_time(self) -> float | None:
        """When the next job of the plan may become free, in seconds since the epoch; None when none is pending."""
        with plain_sqlite_errors(self._file, "read"):
            found = self._database.execute(
                "SELECT min(CASE state WHEN 'waiting' THEN not_before ELSE lease END) FROM plan JOIN jobs USING (id) "
                "WHERE state IN ('waiting', 'running')"
            ).fetchone()
        return None if found[0] is None else float(found[0])

    def own(self, id: str) -> None:
        """Let the job replace what is at its place."""
        with self._transaction() as database:
            database.execute("UPDATE jobs SET owned = 1 WHERE id = ?", (id,))

    def _row(self, id: str) -> Row:
        return as_row(self._database.execute("SELECT * FROM jobs WHERE id = ?", (id,)).fetchone())

    def _holds(self, id: str) -> bool:
        """Whether the job is this process's; a lease that ran out is still good while nobody took the job over."""
        found = self._database.execute("SELECT owner, state FROM jobs WHERE id = ?", (id,)).fetchone()
        return found is not None and (found[0], found[1]) == (self.owner, "running")

    def _take_back(self, id: str) -> None:
        """Have the job again, in the attempt that is under way here, if it is waiting for somebody."""
        now = self._clock()
        taken = self._database.execute(
            "UPDATE jobs SET state = 'running', owner = :owner, lease = :lease, error = NULL, ended = NULL, "
            "content = (SELECT content FROM plan WHERE plan.id = :id), "
            "config = (SELECT config FROM plan WHERE plan.id = :id) "
            "WHERE id = :id AND state = 'waiting' AND id IN (SELECT id FROM plan)",
            {"owner": self.owner, "lease": now + self.lease_seconds, "id": id},
        )
        if taken.rowcount:
            self._note(id, "running", None, now)

    def _let_go(
        self, id: str, state: JobState, note: str | None, now: float, *, failures: int = 0, not_before: float = 0
    ) -> None:
        self._database.execute(
            "UPDATE jobs SET state = ?, owner = NULL, lease = NULL, ended = ?, error = ?, failures = max(failures, ?), "
            "not_before = ? WHERE id = ?",
            (state, now, as_stored(note), failures, not_before, id),
        )
        self._note(id, state, note, now)

    def _note(self, id: str, state: JobState, note: str | None, now: float) -> None:
        self._database.execute(
            "INSERT INTO changes VALUES (?, ?, ?, ?, ?)", (id, now, state, self.owner, as_stored(note))
        )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with plain_sqlite_errors(self._file, "written"):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # SQLite may have ended it
                    self._database.execute("ROLLBACK")
                raise


def _here() -> str:
    """What tells this machine, since it was started, from others, and which processes a number of one is among; empty
    where the system does not say."""
    try:
        start, among = Path("/proc/sys/kernel/random/boot_id").read_text(), Path("/proc/self/ns/pid").readlink()
        return hashlib.sha256(f"{start}{among}".encode()).hexdigest()[:8]
    except OSError:
        return ""


def _is_gone(owner: str) -> bool:
    """Whether an owner was a process here and is over for certain; one whose number was given out again is not."""
    *_, number, here, _ = owner.rsplit(":", 3)
    if not here or here != _here():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:  # it is another user's
        return False
    return False
