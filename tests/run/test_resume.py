"""Interrupted at any moment and in any way, a resumed run gives the same bytes and computes nothing twice."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import weakref
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import hires_nst
from hires_nst import Config, events, files
from hires_nst.errors import ConfigError, DiskFull, HiresNstError, InputError, Interrupted, OutputError, ResourceError
from hires_nst.run import directory
from hires_nst.run.checkpoint import CheckpointStore, Progress
from hires_nst.run.context import canvases_device
from hires_nst.run.log import read_log
from hires_nst.run.record import Machine, RunRecord, check_machine
from hires_nst.stopping import Stop
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.levels import Level
from hires_nst.transfer.memory import ALONE
from tests.conftest import random_canvas
from tests.run.victim import FULL_DISK, POINTS, Outcome, Victim, in_order

SMALL: dict[str, Any] = {
    "loss": {"style_layers": {"conv1_1": 1.0, "conv2_1": 1.0, "conv3_1": 1.0}, "content_layers": {"conv3_1": 1.0}},
    "levels": {"min_size": 32, "coarse_steps": 6, "rounds": 2, "steps": 2, "border": 0},
    "tiles": {"size": 32, "overlap": 8},
    "checkpoint": {"every_seconds": 0.001},
}
TILES = 1 + 6 + 12
"""Of all rounds of a run with this configuration and the photograph below."""


def settings(**sections: Any) -> dict[str, Any]:
    merged = {n: {**SMALL.get(n, {}), **v} if isinstance(v, dict) else v for n, v in sections.items()}
    return {**SMALL, **merged}


def save(path: Path, height: int, width: int, seed: int) -> Path:
    Image.fromarray(np.rint(random_canvas(height, width, seed).pixels * 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    save(folder / "photo.png", 64, 80, 1)
    save(folder / "painting.png", 90, 96, 2)
    return folder


@pytest.fixture(scope="module")
def expected(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The result without an interruption."""
    out = tmp_path_factory.mktemp("expected") / "out.png"
    stylize(inputs, out)
    assert [path.name for path in out.parent.iterdir()] == ["out.png"]
    return out.read_bytes()


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    victim = Victim()
    yield victim
    victim.close()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.png"


def arguments(inputs: Path, out: Path, **config: Any) -> dict[str, Any]:
    return {
        "content": inputs / "photo.png",
        "output": out,
        "styles": inputs / "painting.png",
        "config": settings(**config),
    }


def stylize(inputs: Path, out: Path, config: dict[str, Any] | None = None, **options: Any) -> list[events.Event]:
    """Run it in this process, and give the events."""
    seen: list[events.Event] = []
    hires_nst.stylize(
        inputs / "photo.png", out, styles=inputs / "painting.png", config=Config.model_validate(config or SMALL),
        **{"on_event": seen.append, **options},
    )  # fmt: skip
    return seen


def interrupted(
    inputs: Path, out: Path, kind: type[events.Event], number: int, config: dict[str, Any] | None = None, **options: Any
) -> list[events.Event]:
    """Stop a run at the N-th event of a kind; the run directory is then `out.png.run`."""
    stop, seen = Stop(), list[events.Event]()

    def on_event(event: events.Event) -> None:
        seen.append(event)
        if isinstance(event, kind) and len(of(seen, kind)) == number:
            stop.request("the test")

    with pytest.raises(Interrupted, match=r"stopped by the test; resume with `hires-nst resume .*`"):
        hires_nst.stylize(
            inputs / "photo.png", out, styles=inputs / "painting.png", config=Config.model_validate(config or SMALL),
            stop=stop, on_event=on_event, **options,
        )  # fmt: skip
    assert not out.exists()
    return seen


def resume(run: Path, **options: Any) -> list[events.Event]:
    seen: list[events.Event] = []
    hires_nst.resume(run, **{"on_event": seen.append, **options})
    return seen


def of(seen: list[events.Event], kind: type[Any]) -> list[Any]:
    return [event for event in seen if isinstance(event, kind)]


def run_of(out: Path) -> Path:
    return out.with_name("out.png.run")


# Killed.


def check_end(ends: list[Outcome], out: Path, expected: bytes) -> None:
    """What has to be true after any number of interruptions."""
    assert out.read_bytes() == expected
    tiles: Counter[tuple[int, int, int]] = sum((end.tiles() for end in ends), Counter())
    assert max(tiles.values()) == 1, "a finished tile was computed again"
    assert len(tiles) >= TILES - len(ends)  # a process killed between a tile's file and its event tells nothing of it
    assert [path.name for path in out.parent.iterdir()] == ["out.png"]


KILLS = [p for p in in_order(POINTS) if p != "picture:after-rename"]


def test_killed_at_every_kind_of_moment(victim: Victim, inputs: Path, expected: bytes, out: Path) -> None:
    ends = []
    for point in KILLS:
        ends.append(victim.run(**arguments(inputs, out), point=point))
        assert (ends[-1].code, ends[-1].message) == (-signal.SIGKILL, ""), f"it never came to {point}"
    if run_of(out).exists():
        ends.append(victim.run(**arguments(inputs, out)))
    assert len(KILLS) >= 45
    check_end(ends, out, expected)


@pytest.mark.parametrize("seed", range(3))
def test_killed_again_and_again_at_random_moments(
    seed: int, victim: Victim, inputs: Path, expected: bytes, out: Path
) -> None:
    rng = random.Random(seed)
    ends: list[Outcome] = []
    while not out.exists() or run_of(out).exists():
        how: dict[str, Any] = {"after": rng.uniform(0.05, 0.6)}
        if rng.random() < 0.6:
            how = {"point": f"{rng.choice(POINTS)}@{rng.choice([1, 2, 3, 5])}"}
        ends.append(victim.run(**arguments(inputs, out), **how))
        assert ends[-1].code in (0, -signal.SIGKILL), ends[-1].message
        assert len(ends) < 60
    check_end(ends, out, expected)


@pytest.mark.parametrize("edited", [False, True])
def test_killed_when_the_picture_has_its_name_already(
    edited: bool, victim: Victim, inputs: Path, expected: bytes, tmp_path: Path
) -> None:
    mine, out = tmp_path / "mine", tmp_path / "results" / "out.png"
    shutil.copytree(inputs, mine)
    out.parent.mkdir()
    end = victim.run(**arguments(mine, out), point="picture:after-rename")
    assert end.code == -signal.SIGKILL
    assert out.read_bytes() == expected
    if edited:  # nobody reads it any more
        save(mine / "photo.png", 64, 80, 7)
        (mine / "painting.png").unlink()
    seen = resume(run_of(out))
    assert [type(event) for event in seen] == [events.RunFinished]
    assert [path.name for path in out.parent.iterdir()] == ["out.png"]


