"""The ledger: claims, leases, states, and that a picture is in its place before its row says so."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hires_nst.batch import ledger as ledger_module
from hires_nst.batch.job import Job
from hires_nst.batch.ledger import Ledger
from hires_nst.batch.ledger_reading import (
    read_changes,
    read_current,
    read_options,
    read_rows,
    read_selected,
    read_selected_since,
    read_settings,
    reading,
)
from hires_nst.batch.ledger_schema import STATES, JobState, Outcome, plain_sqlite_errors
from hires_nst.batch.paths import BatchPaths
from hires_nst.config import Config
from hires_nst.errors import ConfigError, DiskFull, HiresNstError, InputError, ResourceError
from hires_nst.files import FileFingerprint

MARK = FileFingerprint(1, 2, "digest")
OUTCOME = Outcome(
    width=20, height=10, seconds=1.5, losses={"loss": 0.25}, fingerprint="settings", inputs=(MARK, MARK), picture=MARK
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def jobs(count: int) -> list[Job]:
    return [job_of(n) for n in range(count)]


def job_of(number: int, content: str | None = None) -> Job:
    job = Job(index=number + 1, content=Path(content or f"{number}.jpg"), output=f"{number}.png", config=Config())
    vars(job).update(id=f"id{number}", settings_key="key")  # in place of digests
    return job


def enter(
    ledger: Ledger, jobs: list[Job], state: JobState = "waiting", note: str | None = None, seen: Any = None
) -> None:
    ledger.enter(jobs, {job.id: (state, note) for job in jobs}, seen=seen or {})


def opened(folder: Path, clock: Clock, count: int = 3, lease: float = 10) -> Ledger:
    ledger = Ledger(folder, lease_seconds=lease, clock=clock)
    enter(ledger, jobs(count))
    ledger.set_queue(jobs(count))
    return ledger


def nothing() -> None:
    pass


def claimed(ledger: Ledger) -> str:
    row = ledger.claim()
    assert row is not None
    return row.id


def test_a_job_from_its_claim_to_its_end(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock) as ledger:
        row = ledger.claim()
        assert row is not None
        assert (row.id, row.state, row.attempts, row.owner, row.lease) == ("id0", "running", 1, ledger.owner, 1010)
        assert ledger.counts() == {"waiting": 2, "running": 1, "done": 0, "failed": 0, "skipped": 0}
        clock.now += 5
        assert ledger.finish(row.id, OUTCOME, publish=nothing)
        done = ledger.rows()["id0"]
        assert (done.state, done.owner, done.lease, done.started, done.ended) == ("done", None, None, 1000, 1005)
        assert (done.width, done.height, done.seconds, done.losses) == (20, 10, 1.5, {"loss": 0.25})
        assert (done.fingerprint, done.inputs, done.picture) == ("settings", (MARK, MARK), MARK)
        assert done.owned
        assert ledger.pending() == {"id1", "id2"}
    with reading(tmp_path) as database:
        assert read_changes(database) == [
            ("id0", 1000, "waiting", None), ("id1", 1000, "waiting", None), ("id2", 1000, "waiting", None),
            ("id0", 1000, "running", None), ("id0", 1005, "done", None),
        ]  # fmt: skip


def test_a_failed_job_waits_and_is_tried_again(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock, 1) as ledger:
        assert ledger.fail(claimed(ledger), "broken", retries=1, wait=5) == "waiting"
        assert ledger.rows()["id0"].error == "broken"
        assert ledger.claim() is None
        assert ledger.next_time() == 1005
        clock.now += 5
        assert ledger.fail(claimed(ledger), "broken still", retries=1, wait=5) == "failed"
        row = ledger.rows()["id0"]
        assert (row.attempts, row.failures, row.error) == (2, 2, "broken still")
        clock.now += 100
        assert ledger.claim() is None
        assert ledger.next_time() is None


def test_an_interruption_is_no_failure(tmp_path: Path) -> None:
    with opened(tmp_path, Clock(), 1) as ledger:
        for _ in range(5):
            ledger.release(claimed(ledger))
        row = ledger.rows()["id0"]
        assert (row.state, row.attempts, row.failures, row.owner) == ("waiting", 5, 0, None)


def test_a_lease_runs_out_unless_it_is_renewed(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock, 2) as first, opened(tmp_path, clock, 2) as second:
        assert (claimed(first), claimed(second)) == ("id0", "id1")
        clock.now += 9
        assert first.renew() == {"id0"}
        clock.now += 9
        assert first.claim() is not None  # id1, whose owner stopped responding
        assert second.claim() is None
        assert second.renew() == frozenset()
        assert not second.finish("id1", OUTCOME, publish=pytest.fail)
        assert second.fail("id1", "broken", retries=0, wait=0) is None
        second.release("id1")
        assert not second.skip("id1", "there")
        assert {row.owner for row in first.rows().values()} == {first.owner}
        assert first.finish("id1", OUTCOME, publish=nothing)
        assert first.rows()["id1"].attempts == 2


def test_the_jobs_of_a_process_that_is_gone_are_free_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: gone.pid)
        first = opened(tmp_path, clock, 2)
        patch.setattr(ledger_module, "_here", lambda: "elsewhere")
        second = opened(tmp_path, clock, 2)
    with first, second, opened(tmp_path, clock, 2) as ledger, opened(tmp_path, clock, 2) as other:
        assert (claimed(second), claimed(first)) == ("id0", "id1")
        assert claimed(ledger) == "id1"
        assert ledger.claim() is None  # on another machine, that number may be in use
        assert other.claim() is None
        clock.now += 11
        assert claimed(other) == "id0"


def test_a_late_owner_still_finishes_what_nobody_took_over(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock, 1) as ledger:
        job = claimed(ledger)
        clock.now += 1000
        assert ledger.claim() is None  # lest it do its own work twice
        assert ledger.finish(job, OUTCOME, publish=nothing)


@pytest.mark.parametrize("how", ["at once", "renew", "finish"])
def test_a_job_that_was_lost_meanwhile_and_let_go_is_taken_back(how: str, tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock, 1) as first, opened(tmp_path, clock, 1) as second:
        job = claimed(first)
        clock.now += 1000  # the first one sleeps
        assert claimed(second) == job
        assert first.renew([job]) == frozenset()
        assert not first.finish(job, OUTCOME, publish=pytest.fail)
        second.release(job, "the first one is still at it", wait=2.5)
        assert first.renew() == frozenset()
        if how == "renew":
            assert first.renew([job]) == {job}
            clock.now += 5
            assert second.claim() is None
            row = first.rows()[job]
            assert (row.state, row.owner, row.error, row.ended) == ("running", first.owner, None, None)
        elif how == "finish":
            clock.now += 5
            assert claimed(second) == job
            second.release(job)
        assert first.finish(job, OUTCOME, publish=nothing)
        assert first.renew([job]) == frozenset()
        assert not second.finish(job, OUTCOME, publish=pytest.fail)
        assert second.renew([job]) == frozenset()
        assert (first.rows()[job].state, first.rows()[job].failures) == ("done", 0)


def test_the_picture_is_in_its_place_before_the_row_says_so(tmp_path: Path) -> None:
    with opened(tmp_path, Clock(), 1) as ledger:
        seen = []

        def publish() -> None:
            with reading(tmp_path) as database:
                seen.append([(row.state, row.owned) for row in read_rows(database).values()])

        job = claimed(ledger)
        assert ledger.finish(job, OUTCOME, publish=publish)
        assert seen == [[("running", True)]]


def test_a_picture_that_cannot_be_published_is_not_done(tmp_path: Path) -> None:
    def publish() -> None:
        raise OSError("full")

    with opened(tmp_path, Clock(), 1) as ledger:
        job = claimed(ledger)
        with pytest.raises(OSError, match="full"):
            ledger.finish(job, OUTCOME, publish=publish)
        assert ledger.rows()[job].state == "running"
        assert ledger.fail(job, "full", retries=0, wait=0) == "failed"


def test_jobs_are_entered_once_and_what_others_did_meanwhile_holds(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock, 2) as ledger:
        ledger.finish(claimed(ledger), OUTCOME, publish=nothing)
        enter(ledger, jobs(3))  # as if they had not been there
        assert [row.state for row in ledger.rows().values()] == ["done", "waiting", "waiting"]
        rows = ledger.rows()
        enter(ledger, jobs(1), seen={"id0": SimpleNamespace(state="failed")})  # seen as it is not
        assert ledger.rows()["id0"].state == "done"
        enter(ledger, jobs(1), "skipped", "changed", seen=rows)
        assert (ledger.rows()["id0"].state, ledger.rows()["id0"].error) == ("skipped", "changed")
        assert ledger.rows()["id0"].picture == MARK


def test_what_is_no_longer_selected_is_set_apart(tmp_path: Path) -> None:
    clock = Clock()

    def reported(after: float = 0) -> tuple[list[str], int]:
        with reading(tmp_path) as database:
            rows, others = read_current(database, tmp_path, now=clock.now + after)
        return [row.id for row in rows], others

    with opened(tmp_path, clock, 5) as first, opened(tmp_path, clock, 5) as second:
        assert reported() == ([f"id{n}" for n in range(5)], 0)  # before any run
        first.start_run({}, jobs(5)[:3])
        assert reported() == (["id0", "id1", "id2"], 2)
        clock.now += 1
        second.start_run({}, jobs(5)[3:])
        assert reported() == (["id3", "id4"], 3)
        clock.now += 1
        job = claimed(first)  # it is at work, with three jobs
        assert reported() == ([f"id{n}" for n in range(5)], 0)
        first.finish(job, OUTCOME, publish=(tmp_path / "0.png").touch)
        assert reported(1000) == ([f"id{n}" for n in range(5)], 0)  # it was, while the last one was
        clock.now += 1
        second.start_run({}, jobs(5)[4:])
        assert reported() == (["id0", "id4"], 3)
        (tmp_path / "0.png").unlink()
        assert reported() == (["id4"], 4)
        second.set_queue(jobs(5)[3:])
        assert claimed(second) == "id3"  # by a run that is at work since before the last one
        clock.now += 1
        first.start_run({}, jobs(5)[4:])
        assert reported() == (["id3", "id4"], 3)
        assert reported(11) == (["id4"], 4)  # or was, until it was killed
    with reading(tmp_path) as database:
        assert read_selected_since(database) == 1003


def test_the_jobs_of_a_run_at_work_stay_selected_whatever_shorter_runs_had(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock, 5) as first, opened(tmp_path, clock, 5) as second:
        first.start_run({}, jobs(5)[:3])
        second.start_run({}, [job_of(0, "other.jpg")])
        clock.now += 1
        second.start_run({}, jobs(5)[4:])
        clock.now += 1
        claimed(first)
    with reading(tmp_path) as database:
        selected = read_selected(database, read_rows(database), now=clock.now)
    assert selected is not None
    assert list(selected) == ["id4", "id0", "id1", "id2"]
    assert selected["id0"] == ("0.jpg", "key")


def test_only_what_is_planned_is_claimed_in_the_plans_order(tmp_path: Path) -> None:
    with opened(tmp_path, Clock(), 5) as ledger:
        ledger.set_queue([jobs(5)[n] for n in (3, 1, 4)])
        assert [claimed(ledger) for _ in range(3)] == ["id3", "id1", "id4"]
        assert ledger.claim() is None
        assert sum(ledger.counts().values()) == 3


def test_claims_of_many_at_once_are_never_the_same(tmp_path: Path) -> None:
    clock = Clock()
    opened(tmp_path, clock, 100).close()
    taken: Counter[str] = Counter()

    def work() -> None:
        with opened(tmp_path, clock, 100) as ledger:
            while (row := ledger.claim()) is not None:
                taken[row.id] += 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(taken.values()) == {1}
    assert len(taken) == 100


def test_ledgers_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not the folder of a batch"), reading(tmp_path):
        pass
    BatchPaths(tmp_path).ledger.parent.mkdir()
    BatchPaths(tmp_path).ledger.write_bytes(b"no database at all, but long enough to be one" * 100)
    with pytest.raises(ConfigError, match="is damaged"):
        Ledger(tmp_path, lease_seconds=1)
    with pytest.raises(ConfigError, match="is damaged"), reading(tmp_path):
        pass
    BatchPaths(tmp_path).ledger.unlink()
    database = sqlite3.connect(BatchPaths(tmp_path).ledger)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(ConfigError, match="another version"):
        Ledger(tmp_path, lease_seconds=1)


def finished(folder: Path) -> bytes:
    """The bytes of a closed ledger with jobs in every state."""
    with opened(folder, Clock(), 5) as ledger:
        ledger.start_run({"seed": 0}, jobs(5))
        ledger.finish(claimed(ledger), OUTCOME, publish=nothing)
        ledger.fail(claimed(ledger), "broken", retries=0, wait=0)
        ledger.skip(claimed(ledger), "there already")
        claimed(ledger)
    return BatchPaths(folder).ledger.read_bytes()


def read_all(folder: Path) -> None:
    with reading(folder) as database:
        read_rows(database)
        read_settings(database)
        read_options(database)
        read_changes(database)
        read_current(database, folder, now=0)
        read_selected_since(database)


def write_some(folder: Path) -> None:
    with Ledger(folder, lease_seconds=10) as ledger:
        ledger.rows()
        enter(ledger, jobs(6))
        ledger.set_queue(jobs(6))
        for number in range(2):
            row = ledger.claim()  # none, where what was altered makes sense
            if row is not None and number == 0:
                ledger.finish(row.id, OUTCOME, publish=nothing)
            elif row is not None:
                ledger.fail(row.id, "broken", retries=0, wait=0)
        ledger.counts(), ledger.pending(), ledger.next_time()


def test_altered_bytes_are_reported_as_damage(tmp_path: Path) -> None:
    data, moments, damaged = finished(tmp_path), random.Random(3), 0
    places = [place for place, byte in enumerate(data) if byte]
    for number in range(250):
        altered = bytearray(data)
        altered[moments.choice(places)] = moments.choice((0, 1, 255, moments.randrange(256)))
        for use in (read_all, write_some):
            for file in BatchPaths(tmp_path).ledger.parent.glob("ledger.sqlite*"):
                file.unlink()
            BatchPaths(tmp_path).ledger.write_bytes(altered)
            try:
                use(tmp_path)
            except HiresNstError as error:
                damaged += 1
                assert "damaged" in str(error) or "another version" in str(error), (number, error)
    assert damaged > 50


@contextmanager
def without_rights() -> Iterator[None]:
    """As a user who is not root, who may write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_ledger_that_may_only_be_read() -> None:
    with tempfile.TemporaryDirectory() as name:  # in which others may look, unlike `tmp_path`
        folder = Path(name)
        finished(folder)
        books = BatchPaths(folder).ledger.parent
        for path, mode in ((folder, 0o555), (books, 0o555), (BatchPaths(folder).ledger, 0o444)):
            path.chmod(mode)
        try:
            with without_rights():
                with reading(folder) as database:
                    assert len(read_rows(database)) == 5
                with pytest.raises(HiresNstError, match=r"cannot be written \(.*check the disk and the permissions"):
                    Ledger(folder, lease_seconds=1)
            BatchPaths(folder).ledger.chmod(0)
            with (
                without_rights(),
                pytest.raises(HiresNstError, match=r"cannot be read \(unable to open"),
                reading(folder),
            ):
                pass
        finally:
            for path in (folder, books):
                path.chmod(0o755)


