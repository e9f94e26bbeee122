"""What several runs in one process may share: loaded networks, and the statistics of paintings."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TypeVar

from hires_nst.backbones.vgg import VGG
from hires_nst.files import sha256_of
from hires_nst.transfer.moments import Statistics

MOST_NETWORKS = 2
MOST_STATISTICS = 64
"""Levels whose statistics are kept; with VGG-19 each takes a few megabytes."""

Value = TypeVar("Value")


class Cache:
    """Keeps what was used last. A run that is given one paints the same picture as without, only sooner.

    Nobody may change what is handed out.
    """

    def __init__(self) -> None:
        self._networks: OrderedDict[Hashable, VGG] = OrderedDict()
        self._statistics: OrderedDict[Hashable, dict[str, Statistics]] = OrderedDict()

    def network(self, key: Hashable, load: Callable[[], VGG]) -> VGG:
        """The network of that key, loaded if need be; the key has all that it depends on, its device included."""
        return _recent(self._networks, key, load, MOST_NETWORKS)

    def statistics(self, key: Hashable, measure: Callable[[], dict[str, Statistics]]) -> dict[str, Statistics]:
        """The statistics of that key, by layer, measured if need be."""
        return _recent(self._statistics, key, measure, MOST_STATISTICS)


def content_key(path: Path | None) -> Hashable:
    """A key that changes with a file's content; None for no file, and for one that cannot be read."""
    if path is None:
        return None
    try:
        return sha256_of(path)
    except OSError:
        return None


def _recent(entries: OrderedDict[Hashable, Value], key: Hashable, make: Callable[[], Value], most: int) -> Value:
    if key not in entries:
        value = make()
        while len(entries) >= most:
            entries.popitem(last=False)
        entries[key] = value
    entries.move_to_end(key)
    return entries[key]
