"""Messages between processes: any object as a few buffers, in which tensors are not copied where that can be avoided.

A tensor arrives on the CPU with the same bits and the same layout in memory, on which the order of sums depends.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor

from hires_nst.transfer.moments import Statistics
from hires_nst.transfer.tasks import SentObjective, Task
from hires_nst.transfer.terms import WholeImage

Packed = list[Any]
"""A pickle, and the buffers that belong to it."""


@dataclass(frozen=True)
class StartLevel:
    """To a worker: the objective of the tasks that follow."""

    objective: SentObjective


@dataclass(frozen=True)
class StartRound:
    """To a worker: the whole image at the start of the round of the tasks that follow."""

    statistics: dict[str, Statistics] | None
    transports: dict[str, Statistics]

    @staticmethod
    def of(start: WholeImage | None) -> StartRound:
        """That of a round; None for one without."""
        if start is None:
            return StartRound(None, {})
        return StartRound(dict(start.statistics), dict(start.transports))

    def on(self, device: torch.device) -> WholeImage | None:
        """The same on a device."""
        if self.statistics is None:
            return None
        statistics, transports = (
            {layer: one.to(device) for layer, one in found.items()} for found in (self.statistics, self.transports)
        )
        return WholeImage(statistics, transports)


@dataclass(frozen=True)
class Job:
    """To a worker: a task, and a number for its messages."""

    number: int
    task: Task


@dataclass(frozen=True)
class Ready:
    """From a worker: it may be given work."""


@dataclass(frozen=True)
class Alive:
    """From a worker: its process has not stopped."""


@dataclass(frozen=True)
class Step:
    """From a worker: a step of a job."""

    number: int
    step: int
    loss: float


@dataclass(frozen=True, kw_only=True)
class Done:
    """From a worker: a job's result, and the keys of the activations that it keeps since."""

    number: int
    result: Any
    seconds: float
    kept: frozenset[Any] = frozenset()


@dataclass(frozen=True)
class OutOfMemory:
    """From a worker: the memory for a job ran out."""

    number: int
    reason: str


@dataclass(frozen=True)
class Lost:
    """About a worker: it can do no more work."""

    reason: str


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is not Tensor:
            return NotImplemented
        tensor = obj.detach().cpu()
        if not tensor.is_contiguous() and not torch.ops.aten.is_non_overlapping_and_dense(tensor):
            tensor = tensor.contiguous()
        flat = tensor.as_strided((tensor.numel(),), (1,))
        values = pickle.PickleBuffer(_memory(flat.view(torch.uint8)))
        return _tensor, (values, (tensor.dtype, tuple(tensor.shape), tensor.stride()))


def _tensor(values: Any, layout: tuple[torch.dtype, tuple[int, ...], tuple[int, ...]]) -> Tensor:
    dtype, shape, stride = layout
    memory = memoryview(values)
    if not memory.nbytes:
        return torch.empty(shape, dtype=dtype)
    if memory.readonly:
        own = _empty(memory.nbytes)
        own[:] = memory
        memory = own
    return torch.frombuffer(memory, dtype=torch.uint8).view(dtype).as_strided(shape, stride)


def _empty(size: int) -> memoryview:
    """Memory that is aligned as torch has it."""
    return _memory(torch.empty(size, dtype=torch.uint8))


def _memory(values: Tensor) -> memoryview:
    """The memory of bytes in a row."""
    array: Any = values.numpy()
    return memoryview(array)


def packed(message: Any) -> Packed:
    """A message as buffers."""
    file, buffers = io.BytesIO(), list[pickle.PickleBuffer]()
    _Pickler(file, protocol=5, buffer_callback=buffers.append).dump(message)
    return [file.getvalue(), *(buffer.raw() for buffer in buffers)]


def unpacked(buffers: Sequence[Any]) -> Any:
    """The message of `packed`; it may refer to the buffers."""
    return pickle.loads(buffers[0], buffers=buffers[1:])


def size_of(buffers: Packed) -> int:
    """Bytes that travel."""
    return sum(memoryview(buffer).nbytes for buffer in buffers)


def send(connection: Connection, message: Any) -> None:
    """Send a message; OSError where the other end is gone."""
    first, *others = packed(message)
    connection.send((first, [memoryview(buffer).nbytes for buffer in others]))
    for buffer in others:
        connection.send_bytes(buffer)


def receive(connection: Connection) -> Any:
    """The next message; EOFError or OSError where the other end is gone."""
    first, sizes = connection.recv()
    buffers = []
    for size in sizes:
        buffers.append(_empty(size))
        connection.recv_bytes_into(buffers[-1]) if size else connection.recv_bytes()
    return unpacked([first, *buffers])


Send = Callable[[Any], None]
MakeMessage = Callable[[], Any]
"""Makes a message when it is its turn, maybe in another thread."""
