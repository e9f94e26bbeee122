"""Which files a batch knows already: by their path, or by their content where they were renamed or moved."""

from __future__ import annotations

import itertools
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path

from hires_nst.files import FileDigests, FileFingerprint


@dataclass(frozen=True)
class KnownFile:
    """A photograph or a painting that was selected once.

    Attributes:
        path: where it was last; None when another file has taken its place.
        mark: as it was when it was last painted; before that as it was when last selected, without its SHA-256.
    """

    path: Path | None
    mark: FileFingerprint


def place_of(path: Path) -> Path:
    """The path by which a batch knows a file: absolute, and the same by whatever links its folder is reached."""
    return Path(os.path.realpath(path.parent), path.name)


def identify(paths: Iterable[Path], files: dict[int, KnownFile], *, digests: FileDigests) -> dict[Path, int]:
    """The numbers in `files` of the files at these paths; `files` is brought up to date.

    A file is first recognised by its path and content; then by its content alone, if the file that had it is gone, or
    is of the same name in another folder and not selected; then by its path alone: it has changed. Only files of the
    size of a missing one are read. No two paths get the same number.
    """
    by_path = {file.path: number for number, file in files.items() if file.path is not None}
    paths = list(dict.fromkeys(paths))
    found = {
        path: by_path[path]
        for path in paths
        if path in by_path and _is_there(path, files[by_path[path]].mark, digests=digests)
    }
    if unsure := [path for path in paths if path not in found]:
        here = set(found.values())
        missing = {number: file for number, file in files.items() if number not in here}
        found |= _by_content(dict.fromkeys(unsure).keys(), missing, digests=digests)
    for path, number in found.items():  # the content is the same
        state = _state(path)
        files[number] = KnownFile(path, replace(files[number].mark, modified=state.modified if state else 0))
    here, unused = set(found.values()), itertools.count(max(files, default=0) + 1)
    for path in unsure:
        before = by_path.get(path)
        if before in here:
            before = None
        if path not in found:
            number = found[path] = next(unused) if before is None else before
            mark = files[number].mark if number in files else FileFingerprint(0, 0, "")
            files[number] = KnownFile(path, mark if mark.sha256 else _state(path) or mark)
        elif before is not None:  # another file has taken its place
            files[before] = replace(files[before], path=None)
    return found


def _by_content(paths: Set[Path], missing: Mapping[int, KnownFile], *, digests: FileDigests) -> dict[Path, int]:
    """Which of the missing files are now at these paths, each at one of them; the surest signs count first."""
    sizes = {file.mark.size for file in missing.values() if file.mark.sha256}
    states = {path: state for path in paths if (state := _state(path)) is not None}
    gone = {
        number: file
        for number, file in missing.items()
        if file.path is None or file.path in paths or not os.path.lexists(file.path)
    }
    found: dict[Path, int] = {}

    def match(known: Mapping[int, KnownFile], sign: Callable[[Path, FileFingerprint], Hashable]) -> None:
        free: dict[Hashable, list[int]] = defaultdict(list)
        taken = set(found.values())
        for number, file in known.items():
            if number not in taken:
                free[sign(file.path or Path(), file.mark)].append(number)
        for path in [path for path in states if path not in found]:
            if free.get(key := sign(path, states[path])):
                found[path] = free[key].pop(0)

    match(gone, lambda path, mark: (path.name, mark.size, mark.modified))
    for path, state in states.items():
        if path not in found and state.size in sizes and (sha256 := _sha256(path, digests)):
            states[path] = replace(state, sha256=sha256)
    painted = {number: file for number, file in missing.items() if file.mark.sha256}
    match(painted, lambda path, mark: (path.name, mark.sha256))
    match({number: file for number, file in gone.items() if number in painted}, lambda path, mark: mark.sha256)
    match(
        {number: file for number, file in gone.items() if number not in painted},
        lambda path, mark: (mark.size, mark.modified),
    )
    return found


def _is_there(path: Path, mark: FileFingerprint, *, digests: FileDigests) -> bool:
    """Whether the file at a path is as it was; it is read only if its time of change differs."""
    state = _state(path)
    if state is None or state.size != mark.size:
        return False
    return state.modified == mark.modified or (mark.sha256 != "" and _sha256(path, digests) == mark.sha256)


def _state(path: Path) -> FileFingerprint | None:
    """The size and the time of change of a file; None where it cannot be looked at."""
    try:
        state = path.stat()
    except (OSError, ValueError):
        return None
    return FileFingerprint(state.st_size, state.st_mtime_ns, "")


def _sha256(path: Path, digests: FileDigests) -> str | None:
    try:
        return digests.fingerprint(path).sha256
    except OSError:
        return None
