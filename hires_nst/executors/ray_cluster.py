"""The connection to a Ray cluster. Needs `pip install hires-nst[cluster]`. Does not import torch."""

from __future__ import annotations

import importlib
import re
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hires_nst.errors import ConfigError

REACH_SECONDS = 10.0
"""The most that the head of a cluster may take to answer."""


@dataclass(frozen=True)
class RayCluster:
    """A connection to a cluster.

    Attributes:
        ray: the module.
        started: whether this process was not connected before, and has to leave the cluster at the end.
    """

    ray: Any
    started: bool

    def gpus_for(self, wanted: float | None) -> float:
        """The GPUs for a worker: as wanted, or one where the cluster has any."""
        if wanted is not None:
            return wanted
        return 1.0 if self.ray.cluster_resources().get("GPU", 0) else 0.0

    def room(self, needs: Mapping[str, float]) -> int:
        """How many workers with these needs the cluster can hold now; at least one, which then waits for resources."""
        found = self.ray.cluster_resources()
        return max(1, min(int(found.get(name, 0) // need) for name, need in needs.items()))

    def leave(self) -> None:
        """Disconnect, if this process was not connected before."""
        if self.started:
            self.ray.shutdown()


def connect(address: str | None) -> RayCluster:
    """Connect to a cluster, or start one on this machine.

    Args:
        address: of the cluster's head, or `auto` for the one that runs here; without it, one is started.

    Raises:
        ConfigError: Ray is not installed, or the cluster cannot be reached.
    """
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError:
        raise ConfigError("Ray is not installed; install it with `pip install 'hires-nst[cluster]'`") from None
    if ray.is_initialized():
        return RayCluster(ray, started=False)
    check_reachable(address)
    try:
        with _own_signals():
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(f"there is no Ray cluster at {address}: {error}; start it, or check --address") from None
    return RayCluster(ray, started=True)


@contextmanager
def _own_signals() -> Iterator[None]:
    """Restore this process's handlers of termination signals after the block, in which Ray sets its own."""
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():  # in other threads none may be set
            for kind, handler in before.items():
                if handler is not None:
                    signal.signal(kind, handler)


def check_reachable(address: str | None) -> None:
    """Raise ConfigError unless something listens at an address such as `10.0.0.7:6379`: Ray would try for minutes."""
    match = re.fullmatch(r"(?:ray://)?([^:/]+):([0-9]{1,5})", address or "")
    if match is None:
        return
    try:
        socket.create_connection((match[1], int(match[2])), timeout=REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"there is no Ray cluster at {address} ({error}); start its head, or check its address"
        ) from None
