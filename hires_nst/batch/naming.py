"""The numbers and the names of a batch's pictures, which are given once and kept.

A job is a photograph in a style, whatever its place in the selection. Its number and its name stay the same when other
photographs come or go, and when its own file is renamed or moved.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import count, product
from pathlib import Path
from typing import Literal

from hires_nst.batch.job import Choice, Job
from hires_nst.batch.known_files import KnownFile, identify, place_of
from hires_nst.batch.names import check_collisions, fields_of, folded, numbered, output_name, spellings
from hires_nst.files import FileDigests

SPELLINGS = sorted(product(range(4), repeat=2), key=lambda pair: (pair.count(0) == 0, sum(pair)))
"""How photograph and painting may be spelled in a name, the plainest first."""

MOST_NOTES = 3
"""Photographs that are named in notes; a folder that was moved has thousands."""

Role = Literal["photograph", "painting"]
Files = tuple[int, tuple[int, ...]]
Key = tuple[int, str]
"""A job's number and the template of its name, without what is the same for all jobs."""


@dataclass(frozen=True)
class Subject:
    """What a number stands for: a photograph in a style, by their numbers among the files.

    `variant` tells apart jobs of a configuration that differ in nothing but their own settings.
    """

    photograph: int
    styles: tuple[int, ...]
    variant: str

    @property
    def files(self) -> Files:
        """The photograph and the paintings."""
        return self.photograph, self.styles


