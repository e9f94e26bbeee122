"""The names of pictures from a template."""

from __future__ import annotations

import hashlib
import itertools
import re
import string
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path, PurePosixPath

from hires_nst.errors import ConfigError, nearest
from hires_nst.imageio.formats import SUFFIXES, WRITTEN
from hires_nst.quantities import UNPRINTABLE

FIXED = ("width", "height", "preset")
"""Fields whose values do not tell which photograph or style it is."""

NUMBERS = ("index", "width", "height")
FIELDS = ("content", "style", "index", "parent", *FIXED)
REPORT_FILES = "report-files"
"""The folder of the pictures that a report shows, beside its page."""

LONGEST_NAME = 255 - len(".0123456789abcdef.part")
"""Bytes of a file's name, less what a temporary name adds, which file systems must allow too."""

KEPT_END = 64
"""Bytes at the end of a name that is shortened: the painting and the suffix are there."""


@cache
def fields_of(template: str) -> frozenset[str]:
    """The fields that a template names.

    Raises:
        ConfigError: it is not a template, names an unknown field, or does not end in the suffix of a picture.
    """
    try:
        parsed = [(name, spec, conversion) for _, name, spec, conversion in string.Formatter().parse(template)]
    except ValueError as error:
        raise ConfigError(
            f"the template {template!r} cannot be read ({error}); write fields such as {{content}}"
        ) from None
    names = [name for name, _, _ in parsed if name is not None]
    for name, spec, conversion in parsed:
        if name is None:
            continue
        if name not in FIELDS:
            raise ConfigError(f"the template {template!r} has an unknown field {{{name}}}{nearest(name, FIELDS)}")
        if conversion or (spec and not re.fullmatch("0?[0-9]{1,2}d?", spec)):
            raise ConfigError(f"the template {template!r} has an unknown format; write it as in {{index:04}}")
        if spec and name not in NUMBERS:
            raise ConfigError(
                f"the template {template!r}: only index, width and height are numbers with a format; write {{{name}}}"
            )
    if not template.lower().endswith(tuple(WRITTEN)):
        raise ConfigError(f"the template {template!r} must end in one of {SUFFIXES}")
    return frozenset(names)


def filled(template: str, values: Mapping[str, str | int]) -> str:
    """A template with `values` for the fields `FIXED`, and the other fields as they are.

    Raises:
        ConfigError: as `fields_of`.
    """
    fields_of(template)
    result = ""
    for text, name, spec, _ in string.Formatter().parse(template):
        result += _escaped(text)
        if name in FIXED:
            result += _escaped(format(values[name], spec or ""))
        elif name is not None:
            result += f"{{{name}:{spec}}}" if spec else f"{{{name}}}"
    return result


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def spellings(path: Path) -> tuple[str, str, str, str]:
    """How a file may be called in the name of a picture, the plainest first: `a`, `a_jpg`, `trip_a`, `trip_a_jpg`."""
    stem, folder = path.stem, path.parent.name
    whole = f"{stem}_{path.suffix[1:]}" if path.suffix else stem
    return stem, whole, f"{folder}_{stem}", f"{folder}_{whole}"


def output_name(template: str, values: Mapping[str, str | int], *, folder: str = "") -> str:
    """The picture's path relative to the output folder, in POSIX form, inside the mirrored `folder`.

    A value that makes a name too long is shortened; a dot that would hide the picture, and characters that break a line
    or control a terminal, become underscores.

    Raises:
        ConfigError: as `fields_of`; or by the template itself the name leaves the output folder, is hidden, or is too
        long.
    """
    _check_template(template)
    rendered = template.format_map({name: "_" if value == "" else value for name, value in values.items()})
    return PurePosixPath(*map(_sound, PurePosixPath(folder, rendered).parts)).as_posix()


@cache
def _check_template(template: str) -> None:
    """Raise ConfigError where the template itself does not give names."""
    fields_of(template)
    example = template.format_map({name: 1 if name in NUMBERS else "x" for name in FIELDS})
    parts = PurePosixPath(example).parts
    if example.startswith("/") or "\0" in example or "\\" in template or ".." in parts:
        raise ConfigError(f"the name {example!r} leaves the output folder; write a template without .. in it")
    if example.endswith("/") or any(part.startswith(".") for part in parts):
        raise ConfigError(f"the name {example!r} would be a hidden file; do not start a name in --template with a dot")
    for part in parts:
        if len(_encoded(part)) > LONGEST_NAME:
            raise ConfigError(f"the name {part!r} is too long; write a shorter template")


def _sound(part: str) -> str:
    """One part of a path as it may be written everywhere."""
    part = UNPRINTABLE.sub("_", part)
    part = f"_{part[1:]}" if part.startswith(".") else part
    data = _encoded(part)
    if len(data) <= LONGEST_NAME:
        return part
    mark = f"~{hashlib.sha256(data).hexdigest()[:8]}~"
    head = data[: LONGEST_NAME - KEPT_END - len(mark)].decode(errors="ignore")
    return f"{head}{mark}{data[-KEPT_END:].decode(errors='ignore')}"


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def numbered(name: str) -> Iterator[str]:
    """The name, and other ones with numbers: `a.png`, `a_2.png`, `a_3.png`, ..."""
    yield name
    path = PurePosixPath(name)
    for number in itertools.count(2):
        yield path.with_name(_sound(f"{path.stem}_{number}{path.suffix}")).as_posix()


def check_collisions(named: Iterable[tuple[str, str]]) -> None:
    """Raise ConfigError unless all outputs differ; `named` has each output and its source.

    Names that differ only in capitals or in the form of their accents count as the same, as on some systems.
    """
    seen: dict[str, tuple[str, str]] = {}
    for output, source in named:
        key = folded(output)
        if key in seen:
            other, first = seen[key]
            raise ConfigError(
                f"{first} and {source} would both become {output if other == output else f'{other} and {output}'}; "
                "make them differ in --template, with {parent}, {style} or {index}"
            )
        seen[key] = output, source
    for key, (output, _) in seen.items():
        for folder in PurePosixPath(key).parents:
            if folder.as_posix() in seen:
                raise ConfigError(
                    f"{seen[folder.as_posix()][0]} would be both a picture and a folder for {output}; "
                    "give them other names in --template or output:"
                )


def folded(name: str) -> str:
    """The same for names that are the same file on some systems."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
