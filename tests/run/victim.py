"""A process to be killed: runs `stylize` in children of its own, and stops them at chosen moments.

The parent imports the program once; each run is a fork of it, a process like any other, which a signal ends for real.
Used by test_resume.py and tools/torture.py.
"""

from __future__ import annotations

import errno
import fnmatch
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

FILES = {
    "tile": "*/tiles/*.safetensors",
    "step": "*/step.safetensors",
    "moments": "*/moments.safetensors",
    "round.json": "*/round.json",
    "round": "*/rounds/*/canvas.safetensors",
    "optimizer": "*/optimizer.safetensors",
    "complete": "*/complete.json",
    "level": "*/levels/??/canvas.safetensors",
    "objective": "*/objective.safetensors",
    "run.json": "*/run.json",
    "config.yaml": "*/config.yaml",
    "picture": "*/out.*",
}
FULL_DISK = 0
"""In place of a signal: writing fails once, as if the disk were full."""

STAGES = ("before", "inside", "before-rename", "after-rename")
POINTS = (
    *(f"{file}:{stage}" for file in FILES for stage in STAGES),
    *("coarse-step", "fine-step", "tile-finished", "log", "blend", "round-finished", "removal", "removal-record"),
)
"""Moments at which a run can be stopped; with `@N`, the N-th time that it comes to such a moment."""


class Victim:
    """The server's side that asks: a process with the program in it."""

    def __init__(self) -> None:
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def run(self, **what: Any) -> Outcome:
        """One run in a process of its own; see `child` for the arguments."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(what, default=str) + "\n")
        self.process.stdin.flush()
        return Outcome(**json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


@dataclass
class Outcome:
    """How a run ended.

    Attributes:
        code: the exit code, or minus the signal that killed it.
        message: of the error, if one was raised.
        events: what it reported, also when it was killed.
        seconds: that it took.
        stopped_in: seconds from the signal that it sent itself to its end, if it did and ended in an orderly way.
    """

    code: int
    message: str
    events: list[dict[str, Any]]
    seconds: float
    stopped_in: float | None

    def tiles(self) -> Counter[tuple[int, int, int]]:
        """How often each tile was computed."""
        return Counter((e["level"], e["round"], e["tile"]) for e in self.events if e["event"] == "TileFinished")


# What follows happens in the process that is asked.


def serve() -> None:
    import hires_nst.cli.signals
    import hires_nst.run.single_run
    import hires_nst.transfer.minimise

    assert hires_nst.cli.signals is not None
    assert hires_nst.run.single_run is not None
    # The first step of an optimiser imports half of torch. No autograd here: its engine does not survive a fork.
    hires_nst.transfer.minimise.import_optimizers()
    for line in sys.stdin:
        what = json.loads(line)
        reported = Path(f"/tmp/victim-{os.getpid()}.reported")
        reported.unlink(missing_ok=True)
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            child(reported, **what)
        if "after" in what:
            ended = waited(pid, what["after"])
            if ended is None:
                os.kill(pid, what.get("signal", signal.SIGKILL))
                ended = os.waitpid(pid, 0)[1]
        else:
            ended = os.waitpid(pid, 0)[1]
        events, message, stopped_in = [], "", None
        for entry in reported.read_text().splitlines() if reported.exists() else []:
            data = json.loads(entry)
            if "message!" in data:
                message = data["message!"]
            elif "stopped_in!" in data:
                stopped_in = data["stopped_in!"]
            else:
                events.append(data)
        reported.unlink(missing_ok=True)
        code = os.waitstatus_to_exitcode(ended)
        seconds = time.monotonic() - began
        answer = {"code": code, "message": message, "events": events, "seconds": seconds, "stopped_in": stopped_in}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def waited(pid: int, seconds: float) -> int | None:
    """Wait for a child's end, but not for ever."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.0005)
    return None