@pytest.mark.parametrize(
    ("said", "kind", "sentence"),
    [
        ("database or disk is full", ResourceError, "no space left"),
        ("database is locked", HiresNstError, "is locked by another process"),
        ("disk I/O error", HiresNstError, "cannot be written"),
        ("attempt to write a readonly database", HiresNstError, "cannot be written"),
    ],
)
def test_what_sqlite_says_becomes_a_sentence(
    said: str, kind: type[HiresNstError], sentence: str, tmp_path: Path
) -> None:
    with opened(tmp_path, Clock()) as ledger:

        def publish() -> None:
            raise sqlite3.OperationalError(said)

        with pytest.raises(kind, match=sentence) as error:
            ledger.finish(claimed(ledger), OUTCOME, publish=publish)
        assert "damaged" not in str(error.value)
        ledger.renew()  # the transaction was ended


def test_a_full_disk(tmp_path: Path) -> None:
    with opened(tmp_path, Clock(), 1) as ledger:
        database = ledger._database
        database.execute(f"PRAGMA max_page_count = {database.execute('PRAGMA page_count').fetchone()[0]}")
        for _ in range(2):
            with pytest.raises(DiskFull, match=r"no space left on the disk of .*ledger.sqlite; free some"):
                ledger.start_run({"seed": "0" * 100_000}, [])
        database.execute("PRAGMA max_page_count = 1000000")
        ledger.start_run({"seed": 0}, jobs(1))
    with reading(tmp_path) as database:
        assert read_options(database) == {"seed": 0}
        assert read_selected(database, read_rows(database), now=0) == {"id0": ("0.jpg", "key")}


