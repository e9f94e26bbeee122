"""What `hires-nst styles` does, as a function."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hires_nst.errors import InputError
from hires_nst.gallery.paintings import GalleryPainting, paintings
from hires_nst.gallery.search import advice, matching


def list(words: str = "", *, gallery: Path | str | Iterable[Path | str] = ()) -> tuple[GalleryPainting, ...]:
    """The paintings that can be named by words, in the style of which `stylize` paints.

    Args:
        words: only those that have all of these words, in any order, in their name, painter, title, year or tags.
        gallery: folders of paintings of your own, which come first.

    Raises:
        InputError: no painting has these words, or a folder cannot be read. ConfigError: a gallery.yaml is not valid.
    """
    folders = [gallery] if isinstance(gallery, (Path, str)) else gallery
    known = paintings(map(Path, folders))
    found = matching(words, known) if words.strip() else known
    if not found:
        raise InputError(f"no painting of the gallery is called {words!r}; {advice(words, known)}")
    return tuple(found)
