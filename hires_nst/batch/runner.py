"""A run of a batch: dispatch jobs to workers, handle their results, and enter them in the ledger."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hires_nst import events
from hires_nst.batch.comparison import Comparison, already_exists
from hires_nst.batch.disk_space import check_disk_space
from hires_nst.batch.job import Job, Jobs, in_order
from hires_nst.batch.ledger import Ledger
from hires_nst.batch.ledger_schema import JobState, Outcome
from hires_nst.batch.options import BatchOptions
from hires_nst.batch.paths import BatchPaths
from hires_nst.batch.tasks import BusyResult, DiskFullResult, Executor, Failure, MakeExecutor, Task, WorkerMessage
from hires_nst.errors import DiskFull, OutputError, ResourceError
from hires_nst.events import Event, OnEvent
from hires_nst.files import behind_links, is_disk_full, sync_folder
from hires_nst.quantities import megapixels_per_hour
from hires_nst.stopping import Stop

FLUSH_SECONDS = 1.0
"""The most of the work in the ledger that a power cut loses."""

COUNT_SECONDS = 1.0
"""The time after which unfinished pixels are counted again."""

IDLE_SECONDS = 0.2
"""The most to wait before checking signals, leases and the work of other processes again."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How a batch ended.

    Attributes:
        counts: the number of jobs in each state.
        painted: how many pictures this call painted.
        seconds: how long it took.
        stopped: why it stopped before its end; None if it did not.
        exit_code: of the command: 0 when no job failed, 1 when one did, that of `stopped` otherwise.
    """

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
    """Paint every picture of a batch that is not there yet.

    Args:
        jobs: what to paint; see `hires_nst.batch.jobs`.
        folder: the output folder; made if it does not exist.
        make_executor: called when anything is to be painted.
        stop: checked between jobs; on a request, workers stop in an orderly way and the other jobs wait. A full disk
            requests it too, with the exit code of ResourceError.
        on_event: called with each event.

    Raises:
        ConfigError, OutputError: the folder or its ledger cannot be used. ResourceError: not enough disk space for all
        pictures, or for the ledger. HiresNstError: workers cannot be started.
    """
    _make_folder(folder)
    with Ledger(folder, lease_seconds=options.batch.lease_seconds) as ledger:
        named = ledger.name(jobs.choices, digests=jobs.digests) if jobs.choices else None
        for note in named.notes if named else ():
            on_event(events.Notice(note))
        found = named.jobs if named else jobs.jobs
        run = _BatchRun(jobs=found, folder=folder, options=options, ledger=ledger, stop=stop, emit=on_event)
        return run.run(make_executor, left_out=jobs.left_out)


@dataclass
class _Speed:
    """How fast pictures are painted, from seconds and pixels of finished ones."""

    seconds: float = 0.0
    pixels: int = 0

    def add(self, seconds: float | None, pixels: int) -> None:
        if seconds and pixels:
            self.seconds += seconds
            self.pixels += pixels

    def left(self, pixels: int, workers: int) -> float | None:
        """Seconds for this many pixels; None where that is 0 or the speed is not known."""
        return self.seconds / self.pixels * pixels / max(1, workers) if self.pixels and pixels else None


@dataclass(kw_only=True)
class _BatchRun:
    """One run of a batch, in this process."""

    jobs: Sequence[Job]
    folder: Path
    options: BatchOptions
    ledger: Ledger
    stop: Stop
    emit: OnEvent
    by_id: dict[str, Job] = field(init=False)
    working: dict[str, tuple[Task, int]] = field(
        default_factory=dict
    )  # running tasks, and the numbers of their workers
    may_replace: set[str] = field(default_factory=set)  # of these, those that may replace the file at their place
    speed: _Speed = field(default_factory=_Speed)
    left: int = 0
    counted: float = -math.inf
    painted: int = 0
    painted_pixels: int = 0
    failed_fast: str | None = None
    near_deadline: bool = False  # too near to start another job
    renewed: float = field(default_factory=time.monotonic)
    unsynced: set[Path] = field(default_factory=set)  # folders with new pictures whose names may not be on the disk
    flushed: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.by_id = {job.id: job for job in self.jobs}

    def run(self, make_executor: MakeExecutor, *, left_out: Mapping[str, int]) -> Summary:
        """From the comparison with the ledger to the last event."""
        began = time.monotonic()
        self.enter_jobs()
        pending = self.ledger.pending()
        executor = make_executor() if pending else None
        try:
            if executor is not None:
                check_disk_space([self.by_id[id] for id in pending], self.folder, workers=executor.workers)
            paintings = {one.image for job in self.jobs for one in job.config.paintings}
            self.emit(
                events.BatchStarted(
                    jobs=len(self.by_id), photographs=len({job.content for job in self.jobs}), paintings=len(paintings),
                    **self.ledger.counts(), left_out=dict(left_out),
                    megapixels=sum(self.by_id[id].pixels for id in pending) / 1e6,
                    workers=executor.workers if executor else 0,
                )
            )  # fmt: skip
            if executor is not None:
                self.paint(executor)
        finally:
            if executor is not None:
                executor.close()
                for id in self.working:
                    with suppress(DiskFull):  # the next process sees that this one has ended
                        self.ledger.release(id)
                self.flush()
        return self.finish(time.monotonic() - began)

    def enter_jobs(self) -> None:
        """Compare the jobs with the ledger, enter them there, and set the order of those to paint."""
        rows = self.ledger.rows()
        states, changes = Comparison(self.folder, self.options).states(self.jobs, rows)
        for change in changes:
            self.emit(change)
        to_paint: list[Job] = []
        others: list[Job] = []
        for job in self.jobs:
            state, note = states[job.id]
            (to_paint if state in ("waiting", "running") else others).append(job)
            if state == "skipped":
                self.emit(events.JobSkipped(job.id, job.output, note or ""))
            elif state == "done":
                row = rows[job.id]
                self.speed.add(row.seconds, (row.width or 0) * (row.height or 0))
        self.ledger.enter(self.jobs, states, seen=rows)
        self.ledger.start_run(self.options.stored(), self.jobs)
        order, seed = self.options.batch.order, self.options.runtime.seed
        self.ledger.set_queue([*in_order(to_paint, order, seed=seed), *others])

    def paint(self, executor: Executor) -> None:
        """Until everything is done, here or elsewhere, or it is time to stop; then wait for the running tasks."""
        while not self.must_stop():
            while not self.near_deadline and len(self.working) < executor.workers and self.dispatch(executor):
                pass
            if not self.working and not self.ledger.pending():
                return
            self.handle(executor.wait(self.wait_seconds()))
            self.maintain_ledger()
        if self.working:
            executor.stop(self.failed_fast or self.stop.reason or "the end of the batch")
        while self.working:
            self.handle(executor.wait(IDLE_SECONDS))
            self.maintain_ledger()

    def must_stop(self) -> bool:
        """Whether it is time to stop; near the deadline, as soon as no task is running."""
        seconds = math.inf if self.near_deadline and not self.working else 0.0
        return self.failed_fast is not None or self.stop.due(seconds)

    def wait_seconds(self) -> float:
        """The most to wait for messages."""
        then = None if self.working else self.ledger.next_time()
        return IDLE_SECONDS if then is None else min(IDLE_SECONDS, max(0.01, then - time.time()))

    def dispatch(self, executor: Executor) -> bool:
        """Start the next job; whether there was one."""
        row = self.ledger.claim()
        if row is None:
            return False
        if row.id in self.working:  # another process took it over while this one was suspended, and released it
            return True
        job = self.by_id[row.id]
        if row.owned or self.options.overwrite:
            self.may_replace.add(job.id)
        elif (self.folder / job.output).exists():
            self.skip(job)
            return True
        folder = BatchPaths(self.folder).job(job.id).folder
        task = Task(
            index=job.index, content=job.content, output=job.output, config=job.config, folder=folder,
            attempt=row.attempts,
        )  # fmt: skip
        executor.start(task)
        busy = {worker for _, worker in self.working.values()}
        worker = min(set(range(len(busy) + 1)) - busy)
        self.working[job.id] = task, worker
        self.emit(
            events.JobStarted(
                job=job.id, worker=worker, content=str(job.content), output=job.output, attempt=row.attempts
            )
        )
        return True

    def skip(self, job: Job) -> None:
        """Skip a job whose picture exists and is not of this batch."""
        reason = already_exists(self.folder / job.output)
        if self.ledger.skip(job.id, reason):
            self.emit(events.JobSkipped(job.id, job.output, reason))

    def handle(self, messages: Sequence[WorkerMessage]) -> None:
        """Handle messages of the executor."""
        for id, result in messages:
            if id not in self.working:
                continue
            task, worker = self.working[id]
            if isinstance(result, Event):
                self.emit(events.JobProgress(id, worker, result))
                continue
            del self.working[id]
            if isinstance(result, Outcome):
                self.publish(task, result, worker=worker)
            elif isinstance(result, DiskFullResult):
                self.stop_for_full_disk(id, result.path)
            elif isinstance(result, Failure) and not (result.signalled and self.stop.reason is not None):
                self.fail(task, result.reason, worker=worker, may_pass=result.may_pass)
            elif isinstance(result, BusyResult):  # with the last owner, which still works on it
                wait = self.ledger.lease_seconds / 4
                self.ledger.release(id, result.reason, wait=wait)
                self.emit_failure(task, result.reason, worker=worker, final=False, wait=wait)
            else:
                self.ledger.release(id)
                self.near_deadline = self.near_deadline or self.stop.deadline is not None

    def publish(self, task: Task, outcome: Outcome, *, worker: int) -> None:
        """Move a picture to its place and enter it."""
        place = self.folder / task.output
        if place.exists() and task.id not in self.may_replace:
            self.skip(task)
            return

        def move() -> None:
            place.parent.mkdir(parents=True, exist_ok=True)
            task.picture.replace(place)
            self.unsynced.add(place.parent)

        try:
            if not self.ledger.finish(task.id, outcome, publish=move, inputs=task.inputs):
                return  # another process took it over, and will publish its own
        except OSError as error:
            if is_disk_full(error):
                self.stop_for_full_disk(task.id, place)
            else:
                self.fail(task, f"{place} cannot be written ({error.strerror or error})", worker=worker)
            return
        pixels = outcome.width * outcome.height
        self.painted += 1
        self.painted_pixels += pixels
        self.speed.add(outcome.seconds, pixels)
        left = self.speed.left(self.pixels_left(task.id), len(self.working) + 1)
        self.emit(
            events.JobDone(
                job=task.id, worker=worker, output=task.output, width=outcome.width, height=outcome.height,
                seconds=outcome.seconds, seconds_left=left,
            )
        )  # fmt: skip

    def pixels_left(self, done: str) -> int:
        """The pixels of all unfinished pictures after `done`; an estimate that is renewed every `COUNT_SECONDS`."""
        self.left = max(0, self.left - self.by_id[done].pixels)
        if time.monotonic() - self.counted > COUNT_SECONDS:
            self.left = sum(self.by_id[id].pixels for id in self.ledger.pending())
            self.counted = time.monotonic()
        return self.left

    def fail(self, job: Job, reason: str, *, worker: int, may_pass: bool = True) -> None:
        """Enter a failed attempt; an error that does not pass is not retried."""
        batch = self.options.batch
        state = self.ledger.fail(job.id, reason, retries=batch.retries if may_pass else 0, wait=batch.retry_wait)
        if state is None:
            return
        self.counted = -math.inf
        final = state == "failed"
        if final and self.options.fail_fast:
            self.failed_fast = f"{job.output} failed"
        self.emit_failure(job, reason, worker=worker, final=final, wait=batch.retry_wait)

    def emit_failure(self, job: Job, reason: str, *, worker: int, final: bool, wait: float) -> None:
        self.emit(
            events.JobFailed(
                job=job.id, worker=worker, content=str(job.content), output=job.output, reason=reason, final=final,
                retry_seconds=wait,
            )
        )  # fmt: skip

    def stop_for_full_disk(self, id: str, place: Path) -> None:
        """Release a job that a full disk ended, and stop: the others would end in the same way."""
        disk = self.folder if place.is_relative_to(self.folder) else place
        self.stop.request(f"no space left on the disk of {disk} (free some)", exit_code=ResourceError.exit_code)
        self.ledger.release(id)

    def maintain_ledger(self) -> None:
        """Renew the leases, and bring finished jobs to the disk, when it is time."""
        if time.monotonic() - self.renewed > self.ledger.lease_seconds / 4:
            self.ledger.renew(self.working)
            self.renewed = time.monotonic()
        if self.unsynced and time.monotonic() - self.flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Bring the names of the pictures to the disk before the ledger entries about them."""
        for folder in self.unsynced:
            sync_folder(folder)
        self.ledger.flush()
        self.unsynced.clear()
        self.flushed = time.monotonic()

    def finish(self, seconds: float) -> Summary:
        """Emit and return how the batch ended."""
        counts = self.ledger.counts()
        unfinished = counts["waiting"] + counts["running"] > 0
        stopped = (self.failed_fast or self.stop.reason) if unfinished else None
        code = 1 if counts["failed"] else 0
        if stopped is not None and self.failed_fast is None:
            code = self.stop.exit_code
        rate = megapixels_per_hour(self.painted_pixels, seconds) if self.painted else None
        self.emit(
            events.BatchFinished(
                painted=self.painted, **counts, seconds=seconds, megapixels_per_hour=rate, stopped=stopped
            )
        )
        return Summary(counts=counts, painted=self.painted, seconds=seconds, stopped=stopped, exit_code=code)


def _make_folder(folder: Path) -> None:
    """Make the output folder.

    Raises:
        OutputError: that is not possible.
    """
    try:
        BatchPaths(behind_links(folder)).state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {folder} cannot be made ({error.strerror}); choose another") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"the folder {folder} may not be written to; change its permissions or choose another")
