"""Activations that do not change, kept while there is room for them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping

from torch import Tensor

Activations = Mapping[str, Tensor]
"""By layer."""

KEPT_SHARE = 10
"""The content image's activations take at most this part of the memory to use."""


class KeptActivations:
    """Activations by key, up to `most` bytes of them; those that do not fit any more are made again each time."""

    def __init__(self, most: int) -> None:
        self._room = most
        self._kept: dict[Hashable, Activations] = {}

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def get(self, key: Hashable, make: Callable[[], Activations]) -> Activations:
        """The activations of a key, made if necessary. `make` must always give the same for the same key."""
        if key in self._kept:
            return self._kept[key]
        made = make()
        size = sum(tensor.nbytes for tensor in made.values())
        if size <= self._room:
            self._room -= size
            self._kept[key] = made
        return made
