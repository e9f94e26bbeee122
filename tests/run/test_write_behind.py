"""Writes in a thread: in order, reported in the main thread, and cancelled at the end of a run."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from hires_nst.errors import Interrupted, ResourceError
from hires_nst.run import write_behind
from hires_nst.run.write_behind import WriteBehind


class Record:
    """What happened, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.threads: dict[str, int] = {}

    def write(self, name: str, gate: threading.Event | None = None) -> Callable[[Callable[[], None]], None]:
        def write(check_stop: Callable[[], None]) -> None:
            while gate is not None and not gate.wait(0.001):
                check_stop()
            self.threads[f"wrote {name}"] = threading.get_ident()
            self.lines.append(f"wrote {name}")

        return write

    def done(self, name: str) -> Callable[[None], None]:
        def done(result: None) -> None:
            self.threads[f"done {name}"] = threading.get_ident()
            self.lines.append(f"done {name}")

        return done


def test_everything_is_written_in_order_and_reported_in_the_thread_of_the_calls() -> None:
    record = Record()
    with WriteBehind() as writer:
        for name in "abcde":
            writer.put(record.write(name), record.done(name))
    assert [line for line in record.lines if line.startswith("wrote")] == [f"wrote {name}" for name in "abcde"]
    assert [line for line in record.lines if line.startswith("done")] == [f"done {name}" for name in "abcde"]
    assert {record.threads[f"done {name}"] for name in "abcde"} == {threading.get_ident()}
    assert threading.get_ident() not in {record.threads[f"wrote {name}"] for name in "abcde"}


def test_what_is_written_is_not_kept_after_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool's thread has its own reference to a task until it looks for the next one, some time after the result."""
    late, set_result = threading.Event(), Future.set_result

    def slow(future: Future[None], result: None) -> None:
        set_result(future, result)
        late.wait(10)

    monkeypatch.setattr(Future, "set_result", slow)
    record = Record()
    with WriteBehind() as writer:
        write = record.write("a")
        referred = weakref.ref(write)
        writer.put(write, record.done("a"))
        del write
        writer.flush()
        assert record.lines == ["wrote a", "done a"]
        assert referred() is None
        late.set()


def test_nothing_is_reported_before_it_is_written() -> None:
    record, gate = Record(), threading.Event()
    with WriteBehind() as writer:
        writer.put(record.write("a", gate), record.done("a"))
        writer.poll()
        assert record.lines == []
        gate.set()
        writer.flush()
        assert record.lines == ["wrote a", "done a"]


def test_the_number_of_pending_writes_is_limited() -> None:
    record, gate = Record(), threading.Event()
    with WriteBehind(most=2) as writer:
        writer.put(record.write("a", gate), record.done("a"))
        writer.put(record.write("b", gate), record.done("b"))
        threading.Timer(0.05, gate.set).start()
        writer.put(record.write("c"), record.done("c"))
        assert "done a" in record.lines


@pytest.mark.parametrize("when", ["put", "poll", "flush", "leave"])
def test_an_error_comes_out_in_the_main_thread_and_is_not_reported(when: str) -> None:
    record = Record()

    def fail(check_stop: Callable[[], None]) -> None:
        raise ResourceError("no space left")

    with pytest.raises(ResourceError, match="no space left"), WriteBehind(most=1) as writer:
        writer.put(fail, record.done("a"))
        if when == "put":
            writer.put(record.write("b"), record.done("b"))
        while when == "poll":
            writer.poll()
        if when == "flush":
            writer.flush()
    assert "done a" not in record.lines


def test_an_interrupted_run_waits_for_a_write_that_is_nearly_finished() -> None:
    record, gate = Record(), threading.Event()
    with pytest.raises(Interrupted, match="the end"), WriteBehind() as writer:
        writer.put(record.write("a", gate), record.done("a"))
        threading.Timer(0.05, gate.set).start()
        raise Interrupted("the end")
    assert record.lines == ["wrote a", "done a"]


@pytest.mark.parametrize("error", [Interrupted("the end"), KeyboardInterrupt()], ids=["patience", "at once"])
def test_a_write_that_takes_too_long_is_cancelled(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_behind, "PATIENCE", 0.02 if isinstance(error, Interrupted) else 60.0)
    record, began = Record(), time.monotonic()
    with pytest.raises(type(error)), WriteBehind() as writer:
        writer.put(record.write("a", threading.Event()), record.done("a"))
        writer.put(record.write("b"), record.done("b"))
        raise error
    assert time.monotonic() - began < 10
    assert record.lines == []
