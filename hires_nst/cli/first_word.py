"""`hires-nst photo.jpg painting.jpg` without the name of a command, which means `stylize`."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import PurePath

from hires_nst.files import url_of
from hires_nst.imageio.recognition import is_named_like_a_picture

COMMAND = "stylize"


def with_command(words: Sequence[str], *, commands: Collection[str], options: Collection[str]) -> list[str]:
    """The words after the program's name, with `stylize` in front where they begin with a picture or its options.

    Args:
        commands, options: of the program itself; what begins with one of them stays as it is.
    """
    first = words[0] if words else ""
    if not first or first in commands or first.partition("=")[0] in options:
        return list(words)
    candidates = [first] if not first.startswith("-") else [] if {*commands} & {*words} else words[1:]
    return [COMMAND, *words] if any(map(_is_picture, candidates)) else list(words)


def _is_picture(word: str) -> bool:
    """Whether a word is a file or folder that exists, is named like a picture, or is a URL."""
    named = is_named_like_a_picture(PurePath(word)) or url_of(word) is not None
    return named or (not word.startswith("-") and os.access(word, os.F_OK))