def child(
    reported: Path,
    *,
    point: str = "",
    signal: int = signal.SIGKILL,
    after: float = 0.0,
    resume_dir: str = "",
    config: dict[str, Any] | None = None,
    until: float = 0.0,
    **arguments: Any,
) -> None:
    """Run it in this process, and leave.

    Args:
        point: where to send oneself the signal, see `POINTS`.
        after: seconds after which the parent sends it instead.
        resume_dir: `resume` this one instead of `stylize`.
        config: of the run.
        until: seconds from now as a deadline.
        arguments: of `stylize`.
    """
    del after
    code, sent = 0, list[float]()
    with reported.open("ab", buffering=0) as file:
        try:
            import torch

            torch.set_num_threads(1)
            from hires_nst import Config
            from hires_nst.cli.signals import stopping
            from hires_nst.errors import HiresNstError
            from hires_nst.run import pipeline

            def on_event(event: Any) -> None:
                file.write((json.dumps(event.as_dict(), default=str) + "\n").encode())
                happened(type(event).__name__, event)

            happened, sent = lie_in_wait(point, signal)
            with stopping(until=None, max_hours=None, quiet=True) as stop:
                stop.deadline = time.time() + until if until else None
                try:
                    if resume_dir:
                        pipeline.resume(resume_dir, stop=stop, on_event=on_event)
                    else:
                        settings = Config.model_validate(config or {})
                        pipeline.stylize(**arguments, config=settings, stop=stop, on_event=on_event)
                except HiresNstError as error:
                    code = error.exit_code
                    file.write((json.dumps({"message!": str(error)}) + "\n").encode())
        except BaseException:
            code = 99
            file.write((json.dumps({"message!": traceback.format_exc()}) + "\n").encode())
        for moment in sent:
            file.write((json.dumps({"stopped_in!": time.monotonic() - moment}) + "\n").encode())
    os._exit(code)


def lie_in_wait(point: str, number: int) -> tuple[Callable[[str, Any], None], list[float]]:
    """Send this process a signal when it comes to a point.

    Returns:
        What is called with events, and a list that gets the moment of the signal.
    """
    name, _, times = point.partition("@")
    left, sent = [int(times or 1)], list[float]()

    def here(place: str) -> None:
        if place == name:
            left[0] -= 1
            if left[0] == 0 and number == FULL_DISK:
                raise OSError(errno.ENOSPC, "No space left on device")
            if left[0] == 0:
                sent.append(time.monotonic())
                os.kill(os.getpid(), number)

    from hires_nst import files
    from hires_nst.imageio import writing
    from hires_nst.run import directory, log
    from hires_nst.transfer import refine

    original = files.atomic_write

    class Torn:
        """A file of which only a part is written when the end comes."""

        def __init__(self, file: Any, place: str) -> None:
            self.file, self.place = file, place

        def write(self, data: Any) -> int:
            data = bytes(data)
            half = len(data) // 2
            self.file.write(data[:half])
            self.file.flush()
            here(f"{self.place}:inside")
            self.file.write(data[half:])
            return len(data)

        def __getattr__(self, attribute: str) -> Any:
            return getattr(self.file, attribute)

    def atomic_write(path: Path, write: Any, **options: Any) -> None:
        place = next((file for file, pattern in FILES.items() if fnmatch.fnmatch(str(path), pattern)), "other")
        # `*` matches slashes too: a round's canvas also looks like ...
        if place == "level" and "rounds" in path.parts:
            place = "round"
        here(f"{place}:before")
        done = options.pop("done", None)

        def complete(file: Path) -> None:
            if done is not None:
                done(file)
            here(f"{place}:before-rename")

        wrapped = (lambda file: write(Torn(file, place))) if name == f"{place}:inside" else write
        original(path, wrapped, done=complete, **options)
        here(f"{place}:after-rename")

    for module in (files, writing):
        module.atomic_write = atomic_write  # type: ignore[attr-defined]
    add = refine.Blend._add

    def blended(self: Any, tile: Any, result: Any) -> None:
        here("blend")
        add(self, tile, result)

    refine.Blend._add = blended  # type: ignore[method-assign]
    log_line = log.log_line

    def logged(event: Any, now: float) -> str:
        here("log")
        return log_line(event, now)

    log.log_line = logged
    clear = directory.RunDirectory.clear

    def cleared(self: Any) -> None:
        if self.record.exists():
            here("removal")
        unlink = Path.unlink

        def removed(path: Path, missing_ok: bool = False) -> None:
            if path == self.record and path.exists():
                here("removal-record")
            unlink(path, missing_ok)

        Path.unlink = removed  # type: ignore[assignment, method-assign]
        clear(self)
        Path.unlink = unlink  # type: ignore[method-assign]

    directory.RunDirectory.clear = cleared  # type: ignore[method-assign]

    def happened(kind: str, event: Any) -> None:
        if kind == "StepFinished":
            here("coarse-step" if event.level == 0 else "fine-step")
        if kind == "TileFinished":
            here("tile-finished")
        if kind == "RoundFinished":
            here("round-finished")

    return happened, sent


def in_order(points: Sequence[str]) -> list[str]:
    """Points in the order in which a run comes to them, roughly."""
    phases = (
        *("run.json", "config.yaml", "log", "objective", "round.json", "coarse", "step", "round-finished", "moments"),
        *("fine", "tile", "blend", "complete", "optimizer", "round:", "level", "picture", "removal"),
    )
    return sorted(points, key=lambda p: next(i for i, phase in enumerate(phases) if p.startswith(phase)))


if __name__ == "__main__":
    serve()
