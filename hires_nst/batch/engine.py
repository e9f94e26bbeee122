"""The engine of a batch: `hires_nst.run.pipeline.stylize`, one picture after another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hires_nst import events
from hires_nst.batch.tasks import Painted, Task
from hires_nst.config import Config
from hires_nst.errors import ConfigError, InputError, WeightsError
from hires_nst.events import Event, OnEvent
from hires_nst.run.directory import RECORD
from hires_nst.stopping import Stop


@dataclass
class _Losses:
    """The last losses that a run tells of."""

    found: dict[str, float] = field(default_factory=dict)

    def hear(self, event: Event) -> None:
        """Take an event in."""
        if isinstance(event, events.RoundFinished):
            self.found["loss"] = event.loss
        elif isinstance(event, events.RoundStarted) and event.style_loss is not None:
            self.found["style"] = event.style_loss


class PaintingEngine:
    """Paints with torch, which is imported when the engine is made."""

    def __init__(self, *, device: str, threads: int | None) -> None:
        """Take a device, for jobs that leave it open, and the number of torch's threads (None: as torch likes)."""
        from hires_nst.run.cache import Cache
        from hires_nst.transfer.device import set_threads

        self.kept = Cache()
        self.device = device
        if threads is not None:
            set_threads(threads)

    def paint(self, task: Task, *, stop: Stop, on_event: OnEvent) -> Painted:
        """Paint a picture, from where an interrupted attempt left it.

        Raises:
            Interrupted: `stop` was due. RunBusy: another process is at it. HiresNstError: as `stylize`.
        """
        from hires_nst.run.pipeline import stylize
        from hires_nst.transfer.device import release_memory

        losses, config = _Losses(), self.on_device(task.config)

        def tell(event: Event) -> None:
            losses.hear(event)
            on_event(event)

        def painted(resume: Literal["auto", "never"]) -> Painted:
            try:
                result = stylize(
                    task.content, task.picture, config=config, overwrite=True, run_dir=task.run_dir, resume=resume,
                    stop=stop, kept=self.kept, on_event=tell,
                )  # fmt: skip
            finally:
                release_memory()  # another process may be the next one on this GPU
            return Painted(result.width, result.height, losses.found, resumed=resume == "auto")

        if not (task.run_dir / RECORD).exists():
            return painted("never")
        try:
            return painted("auto")
        except (ConfigError, InputError, WeightsError) as error:
            # What an earlier attempt left does not go with the job as it is now. Where the job itself is at fault, it
            # says so again.
            tell(events.Notice(f"begun anew instead of going on: {error}"))
            return painted("never")

    def on_device(self, config: Config) -> Config:
        """The settings with this engine's device, unless they name one themselves."""
        if config.runtime.device not in ("auto", "cuda"):
            return config
        return config.model_copy(update={"runtime": config.runtime.model_copy(update={"device": self.device})})
