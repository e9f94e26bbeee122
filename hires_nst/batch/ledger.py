"""The ledger of a batch: the state of each job, in a SQLite file that several processes share.

Every change of a state is one transaction. A running job belongs to the process that claimed it until its lease runs
out; the owner renews the lease while it runs, so the jobs of a killed process become free. Processes on the same
machine see at once that the owner has ended.
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

from hires_nst.batch.job import Choice, Job
from hires_nst.batch.ledger_names import mark_files, read_register, write_register
from hires_nst.batch.ledger_reading import read_rows
from hires_nst.batch.ledger_schema import (
    SCHEMA,
    STATES,
    JobState,
    Outcome,
    Row,
    as_row,
    as_stored,
    as_text,
    check_version,
    connect,
    plain_sqlite_errors,
)
from hires_nst.batch.naming import Named, name_jobs
from hires_nst.batch.paths import BatchPaths
from hires_nst.files import FileDigests


class Ledger:
    """The ledger of a batch folder, for one process; use it as a context manager, from one thread.

    Attributes:
        owner: the name of this process in the ledger.
        lease_seconds: a claim that is not renewed for this long is void.
    """

    def __init__(self, folder: Path, *, lease_seconds: float, clock: Callable[[], float] = time.time) -> None:
        """Open the ledger of `folder`, or create it.

        Raises:
            ConfigError: the ledger is of another version of this program, or is not a ledger. HiresNstError: as
                `plain_sqlite_errors`, which holds for all methods.
        """
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{_here()}:{secrets.token_hex(4)}"
        self.lease_seconds = lease_seconds
        self._clock = clock
        self._file = BatchPaths(folder).ledger
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with plain_sqlite_errors(self._file, "written"):
            self._database = connect(self._file)
            try:
                check_version(self._database, self._file, new=True)
                self._database.create_function("has_ended", 1, _has_ended)
                self._database.execute("PRAGMA journal_mode = WAL")
                self._database.execute("PRAGMA synchronous = NORMAL")  # see `flush`
                with self._transaction():
                    if not self._database.execute("PRAGMA user_version").fetchone()[0]:
                        for statement in SCHEMA.split(";\n"):
                            self._database.execute(statement)
                self._database.execute(
                    "CREATE TEMP TABLE queue (id TEXT PRIMARY KEY, position INTEGER, content TEXT, config TEXT)"
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
        """Bring all transactions to the disk, so that a power cut does not lose them.

        Transactions alone survive the death of this process, and keep their order in a power cut; waiting for the disk
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

    def name(self, choices: Sequence[Choice], *, digests: FileDigests) -> Named:
        """Number and name the choices, as `name_jobs`, so that all processes agree."""
        with self._transaction() as database:
            register = read_register(database)
            before = register.copy()
            named = name_jobs(choices, register, digests=digests)
            write_register(database, register, before=before)
            moved = [job for job in named.jobs if job.id in named.moved]
            self._enter_settings(moved)
            database.executemany(
                "UPDATE jobs SET content = ?, config = ? WHERE id = ? AND state <> 'running' "
                "AND coalesce(fingerprint, ?) = ?",
                [
                    (as_stored(str(job.content)), job.settings_key, job.id, job.fingerprint, job.fingerprint)
                    for job in moved
                ],
            )
        return named

    def enter(
        self, jobs: Sequence[Job], states: Mapping[str, tuple[JobState, str | None]], *, seen: Mapping[str, Row]
    ) -> None:
        """Insert new jobs, and update the states of known ones unless another process changed them in the meantime.

        Args:
            states: the state of each job by its id, and why if that is not `waiting`.
            seen: the rows that this was concluded from.
        """
        now = self._clock()
        with self._transaction() as database:
            self._enter_settings(jobs)
            before = {
                row[0]: (row[1], as_text(row[2])) for row in database.execute("SELECT id, state, error FROM jobs")
            }
            for job in jobs:
                state, note = states[job.id]
                if job.id not in before:
                    names = as_stored(job.output), as_stored(str(job.content))
                    database.execute(
                        "INSERT INTO jobs (id, output, content, config, state, error, added) "
                        "VALUES (?, ?, ?, ?, ?, ?, ?)",
                        (job.id, *names, job.settings_key, state, as_stored(note), now),
                    )
                elif job.id in seen and before[job.id][0] == seen[job.id].state and before[job.id] != (state, note):
                    database.execute(
                        "UPDATE jobs SET state = ?, error = ?, failures = 0, not_before = 0 WHERE id = ?",
                        (state, as_stored(note), job.id),
                    )
                else:
                    continue
                self._log_change(job.id, state, note=note, now=now)

    def _enter_settings(self, jobs: Iterable[Job]) -> None:
        configs = {job.settings_key: job.config for job in jobs}
        self._database.executemany(
            "INSERT OR IGNORE INTO configs VALUES (?, ?)",
            [(key, json.dumps(config.model_dump(mode="json"))) for key, config in configs.items()],
        )

    def start_run(self, options: Mapping[str, Any], jobs: Sequence[Job]) -> None:
        """Enter a run that begins now: its JSON-ready options and the jobs that it selects."""
        now = self._clock()
        with self._transaction() as database:
            last = database.execute("SELECT number, same_since FROM runs ORDER BY number DESC LIMIT 1").fetchone()
            since = now
            if last is not None:
                before = database.execute("SELECT job FROM selections WHERE run = ?", (last[0],))
                if {row[0] for row in before} == {job.id for job in jobs}:
                    since = last[1]
            number = database.execute(
                "INSERT INTO runs (time, owner, options, same_since) VALUES (?, ?, ?, ?)",
                (now, self.owner, json.dumps(options), since),
            ).lastrowid
            database.executemany(
                "INSERT INTO selections VALUES (?, ?, ?, ?)",
                [(number, job.id, as_stored(str(job.content)), job.settings_key) for job in jobs],
            )

    def set_queue(self, jobs: Iterable[Job]) -> None:
        """Set the jobs that this process works on, in this order."""
        with self._transaction() as database:
            database.execute("DELETE FROM queue")
            database.executemany(
                "INSERT INTO queue VALUES (?, ?, ?, ?)",
                [(job.id, place, as_stored(str(job.content)), job.settings_key) for place, job in enumerate(jobs)],
            )

    def claim(self) -> Row | None:
        """Claim the first free job of the queue, if any: one that waits, or whose owner has ended or lost its lease."""
        now = self._clock()
        with self._transaction() as database:
            found = database.execute(
                "SELECT jobs.id, queue.content, queue.config FROM queue JOIN jobs USING (id) "
                "WHERE (state = 'waiting' AND not_before <= :now) "
                "OR (state = 'running' AND owner <> :owner AND (lease < :now OR has_ended(owner))) "
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
            self._log_change(found[0], "running", now=now)
            return as_row(database.execute("SELECT * FROM jobs WHERE id = ?", (found[0],)).fetchone())

    def renew(self, working: Iterable[str] = ()) -> frozenset[str]:
        """Renew every lease of this process; the ids of the jobs that it still owns.

        Jobs that it is `working` on, but lost while it was suspended, it claims again if they wait.
        """
        with self._transaction() as database:
            for id in working:
                self._reclaim(id)
            database.execute(
                "UPDATE jobs SET lease = ? WHERE owner = ? AND state = 'running'",
                (self._clock() + self.lease_seconds, self.owner),
            )
            held = database.execute("SELECT id FROM jobs WHERE owner = ? AND state = 'running'", (self.owner,))
            return frozenset(row[0] for row in held)

    def finish(self, id: str, outcome: Outcome, *, publish: Callable[[], None], inputs: Sequence[Path] = ()) -> bool:
        """Move the picture to its place with `publish`, and enter the job as done, unless another process owns it now.

        The place is marked as this batch's own first, so that after a crash between the two a later attempt may still
        replace the picture. A job that another process took over and released is claimed again: its picture is here.

        Args:
            inputs: the files of the job, of which `outcome` has the fingerprints.

        Returns:
            Whether this process owned the job.
        """
        with self._transaction() as database:
            self._reclaim(id)
            if not self._owns(id):
                return False
            database.execute("UPDATE jobs SET owned = 1 WHERE id = ?", (id,))
        with self._transaction() as database:
            if not self._owns(id):
                return False
            publish()
            now = self._clock()
            database.execute(
                "UPDATE jobs SET state = 'done', owner = NULL, lease = NULL, failures = 0, ended = ?, seconds = ?, "
                "width = ?, height = ?, losses = ?, fingerprint = ?, inputs = ?, picture = ? WHERE id = ?",
                (
                    now, outcome.seconds, outcome.width, outcome.height, json.dumps(dict(outcome.losses)),
                    outcome.fingerprint, json.dumps([asdict(file) for file in outcome.inputs]),
                    json.dumps(asdict(outcome.picture)), id,
                ),
            )  # fmt: skip
            mark_files(database, inputs=inputs, marks=outcome.inputs)
            self._log_change(id, "done", now=now)
        return True

    def fail(self, id: str, reason: str, *, retries: int, wait: float) -> JobState | None:
        """Enter a failed attempt: the job waits `wait` seconds for the next one, or has failed for good.

        Returns:
            Its state; None when this process no longer owned it.
        """
        with self._transaction() as database:
            if not self._owns(id):
                return None
            now = self._clock()
            failures = database.execute("SELECT failures FROM jobs WHERE id = ?", (id,)).fetchone()[0] + 1
            state: JobState = "failed" if failures > retries else "waiting"
            self._end_claim(id, state, note=reason, failures=failures, not_before=now + wait)
        return state

    def skip(self, id: str, reason: str) -> bool:
        """Enter a claimed job as skipped; whether this process owned it."""
        with self._transaction():
            return self._end_claim(id, "skipped", note=reason)

    def release(self, id: str, reason: str | None = None, *, wait: float = 0.0) -> None:
        """Release a job that was interrupted, or cannot start yet for a reason and waits this many seconds.

        This does not count as a failure.
        """
        with self._transaction():
            self._end_claim(id, "waiting", note=reason, not_before=self._clock() + wait if wait else 0.0)

    def counts(self) -> dict[JobState, int]:
        """How many jobs of the queue are in each state."""
        found = self._read("SELECT state, count(*) FROM queue JOIN jobs USING (id) GROUP BY state")
        return {**dict.fromkeys(STATES, 0), **dict(map(tuple, found))}

    def pending(self) -> frozenset[str]:
        """The ids of the queue's jobs that are waiting or running."""
        found = self._read("SELECT id FROM queue JOIN jobs USING (id) WHERE state IN ('waiting', 'running')")
        return frozenset(row[0] for row in found)

    def next_time(self) -> float | None:
        """When the next job of the queue may become free, in seconds since the epoch; None when none is pending."""
        found = self._read(
            "SELECT min(CASE state WHEN 'waiting' THEN not_before ELSE lease END) FROM queue JOIN jobs USING (id) "
            "WHERE state IN ('waiting', 'running')"
        )
        return None if found[0][0] is None else float(found[0][0])

    def _read(self, query: str) -> list[sqlite3.Row]:
        with plain_sqlite_errors(self._file, "read"):
            return self._database.execute(query).fetchall()

    def _owns(self, id: str) -> bool:
        """Whether the job is this process's; an expired lease is valid until another process takes the job over."""
        found = self._database.execute("SELECT owner, state FROM jobs WHERE id = ?", (id,)).fetchone()
        return found is not None and (found[0], found[1]) == (self.owner, "running")

    def _reclaim(self, id: str) -> None:
        """Own the job again, in the attempt that is under way here, if it is waiting."""
        now = self._clock()
        taken = self._database.execute(
            "UPDATE jobs SET state = 'running', owner = :owner, lease = :lease, error = NULL, ended = NULL, "
            "content = (SELECT content FROM queue WHERE queue.id = :id), "
            "config = (SELECT config FROM queue WHERE queue.id = :id) "
            "WHERE id = :id AND state = 'waiting' AND id IN (SELECT id FROM queue)",
            {"owner": self.owner, "lease": now + self.lease_seconds, "id": id},
        )
        if taken.rowcount:
            self._log_change(id, "running", now=now)

    def _end_claim(
        self, id: str, state: JobState, *, note: str | None = None, failures: int = 0, not_before: float = 0
    ) -> bool:
        """Whether this process owned the job."""
        now = self._clock()
        ended = self._database.execute(
            "UPDATE jobs SET state = ?, owner = NULL, lease = NULL, ended = ?, error = ?, failures = max(failures, ?), "
            "not_before = ? WHERE id = ? AND owner = ? AND state = 'running'",
            (state, now, as_stored(note), failures, not_before, id, self.owner),
        )
        if ended.rowcount:
            self._log_change(id, state, note=note, now=now)
        return ended.rowcount > 0

    def _log_change(self, id: str, state: JobState, *, now: float, note: str | None = None) -> None:
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
    """A name of this boot of the machine and of the namespace of its process numbers; empty where that is unknown."""
    try:
        start, among = Path("/proc/sys/kernel/random/boot_id").read_text(), Path("/proc/self/ns/pid").readlink()
        return hashlib.sha256(f"{start}{among}".encode()).hexdigest()[:8]
    except OSError:
        return ""


def _has_ended(owner: str) -> bool:
    """Whether an owner was a process of this machine that has certainly ended; its number may be in use again."""
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
