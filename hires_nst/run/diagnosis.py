"""What this machine has for a run, and what would stop one: `hires-nst doctor` as a function."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from hires_nst.config import Config
from hires_nst.quantities import amount
from hires_nst.version import VERSION

PACKAGES = ("torch", "torchvision", "numpy", "pillow", "tifffile", "scikit-image", "safetensors", "pydantic")
LEAST_MEMORY = 500e6
"""Bytes below which not even a small picture can be expected to succeed."""
LEAST_DISK = 100e6


@dataclass(frozen=True)
class Finding:
    """One line about the system, versions, devices, threads, memory, weights or a disk."""

    subject: str
    text: str


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        findings: in the order in which they are shown.
        problems: what would stop a run, each one sentence that says what to do; none where a run can start.
    """

    findings: tuple[Finding, ...]
    problems: tuple[str, ...]


def doctor() -> Diagnosis:
    """Find out versions, devices, memory, weights and disk space, and what would stop a run in the working directory.

    A broken installation of torch is a problem, not an exception.
    """
    versions = [f"hires-nst {VERSION}", *(f"{name} {_version(name)}" for name in PACKAGES)]
    system = Finding("system", f"{platform.platform()}, Python {platform.python_version()}")
    engine, disks = _engine(), _disks()
    return Diagnosis(
        findings=(system, Finding("versions", ", ".join(versions)), *engine.findings, *disks.findings),
        problems=engine.problems + disks.problems,
    )


def _engine() -> Diagnosis:
    """Devices, threads, memory and weights."""
    try:
        import psutil
        import torch

        from hires_nst.backbones import models
        from hires_nst.run import single_run
        from hires_nst.transfer.device import describe_devices
        from hires_nst.transfer.memory import free_host_memory
    except Exception as error:  # whatever a broken installation raises
        problem = f"the engine cannot be loaded ({type(error).__name__}: {error}); install hires-nst again"
        return Diagnosis((), (problem,))
    assert single_run is not None
    free = free_host_memory()
    checks = models.verify()
    findings = [
        Finding("devices", ", ".join(describe_devices())),
        Finding("threads", f"{torch.get_num_threads()} of {os.cpu_count()} processors"),
        Finding("memory", f"{amount(free)} free of {amount(psutil.virtual_memory().total)}"),
        *(Finding("weights", f"{check.state}: {check.message}") for check in checks),
    ]
    problems = [f"only {amount(free)} of memory is free; close other programs"] if free < LEAST_MEMORY else []
    problems += [check.message for check in checks if check.name == Config().model.name and check.state != "ok"]
    return Diagnosis(tuple(findings), tuple(problems))


def _disks() -> Diagnosis:
    """The disks of the working directory and of temporary files."""
    findings, problems = [], []
    for name, folder in (("this folder", Path.cwd()), ("temporary files", Path(tempfile.gettempdir()))):
        free, writable = shutil.disk_usage(folder).free, os.access(folder, os.W_OK | os.X_OK)
        text = f"{amount(free)} free for {name}, {folder}{'' if writable else ', which is not writable'}"
        findings.append(Finding("disk", text))
        if free < LEAST_DISK:
            problems.append(f"only {amount(free)} is free for {name} in {folder}; free some disk space")
        if name == "temporary files" and not writable:
            problems.append(f"the folder for temporary files, {folder}, is not writable; set TMPDIR to another")
    return Diagnosis(tuple(findings), tuple(problems))


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"
