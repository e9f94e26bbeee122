"""The batch itself: give jobs out, hear what becomes of them, and write it into the ledger."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from hires_nst import events
from hires_nst.batch.comparison import Comparison, settings_key, there_already
from hires_nst.batch.disk_space import check_room
from hires_nst.batch.executor import Executor, MakeExecutor, WorkerMessage
from hires_nst.batch.job import Job, Jobs, in_order
from hires_nst.batch.ledger import Ledger
from hires_nst.batch.ledger_schema import Entry, JobState, Outcome
from hires_nst.batch.options import BatchOptions
from hires_nst.batch.paths import BatchPaths
from hires_nst.batch.tasks import Busy, Failure, NoRoom, Task
from hires_nst.errors import DiskFull, OutputError, ResourceError
from hires_nst.events import (
    BatchFinished,
    BatchStarted,
    Event,
    JobDone,
    JobFailed,
    JobProgress,
    JobSkipped,
    JobStarted,
    OnEvent,
)
from hires_nst.files import is_disk_full, sync_folder
from hires_nst.stopping import Stop

FLUSH_SECONDS = 1.0
"""The most that a power cut takes from the ledger."""

COUNT_SECONDS = 1.0
"""How old the count of what is left may be."""

IDLE_SECONDS = 0.2
"""How long to wait at most before looking at signals, leases and the work of other processes again."""


@dataclass(frozen=True)
class Summary:
    """How a batch ended: the number of jobs in each state, and why it stopped before its end if it did."""

    counts: Mapping[JobState, int]
    painted: int
    seconds: float
    stopped: str | None
    exit_code: int


def run_batch(
    jobs: Jobs,
    folder: Path,
    *,
    options: BatchOptions,
    make_executor: MakeExecutor,
    stop: Stop,
    on_event: OnEvent = events.ignore,
) -> Summary:
    """Paint every picture of a batch that is not there yet, and say what became of each.

    Args:
        jobs: what there is to do; see `expand`.
        folder: the output folder; made if it is not there.
        make_executor: called when anything is to be painted.
        stop: looked at between jobs; asked for an orderly end, workers finish what they must and the rest waits. A disk
            that gets full asks for one, too, with the exit code of ResourceError.
        on_event: told what happens.

    Raises:
        ConfigError, OutputError: the folder or its ledger is of no use. ResourceError: the disk has no room for all
        pictures, or for the ledger. HiresNstError: workers cannot be started.
    """
    _make_folder(folder)
    with Ledger(folder, lease_seconds=options.batch.lease_seconds) as ledger:
        run = _BatchRun(jobs, folder, options, ledger, stop, on_event)
        return run.run(make_executor)


@dataclass
class _Pace:
    """How fast pictures come: from seconds and pixels of finished ones."""

    seconds: float = 0.0
    pixels: int = 0

    def add(self, seconds: float | None, width: int | None, height: int | None) -> None:
        if seconds and width and height:
            self.seconds += seconds
            self.pixels += width * height

    def left(self, pixels: int, workers: int) -> float | None:
        """Seconds for so many pixels; None where there are none of them, or where the pace is not known."""
        return self.seconds / self.pixels * pixels / max(1, workers) if self.pixels and pixels else None


@dataclass
class _BatchRun:
    """One run of a batch, in this process."""

    jobs: Jobs
    folder: Path
    options: BatchOptions
    ledger: Ledger
    stop: Stop
    emit: OnEvent
    by_id: dict[str, Job] = field(init=False)
    working: dict[str, int] = field(default_factory=dict)  # jobs in work here, with their workers
    owned: set[str] = field(default_factory=set)  # of these, those that may replace what is in their place
    pace: _Pace = field(default_factory=_Pace)
    left: int = 0
    counted: float = -math.inf
    painted: int = 0
    painted_pixels: int = 0
    failed_fast: str | None = None
    closing: bool = False  # too little is left until the deadline to begin anything
    renewed: float = field(default_factory=time.monotonic)
    written: set[Path] = field(default_factory=set)  # folders with new pictures whose names may not be on the disk
    flushed: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.by_id = {job.id: job for job in self.jobs.jobs}

    def run(self, make_executor: MakeExecutor) -> Summary:
        """From the comparison with the ledger to the last report."""
        began = time.monotonic()
        self.enter()
        pending = self.ledger.pending()
        counts = self.ledger.counts()
        executor = make_executor() if pending else None
        if executor is not None:
            try:
                check_room([self.by_id[id] for id in pending], self.folder, workers=executor.workers)
            except BaseException:
                executor.close()
                raise
        pixels = sum(self.by_id[id].pixels for id in pending)
        self.emit(
            BatchStarted(
                jobs=len(self.by_id),
                **counts,
                left_out=dict(self.jobs.left_out),
                megapixels=pixels / 1e6,
                workers=executor.workers if executor else 0,
            )
        )
        if executor is not None:
            try:
                self.paint(executor)
                self.wind_up(executor)
            finally:
                executor.close()
                for id in self.working:
                    with suppress(DiskFull):  # the next process sees that this one is gone
                        self.ledger.release(id)
                self.flush()
        return self.summary(time.monotonic() - began)

    def enter(self) -> None:
        """Bring the jobs into the ledger."""
        options, batch = self.options, self.options.batch
        rows = self.ledger.rows()
        comparison = Comparison(self.folder, batch.changed, options.retry_failed, options.overwrite)
        entries, changes = comparison.entries(self.jobs.jobs, rows)
        for change in changes:
            self.emit(change)
        by_id = {entry.id: entry for entry in entries}
        for entry in entries:
            if entry.state == "skipped":
                self.emit(JobSkipped(entry.id, entry.output, entry.note or ""))
            row = rows.get(entry.id)
            if row is not None and entry.state == "done":
                self.pace.add(row.seconds, row.width, row.height)
        settings = {settings_key(job): job.config.model_dump(mode="json") for job in self.jobs.jobs}
        self.ledger.enter(entries, settings)
        self.ledger.start_run(options.stored(), entries)
        open_jobs = [job for job in self.jobs.jobs if by_id[job.id].state in ("waiting", "running")]
        ordered = [by_id[job.id] for job in in_order(open_jobs, batch.order, seed=options.seed)]
        closed: list[Entry] = [entry for entry in entries if entry.state not in ("waiting", "running")]
        self.ledger.set_queue([*ordered, *closed])

    def paint(self, executor: Executor) -> None:
        """Until everything is done, here or elsewhere, or it is time to stop."""
        while not self.stop.due(math.inf if self.closing and not self.working else 0.0) and self.failed_fast is None:
            while not self.closing and executor.free and self.give_out(executor):
                pass
            if not self.working and not self.ledger.pending():
                return
            self.hear(executor.wait(self.patience()))
            self.look_after_ledger()

    def wind_up(self, executor: Executor) -> None:
        """After a stop: an orderly end for what is in work."""
        if self.working:
            executor.stop(self.failed_fast or self.stop.reason or "the end of the batch")
        while self.working:
            self.hear(executor.wait(IDLE_SECONDS))
            self.look_after_ledger()

    def patience(self) -> float:
        """Seconds until something may have to be done without news."""
        if self.working:
            return IDLE_SECONDS
        then = self.ledger.next_time()
        return IDLE_SECONDS if then is None else min(IDLE_SECONDS, max(0.01, then - time.time()))

    def give_out(self, executor: Executor) -> bool:
        """Start the next job; whether there was one."""
        row = self.ledger.claim()
        if row is None:
            return False
        if row.id in self.working:  # it was lost to another while this process slept, and let go by that one
            return True
        job, place = self.by_id[row.id], self.folder / row.output
        if place.exists() and not (row.owned or self.options.overwrite):
            self.skip(job)
            return True
        if row.owned or self.options.overwrite:
            self.owned.add(job.id)
        task = Task(
            id=job.id,
            content=job.content,
            config=job.config,
            inputs=job.inputs,
            fingerprint=job.fingerprint,
            folder=BatchPaths(self.folder).job(job.id).folder,
            suffix=PurePosixPath(job.output).suffix.lower(),
            attempt=row.attempts,
        )
        worker = executor.start(task)
        self.working[job.id] = worker
        self.emit(
            JobStarted(job=job.id, worker=worker, content=str(job.content), output=job.output, attempt=row.attempts)
        )
        return True

    def skip(self, job: Job) -> None:
        """Leave a job alone whose place is taken."""
        reason = there_already(self.folder / job.output)
        if self.ledger.skip(job.id, reason):
            self.emit(JobSkipped(job.id, job.output, reason))

    def hear(self, news: Sequence[WorkerMessage]) -> None:
        """Take in what the executor has to say."""
        for item in news:
            if item.job not in self.working:
                continue
            if isinstance(item.what, Event):
                self.emit(JobProgress(item.job, item.worker, item.what))
                continue
            del self.working[item.job]
            if isinstance(item.what, Outcome):
                self.done(self.by_id[item.job], item.worker, item.what)
            elif isinstance(item.what, NoRoom):
                self.no_room(self.by_id[item.job], item.what.place)
            elif isinstance(item.what, Failure) and not (item.what.asked and self.stop.reason is not None):
                self.failed(self.by_id[item.job], item.worker, item.what.reason)
            elif isinstance(item.what, Busy):
                self.postpone(self.by_id[item.job], item.worker, item.what.reason)
            else:
                self.ledger.release(item.job)
                self.closing = self.closing or self.stop.deadline is not None

    def done(self, job: Job, worker: int, outcome: Outcome) -> None:
        """Publish a picture and enter it."""
        place = self.folder / job.output
        unpublished = BatchPaths(self.folder).job(job.id).picture(PurePosixPath(job.output).suffix.lower())
        if place.exists() and job.id not in self.owned:
            self.skip(job)
            return

        def publish() -> None:
            place.parent.mkdir(parents=True, exist_ok=True)
            unpublished.replace(place)
            self.written.add(place.parent)

        try:
            if not self.ledger.finish(job.id, outcome, publish=publish):
                return  # it was taken over by another process, which will publish its own
        except OSError as error:
            if is_disk_full(error):
                self.no_room(job, place)
                return
            self.failed(job, worker, f"{place} cannot be written ({error.strerror or error})")
            return
        self.painted += 1
        self.painted_pixels += outcome.width * outcome.height
        self.pace.add(outcome.seconds, outcome.width, outcome.height)
        left = self.pace.left(self.pixels_left(job), len(self.working) + 1)
        self.emit(
            JobDone(
                job=job.id,
                worker=worker,
                output=job.output,
                width=outcome.width,
                height=outcome.height,
                seconds=outcome.seconds,
                seconds_left=left,
            )
        )

    def pixels_left(self, done: Job) -> int:
        """The pixels of all pictures that are left after one that is `done` now, for this process or another; counted
        anew now and then."""
        self.left = max(0, self.left - done.pixels)
        if time.monotonic() - self.counted > COUNT_SECONDS:
            self.left = sum(self.by_id[id].pixels for id in self.ledger.pending())
            self.counted = time.monotonic()
        return self.left

    def failed(self, job: Job, worker: int, reason: str) -> None:
        """Enter a failed attempt."""
        batch = self.options.batch
        state = self.ledger.fail(job.id, reason, retries=batch.retries, wait=batch.retry_wait)
        if state is None:
            return
        self.counted = -math.inf
        final = state == "failed"
        if final and self.options.fail_fast:
            self.failed_fast = f"{job.output} failed"
        self.emit(
            JobFailed(
                job=job.id,
                worker=worker,
                content=str(job.content),
                output=job.output,
                reason=reason,
                final=final,
                retry_seconds=batch.retry_wait,
            )
        )

    def no_room(self, job: Job, place: Path) -> None:
        """Give a job back that a full disk ended, and stop: it would end the others, too."""
        disk = self.folder if place.is_relative_to(self.folder) else place
        self.stop.request(f"want of room on the disk of {disk} (free some)", exit_code=ResourceError.exit_code)
        self.ledger.release(job.id)

    def postpone(self, job: Job, worker: int, reason: str) -> None:
        """Try a job later whose last owner is still at it."""
        wait = self.ledger.lease_seconds / 4
        self.ledger.postpone(job.id, reason, wait=wait)
        self.emit(
            JobFailed(
                job=job.id,
                worker=worker,
                content=str(job.content),
                output=job.output,
                reason=reason,
                final=False,
                retry_seconds=wait,
            )
        )

    def look_after_ledger(self) -> None:
        """Show the other processes that this one lives, and see to it that what is done is on the disk."""
        if time.monotonic() - self.renewed > self.ledger.lease_seconds / 4:
            self.ledger.renew(self.working)
            self.renewed = time.monotonic()
        if self.written and time.monotonic() - self.flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """The pictures' names go to the disk before the ledger that speaks of them."""
        for folder in self.written:
            sync_folder(folder)
        self.ledger.flush()
        self.written.clear()
        self.flushed = time.monotonic()

    def summary(self, seconds: float) -> Summary:
        """How it ended."""
        counts = self.ledger.counts()
        unfinished = counts["waiting"] + counts["running"] > 0
        stopped = (self.failed_fast or self.stop.reason) if unfinished else None
        code = 1 if counts["failed"] else 0
        if stopped is not None and self.failed_fast is None:
            code = self.stop.exit_code
        rate = self.painted_pixels / 1e6 / seconds * 3600 if self.painted and seconds else None
        self.emit(
            BatchFinished(
                painted=self.painted,
                **counts,
                seconds=seconds,
                megapixels_per_hour=rate,
                stopped=stopped,
            )
        )
        return Summary(counts, self.painted, seconds, stopped, code)


def _make_folder(folder: Path) -> None:
    """Make the output folder.

    Raises:
        OutputError: that is not possible.
    """
    try:
        BatchPaths(folder).state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {folder} cannot be made ({error.strerror}); choose another") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"the folder {folder} may not be written to; change its permissions or choose another")
