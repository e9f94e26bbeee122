"""The disk space that a batch needs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from hires_nst.batch.job import Job
from hires_nst.batch.paths import BatchPaths
from hires_nst.errors import ResourceError
from hires_nst.imageio.formats import written_format
from hires_nst.quantities import amount
from hires_nst.run.directory import folder_bytes
from hires_nst.run.disk_space import expected_run_bytes, picture_bytes


def check_disk_space(jobs: Sequence[Job], folder: Path, *, workers: int) -> None:
    """Raise ResourceError unless the disk has space for all these pictures and their run directories.

    Each worker has one run directory at a time, and one picture that is not published yet.
    """
    need = needed(jobs, folder, workers=workers)
    free = shutil.disk_usage(folder).free
    if need > free:
        raise ResourceError(
            f"the pictures and their run directories need up to {amount(need)}, and {folder} has {amount(free)} free; "
            "free some, choose another folder or smaller pictures, or store fewer checkpoints with "
            "--set checkpoint.every=level"
        )


def needed(jobs: Sequence[Job], folder: Path, *, workers: int) -> int:
    """The most bytes that the pictures take, and the run directories of the largest ones that are painted at once.

    The files of interrupted jobs in their run directories exist already.
    """
    paths = BatchPaths(folder)
    growth = (max(0, job_run_bytes(job) - folder_bytes(paths.job(job.id).run_dir)) for job in jobs)
    return sum(map(job_picture_bytes, jobs)) + sum(sorted(growth)[-workers:])


def job_picture_bytes(job: Job) -> int:
    """The most that a picture takes on the disk; 0 where its size is not known.

    They are counted uncompressed, all but a JPEG with transparency.
    """
    channels = 3 if written_format(PurePosixPath(job.output)) == "JPEG" else 4
    return picture_bytes(job.pixels, bit_depth=job.config.output.bit_depth, channels=channels)


def job_run_bytes(job: Job) -> int:
    """The most that a job's run directory takes on the disk; 0 where the picture's size is not known."""
    if job.size is None:
        return 0
    device = job.config.runtime.device
    kind = device if device in ("cpu", "mps") else "cuda"
    return expected_run_bytes(job.config, job.size, kind=kind)
