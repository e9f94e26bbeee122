"""A worker: a process with the network on a device, which does the tasks that it is sent."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch

from hires_nst.backbones.network import Network
from hires_nst.executors.messages import Done, Job, Lost, OutOfMemory, Send, StartLevel, StartRound, Step
from hires_nst.transfer.allocator import keep_freed_memory
from hires_nst.transfer.device import (
    choose_device,
    free_memory,
    is_out_of_memory,
    release_memory,
    set_determinism,
    set_threads,
)
from hires_nst.transfer.extractor import Extractor
from hires_nst.transfer.kept import KEPT_SHARE, KeptActivations
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.tasks import PartsTask, TileTask
from hires_nst.transfer.terms import WholeImage


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a worker starts with.

    Attributes:
        network: in its precision, on the CPU.
        device: the name of its own.
        dtype, cuda_graphs: see `Extractor`.
        threads: of the processor; None for torch's default.
        sharing: workers that share the memory of the device.
    """

    network: Network
    device: str
    dtype: torch.dtype
    deterministic: bool
    cuda_graphs: bool = False
    threads: int | None = None
    sharing: int = 1


class TileWorker:
    """Does one message after the other, and answers with messages."""

    def __init__(self, setup: Setup) -> None:
        keep_freed_memory()
        if setup.threads is not None:
            set_threads(setup.threads)
        device = choose_device(setup.device)
        set_determinism(device, deterministic=setup.deterministic)
        self._sharing = setup.sharing
        self._extract = Extractor(
            setup.network.to(device), device=device, dtype=setup.dtype, cuda_graphs=setup.cuda_graphs
        )
        self._objective: Objective | None = None
        self._start: WholeImage | None = None

    def do(self, message: Any, send: Send) -> bool:
        """Do what a message says, and answer it; whether this worker can go on afterwards."""
        try:
            if isinstance(message, StartLevel):
                self._objective = None  # first: what it keeps makes room
                room = free_memory(self._extract.device) // KEPT_SHARE // self._sharing
                self._objective = message.objective.objective(self._extract, KeptActivations(room))
            elif isinstance(message, StartRound):
                self._start = message.on(self._extract.device)
            elif isinstance(message, Job):
                self._do_job(message, send)
        except Exception as error:
            send(Lost(f"{type(error).__name__}: {error}"))
            return False
        return True

    def _do_job(self, job: Job, send: Send) -> None:
        assert self._objective is not None
        began, ran_out = time.monotonic(), None
        try:
            result = job.task.do(
                self._objective, start=self._start, on_step=lambda step, loss: send(Step(job.number, step, loss))
            )
            kept = frozenset(key for key in _content_keys(job.task) if self._objective.keeps(key))
            send(Done(number=job.number, result=result, seconds=time.monotonic() - began, kept=kept))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            ran_out = str(error)
        if ran_out is not None:  # by now the error and its tensors are released
            release_memory()
            send(OutOfMemory(job.number, ran_out))


def _content_keys(task: Any) -> tuple[Any, ...]:
    if isinstance(task, PartsTask):
        return tuple(key for part in task.parts for key in _content_keys(part))
    return (task.content_key,) if isinstance(task, TileTask) else ()
