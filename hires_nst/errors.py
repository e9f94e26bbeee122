"""The errors of the program: subclasses of one base class, each with its exit code.

A message is one sentence that says what is wrong and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path


class HiresNstError(Exception):
    """Base class of the errors of this package.

    Attributes:
        exit_code: of the command that it ends.
        may_pass: whether the same may succeed later, such as when memory is free again; a batch retries it.
    """

    exit_code: int = 1
    may_pass: bool = True


class ConfigError(HiresNstError):
    """The configuration or the command line is not valid."""

    exit_code = 2
    may_pass = False


class InputError(HiresNstError):
    """An input file cannot be read."""

    exit_code = 3
    may_pass = False


class OutputError(HiresNstError):
    """An output file cannot be written."""

    exit_code = 2


class ResourceError(HiresNstError):
    """There is not enough memory or disk space."""

    exit_code = 4


class DiskFull(ResourceError):
    """No space is left on the disk of `path`."""

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.path = path


class WeightsError(HiresNstError):
    """A network's weights are missing, damaged or of another network."""

    exit_code = 5
    may_pass = False


class DamagedFile(InputError):
    """A file of a run directory was changed or damaged."""

    may_pass = True


class RunBusy(HiresNstError):
    """Another process works in the run directory."""


class Interrupted(HiresNstError):
    """A run was stopped and can be resumed; `exit_code` is that of the signal that stopped it."""

    exit_code = 130

    def __init__(self, message: str, *, exit_code: int = 130) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def is_folder(path: Path) -> InputError:
    """The error about a folder where a picture is expected."""
    return InputError(f"{path} is a folder; give the picture file itself")


def nearest(word: str, candidates: Iterable[str]) -> str:
    """The end of an error message about an unknown word: the nearest candidate, or all if none is near."""
    candidates = list(candidates)
    return suggestion(word, candidates) or f"; known are {', '.join(candidates)}"


def suggestion(word: str, candidates: Iterable[str]) -> str:
    """The end of an error message about an unknown word: the nearest candidate; empty if none is near."""
    close = difflib.get_close_matches(word, list(candidates), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


LESS_MEMORY = ("choose a smaller size", "use smaller tiles (--tile-size)")


def out_of_memory(where: str = "", *, remedies: Sequence[str] = LESS_MEMORY) -> ResourceError:
    """The error when memory runs out, whose message names the remedies, and to close other programs."""
    *others, last = "close other programs", *remedies
    return ResourceError(f"out of memory{f' {where}' if where else ''}; {', '.join(others)} or {last}")
