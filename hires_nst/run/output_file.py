"""The file of the result where its name is left open: made from those of the photograph and of the paintings."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

LONGEST_NAME = 255 - len(".0123456789abcdef.part")
"""Bytes of a file's name, less what the name of its temporary file adds."""

SUFFIX = ".png"


def default_output(content: Path, styles: Sequence[Path]) -> Path:
    """The result's file where none is given: beside the photograph, or in the current folder if that is not writable.

    It is `photo-painting.png` for `photo.jpg` and `painting.jpg`; the names of several paintings are joined by `+`.
    """
    folder = content.parent
    return (folder if os.access(folder, os.W_OK | os.X_OK) else Path()) / _name(content, styles)


def output_file(output: Path | str, content: Path, *, styles: Sequence[Path]) -> Path:
    """The result's file: `output` itself, or a file in it if it is a folder, named as in `default_output`."""
    return Path(output) / _name(content, styles) if names_folder(output) else Path(output)


def names_folder(output: Path | str | None) -> bool:
    """Whether an output is a folder, or is to become one: text that ends with a separator."""
    if output is None:
        return False
    if isinstance(output, str) and output.endswith((os.sep, os.altsep or os.sep)):
        return True
    with suppress(OSError):  # a name that is too long, for example, which is refused later
        return Path(output).is_dir()
    return False


def _name(content: Path, styles: Sequence[Path]) -> str:
    stem = f"{content.stem}-{'+'.join(style.stem for style in styles) or 'painted'}"
    most, encoded = LONGEST_NAME - len(SUFFIX), os.fsencode(stem)
    return (stem if len(encoded) <= most else encoded[:most].decode(errors="ignore")) + SUFFIX
