"""The search for a painting of the gallery by words."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from hires_nst.errors import ConfigError
from hires_nst.gallery.paintings import GalleryPainting, words_of

MOST_NAMED = 6
"""Paintings that a message names."""

LEAST_LIKENESS = 0.7
"""Of a word that was mistyped, see `difflib.SequenceMatcher.ratio`."""


def matching(text: str, paintings: Sequence[GalleryPainting]) -> list[GalleryPainting]:
    """The paintings that have all words of a text, whatever their order, capitals and accents.

    Those whose name has no other words come alone; else, where no painting has them all, words may be the beginnings of
    longer ones.
    """
    wanted = words_of(text)
    if not wanted:
        return []
    return (
        [painting for painting in paintings if words_of(painting.name) == wanted]
        or [painting for painting in paintings if wanted <= painting.words]
        or [painting for painting in paintings if all(_begins(word, painting) for word in wanted)]
    )


def the_one(text: str, paintings: Sequence[GalleryPainting]) -> GalleryPainting | None:
    """The painting that has all words of a text; None where there is none.

    Raises:
        ConfigError: there are several.
    """
    found = matching(text, paintings)
    if len(found) > 1:
        raise ConfigError(f"several paintings of the gallery are called {text!r}: {_listed(found)}; add a word")
    return found[0] if found else None


def advice(text: str, paintings: Sequence[GalleryPainting]) -> str:
    """The end of a message about words that no painting has: the nearest paintings, or where all of them are shown."""
    near = near_misses(text, paintings)
    return f"did you mean {_listed(near, last='or')}?" if near else "`hires-nst styles list` shows what there is"


def near_misses(text: str, paintings: Sequence[GalleryPainting]) -> list[GalleryPainting]:
    """The paintings that have the most of the words of a text, or words like them; at least half of them."""
    wanted = words_of(text)
    scores = [sum(_begins(word, one) or _is_near(word, one) for word in wanted) for one in paintings]
    best = max(scores, default=0)
    if best == 0 or 2 * best < len(wanted):
        return []
    return [painting for painting, score in zip(paintings, scores, strict=True) if score == best]


def _begins(word: str, painting: GalleryPainting) -> bool:
    return any(own.startswith(word) for own in painting.words)


def _is_near(word: str, painting: GalleryPainting) -> bool:
    return bool(difflib.get_close_matches(word, painting.words, n=1, cutoff=LEAST_LIKENESS))


def _listed(paintings: Sequence[GalleryPainting], last: str = "and") -> str:
    names = [repr(painting.name) for painting in paintings]
    if len(names) > MOST_NAMED:
        return f"{', '.join(names[:MOST_NAMED])} {last} {len(names) - MOST_NAMED} others"
    return f" {last} ".join(filter(None, (", ".join(names[:-1]), names[-1])))
