"""The errors that the program raises on purpose: one base class, each subclass with the exit code of the command line.

A message is one clear sentence that says what is wrong and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path


class HiresNstError(Exception):
    """Base class of every error that this package raises on purpose."""

    exit_code: int = 1


class ConfigError(HiresNstError):
    """The configuration or the command line asks for something that is not possible."""

    exit_code = 2


class InputError(HiresNstError):
    """An input file cannot be read as what it should be."""

    exit_code = 3


class OutputError(HiresNstError):
    """An output file cannot be written where it should be."""

    exit_code = 2


class ResourceError(HiresNstError):
    """There is not enough memory or disk space."""

    exit_code = 4


class DiskFull(ResourceError):
    """No space is left on the disk where `path` was to be written."""

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.path = path


class WeightsError(HiresNstError):
    """A network's weights are missing, damaged or of another network."""

    exit_code = 5


class DamagedFile(InputError):
    """A file of a run directory is not what was written there."""


class RunBusy(HiresNstError):
    """Another process works in the run directory."""


class Interrupted(HiresNstError):
    """A run was stopped in an orderly way, and can be resumed; `exit_code` is set for the signal that stopped it."""

    exit_code = 130

    def __init__(self, message: str, *, exit_code: int = 130) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def nearest(word: str, known: Iterable[str]) -> str:
    """A tail for an error message about an unknown word: the nearest known one, or all of them when none is near."""
    candidates = list(known)
    close = difflib.get_close_matches(word, candidates, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known are {', '.join(candidates)}"


LESS_MEMORY = ("choose a smaller size", "use smaller tiles (--tile-size)")
"""What helps wherever memory ran out."""


def out_of_memory(where: str = "", *, remedies: Sequence[str] = LESS_MEMORY) -> ResourceError:
    """The error for memory that ran out; closing other programs helps besides the remedies."""
    *others, last = "close other programs", *remedies
    return ResourceError(f"out of memory{f' {where}' if where else ''}; {', '.join(others)} or {last}")
