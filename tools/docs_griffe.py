"""An extension of Griffe, which reads docstrings for the documentation: `width, height: pixels` are two attributes."""

from __future__ import annotations

import re
from typing import Any

import griffe

SHARED = re.compile(r"^( +)((?:\w+, )+\w+): (.*(?:\n\1 +\S.*)*)$", re.MULTILINE)


def apart(text: str) -> str:
    """A docstring in which every parameter or attribute has an entry of its own."""

    def entries(found: re.Match[str]) -> str:
        return "\n".join(f"{found[1]}{name}: {found[3]}" for name in found[2].split(", "))

    return SHARED.sub(entries, text)


class SharedEntries(griffe.Extension):
    """Applies `apart` to every docstring."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Change the docstring before it is parsed."""
        if obj.docstring is not None:
            obj.docstring.value = apart(obj.docstring.value)
