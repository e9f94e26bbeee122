"""Engines for tasks of a Ray cluster; a module of their own, which its worker processes import quickly."""

from __future__ import annotations

import importlib
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

from hires_nst.batch.engine import PaintingEngine
from hires_nst.events import LevelStarted, OnEvent, StepFinished, TileFinished
from tests.batch.fakes import FakeEngine


class Waiting(FakeEngine):
    """Works until it is let go."""

    def __init__(self, gates: Path) -> None:
        super().__init__()
        self.gates = gates

    def paint(self, task: Any, *, on_event: OnEvent, **rest: Any) -> Any:
        on_event(LevelStarted(index=0, count=1, width=20, height=10, rounds=1, steps=4, tiles=1))
        for step in range(1, 1001):  # quicker than anybody wants to know
            on_event(StepFinished(level=0, round=0, tile=0, step=step, steps=1000, loss=1 / step))
        on_event(TileFinished(level=0, round=0, tile=0, tiles=1, loss=0.001, seconds=1.0, pixel_evaluations=800.0))
        until = time.monotonic() + 300
        while not (self.gates / task.id).exists():
            assert time.monotonic() < until, "nobody heard"
            time.sleep(0.05)
        return super().paint(task, on_event=on_event, **rest)


class Counted(FakeEngine):
    """Notes each time that it is made, and on which GPU it is to paint."""

    def __init__(self, folder: Path) -> None:
        super().__init__(0.05)
        self.folder = folder
        with (folder / "made").open("a") as file:
            file.write(f"{os.getpid()}\n")

    def paint(self, task: Any, **rest: Any) -> Any:
        with (self.folder / "painted").open("a") as file:
            given = importlib.import_module("ray").get_runtime_context().get_accelerator_ids()["GPU"]
            file.write(f"{task.config.runtime.device} {','.join(given)}\n")
        return super().paint(task, **rest)


class Loading(PaintingEngine):
    """Counts how often networks are loaded and statistics measured."""

    def __init__(self, file: Path) -> None:
        from hires_nst.run import level_objective
        from hires_nst.transfer import extractor

        super().__init__(device="cpu", threads=1)
        for module, name in ((extractor, "load_network"), (level_objective, "style_statistics")):
            setattr(module, name, partial(self.counted, file, name, getattr(module, name)))

    @staticmethod
    def counted(file: Path, name: str, plain: Any, /, *arguments: Any, **options: Any) -> Any:
        with file.open("a") as lines:
            lines.write(f"{name}\n")
        return plain(*arguments, **options)


class Noting(FakeEngine):
    """Notes the node that it runs on, and takes its time on one of them."""

    def paint(self, task: Any, **rest: Any) -> Any:
        node = importlib.import_module("ray").get_runtime_context().get_node_id()
        (task.folder / "node").write_text(node)
        self.seconds = 20.0 if node in (task.content.parent.parent / "slow").read_text() else 0.0
        return super().paint(task, **rest)