@pytest.mark.parametrize(("free", "kind"), [(0, DiskFull), (1 << 30, HiresNstError)])
def test_an_error_of_the_disk(free: int, kind: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(HiresNstError) as error, plain_sqlite_errors(tmp_path / "ledger.sqlite", "written"):
        raise sqlite3.OperationalError("disk I/O error")
    assert type(error.value) is kind


class Leases(RuleBasedStateMachine):
    """Two processes that claim, finish, fail, stall and come back in any order: each job is done at most once."""

    folder: Path

    @initialize()
    def begin(self) -> None:
        import tempfile

        self.place = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.ledgers = [opened(Path(self.place.name), self.clock, 3) for _ in range(2)]
        self.held: list[set[str]] = [set(), set()]
        self.published: Counter[str] = Counter()

    @rule(who=st.integers(0, 1))
    def claim(self, who: int) -> None:
        row = self.ledgers[who].claim()
        if row is not None:
            self.held[who].add(row.id)

    @precondition(lambda self: any(self.held))
    @rule(who=st.integers(0, 1), how=st.sampled_from(["finish", "fail", "release"]))
    def end(self, who: int, how: str) -> None:
        if not self.held[who]:
            return
        job, ledger = self.held[who].pop(), self.ledgers[who]
        if how == "finish":
            ledger.finish(job, OUTCOME, publish=lambda: self.published.update([job]))
        elif how == "fail":
            ledger.fail(job, "broken", retries=2, wait=3)
        else:
            ledger.release(job)

    @rule(seconds=st.integers(1, 12))
    def later(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule(who=st.integers(0, 1))
    def renew(self, who: int) -> None:
        assert self.ledgers[who].renew(self.held[who]) <= self.held[who]

    @invariant()
    def agreement(self) -> None:
        if not hasattr(self, "ledgers"):
            return
        rows = self.ledgers[0].rows()
        assert {job for job, row in rows.items() if row.state == "done"} == set(self.published)
        assert set(self.published.values()) <= {1}
        assert all((row.owner is not None) == (row.state == "running") for row in rows.values())
        assert all(row.state in STATES for row in rows.values())

    def teardown(self) -> None:
        if hasattr(self, "ledgers"):
            for ledger in self.ledgers:
                ledger.close()
            self.place.cleanup()


TestLeases = Leases.TestCase
