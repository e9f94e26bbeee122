"""The processor's memory for tensors, kept by the process from one layer to the next.

glibc hands out large blocks as maps of their own and gives them back when they are freed, so that each evaluation pays
for fresh pages. Told to keep what it has, an evaluation takes two thirds of the time. Other C libraries are left alone.
"""

from __future__ import annotations

import ctypes
import mmap
from functools import cache

import numpy as np
from numpy.typing import NDArray

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8  # malloc.h
TOP_PAD = 1 << 28
"""Bytes of address space by which the heap grows."""


@cache
def keep_freed_memory() -> bool:
    """Have this process keep the memory that it frees, for its next tensors; whether it does."""
    glibc = _glibc()
    if glibc is None:
        return False
    for parameter, value in (
        (_M_ARENA_MAX, 1), (_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, TOP_PAD),
    ):  # fmt: skip
        glibc.mallopt(parameter, value)
    return True


def give_back_memory() -> None:
    """Give what this process has freed back to the system."""
    glibc = _glibc()
    if glibc is not None:
        glibc.malloc_trim(0)


def zeros(size: int) -> NDArray[np.uint8]:
    """So many bytes in a map of their own, which is given back as soon as the array is gone.

    Raises:
        MemoryError: there is not enough memory. OSError: the same.
    """
    if size < mmap.PAGESIZE:
        return np.zeros(size, np.uint8)
    return np.frombuffer(mmap.mmap(-1, size), np.uint8)


@cache
def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libc.so.6")
    except OSError:
        return None
    return library if hasattr(library, "gnu_get_libc_version") else None
