"""Work on the parts of a picture in threads, with the results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from hires_nst.processors import cores

THREADS = min(8, cores())
"""At most: each has a strip of the picture in memory, in several types."""

Part = TypeVar("Part")
Result = TypeVar("Result")


def in_threads(
    work: Callable[[Part], Result], parts: Iterable[Part], *, check_stop: Callable[[], None] = lambda: None
) -> Iterator[Result]:
    """The results of `work`, in the order of the parts; it gains where `work` lets other threads run.

    At most one part more than there are threads is in work or waits to be taken.

    Args:
        check_stop: called, in the thread of the caller, before a part is begun; may raise.

    Raises:
        Exception: what `work` raised, in place of its result.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(THREADS, thread_name_prefix="parts") as threads:
        try:
            for part in parts:
                check_stop()
                waiting.append(threads.submit(work, part))
                if len(waiting) > THREADS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            threads.shutdown(cancel_futures=True)
