"""The lock of a run directory, and what counts as one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from hires_nst.errors import RunBusy
from hires_nst.run.directory import lock_owner, opened


def hold(path: Path, ready: Connection) -> None:
    with opened(path, make=True) as folder:
        folder.record.touch()
        ready.send(None)
        signal.pause()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "run"
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=hold, args=(path, theirs))
    process.start()
    ours.recv()
    for _ in range(3):  # to ask changes nothing
        assert str(lock_owner(path)).startswith(f"process {process.pid} on ")
    with (
        pytest.raises(RunBusy, match=rf"run is in use by process {process.pid} on .*, since \d{{4}}-"),
        opened(path, make=True),
    ):
        pass
    process.kill()
    process.join()
    assert lock_owner(path) is None
    with opened(path, make=True):
        assert str(lock_owner(path)).startswith(f"process {os.getpid()} on ")


def test_asking_for_the_lock_owner_makes_no_lock(tmp_path: Path) -> None:
    assert lock_owner(tmp_path) is None
    assert lock_owner(tmp_path / "none") is None
    assert list(tmp_path.iterdir()) == []


def test_whoever_waited_for_a_directory_that_was_removed_makes_a_new_one(tmp_path: Path) -> None:
    path, inside, most, done = tmp_path / "run", 0, 0, 0

    def work() -> None:
        nonlocal inside, most, done
        for _ in range(40):
            try:
                with opened(path, make=True) as folder:
                    inside += 1
                    most = max(most, inside)
                    folder.record.write_text("{}")
                    assert lock_owner(path) is not None
                    inside -= 1
                    folder.remove()
                    done += 1
            except RunBusy:
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert done >= 40
    assert not path.exists()


def test_a_directory_in_which_nothing_began_goes_again(tmp_path: Path) -> None:
    with opened(tmp_path / "a" / "run", make=True):
        pass
    assert not (tmp_path / "a" / "run").exists()
    (tmp_path / "b").mkdir()
    with opened(tmp_path / "b", make=True):
        pass
    assert list((tmp_path / "b").iterdir()) == []


def test_parts_of_a_killed_process_are_removed_and_files_of_others_stay(tmp_path: Path) -> None:
    with opened(tmp_path / "run", make=True) as folder:
        folder.record.touch()
    for name in (".0123abcd.part", ".mine.part"):
        (tmp_path / "run" / name).touch()
    with opened(tmp_path / "run", make=False) as folder:
        folder.remove()
    assert [entry.name for entry in (tmp_path / "run").iterdir()] == [".mine.part"]
