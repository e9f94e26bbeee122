"""The natural order of file names, and the names of pictures from a template."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from hires_nst.batch.paths import STATE_FOLDER
from hires_nst.errors import ConfigError, nearest
from hires_nst.imageio.formats import SUFFIXES, WRITTEN

FIELDS = ("content", "style", "index", "parent", "width", "height", "preset")
REPORT_FILES = "report-files"
"""The folder of the pictures that a report shows, beside its page."""

LONGEST_NAME = 255 - len(".0123456789abcdef.part")
"""Bytes of a file's name, less what a temporary name adds, which file systems must allow too."""


def natural(path: str) -> tuple[tuple[tuple[str | int, ...], ...], str]:
    """A key that sorts as people do: folder by folder, numbers by value, capitals beside small letters.

    Two different paths never have the same key.
    """
    return tuple(_pieces(part) for part in path.split("/")), path


def _pieces(text: str) -> tuple[str | int, ...]:
    """Text and numbers in turn, beginning and ending with text."""
    pieces = re.split("([0-9]+)", text)
    return tuple(int(piece) if position % 2 else piece.casefold() for position, piece in enumerate(pieces))


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
        if spec and name not in ("index", "width", "height"):
            raise ConfigError(f"the template {template!r}: only index, width and height are numbers with a format")
    if not template.lower().endswith(tuple(WRITTEN)):
        raise ConfigError(f"the template {template!r} must end in one of {SUFFIXES}")
    return frozenset(names)


def output_name(template: str, values: Mapping[str, str | int], *, folder: str = "") -> str:
    """The picture's path relative to the output folder, in POSIX form, inside the mirrored `folder`.

    Raises:
        ConfigError: as `fields_of`; or the name leaves the output folder, is hidden, or is too long.
    """
    fields_of(template)
    rendered = template.format_map(values)
    path = PurePosixPath(folder) / rendered
    if rendered.startswith("/") or "\0" in rendered or "\\" in template or ".." in path.parts:
        raise ConfigError(f"the name {rendered!r} leaves the output folder; write a template without .. in it")
    hidden = [part for part in PurePosixPath(rendered).parts if part.startswith(".")]
    if hidden or STATE_FOLDER in path.parts or rendered.endswith("/"):
        raise ConfigError(f"the name {rendered!r} would be a hidden file; do not start a name in --template with a dot")
    for part in path.parts:
        if len(part.encode("utf-8", "surrogateescape")) > LONGEST_NAME:
            raise ConfigError(f"the name {part!r} is too long; write a shorter template")
    return path.as_posix()


def check_collisions(named: Iterable[tuple[str, str]]) -> None:
    """Raise ConfigError unless all outputs differ; `named` has each output and its source.

    Names that differ only in capitals or in the form of their accents count as the same, as on some systems.
    """
    seen: dict[str, tuple[str, str]] = {}
    for output, source in named:
        key = _folded(output)
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
                raise ConfigError(f"{seen[folder.as_posix()][0]} would be both a picture and a folder for {output}")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
