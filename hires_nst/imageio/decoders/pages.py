"""Which page of a TIFF file is its picture."""

from __future__ import annotations

from contextlib import suppress

import tifffile

_REDUCED, _MASK, _DEPTH = 1, 4, 8
_MOST_PAGES = 256
"""The tags of so many pages are read at most."""


def choose_page(tiff: tifffile.TiffFile) -> tuple[tifffile.TiffPage, tuple[str, ...]]:
    """The page with the picture in full resolution, and notes: of the pages of a document the first one.

    Passed over are pages that NewSubfileType calls reduced, masks or depth maps, wherever they stand, for pages inside
    them (SubIFDs) too; and smaller copies in front of a page of the same shape that has twice their sides or more.
    """
    pages = [page for page in tiff.pages[:_MOST_PAGES] if isinstance(page, tifffile.TiffPage)]
    full = [max(_family(page), key=_area) for page in pages if not _is_marked(page)]
    if not full:
        return max((member for page in pages for member in _family(page)), key=_area), ()
    best = full[0]
    for page in full[1:]:
        best = page if _is_smaller_copy(best, page) else best
    others = [page for page in full if page is not best and not _is_smaller_copy(page, best)]
    if not others:
        return best, ()
    count = len(others) + 1 if len(tiff.pages) <= _MOST_PAGES else len(tiff.pages)
    which = "the first one" if best is full[0] else "the largest one"
    return best, (f"the file holds {count} pages; {which} was used",)


def _family(page: tifffile.TiffPage) -> list[tifffile.TiffPage]:
    """A page, and the pages inside it that are no previews, masks or depth maps."""
    inside: list[tifffile.TiffPage] = []
    with suppress(Exception):  # whatever tifffile raises over damaged SubIFDs, which do not hold the picture
        inside = [sub for sub in page.pages or () if isinstance(sub, tifffile.TiffPage) and not _is_marked(sub)]
    return [page, *inside]


def _is_marked(page: tifffile.TiffPage) -> bool:
    kind: object = page.subfiletype
    return isinstance(kind, int) and bool(kind & (_REDUCED | _MASK | _DEPTH))


def _area(page: tifffile.TiffPage) -> int:
    return page.imagewidth * page.imagelength


def _is_smaller_copy(page: tifffile.TiffPage, large: tifffile.TiffPage) -> bool:
    """Whether a page has the shape of a larger one, and half its sides or less, up to rounding."""
    height = page.imagewidth * large.imagelength / max(1, large.imagewidth)
    half = 2 * page.imagewidth <= large.imagewidth + 1 and page.imagewidth < large.imagewidth
    return half and abs(page.imagelength - height) <= 1 + 0.02 * height
