"""The engine of a batch: `hires_nst.run.pipeline.stylize`, one picture after another."""

from __future__ import annotations

from typing import Literal

from hires_nst import events
from hires_nst.batch.tasks import Painted, Task
from hires_nst.config import Config
from hires_nst.errors import ConfigError, InputError, WeightsError
from hires_nst.events import OnEvent
from hires_nst.run.directory import RECORD
from hires_nst.stopping import Stop
from hires_nst.transfer.memory import ALONE, MemoryShare


class PaintingEngine:
    """Paints with torch, which is imported when the engine is made."""

    def __init__(self, *, device: str, threads: int | None, share: MemoryShare = ALONE) -> None:
        """Take where to paint.

        Args:
            device: for jobs that leave it open.
            threads: of torch; None for its default.
            share: what this engine may use of the memory of the device and the machine.
        """
        from hires_nst.run.cache import Cache
        from hires_nst.transfer.device import set_threads

        self.cache, self.device, self.share = Cache(), device, share
        self.digests = self.cache.digests
        if threads is not None:
            set_threads(threads)

    def paint(self, task: Task, *, stop: Stop, on_event: OnEvent) -> Painted:
        """Paint a picture, from where an interrupted attempt stopped, also on another machine: the log says so.

        Raises:
            Interrupted: `stop` was due. RunBusy: another process works on it. HiresNstError: as `stylize`.
        """
        from hires_nst.run.pipeline import stylize

        config, run_dir = on_device(task.config, self.device), task.paths.run_dir

        def paint(resume: Literal["auto", "never"]) -> Painted:
            result = stylize(
                task.content, task.picture, config=config, overwrite=True, run_dir=run_dir, resume=resume,
                other_machine=True, share=self.share, stop=stop, cache=self.cache, on_event=on_event,
            )  # fmt: skip
            return Painted(result.width, result.height, result.sha256)

        if not (run_dir / RECORD).exists():
            return paint("never")
        try:
            return paint("auto")
        except (ConfigError, InputError, WeightsError) as error:
            # The run of an earlier attempt does not match the job as it is now. An error of the job itself comes again.
            on_event(events.Notice(f"started over instead of resuming: {error}"))
            return paint("never")


def on_device(config: Config, device: str) -> Config:
    """The settings with this device, unless they name one themselves; a job has no workers of its own."""
    changes: dict[str, object] = {"workers": None}
    if config.runtime.device in ("auto", "cuda"):
        changes["device"] = device
    return config.model_copy(update={"runtime": config.runtime.model_copy(update=changes)})
