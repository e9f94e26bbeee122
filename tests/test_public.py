"""What the command line does, a script can do: each public function beside its command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import hires_nst
from hires_nst import Config, Stop, batch, models, report, styles
from hires_nst.cli import app
from hires_nst.errors import Interrupted
from hires_nst.events import Event, StepFinished, json_line
from tests.conftest import random_canvas
from tests.run.test_pipeline import save

SMALL: dict[str, Any] = {
    "output": {"long_edge": 64},
    "levels": {"min_size": 32, "coarse_steps": 4, "rounds": 1, "steps": 2},
    "tiles": {"size": 32},
    "checkpoint": {"every": "round"},
}
SETTINGS = [
    "--size", "64", "--tile-size", "32", "--set", "levels.min_size=32", "--set", "levels.coarse_steps=4",
    "--set", "levels.rounds=1", "--set", "levels.steps=2", "--set", "checkpoint.every=round",
]  # fmt: skip


@pytest.fixture
def config() -> Config:
    return Config.model_validate(SMALL)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    return save(folder / "photo.png", random_canvas(48, 64, 1))


@pytest.fixture
def painting(tmp_path: Path) -> Path:
    return save(tmp_path / "painting.png", random_canvas(64, 56, 2))


def command(*arguments: object, code: int = 0) -> str:
    """What a command prints on stdout."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


def as_json(data: Any) -> Any:
    """Data as it comes back from JSON."""
    return json.loads(json_line(data))


def without(data: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key not in keys}


def interrupting() -> tuple[Stop, Callable[[Event], None]]:
    """What stops a run at its third step."""
    stop, steps = Stop(), [0]

    def on_event(event: Event) -> None:
        steps[0] += isinstance(event, StepFinished)
        if steps[0] == 3:
            stop.request("the test")

    return stop, on_event


def test_stylize(photo: Path, painting: Path, tmp_path: Path, config: Config) -> None:
    by_command, by_function = tmp_path / "command.png", tmp_path / "function.png"
    command("stylize", photo, painting, "-o", by_command, *SETTINGS)
    result = hires_nst.stylize(photo, by_function, styles=[painting], config=config)
    assert (result.output, result.width, result.height) == (by_function, 64, 48)
    assert by_function.read_bytes() == by_command.read_bytes()


def test_plan(photo: Path, painting: Path, config: Config) -> None:
    printed = json.loads(command("plan", photo, painting, *SETTINGS, "--no-measure", "--json"))
    plan = hires_nst.plan(photo, styles=[painting], config=config, measure=False)
    levels = [without(level, "evaluations") for level in printed["levels"]]
    assert levels == as_json([asdict(level) for level in plan.levels])
    assert printed.pop("output").endswith("photo-painting.png")
    different = ("levels", "available_bytes")
    assert without(printed, *different) == without(as_json(asdict(plan)), *different)


@pytest.fixture
def interrupted(photo: Path, painting: Path, tmp_path: Path, config: Config) -> Iterator[Callable[[str], Path]]:
    """Makes a run directory of an interrupted run."""

    def make(name: str) -> Path:
        stop, on_event = interrupting()
        with pytest.raises(Interrupted):
            hires_nst.stylize(photo, tmp_path / name, styles=[painting], config=config, stop=stop, on_event=on_event)
        return tmp_path / f"{name}.run"

    yield make


def test_status_and_resume_of_a_run(interrupted: Callable[[str], Path], tmp_path: Path) -> None:
    first, second = interrupted("command.png"), interrupted("function.png")
    assert json.loads(command("status", first, "--json")) == as_json(asdict(hires_nst.status(first)))
    command("resume", first)
    hires_nst.resume(second)
    assert (tmp_path / "command.png").read_bytes() == (tmp_path / "function.png").read_bytes()


