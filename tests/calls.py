"""How much work is done, counted so that the speed of the machine does not matter."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def counted_calls() -> Iterator[Counter[str]]:
    """The calls of functions in this thread by kind: ``call`` of Python's functions, ``c_call`` of built-in ones."""
    counts: Counter[str] = Counter()

    def count(_: FrameType, event: str, __: object) -> None:
        counts[event] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield counts
    finally:
        sys.setprofile(before)
