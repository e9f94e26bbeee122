"""Writes in a thread: in order, told of in the main thread, and given up when the end has to come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from hires_nst.errors import Interrupted, ResourceError
from hires_nst.run import write_behind
from hires_nst.run.write_behind import WriteBehind


class Story:
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

    def tell(self, name: str) -> Callable[[], None]:
        def tell() -> None:
            self.threads[f"told {name}"] = threading.get_ident()
            self.lines.append(f"told {name}")

        return tell


def test_everything_is_written_in_order_and_told_by_the_thread_that_asked() -> None:
    story = Story()
    with WriteBehind() as writer:
        for name in "abcde":
            writer.put(story.write(name), story.tell(name))
    assert [line for line in story.lines if line.startswith("wrote")] == [f"wrote {name}" for name in "abcde"]
    assert [line for line in story.lines if line.startswith("told")] == [f"told {name}" for name in "abcde"]
    assert {story.threads[f"told {name}"] for name in "abcde"} == {threading.get_ident()}
    assert threading.get_ident() not in {story.threads[f"wrote {name}"] for name in "abcde"}


def test_nothing_is_told_before_it_is_written() -> None:
    story, gate = Story(), threading.Event()
    with WriteBehind() as writer:
        writer.put(story.write("a", gate), story.tell("a"))
        writer.poll()
        assert story.lines == []
        gate.set()
        writer.flush()
        assert story.lines == ["wrote a", "told a"]


def test_no_more_wait_than_allowed() -> None:
    story, gate = Story(), threading.Event()
    with WriteBehind(most=2) as writer:
        writer.put(story.write("a", gate), story.tell("a"))
        writer.put(story.write("b", gate), story.tell("b"))
        threading.Timer(0.05, gate.set).start()
        writer.put(story.write("c"), story.tell("c"))
        assert "told a" in story.lines


@pytest.mark.parametrize("when", ["put", "poll", "flush", "leave"])
def test_an_error_comes_out_in_the_main_thread_and_is_not_told(when: str) -> None:
    story = Story()

    def fail(check_stop: Callable[[], None]) -> None:
        raise ResourceError("no space left")

    with pytest.raises(ResourceError, match="no space left"), WriteBehind(most=1) as writer:
        writer.put(fail, story.tell("a"))
        if when == "put":
            writer.put(story.write("b"), story.tell("b"))
        while when == "poll":
            writer.poll()
        if when == "flush":
            writer.flush()
    assert "told a" not in story.lines


def test_what_is_nearly_written_is_waited_for_when_a_run_is_interrupted() -> None:
    story, gate = Story(), threading.Event()
    with pytest.raises(Interrupted, match="the end"), WriteBehind() as writer:
        writer.put(story.write("a", gate), story.tell("a"))
        threading.Timer(0.05, gate.set).start()
        raise Interrupted("the end")
    assert story.lines == ["wrote a", "told a"]


@pytest.mark.parametrize("error", [Interrupted("the end"), KeyboardInterrupt()], ids=["patience", "at once"])
def test_what_takes_too_long_is_given_up(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_behind, "PATIENCE", 0.02 if isinstance(error, Interrupted) else 60.0)
    story, began = Story(), time.monotonic()
    with pytest.raises(type(error)), WriteBehind() as writer:
        writer.put(story.write("a", threading.Event()), story.tell("a"))
        writer.put(story.write("b"), story.tell("b"))
        raise error
    assert time.monotonic() - began < 10
    assert story.lines == []
