"""What several runs in one process may share: loaded networks, style statistics and the digests of files."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar

from hires_nst.backbones.network import Network
from hires_nst.files import FileDigests
from hires_nst.transfer.moments import Statistics

MOST_NETWORKS = 2
MOST_STATISTICS = 64
"""Levels whose statistics are stored; with VGG-19 each takes a few megabytes."""

Value = TypeVar("Value")


class Cache:
    """The objects that were used last. A run with a shared cache paints the same picture as without, only sooner.

    The objects must not be changed; `digests` are those of the files that were read.
    """

    def __init__(self, digests: FileDigests | None = None) -> None:
        self.digests = digests or FileDigests()
        self._networks: OrderedDict[Hashable, Network] = OrderedDict()
        self._statistics: OrderedDict[Hashable, dict[str, Statistics]] = OrderedDict()

    def network(self, key: Hashable, load: Callable[[], Network]) -> Network:
        """The network of that key, loaded if necessary; the key has all that it depends on, its device included."""
        return _recent(self._networks, key, make=load, most=MOST_NETWORKS)

    def statistics(self, key: Hashable, measure: Callable[[], dict[str, Statistics]]) -> dict[str, Statistics]:
        """The statistics of that key, by layer, measured if necessary."""
        return _recent(self._statistics, key, make=measure, most=MOST_STATISTICS)


def _recent(entries: OrderedDict[Hashable, Value], key: Hashable, *, make: Callable[[], Value], most: int) -> Value:
    if key not in entries:
        value = make()
        while len(entries) >= most:
            entries.popitem(last=False)
        entries[key] = value
    entries.move_to_end(key)
    return entries[key]