def test_batch(photo: Path, painting: Path, tmp_path: Path, config: Config) -> None:
    """In a script of its own, since workers import the script that calls."""
    command("batch", photo.parent, painting, "-o", tmp_path / "command", *SETTINGS, "--no-report")
    script = tmp_path / "script.py"
    script.write_text(
        "from hires_nst import Config, batch\n"
        "if __name__ == '__main__':\n"
        f"    config = Config.model_validate({SMALL!r})\n"
        f"    summary = batch.run({str(photo.parent)!r}, {str(tmp_path / 'function')!r}, styles=[{str(painting)!r}],\n"
        "        config=config)\n"
        "    print(summary.painted, summary.exit_code)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout == "1 0\n"
    name = "photo-painting.png"
    assert (tmp_path / "command" / name).read_bytes() == (tmp_path / "function" / name).read_bytes()

    printed = json.loads(command("status", tmp_path / "function", "--json"))
    assert printed["counts"]["done"] == 1
    assert printed == as_json(asdict(hires_nst.status(tmp_path / "function")))
    assert command("resume", tmp_path / "command") is not None
    assert hires_nst.resume(tmp_path / "function").exit_code == 0  # type: ignore[union-attr]

    page = command("report", tmp_path / "command").strip()
    assert Path(page).name == report.write(tmp_path / "function").name
    assert (tmp_path / "function" / "report.html").is_file()


def test_plan_and_jobs_of_a_batch(photo: Path, painting: Path, tmp_path: Path, config: Config) -> None:
    out = tmp_path / "out"
    printed = json.loads(command("plan", photo.parent, painting, "-o", out, *SETTINGS, "--no-measure", "--json"))
    plan = batch.plan(photo.parent, out, styles=[painting], config=config, measure=False)
    assert printed == as_json(asdict(plan))
    jobs = batch.jobs(photo.parent, out, styles=[painting], config=config)
    assert [job.output for job in jobs.jobs] == ["photo-painting.png"]
    assert len(jobs.jobs) == plan.pictures


def test_evaluate(photo: Path, painting: Path) -> None:
    printed = json.loads(command("evaluate", photo, "--content", photo, "--style", painting, "--json"))
    found = hires_nst.evaluate(photo, content=photo, styles=[painting])
    assert printed == as_json(asdict(found))


def test_show(photo: Path, painting: Path, tmp_path: Path, config: Config) -> None:
    hires_nst.stylize(photo, tmp_path / "a.png", styles=[painting], config=config)
    info = hires_nst.show(tmp_path / "a.png", config=tmp_path / "function.yaml")
    assert json.loads(command("show", tmp_path / "a.png", "--json")) == as_json(asdict(info))
    printed = command("show", tmp_path / "a.png", "--config", tmp_path / "command.yaml")
    assert "64 x 48 px" in printed and "output.long_edge: 64" in printed and "painting.png" in printed
    assert (tmp_path / "command.yaml").read_bytes() == (tmp_path / "function.yaml").read_bytes()


def test_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    listed = command("models", "list")
    assert all(model.name in listed for model in models.list())
    verified = command("models", "verify")
    assert all(check.state in verified for check in models.verify())
    file = tmp_path / "other.pth"
    file.write_bytes(b"no weights")
    with pytest.raises(hires_nst.HiresNstError, match="not the published file"):
        models.import_file(file, name="vgg19")
    with pytest.raises(hires_nst.HiresNstError, match="there is no network"):
        models.fetch("vgg19-slimm")
    command("models", "import", file, "--name", "vgg19", code=5)
    command("models", "fetch", "vgg19-slimm", code=2)


def test_styles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    listed = command("styles", "list")
    assert all(painting.name in listed and painting.facts.title in listed for painting in styles.list())
    names = [json.loads(line)["name"] for line in command("styles", "list", "sea", "--json").splitlines()]
    assert names == [painting.name for painting in styles.list("sea")] == ["hokusai great wave", "turner shipwreck"]


def test_config(tmp_path: Path) -> None:
    by_command, by_function = tmp_path / "command" / "a.yaml", tmp_path / "function" / "a.yaml"
    for file in (by_command, by_function):
        file.parent.mkdir()
    command("config", "init", by_command, "--preset", "draft")
    hires_nst.config.init(by_function, preset="draft")
    assert by_function.read_bytes() == by_command.read_bytes()
    command("config", "validate", by_command)
    draft = hires_nst.config.validate(by_function)
    assert draft == hires_nst.load_config(preset="draft")
    assert command("config", "show", "--preset", "draft") == hires_nst.config.to_yaml(draft)
    assert json.loads(command("config", "schema")) == json.loads(hires_nst.config.json_schema())


def test_one_painting_need_not_be_a_list(photo: Path, painting: Path, tmp_path: Path, config: Config) -> None:
    plans = [
        hires_nst.plan(photo, styles=s, config=config, measure=False) for s in (painting, [painting], str(painting))
    ]
    assert len({plan.levels for plan in plans}) == 1
    jobs = [batch.jobs(photo, tmp_path / "out", styles=s, config=config) for s in (painting, [painting], str(painting))]
    assert len({job.output for found in jobs for job in found.jobs}) == 1


def test_doctor() -> None:
    diagnosis = hires_nst.doctor()
    printed = command("doctor", code=1 if diagnosis.problems else 0)
    changing = ("memory", "disk", "devices")
    for finding in diagnosis.findings:
        assert finding.subject in printed
        assert finding.subject in changing or finding.text in printed


def test_everything_public_is_there_and_documented() -> None:
    for name in hires_nst.__all__:
        assert name == "ImageInput" or getattr(hires_nst, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'paint'"):
        hires_nst.paint  # noqa: B018
