"""Workers of a pool as actors of a Ray cluster. An actor that is lost with its node is not started again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hires_nst.executors.messages import Lost, MakeMessage, Packed, Ready, packed, unpacked
from hires_nst.executors.ray_cluster import RayCluster
from hires_nst.executors.worker import Setup, TileWorker


class _Actor:
    """A worker, in a process of a node that Ray chooses, with a GPU that Ray chooses."""

    def __init__(self, setup: Packed) -> None:
        self._worker = TileWorker(unpacked(setup))

    def do(self, message: Packed | None) -> list[Packed]:
        """The answers to a message; None asks whether it is ready."""
        if message is None:
            return [_arrays(Ready())]
        answers: list[Packed] = []
        self._worker.do(unpacked(message), lambda answer: answers.append(_arrays(answer)))
        return answers


class RayCrew:
    """A number of actors with the same setup; steps inside a tile are told when the tile is done."""

    def __init__(self, cluster: RayCluster, setup: Setup, *, workers: int, cpus: float, gpus: float) -> None:
        """Start the actors.

        Args:
            cluster: which is left at the end.
            workers: how many.
            cpus, gpus: of a node, for each.
        """
        self._cluster = cluster
        remote = cluster.ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0)(_Actor)
        sent = cluster.ray.put(_arrays(setup))
        self._actors = {number: remote.remote(sent) for number in range(workers)}
        self._answers: dict[Any, int] = {actor.do.remote(None): number for number, actor in self._actors.items()}
        self._numbers = tuple(self._actors)
        self._ended: list[tuple[int, Any]] = []

    @property
    def numbers(self) -> Sequence[int]:
        """See `Crew`."""
        return self._numbers

    def send(self, number: int, make: MakeMessage) -> None:
        """See `Crew`."""
        if number in self._actors:
            self._answers[self._actors[number].do.remote(_arrays(make()))] = number

    def wait(self, seconds: float) -> Sequence[tuple[int, Any]]:
        """See `Crew`."""
        ray, (messages, self._ended) = self._cluster.ray, (self._ended, [])
        if messages:
            return messages
        ready, _ = ray.wait(list(self._answers), num_returns=1, timeout=seconds)
        for reference in ready:
            number = self._answers.pop(reference)
            try:
                answers = [unpacked(answer) for answer in ray.get(reference)]
            except ray.exceptions.RayError as error:
                answers = [Lost(f"lost in the cluster: {str(error).splitlines()[0]}")]
            if any(isinstance(answer, Lost) for answer in answers):
                self._forget(number)
            messages += [(number, answer) for answer in answers]
        return messages

    def end(self, number: int, reason: str) -> None:
        """See `Crew`."""
        if number in self._actors:
            self._forget(number)
            self._ended.append((number, Lost(reason)))

    def close(self) -> None:
        """See `Crew`; the cluster is left."""
        for number in tuple(self._actors):
            self._forget(number)
        self._cluster.leave()

    def _forget(self, number: int) -> None:
        actor = self._actors.pop(number, None)
        if actor is not None:
            self._cluster.ray.kill(actor)
        self._answers = {reference: other for reference, other in self._answers.items() if other != number}


def _arrays(message: Any) -> Packed:
    """A message whose buffers Ray takes without a copy."""
    first, *others = packed(message)
    return [first, *(np.frombuffer(buffer, np.uint8) for buffer in others)]
