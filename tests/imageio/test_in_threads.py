"""Work on parts in threads: in order, little ahead of what is taken, and stopped at once."""

from __future__ import annotations

import threading

import pytest

from hires_nst.errors import Interrupted
from hires_nst.imageio import in_threads as module
from hires_nst.imageio.in_threads import in_threads


@pytest.fixture(autouse=True)
def three_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "THREADS", 3)


def test_results_come_in_order_though_the_first_ends_after_the_second() -> None:
    second = threading.Event()

    def work(part: int) -> int:
        if part == 0:
            assert second.wait(10)
        if part == 1:
            second.set()
        return part * part

    assert list(in_threads(work, range(10))) == [part * part for part in range(10)]


def test_no_more_parts_are_begun_than_there_are_threads_and_one() -> None:
    begun = list[int]()
    for taken, _ in enumerate(in_threads(begun.append, range(50))):
        assert len(begun) <= taken + 4
    assert sorted(begun) == list(range(50))


def test_without_parts_there_are_no_results() -> None:
    assert list(in_threads(str, ())) == []


def test_an_error_is_raised_in_place_of_its_result_and_ends_the_work() -> None:
    begun = list[int]()

    def work(part: int) -> int:
        begun.append(part)
        if part == 4:
            raise ValueError("part 4")
        return part

    found = list[int]()
    with pytest.raises(ValueError, match="part 4"):
        for result in in_threads(work, range(50)):
            found.append(result)
    assert found == [0, 1, 2, 3]
    assert max(begun) < 10


def test_a_stop_ends_the_work_in_the_thread_of_the_caller() -> None:
    begun, asked = list[int](), list[int]()

    def check_stop() -> None:
        asked.append(threading.get_ident())
        if len(asked) == 6:
            raise Interrupted("in the test")

    with pytest.raises(Interrupted):
        list(in_threads(begun.append, range(50), check_stop=check_stop))
    assert set(asked) == {threading.get_ident()}
    assert len(begun) <= 5
    assert all(not thread.name.startswith("parts") for thread in threading.enumerate())