def test_what_a_killed_process_left_of_the_picture_goes_when_the_run_starts_over(
    victim: Victim, inputs: Path, expected: bytes, out: Path
) -> None:
    end = victim.run(**arguments(inputs, out), point="picture:inside")
    assert end.code == -signal.SIGKILL
    assert [path.suffix for path in out.parent.iterdir() if path.name.startswith(".")] == [".part"]
    stylize(inputs, out, resume="never", overwrite=True)
    assert [path.name for path in out.parent.iterdir()] == ["out.png"]
    assert out.read_bytes() == expected


# Asked to stop.


SIGTERMS = (
    *("coarse-step@2", "objective:inside", "step:inside@3", "moments:inside", "fine-step@3", "tile:inside@2"),
    *("tile-finished@3", "blend@2", "round:inside", "level:inside", "picture:inside"),
)


def test_sigterm_in_every_phase(victim: Victim, inputs: Path, expected: bytes, out: Path) -> None:
    ends: list[Outcome] = []
    for point in SIGTERMS:
        ends.append(victim.run(**arguments(inputs, out), point=point, signal=signal.SIGTERM))
        if ends[-1].code == 0:  # the point was behind it, so it ran to its end: a new run comes to it
            check_end(ends, out, expected)
            out.unlink()
            ends = [victim.run(**arguments(inputs, out), point=point, signal=signal.SIGTERM)]
        assert ends[-1].code == 143, f"{point}: {ends[-1].message}"
        assert ends[-1].message == f"stopped by SIGTERM; resume with `hires-nst resume {run_of(out)}`"
        assert ends[-1].stopped_in is not None
        assert ends[-1].stopped_in < 10, point
    ends.append(victim.run(resume_dir=run_of(out)))
    check_end(ends, out, expected)


@pytest.mark.parametrize(
    "optimizer", [{"name": "lbfgs"}, {"pixels": "laplacian"}, {"name": "adam"}], ids=["lbfgs", "laplacian", "adam"]
)
@pytest.mark.parametrize("coupling", ["balanced", "independent", "exact"])
def test_stopped_between_any_two_steps(
    coupling: str, optimizer: dict[str, str], inputs: Path, out: Path, tmp_path: Path
) -> None:
    config = settings(tiles={"coupling": coupling, "size": 64}, optimizer=optimizer, checkpoint={"every_seconds": 60})
    whole = stylize(inputs, tmp_path / "whole.png", config)
    steps = len(of(whole, events.StepFinished))
    for number in (1, 4, 6, 7, steps):
        seen = interrupted(inputs, out, events.StepFinished, number, config) + resume(run_of(out))
        reported = [(e.level, e.round, e.tile, e.step) for e in of(seen, events.StepFinished)]
        assert len(reported) == len(set(reported)) == steps
        assert out.read_bytes() == (tmp_path / "whole.png").read_bytes()
        out.unlink()


@pytest.mark.parametrize("style", ["central-moments", "wasserstein", "sliced", "neighbours"])
def test_targets_that_are_frozen_for_a_round_are_taken_again(
    style: str, inputs: Path, out: Path, tmp_path: Path
) -> None:
    coarse = {"style": "gram", "style_layers": {"conv2_1": 1.0}, "content_layers": {"conv2_1": 1.0}}
    config = settings(
        loss={"style": style, "style_layers": {"conv3_1": 1.0}},
        levels={"overrides": [{"level": 0, "loss": coarse}], "steps": 3},
    )
    stylize(inputs, tmp_path / "whole.png", config)
    for kind, number in ((events.TileFinished, 4), (events.StepFinished, 12)):
        seen = interrupted(inputs, out, kind, number, config)
        assert {"moments", "objective"} < {event.kind for event in of(seen, events.CheckpointWritten)}
        resume(run_of(out))
        assert out.read_bytes() == (tmp_path / "whole.png").read_bytes()
        out.unlink()


