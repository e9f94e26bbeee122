"""What would stop a run on this machine."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hires_nst.backbones.registry import BACKBONES
from hires_nst.run.diagnosis import doctor


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))


def test_a_machine_without_problems() -> None:
    found = doctor()
    assert found.problems == ()
    subjects = [finding.subject for finding in found.findings]
    assert subjects == [
        "system",
        "versions",
        "devices",
        "threads",
        "memory",
        *["weights"] * len(BACKBONES),
        *["disk"] * 2,
    ]


def test_full_disks_and_too_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def disk_usage(folder: Path) -> Any:
        return SimpleNamespace(free=1_000_000)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    monkeypatch.setattr("hires_nst.transfer.memory.free_host_memory", lambda: 1_000_000)
    memory, here, temporary = doctor().problems
    assert memory == "only 1.0 MB of memory is free; close other programs"
    assert here.startswith("only 1.0 MB is free for this folder in ")
    assert temporary.startswith("only 1.0 MB is free for temporary files in ")


def test_a_broken_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hires_nst.transfer.device", None)
    (problem,) = doctor().problems
    assert problem.startswith("the engine cannot be loaded (") and problem.endswith("; install hires-nst again")