@dataclass(kw_only=True)
class Register:
    """What was numbered and named in a batch so far.

    Attributes:
        files: the photographs and the paintings by their numbers.
        subjects: the jobs by their numbers, the {index} of their names.
        names: the picture's path by the job's number and the template.
        taken: every name that is in use, folded.
    """

    files: dict[Role, dict[int, KnownFile]] = field(default_factory=lambda: {"photograph": {}, "painting": {}})
    subjects: dict[int, Subject] = field(default_factory=dict)
    names: dict[tuple[int, str], str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def copy(self) -> Register:
        """The register as it is now."""
        files = {role: {**files} for role, files in self.files.items()}
        return Register(files=files, subjects={**self.subjects}, names={**self.names}, taken={*self.taken})

    def files_of(self, number: int) -> tuple[Path, ...] | None:
        """The photograph and the paintings of a job; None where another file has taken the place of one."""
        subject = self.subjects[number]
        photographs, paintings = self.files["photograph"], self.files["painting"]
        files = photographs[subject.photograph], *(paintings[style] for style in subject.styles)
        paths = tuple(file.path for file in files if file.path is not None)
        return paths if len(paths) == len(files) else None


@dataclass(frozen=True, kw_only=True)
class Named:
    """Choices with their names.

    Attributes:
        jobs: one for each choice, without those that were chosen twice.
        moved: the ids of those whose photograph or painting was renamed or moved.
        notes: what the user should know about their names.
    """

    jobs: tuple[Job, ...]
    moved: frozenset[str]
    notes: tuple[str, ...]


def name_jobs(choices: Sequence[Choice], register: Register, *, digests: FileDigests) -> Named:
    """Number and name the choices; `register` is brought up to date.

    Raises:
        ConfigError: two of them have the same name, because the template lacks a field.
    """
    subjects, changed_places = _subjects(choices, register, digests=digests)
    numbers = _numbers(subjects, register.subjects)
    chosen = {(number, choice.template): choice for number, choice in zip(numbers, choices, strict=True)}
    kept = {key: register.names[key] for key in chosen if key in register.names}
    outputs = _outputs(chosen, register)
    check_collisions((outputs[key], str(choice.content)) for key, choice in chosen.items())
    jobs = {
        key: Job(index=key[0], content=choice.content, output=outputs[key], config=choice.config)
        for key, choice in chosen.items()
    }
    moved = {key for key in chosen if register.subjects[key[0]] in changed_places}
    other = [key for key in moved & kept.keys() if kept[key] != _name(chosen[key], key[0])]
    notes = [
        f"{chosen[key].content} was renamed or moved since it was chosen first; its picture keeps the name {kept[key]}"
        for key in other[:MOST_NOTES]
    ]
    if len(other) > MOST_NOTES:
        notes.append(f"so do the pictures of {len(other) - MOST_NOTES} other photographs")
    return Named(jobs=tuple(jobs.values()), moved=frozenset(jobs[key].id for key in moved), notes=tuple(notes))


def _subjects(
    choices: Sequence[Choice], register: Register, *, digests: FileDigests
) -> tuple[list[Subject], frozenset[Subject]]:
    """What the choices are of, and those of them of which a file was renamed or moved."""
    places = {path: place_of(path) for choice in choices for path in (choice.content, *choice.styles)}
    moved: list[set[int]] = []

    def numbers(role: Role, paths: Iterable[Path]) -> dict[Path, int]:
        files = register.files[role]
        before = {number: file.path for number, file in files.items()}
        paths = list(paths)
        found = identify([places[path] for path in paths], files, digests=digests)
        moved.append({number for place, number in found.items() if before.get(number, place) != place})
        return {path: found[places[path]] for path in paths}

    photographs = numbers("photograph", (choice.content for choice in choices))
    paintings = numbers("painting", (path for choice in choices for path in choice.styles))
    subjects = [
        Subject(photographs[choice.content], tuple(paintings[path] for path in choice.styles), choice.variant)
        for choice in choices
    ]
    changed = {s for s in subjects if s.photograph in moved[0] or not moved[1].isdisjoint(s.styles)}
    return subjects, frozenset(changed)


def _numbers(wanted: Sequence[Subject], subjects: dict[int, Subject]) -> list[int]:
    """The number of each job; new ones get the next free numbers, and are added to `subjects`.

    A job with settings of its own that are new takes the number of one of the same files that is no longer wanted.
    """
    variants: dict[Files, set[str]] = defaultdict(set)
    for subject in wanted:
        variants[subject.files].add(subject.variant)
    known: dict[Subject, int] = {}
    spare: dict[Files, list[int]] = defaultdict(list)
    for number, subject in sorted(subjects.items()):
        if subject.variant in variants.get(subject.files, ()):
            known[subject] = number
        else:
            spare[subject.files].append(number)
    unused = count(max(subjects, default=0) + 1)
    for subject in wanted:
        if subject not in known:
            old = spare[subject.files]
            known[subject] = old.pop(0) if old else next(unused)
            subjects[known[subject]] = subject
    return [known[subject] for subject in wanted]


def _outputs(chosen: Mapping[Key, Choice], register: Register) -> dict[Key, str]:
    """The name of each picture; new names are added to `register`."""
    outputs: dict[Key, str] = {}
    alike: dict[str, list[Key]] = defaultdict(list)
    for key, choice in chosen.items():
        if not fields_of(choice.template):  # a name that the user has written out
            outputs[key] = _name(choice, key[0])
        elif key in register.names:
            outputs[key] = register.names[key]
        else:
            alike[folded(_name(choice, key[0]))].append(key)
    register.taken.update(map(folded, outputs.values()))
    holders = {folded(name): number for (number, _), name in register.names.items()}
    for plain, keys in sorted(alike.items(), key=lambda item: len(item[1])):
        names = _distinct({key: chosen[key] for key in keys}, register, holder=holders.get(plain))
        outputs |= names
        register.names |= names
        register.taken.update(map(folded, names.values()))
    return outputs


def _distinct(alike: Mapping[Key, Choice], register: Register, *, holder: int | None) -> dict[Key, str]:
    """Free and different names for jobs whose plain names are the same, as maybe that of the job with number `holder`.

    The suffix or the folder of the photograph or of the painting goes into the name; a number does where that does not
    help.

    Raises:
        ConfigError: the template lacks the field in which they differ.
    """
    fields = fields_of(next(iter(alike.values())).template)
    old = None if holder is None else register.files_of(holder)
    for content, style in SPELLINGS:
        names = {key: _name(choice, key[0], content=content, style=style) for key, choice in alike.items()}
        different = {folded(name) for name in names.values()}
        if old is not None and any(
            _told_apart(old, content=content, style=style, by=fields)
            == _told_apart((choice.content, *choice.styles), content=content, style=style, by=fields)
            for choice in alike.values()
        ):
            continue
        if len(different) == len(names) and not different & register.taken:
            return names
    plain = {key: _name(choice, key[0]) for key, choice in alike.items()}
    if ("content" not in fields and len({choice.content for choice in alike.values()}) > 1) or (
        "style" not in fields and len({choice.styles for choice in alike.values()}) > 1
    ):
        check_collisions((plain[key], str(choice.content)) for key, choice in alike.items())
    taken = set(register.taken)
    for key, name in plain.items():
        plain[key] = next(other for other in numbered(name) if folded(other) not in taken)
        taken.add(folded(plain[key]))
    return plain


def _told_apart(files: Sequence[Path], *, content: int, style: int, by: Set[str]) -> list[str]:
    """How the photograph and the paintings are spelled in a name whose template has these fields."""
    photograph, *paintings = files
    told = [spellings(photograph)[content]] if "content" in by else []
    return told + [spellings(path)[style] for path in paintings if "style" in by]


def _name(choice: Choice, number: int, *, content: int = 0, style: int = 0) -> str:
    """The name by the template, with photograph and painting spelled as in `spellings`."""
    values: dict[str, str | int] = {
        "content": spellings(choice.content)[content],
        "style": "+".join(spellings(path)[style] for path in choice.styles) or "none",
        "parent": choice.content.parent.name,
        "index": number,
    }
    return output_name(choice.template, values, folder=choice.folder)