@pytest.mark.parametrize("every", ["tile", "round", "level"])
def test_a_level_that_ends_early_ends_at_the_same_step_when_resumed(
    every: str, inputs: Path, out: Path, tmp_path: Path
) -> None:
    levels = {"coarse_steps": 60, "rounds": 40, "tolerance": 0.1}
    config = settings(levels=levels, tiles={"size": 64}, checkpoint={"every": every})
    whole = stylize(inputs, tmp_path / "whole.png", config)
    coarse, fine = (level.evaluations for level in of(whole, events.LevelFinished))
    assert 10 < coarse < 60
    assert 4 < fine < 80
    steps = len(of(whole, events.StepFinished))
    rest = steps - coarse
    for number in (1, coarse - 1, coarse, coarse + rest // 2, steps - 1, steps):
        seen = interrupted(inputs, out, events.StepFinished, number, config) + resume(run_of(out))
        assert out.read_bytes() == (tmp_path / "whole.png").read_bytes()
        ended = {level.index: level.evaluations for level in of(seen, events.LevelFinished)}
        assert ended.items() <= {0: coarse, 1: fine}.items()
        out.unlink()


@pytest.mark.parametrize("every", ["round", "level"])
def test_fewer_checkpoints_are_written_when_fewer_are_configured(
    every: str, inputs: Path, expected: bytes, out: Path
) -> None:
    config = settings(checkpoint={"every": every})
    interrupted(inputs, out, events.TileFinished, 10, config)
    kept = sorted(str(path.relative_to(run_of(out) / "levels")) for path in run_of(out).rglob("canvas.safetensors"))
    assert kept == ["00/canvas.safetensors", "01/rounds/00/canvas.safetensors"][: 2 if every == "round" else 1]
    assert not list(run_of(out).rglob("tiles/*"))
    assert [e.round for e in of(resume(run_of(out)), events.RoundStarted)] == ([1] if every == "round" else [0, 1])
    assert out.read_bytes() == expected


@pytest.mark.parametrize("every", ["round", "level"])
def test_a_stop_throws_no_finished_round_away(every: str, inputs: Path, expected: bytes, out: Path) -> None:
    config = settings(checkpoint={"every": every})
    number = 1 + 6 if every == "round" else TILES  # the last tile of a round
    seen = interrupted(inputs, out, events.TileFinished, number, config)
    assert of(seen, events.CheckpointWritten)[-1].kind == every
    resumed = of(resume(run_of(out)), events.RoundStarted)
    assert [(e.level, e.round) for e in resumed] == ([(1, 1)] if every == "round" else [])
    assert out.read_bytes() == expected


def test_so_many_finished_rounds_stay(inputs: Path, out: Path) -> None:
    config = settings(levels={"rounds": 4}, checkpoint={"keep": 2})
    interrupted(inputs, out, events.RoundFinished, 4, config)
    rounds = [path.parent.name for path in sorted(run_of(out).glob("levels/01/rounds/*/canvas.safetensors"))]
    assert rounds == ["01", "02"]


def test_a_run_directory_that_is_kept_records_that_the_run_is_finished(
    inputs: Path, expected: bytes, out: Path
) -> None:
    stylize(inputs, out, settings(checkpoint={"keep_run": True}))
    assert (run_of(out) / "config.yaml").exists()
    seen = stylize(inputs, out, settings(checkpoint={"keep_run": True}))
    assert [type(event) for event in seen] == [events.RunFinished]
    with pytest.raises(ConfigError, match=r"with other settings: levels.rounds \(2, now 3\)"):
        stylize(inputs, out, settings(levels={"rounds": 3}), overwrite=True)
    out.unlink()
    seen = stylize(inputs, out)
    assert not of(seen, events.StepFinished)
    assert out.read_bytes() == expected
    assert not run_of(out).exists()


def test_a_deadline_is_met_and_the_next_night_resumes(
    victim: Victim, inputs: Path, expected: bytes, out: Path, tmp_path: Path
) -> None:
    config = {"levels": {"coarse_steps": 120}}
    ends: list[Outcome] = []
    until = 0.1  # too little for anything, and from night to night more, until it suffices on this machine
    while not ends or ends[-1].code:
        ends.append(victim.run(**arguments(inputs, out, **config), until=until))
        assert ends[-1].code in (0, 130), ends[-1].message
        assert ends[-1].code == 0 or "stopped by the deadline" in ends[-1].message
        until *= 1.5
    assert len(ends) > 1
    assert max(Counter((e["level"], e["round"], e["tile"], e["step"]) for end in ends for e in end.events
                       if e["event"] == "StepFinished").values()) == 1  # fmt: skip
    stylize(inputs, tmp_path / "whole.png", settings(**config))
    assert out.read_bytes() == (tmp_path / "whole.png").read_bytes()


@pytest.mark.parametrize("deadline", [1.5, 3.2, 5.9, 6.5, 9.1, 14.7, 20.0, 30.3])
def test_a_run_stops_less_than_a_tile_before_its_deadline(
    deadline: float, inputs: Path, expected: bytes, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]  # a step takes a second, everything else no time; a tile of the second level has two steps

    def on_event(event: events.Event) -> None:
        clock[0] += isinstance(event, events.StepFinished)

    monkeypatch.setattr("hires_nst.stopping.time", SimpleNamespace(time=lambda: clock[0]))
    for module in ("checkpoint", "round_store"):
        monkeypatch.setattr(f"hires_nst.run.{module}.time", SimpleNamespace(monotonic=lambda: clock[0]))
    with pytest.raises(Interrupted, match="stopped by the deadline"):
        hires_nst.stylize(
            inputs / "photo.png", out, styles=inputs / "painting.png", config=Config.model_validate(SMALL),
            stop=Stop(deadline=deadline), on_event=on_event,
        )  # fmt: skip
    assert 0 <= deadline - clock[0] < 2.1
    resume(run_of(out), stop=Stop(deadline=1000.0))
    assert out.read_bytes() == expected


@pytest.mark.parametrize(("deadline", "steps"), [(0.5, 0), (1.5, 1)])
def test_the_first_step_keeps_the_deadline_too(
    deadline: float, steps: int, inputs: Path, expected: bytes, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, seen = [0.0], list[events.Event]()  # a step takes a second, as it was guessed

    def on_event(event: events.Event) -> None:
        seen.append(event)
        clock[0] += isinstance(event, events.StepFinished)

    monkeypatch.setattr("hires_nst.stopping.time", SimpleNamespace(time=lambda: clock[0]))
    for module in ("checkpoint", "round_store"):
        monkeypatch.setattr(f"hires_nst.run.{module}.time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr("hires_nst.run.single_run.seconds_per_megapixel", lambda context, plan, side: 1e6 / (32 * 40))
    for run in (stylize, lambda *_, **options: resume(run_of(out), **options)):
        clock[0], count = 0.0, len(of(seen, events.StepFinished))
        with pytest.raises(Interrupted, match="stopped by the deadline"):
            run(inputs, out, stop=Stop(deadline=deadline), on_event=on_event)
        assert len(of(seen, events.StepFinished)) - count == steps
    resume(run_of(out))
    assert out.read_bytes() == expected


# Two at once, no disk space, no permission.


def test_a_second_process_is_refused_with_the_lock_owner(inputs: Path, expected: bytes, out: Path) -> None:
    interrupted(inputs, out, events.TileFinished, 5)
    with directory.opened(run_of(out), make=False):
        assert f"process {os.getpid()} on " in str(directory.lock_owner(run_of(out)))
        for run in (partial(resume, run_of(out)), partial(stylize, inputs, out)):
            with pytest.raises(HiresNstError, match=rf"is in use by process {os.getpid()} on .*, since ") as caught:
                run()
            assert caught.value.exit_code == 1
        command = [sys.executable, "-m", "hires_nst", "resume", str(run_of(out))]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert ended.returncode == 1
        assert re.fullmatch(rf"error: .* is in use by process {os.getpid()} on .*, since .*\n", ended.stderr)
    assert directory.lock_owner(run_of(out)) is None
    resume(run_of(out))
    assert out.read_bytes() == expected


def test_a_full_disk_in_every_phase(victim: Victim, inputs: Path, expected: bytes, out: Path) -> None:
    ends = []
    for point in [*in_order([p for p in POINTS if p.endswith(":inside")]), "log@9"]:
        ends.append(victim.run(**arguments(inputs, out), point=point, signal=FULL_DISK))
        if point == "log@9" and ends[-1].code == 0:
            break
        assert ends[-1].code == ResourceError.exit_code, f"{point}: {ends[-1].message}"
        assert "no space left on the disk" in ends[-1].message
    ends.append(victim.run(**arguments(inputs, out)))
    assert out.read_bytes() == expected
    assert [path.name for path in out.parent.iterdir()] == ["out.png"]


def test_what_cannot_fit_is_refused_before_the_work(inputs: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = hires_nst.plan(
        inputs / "photo.png", styles=inputs / "painting.png", config=Config.model_validate(SMALL), measure=False
    )
    usage = SimpleNamespace(free=plan.run_bytes)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(
        ResourceError, match=r"the run needs up to 21\.\d MB on the disk of .*, and 21\.\d MB is free; free some space"
    ):
        stylize(inputs, out)
    assert not list(out.parent.iterdir())
    usage.free += plan.output_bytes
    stylize(inputs, out)


def test_canvases_on_disk_need_disk_space_too(
    inputs: Path, expected: bytes, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(runtime={"canvas": "disk"})
    plan = hires_nst.plan(
        inputs / "photo.png", styles=inputs / "painting.png", config=Config.model_validate(config), measure=False
    )
    assert plan.canvas_folder == tempfile.gettempdir()
    assert plan.canvas_bytes == 42 * 64 * 80 + 75 * 80 * 12  # and a smaller painting
    for temporary in (tempfile.gettempdir(), "/dev/shm"):
        if not Path(temporary).is_dir():
            continue
        together = Path(temporary).stat().st_dev == out.parent.stat().st_dev
        monkeypatch.setattr(tempfile, "tempdir", temporary)
        free = {temporary: plan.canvas_bytes, str(run_of(out)): plan.run_bytes + plan.output_bytes}
        if together:
            free = dict.fromkeys(free, sum(free.values()))
        enough = free[temporary]
        for space in (enough - 200, enough):  # the lock, which is there already, has some bytes
            free = dict.fromkeys(free, space) if together else {**free, temporary: space}
            monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: SimpleNamespace(free=free[str(path)]))
            if space < enough:
                with pytest.raises(DiskFull, match=r"the run needs up to .* (kB|MB) on .*set TMPDIR to a folder"):
                    stylize(inputs, out, config)
                assert not list(out.parent.iterdir())
            else:
                stylize(inputs, out, config)
                assert out.read_bytes() == expected
                out.unlink()


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("coupling", ["balanced", "exact"])
@pytest.mark.parametrize(("painting", "scale"), [("painting.png", 1.0), ("painting.png", 3.0), ("large.png", 2.0)])
def test_the_estimate_of_canvases_on_disk_is_the_most_that_they_take(
    painting: str, scale: float, coupling: str, optimizer: str, inputs: Path, out: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    most = now = 0

    class Counted(np.memmap):
        def __new__(cls, *arguments: Any, **options: Any) -> Any:
            nonlocal most, now
            made = super().__new__(cls, *arguments, **options)
            now += made.nbytes
            most = max(most, now)
            weakref.finalize(made._mmap, gone, made.nbytes)  # type: ignore[attr-defined]
            return made

    def gone(size: int) -> None:
        nonlocal now
        now -= size

    shutil.copy(inputs / "painting.png", tmp_path)
    save(tmp_path / "large.png", 300, 400, 4)
    config = settings(
        runtime={"canvas": "disk"}, optimizer={"name": optimizer}, tiles={"coupling": coupling},
        levels={"rounds": 3, "detail": 0.5}, styles=[{"image": str(tmp_path / painting), "scale": scale}],
    )  # fmt: skip
    plan = hires_nst.plan(inputs / "photo.png", config=Config.model_validate(config), measure=False)
    monkeypatch.setattr("hires_nst.transfer.canvas.np", SimpleNamespace(**{**vars(np), "memmap": Counted}))
    hires_nst.stylize(inputs / "photo.png", out, config=Config.model_validate(config))
    assert most == plan.canvas_bytes
    assert now == 0


@pytest.mark.parametrize(
    ("optimizer", "keep", "style"),
    [("lbfgs", 1, "gram"), ("lbfgs", 2, "sliced"), ("adam", 1, "neighbours"), ("adam", 2, "mean-std")],
)
def test_the_estimate_of_the_disk_is_an_upper_bound(
    optimizer: str, keep: int, style: str, inputs: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hires_nst.run.disk_space.SMALL_FILES", 100_000)
    config = settings(
        optimizer={"name": optimizer}, checkpoint={"keep": keep}, levels={"rounds": 3}, loss={"style": style}
    )
    plan = hires_nst.plan(
        inputs / "photo.png", styles=inputs / "painting.png", config=Config.model_validate(config), measure=False
    )
    most = 0

    def on_event(event: events.Event) -> None:
        nonlocal most
        most = max(most, directory.folder_bytes(run_of(out)))

    hires_nst.stylize(
        inputs / "photo.png",
        out,
        styles=inputs / "painting.png",
        config=Config.model_validate(config),
        on_event=on_event,
    )
    least = 0.1 if style == "neighbours" else 0.3  # a small painting does not fill its bank
    assert least * plan.run_bytes < most < plan.run_bytes


def test_a_folder_that_may_not_be_written(
    inputs: Path, expected: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not with chmod: nothing is forbidden to root.
    closed, mkdir, open_file = tmp_path / "closed", Path.mkdir, Path.open

    def forbidden(path: Path) -> None:
        if closed in path.parents:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

    def no_mkdir(self: Path, *arguments: Any, **options: Any) -> None:
        forbidden(self)
        mkdir(self, *arguments, **options)

    def no_open(self: Path, *arguments: Any, **options: Any) -> Any:
        forbidden(self)
        return open_file(self, *arguments, **options)

    closed.mkdir()
    monkeypatch.setattr(Path, "mkdir", no_mkdir)
    with pytest.raises(OutputError, match=r"may not be written.*--run-dir"):
        stylize(inputs, tmp_path / "out.png", run_dir=closed / "run")
    monkeypatch.undo()
    made = closed / "made"
    made.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != made)
    with pytest.raises(OutputError, match=r"made may not be written to; .* another run directory with --run-dir"):
        stylize(inputs, tmp_path / "out.png", run_dir=made)
    (made / "run.json").touch()
    with pytest.raises(OutputError, match=r"made may not be written to; .*, or resume a copy of it in another"):
        resume(made)
    assert [path.name for path in made.iterdir()] == ["run.json"]
    monkeypatch.undo()
    run = closed / "run"  # and one that is closed while the run continues
    interrupted(inputs, tmp_path / "out.png", events.TileFinished, 3, run_dir=run)
    monkeypatch.setattr(Path, "open", lambda self, mode="r", *a, **o: no_open(self, mode, *a, **o)
                        if "x" in mode or "a" in mode else open_file(self, mode, *a, **o))  # fmt: skip
    with pytest.raises(OutputError, match="may not be written"):
        resume(run)
    monkeypatch.undo()
    resume(run)
    assert (tmp_path / "out.png").read_bytes() == expected


# Other places, other inputs, other settings.


def test_everything_may_move_together(inputs: Path, expected: bytes, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there" / "deeper"
    shutil.copytree(inputs, here)
    interrupted(here, here / "out.png", events.TileFinished, 4)
    there.parent.mkdir()
    here.rename(there)
    assert not of(resume(there / "out.png.run"), events.Notice)
    assert (there / "out.png").read_bytes() == expected
    assert not here.exists()


def test_the_run_directory_may_move_alone(inputs: Path, expected: bytes, out: Path, tmp_path: Path) -> None:
    interrupted(inputs, out, events.TileFinished, 9)
    moved = tmp_path / "other" / "name"
    moved.parent.mkdir()
    run_of(out).rename(moved)
    resume(moved)
    assert out.read_bytes() == expected
    assert not moved.exists()


@pytest.mark.parametrize("name", ["photo.png", "painting.png"])
def test_an_edited_input_is_refused_by_name(name: str, inputs: Path, expected: bytes, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(inputs, mine)
    out = tmp_path / "out.png"
    interrupted(mine, out, events.TileFinished, 2)
    before = (mine / name).read_bytes()
    save(mine / name, 64, 80, 7)
    for run in (partial(resume, run_of(out)), partial(stylize, mine, out), partial(stylize, mine, out, overwrite=True)):
        with pytest.raises(InputError, match=rf"{name} has changed since the run .* `--resume never --overwrite`"):
            run()
    (mine / name).unlink()
    with pytest.raises(InputError, match=rf"{name} of the run in .* no longer exists"):
        resume(run_of(out))
    (mine / name).write_bytes(before)
    resume(run_of(out))
    assert out.read_bytes() == expected


@pytest.mark.parametrize("name", ["photo.png", "painting.png"])
def test_starting_over_with_an_edited_input(name: str, inputs: Path, expected: bytes, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(inputs, mine)
    out, whole = tmp_path / "out.png", tmp_path / "whole.png"
    interrupted(mine, out, events.TileFinished, 5)
    save(mine / name, 64, 80, 7)
    with pytest.raises(InputError, match=rf"{name} has changed since the run .* `--resume never --overwrite` starts"):
        stylize(mine, out)
    seen = stylize(mine, out, resume="never", overwrite=True)
    assert len(of(seen, events.TileFinished)) == TILES
    stylize(mine, whole)
    assert out.read_bytes() == whole.read_bytes() != expected
    assert not run_of(out).exists()


def test_starting_over(inputs: Path, expected: bytes, out: Path) -> None:
    interrupted(inputs, out, events.TileFinished, 2, settings(levels={"coarse_steps": 3}))
    with pytest.raises(ConfigError, match=r"levels.coarse_steps \(3, now 6\); resume it as it began with"):
        stylize(inputs, out)
    with pytest.raises(OutputError, match="contains an interrupted run"):
        stylize(inputs, out, resume="never")
    seen = stylize(inputs, out, resume="never", overwrite=True)
    assert len(of(seen, events.TileFinished)) == TILES
    assert out.read_bytes() == expected
    with pytest.raises(ConfigError, match=r"there is no run in .*out.png.run to resume"):
        stylize(inputs, out, resume="require", overwrite=True)


def test_the_run_of_another_picture_is_never_removed(inputs: Path, expected: bytes, out: Path, tmp_path: Path) -> None:
    interrupted(inputs, out, events.TileFinished, 8, run_dir=tmp_path / "run")
    ways: tuple[dict[str, Any], ...] = (
        {},
        {"resume": "never", "overwrite": True},
        {"resume": "require", "overwrite": True},
    )
    for how in ways:
        with pytest.raises(ConfigError, match=r"run paints .*out.png, not .*other.png; give another --run-dir"):
            stylize(inputs, tmp_path / "other.png", run_dir=tmp_path / "run", **how)
    assert of(resume(tmp_path / "run"), events.RunResumed)
    assert out.read_bytes() == expected
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")  # of whatever picture: it cannot be gone on with
    stylize(inputs, tmp_path / "other.png", run_dir=tmp_path / "run", resume="never", overwrite=True)
    assert (tmp_path / "other.png").read_bytes() == expected


def test_names_in_the_commands_of_messages_are_quoted(inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out put.png"
    stop = Stop()
    stop.request("the test")
    command = f"`hires-nst resume '{out}.run'`"
    with pytest.raises(Interrupted):  # there is a run from the first event on
        stylize(inputs, out, on_event=lambda event: stops(event, events.StepFinished))
    for config, options, kind in (
        ({}, {"resume": "never"}, OutputError),
        (settings(levels={"rounds": 3}), {}, ConfigError),
        ({}, {"stop": stop}, Interrupted),
    ):
        with pytest.raises(kind, match=re.escape(command)):
            stylize(inputs, out, config, **options)


def stops(event: events.Event, kind: type[events.Event]) -> None:
    if isinstance(event, kind):
        raise Interrupted("by the test")


def test_settings_of_the_checkpoints_may_change(inputs: Path, expected: bytes, out: Path) -> None:
    interrupted(inputs, out, events.TileFinished, 8)
    changed = settings(checkpoint={"every": "level"}, runtime={"memory": 0.5, "canvas": "disk"})
    assert not [e for e in of(stylize(inputs, out, changed), events.RoundStarted) if e.level == 0]
    assert out.read_bytes() == expected


def test_changed_settings_of_the_checkpoints_hold_for_later_parts(inputs: Path, expected: bytes, out: Path) -> None:
    interrupted(inputs, out, events.TileFinished, 3)
    changed = settings(checkpoint={"every": "round", "keep_run": True})
    seen = interrupted(inputs, out, events.RoundFinished, 1, changed)
    seen += resume(run_of(out))
    assert not of(seen, events.Notice)
    assert {e.kind for e in of(seen, events.CheckpointWritten)} == {"round", "optimizer", "level"}
    assert out.read_bytes() == expected
    assert run_of(out).is_dir()


def test_somebody_elses_file_in_the_place_of_the_picture_is_left_alone(
    inputs: Path, expected: bytes, out: Path
) -> None:
    interrupted(inputs, out, events.TileFinished, 8)
    out.write_text("precious")
    for run in (partial(resume, run_of(out)), partial(stylize, inputs, out)):
        with pytest.raises(OutputError, match="already exists"):
            run()
    assert out.read_text() == "precious"
    resume(run_of(out), overwrite=True)
    assert out.read_bytes() == expected


def test_a_result_behind_a_link_is_resumed_and_the_link_stays(
    inputs: Path, expected: bytes, out: Path, tmp_path: Path
) -> None:
    target = tmp_path / "elsewhere" / "result"  # without a suffix: the link's counts
    target.parent.mkdir()
    out.symlink_to(target)
    interrupted(inputs, out, events.TileFinished, 8)
    resume(run_of(out))
    assert out.is_symlink()
    assert target.read_bytes() == expected
    assert [path.name for path in target.parent.iterdir()] == ["result"]


def test_a_folder_with_other_files_is_not_a_run_directory(inputs: Path, out: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    ways: tuple[dict[str, Any], ...] = ({}, {"resume": "never", "overwrite": True})
    for options in ways:
        with pytest.raises(OutputError, match=r"is not a run directory: it contains thesis.txt"):
            stylize(inputs, out, run_dir=tmp_path / "mine", **options)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    with pytest.raises(InputError, match="does not exist; a run directory is removed"):
        resume(tmp_path / "none")


def test_files_of_the_system_in_a_run_directory_are_left_alone(inputs: Path, expected: bytes, out: Path) -> None:
    interrupted(inputs, out, events.TileFinished, 2)
    levels = run_of(out) / "levels"
    for folder in (levels, levels / "01", levels / "01" / "rounds"):
        (folder / ".DS_Store").touch()
        (folder / "@eaDir" / "rounds" / "00").mkdir(parents=True)
        (folder / "²").mkdir()
    (levels / "00" / "rounds").mkdir(exist_ok=True)
    (levels / "00" / "rounds" / "05").touch()
    assert of(resume(run_of(out)), events.TileRestored)
    assert out.read_bytes() == expected
    assert [path.name for path in out.parent.iterdir()] == ["out.png"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"program": "photoshop"}, "the run directory of another program, 'photoshop'"),
        ({"format": 3, "version": "9.0"}, "was written by version 9.0 of the program"),
        ({"version": "0.0.1"}, "was started by version 0.0.1 of the program"),
        ({"levels": 3}, "is not a valid run record"),
    ],
)
def test_other_programs_and_versions_are_refused(
    change: dict[str, Any], sentence: str, inputs: Path, out: Path
) -> None:
    interrupted(inputs, out, events.TileFinished, 2)
    data = files.read_json(run_of(out) / "run.json")
    del data["checksum"]
    files.write_json(run_of(out) / "run.json", {**data, **change})
    for run in (partial(resume, run_of(out)), partial(stylize, inputs, out)):
        with pytest.raises(HiresNstError, match=sentence):
            run()


def test_a_run_directory_of_the_first_format_is_refused_as_another_version(inputs: Path, out: Path) -> None:
    interrupted(inputs, out, events.TileFinished, 2)
    (run_of(out) / "run.json").write_text(
        json.dumps({"program": "hires-nst", "format": 1, "version": "0.2.0.dev0", "seal": "5" * 64}, indent=1)
    )
    for run in (partial(resume, run_of(out)), partial(stylize, inputs, out)):
        with pytest.raises(ConfigError, match=r"was written by version 0\.2\.0\.dev0 of the program, which stores"):
            run()
    stylize(inputs, out, resume="never", overwrite=True)


def test_an_edited_config_in_the_run_directory_is_written_again(inputs: Path, expected: bytes, out: Path) -> None:
    interrupted(inputs, out, events.TileFinished, 2)
    path = run_of(out) / "config.yaml"
    before = path.read_bytes()
    path.write_bytes(before.replace(b"seed: 0", b"seed: 1"))
    assert path.read_bytes() != before
    changed = settings(checkpoint={"every": "round"})
    (notice,) = of(interrupted(inputs, out, events.TileFinished, 2, changed), events.Notice)
    assert "config.yaml was edited or damaged" in notice.message
    assert path.read_bytes() == before.replace(b"every: auto", b"every: round")
    assert not of(resume(run_of(out)), events.Notice)
    assert out.read_bytes() == expected


def test_another_number_of_threads_is_reported(inputs: Path, expected: bytes, out: Path) -> None:
    interrupted(inputs, out, events.TileFinished, 2)
    data = files.read_json(run_of(out) / "run.json")
    del data["checksum"]
    data["machine"]["threads"] = 64
    files.write_json(run_of(out) / "run.json", data)
    (notice,) = of(resume(run_of(out)), events.Notice)
    assert "another number of threads (64, now 1)" in notice.message


def machine(**changes: str) -> Machine:
    before = {"device": "cuda:0", "model": "Some GPU", "precision": "float32", "torch": "2", "threads": 1}
    return Machine.model_validate({**before, **changes})


def record_of(machine: Machine) -> RunRecord:
    return RunRecord(
        version="1", config={}, inputs=(), output=Path("out.png"), output_relative="out.png", overwrite=False,
        machine=machine, width=1, height=1, levels=(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"device": "cpu", "model": ""}, "device cuda, Some GPU, now cpu"),
        ({"model": "Other GPU"}, "device cuda, Some GPU, now cuda, Other GPU"),
        ({"precision": "bfloat16", "torch": "3"}, "precision float32, now bfloat16; torch 2, now 3"),
    ],
)
def test_another_machine_is_refused_unless_it_is_told_to_go_on(changes: dict[str, str], words: str) -> None:
    reported: list[Any] = []
    record = record_of(machine())
    check = partial(check_machine, record, machine(**changes), folder=Path("out.png.run"), emit=reported.append)
    with pytest.raises(
        ConfigError, match=rf"began on another machine \({words}\).*--other-machine, or `--resume never"
    ):
        check(other=False)
    assert not reported
    assert check(other=True).machine == machine(**changes)  # the next resume there needs no telling
    (notice,) = reported
    assert notice.message.startswith(f"the run began on another machine ({words}), so the last bits")


@pytest.mark.parametrize("changes", [{}, {"device": "cuda"}, {"device": "cuda:1"}])
def test_another_gpu_of_the_same_model_is_the_same_machine(changes: dict[str, str]) -> None:
    record = record_of(machine())
    reported: list[Any] = []
    assert check_machine(record, machine(**changes), folder=Path(), other=False, emit=reported.append) is record
    assert not reported


def test_a_run_goes_on_with_another_version_of_torch_when_told_to(inputs: Path, expected: bytes, out: Path) -> None:
    def is_of_another_version() -> None:
        data = files.read_json(run_of(out) / "run.json")
        del data["checksum"]
        data["machine"]["torch"] = "2.0"
        files.write_json(run_of(out) / "run.json", data)

    interrupted(inputs, out, events.TileFinished, 2)
    is_of_another_version()
    for run in (partial(resume, run_of(out)), partial(stylize, inputs, out)):
        with pytest.raises(ConfigError, match=r"began on another machine \(torch 2\.0, now "):
            run()
    interrupted(inputs, out, events.TileFinished, 2, other_machine=True)
    assert not of(resume(run_of(out)), events.Notice)
    assert out.read_bytes() == expected


# Damage.


def test_damage_is_repaired_or_reported_and_never_painted(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One byte of one file, 100 times, in a run of one level whose last round is computed but not blended yet."""
    photo = save(tmp_path / "photo.png", 32, 40, 3)
    levels = {"min_size": 32, "overrides": [{"level": 0, "rounds": 2, "steps": 2}]}
    config = Config.model_validate(settings(levels=levels))
    out, kept = tmp_path / "out.png", tmp_path / "kept"

    def run(**options: Any) -> None:
        hires_nst.stylize(photo, out, styles=inputs / "painting.png", config=config, **options)

    run()
    expected = out.read_bytes()
    out.unlink()
    save_canvas = CheckpointStore.save_canvas

    def interrupted_before(self: CheckpointStore, progress: Progress, canvas: Canvas, **options: Any) -> None:
        if progress.round == 1:
            raise Interrupted("in the test", exit_code=130)
        save_canvas(self, progress, canvas, **options)

    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr(CheckpointStore, "save_canvas", interrupted_before)
        run()
    assert (run_of(out) / "levels/00/rounds/01/tiles/0000.safetensors").exists()
    run_of(out).rename(kept)
    rng, ends = random.Random(0), Counter[str]()
    names = ["run.json", "config.yaml", "events.jsonl", "levels/00/objective.safetensors",
             "levels/00/rounds/00/canvas.safetensors", "levels/00/rounds/01/round.json",
             "levels/00/rounds/01/tiles/0000.safetensors"]  # fmt: skip
    for number in range(105):
        name = names[number % len(names)]
        shutil.copytree(kept, run_of(out))
        at = damage(run_of(out) / name, rng, cut=number % 10 == 9)
        reported: list[events.Event] = []
        try:
            hires_nst.resume(run_of(out), on_event=reported.append)
        except HiresNstError as error:
            assert "damaged" in str(error)
            assert "\n" not in str(error)
            assert name == "run.json"
            shutil.rmtree(run_of(out))
            ends[f"{name} refused"] += 1
            continue
        assert out.read_bytes() == expected, f"{name}, byte {at}"
        assert name == "events.jsonl" or of(reported, events.Notice), f"{name}, byte {at}"
        out.unlink()
        ends[f"{name} repaired"] += 1
    assert len(ends) == len(names)


def damage(path: Path, rng: random.Random, *, cut: bool) -> int:
    """Change one bit of a file, or cut it off there; the place."""
    data = bytearray(path.read_bytes())
    at = rng.randrange(len(data))
    if cut:
        del data[at:]
    else:
        data[at] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    return at


@pytest.mark.parametrize("name", ["step.safetensors", "moments.safetensors", "parts.json"])
def test_damage_in_a_round_under_way(
    name: str, inputs: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hires_nst.transfer.refine import refine_tile

    calls = 0

    def fails(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:  # the third tile of the second level
            raise MemoryError
        return refine_tile(*arguments, **options)

    if name == "parts.json":
        monkeypatch.setattr("hires_nst.run.painter.SMALLEST_TILE", 16)
        monkeypatch.setattr("hires_nst.transfer.refine.refine_tile", fails)
        interrupted(inputs, out, events.TileFinished, 5)
    else:
        interrupted(inputs, out, events.StepFinished, 9)  # the first one of the second tile there
    kept = run_of(out).rename(tmp_path / "kept")

    def resumed() -> bytes:
        reported = resume(run_of(out))
        assert of(reported, events.Notice)
        data = out.read_bytes()
        out.unlink()
        return data

    shutil.copytree(kept, run_of(out))
    if name == "parts.json":  # without it, the tiles that are left are not cut: that is another picture, and a good one
        (run_of(out) / "levels/01/rounds/00/parts.json").write_text("")
        expected = resumed()
    else:
        resume(run_of(out))
        expected = out.read_bytes()
        out.unlink()
    rng = random.Random(1)
    for number in range(6):
        shutil.copytree(kept, run_of(out))
        at = damage(run_of(out) / "levels/01/rounds/00" / name, rng, cut=number == 5)
        assert resumed() == expected, f"byte {at}"


def test_a_damaged_canvas_falls_back_to_the_one_before(inputs: Path, expected: bytes, out: Path) -> None:
    first = interrupted(inputs, out, events.TileFinished, 9, settings(checkpoint={"keep": 2}))
    newest = run_of(out) / "levels" / "01" / "rounds" / "00" / "canvas.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    seen = resume(run_of(out))
    assert "canvas.safetensors is damaged" in of(seen, events.Notice)[0].message
    assert [(e.level, e.round) for e in of(seen, events.RoundStarted)] == [(1, 0), (1, 1)]
    under_way = [e for e in of(first, events.TileFinished) if (e.level, e.round) == (1, 1)]
    assert len(of(seen, events.TileRestored)) == len(under_way) >= 2
    assert out.read_bytes() == expected


# Memory that runs out.


def test_a_run_whose_memory_ran_out_resumes_with_its_finished_tiles(
    inputs: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hires_nst.transfer.refine import refine_tile

    config = settings(tiles={"size": 64})

    def fails(current: Any, tile: Any, **options: Any) -> Any:
        if tile.window.area > 48 * 48:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return refine_tile(current, tile, **options)

    monkeypatch.setattr("hires_nst.transfer.memory.SMALLEST_TILE", 16)
    monkeypatch.setattr("hires_nst.run.painter.SMALLEST_TILE", 16)
    monkeypatch.setattr("hires_nst.transfer.refine.refine_tile", fails)
    seen = stylize(inputs, tmp_path / "whole.png", config)
    assert of(seen, events.TilesShrunk)
    for number in (1, 4, 8, 15):
        first = interrupted(inputs, out, events.TileFinished, number, config)
        monkeypatch.setattr("hires_nst.transfer.refine.refine_tile", refine_tile)  # memory is there again
        again = resume(run_of(out))
        monkeypatch.setattr("hires_nst.transfer.refine.refine_tile", fails)
        tiles = Counter((e.level, e.round, e.tile) for e in of(first + again, events.TileFinished))
        assert max(tiles.values()) == 1
        rounds = {(e.level, e.round): e.tiles for e in of(first, events.RoundStarted)}
        for event in of(again, events.TileRestored):
            assert event.tiles == rounds[event.level, event.round]
        out.unlink()


def test_memory_that_runs_out_while_the_paintings_are_measured(
    inputs: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hires_nst.transfer.style import style_statistics

    def fails(extract: Any, styles: Any, *, layers: Any, grid_of: Any, loss: Any) -> Any:
        if any(tile.window.area > 64 * 64 for style, _ in styles for tile in grid_of(style.canvas).tiles):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return style_statistics(extract, styles, layers=layers, grid_of=grid_of, loss=loss)

    config = settings(tiles={"size": 64})
    monkeypatch.setattr("hires_nst.run.painter.SMALLEST_TILE", 16)
    monkeypatch.setattr("hires_nst.run.level_objective.style_statistics", fails)
    seen = stylize(inputs, tmp_path / "whole.png", config)
    shrunk = {event.level: event.size for event in of(seen, events.TilesShrunk)}
    assert max(shrunk) == 1
    assert all(event.tiles > 1 for event in of(seen, events.RoundStarted) if event.level in shrunk)
    first = interrupted(inputs, out, events.TileFinished, 1, config)
    monkeypatch.setattr("hires_nst.run.level_objective.style_statistics", style_statistics)  # memory is there again
    again = resume(run_of(out))
    tiles = {
        number: {e.tiles for e in of(reported, events.RoundStarted) if e.level == 0}
        for number, reported in enumerate((first, again, seen))
    }
    assert tiles[0] == tiles[2]
    assert tiles[1] <= tiles[2]


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_memory_that_runs_out_in_the_middle_of_a_round_costs_one_tile(
    optimizer: str, inputs: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hires_nst.transfer.refine import refine_tile

    config = settings(optimizer={"name": optimizer}, levels={"rounds": 3})
    monkeypatch.setattr("hires_nst.run.painter.SMALLEST_TILE", 16)
    calls = 0

    def fails(current: Any, tile: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 10:  # the third tile of the second round of the second level
            raise MemoryError
        return refine_tile(current, tile, **options)

    monkeypatch.setattr("hires_nst.transfer.refine.refine_tile", fails)
    seen = stylize(inputs, tmp_path / "whole.png", config)
    assert [(e.level, e.round, e.size) for e in of(seen, events.TilesShrunk)] == [(1, 1, 16)]
    assert [(e.level, e.round, e.tile) for e in of(seen, events.TileRestored)] == [(1, 1, 0), (1, 1, 1)]
    tiles = Counter((e.level, e.round, e.tile) for e in of(seen, events.TileFinished))
    assert max(tiles.values()) == 1
    assert len([tile for tile in tiles if tile[:2] == (1, 1)]) == 12
    assert len([tile for tile in tiles if tile[:2] == (1, 2)]) > 12  # small ones from the start
    for number in (9, 10, 15, 20):
        calls = 0
        first = interrupted(inputs, out, events.TileFinished, number, config)
        # Memory runs out after the interruption, or before it and is there again. A tile is reported when it is on the
        # disk, by which time the next one may have begun.
        calls = 100 if of(first, events.TilesShrunk) else 9
        tiles = Counter((e.level, e.round, e.tile) for e in of(first + resume(run_of(out)), events.TileFinished))
        assert max(tiles.values()) == 1
        assert out.read_bytes() == (tmp_path / "whole.png").read_bytes()
        out.unlink()


def test_the_log_survives_torn_lines(inputs: Path, out: Path) -> None:
    seen = interrupted(inputs, out, events.TileFinished, 3)
    log = run_of(out) / "events.jsonl"
    lines = log.read_bytes().splitlines()
    log.write_bytes(b"\n".join(lines)[:-20])
    reported = [type(logged.event).__name__ for logged in read_log(log)]
    assert reported == [json.loads(line)["event"] for line in lines[:-1]]
    assert reported.count("TileFinished") == len(of(seen, events.TileFinished))
    with directory.opened(run_of(out), make=False) as folder:
        folder.log(events.Notice("after the torn one"))
    assert [logged.event for logged in read_log(log)][-1] == events.Notice("after the torn one")


# Written by their cost, as on a GPU.


@pytest.fixture
def rarely(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Settings with which nothing is due before the end of a level."""
    monkeypatch.setattr("hires_nst.run.single_run.writes_by_cost", lambda config, device: True)
    monkeypatch.setattr("hires_nst.run.checkpoint.WRITING_SHARE", 0.0)
    return settings(checkpoint={"every_seconds": 3600.0}, levels={"rounds": 3})


def checkpoints_of(seen: list[events.Event]) -> list[tuple[str, int, int]]:
    return [(event.kind, event.level, event.round) for event in of(seen, events.CheckpointWritten)]


def test_what_is_not_due_is_not_written(rarely: dict[str, Any], inputs: Path, out: Path, tmp_path: Path) -> None:
    seen = stylize(inputs, out, rarely)
    written = checkpoints_of(seen)
    assert [one for one in written if one[0] == "level"] == [("level", 0, 0), ("level", 1, 2)]
    assert {kind for kind, _, _ in written} == {"objective", "moments", "level"}
    assert len(of(seen, events.TileFinished)) == 1 + 6 + 12 + 6
    often = tmp_path / "often.png"
    stylize(inputs, often, settings(levels={"rounds": 3}))
    assert often.read_bytes() == out.read_bytes()


@pytest.mark.parametrize(
    "kind, number", [(events.TileFinished, 9), (events.StepFinished, 25), (events.RoundFinished, 3)]
)
def test_an_interruption_writes_what_was_not_due(
    kind: type[events.Event], number: int, rarely: dict[str, Any], inputs: Path, out: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "whole.png"
    stylize(inputs, whole, rarely)
    before = interrupted(inputs, out, kind, number, rarely)
    assert any(name == "round" for name, _, _ in checkpoints_of(before))
    after = resume(run_of(out))
    assert out.read_bytes() == whole.read_bytes()
    done = [(e.level, e.round, e.tile) for e in of([*before, *after], events.TileFinished)]
    assert len(done) == len(set(done)) == 1 + 6 + 12 + 6, "a tile was computed twice, or not at all"


def test_without_an_interruption_only_what_is_written_is_there(
    rarely: dict[str, Any], inputs: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after `kill -9`: the run goes on from the last level."""
    whole = tmp_path / "whole.png"
    stylize(inputs, whole, rarely)
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointStore, "save_unsaved", lambda self: None)
        patch.setattr("hires_nst.run.round_store.DiskRoundStore.save_latest", lambda self: None)
        interrupted(inputs, out, events.RoundFinished, 3, rarely)
    assert {path.parent.name for path in run_of(out).rglob("canvas.safetensors")} == {"00"}
    assert of(resume(run_of(out)), events.RunResumed)[0].level == 1
    assert out.read_bytes() == whole.read_bytes()


def test_what_is_due_is_written_with_what_it_starts_from(
    rarely: dict[str, Any], inputs: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole.png"
    stylize(inputs, whole, rarely)
    due = CheckpointStore.is_due
    calls: list[int] = []

    def is_due(self: CheckpointStore, size: int) -> bool:
        calls.append(size)
        return len(calls) % 5 == 0 or due(self, size)

    monkeypatch.setattr(CheckpointStore, "is_due", is_due)
    written = checkpoints_of(interrupted(inputs, out, events.TileFinished, 24, rarely))
    assert written.index(("round", 1, 0)) < written.index(("tile", 1, 1))
    resume(run_of(out))
    assert out.read_bytes() == whole.read_bytes()


# Canvases on a device.


def test_canvases_that_move_to_a_device_and_back_give_the_same_bytes(
    inputs: Path, expected: bytes, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A processor plays the device: what moves is copied, as it would be to a GPU."""
    moved: list[torch.device] = []

    def to(self: Canvas, device: torch.device) -> Canvas:
        moved.append(device)
        return Canvas(self.samples.to(device, copy=True))

    monkeypatch.setattr(Canvas, "to", to)
    interrupted(inputs, out, events.TileFinished, 12)
    resume(run_of(out))
    assert len(moved) >= 8
    assert out.read_bytes() == expected


def test_canvases_are_on_a_gpu_where_they_take_little_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    context = SimpleNamespace(extract=SimpleNamespace(device=gpu), config=Config(), share=ALONE)
    level = Level(index=1, height=1000, width=1000, rounds=1, steps=1)
    for free, expected in ((10**9, gpu), (10**8, torch.device("cpu"))):
        monkeypatch.setattr("hires_nst.run.context.free_memory", lambda device, free=free: free)
        assert canvases_device(context, level) == expected  # type: ignore[arg-type]
