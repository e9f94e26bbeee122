"""The same in every command: an input that cannot be read is one line, exit code 3, and one JSON object with --json."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_commands import COMMANDS, run

COMMAND_LINES = {
    "stylize content": "stylize {bad} {picture} -o {out}",
    "stylize style": "stylize {picture} {bad} -o {out}",
    "stylize --style": "stylize {picture} --style {bad} -o {out}",
    "stylize --config": "stylize {picture} {other} -o {out} --config {bad}",
    "stylize --init": "stylize {picture} {other} -o {out} --init {bad}",
    "no command": "{bad} {picture} -o {out}",
    "plan content": "plan {bad} {picture} --no-measure",
    "plan style": "plan {picture} {bad} --no-measure",
    "plan --style": "plan {picture} --style {bad} --no-measure",
    "plan --config": "plan {picture} {other} --config {bad} --no-measure",
    "batch contents": "batch {bad} {picture} -o {folder}",
    "batch contents with --style": "batch {picture} {bad} --style {other} -o {folder}",
    "batch style": "batch {picture} {bad} -o {folder}",
    "batch --config": "batch {picture} {other} -o {folder} --config {bad}",
    "evaluate result": "evaluate {bad} --content {picture} --style {other}",
    "evaluate --content": "evaluate {picture} --content {bad} --style {other}",
    "evaluate --style": "evaluate {picture} --content {other} --style {bad}",
    "status": "status {bad}",
    "resume": "resume {bad}",
    "report": "report {bad}",
    "config show": "config show --config {bad}",
    "config validate": "config validate {bad}",
    "models import": "models import {bad}",
    "models import --name": "models import {bad} --name vgg16",
}

FOLDERS = ("status", "resume", "report")
"""Commands that take a folder."""

JOBS = ("batch contents", "batch contents with --style", "batch style")
"""What makes a job of a batch fail, and not the batch."""


def missing(path: Path) -> str:
    return str(path)


def link_to_nothing(path: Path) -> str:
    path.symlink_to("nowhere")
    return str(path)


def link_to_itself(path: Path) -> str:
    path.symlink_to(path.name)
    return str(path)


def long_name(path: Path) -> str:
    return str(path.with_name("x" * 300 + ".png"))


def inside_a_file(path: Path) -> str:
    path.touch()
    return str(path / "a.png")


def url(path: Path) -> str:
    return "https://example.com/a.png"


BAD: dict[Callable[[Path], str], str] = {
    missing: "",
    link_to_nothing: "symbolic link",
    link_to_itself: "",
    long_name: "",
    inside_a_file: "",
    url: "https://example.com/a.png is a URL",
}


def refused(name: str, bad: str, *, folder: Path, code: int = 3) -> str:
    """The message of a command line that is refused as it should be, with and without `--json`."""
    command = COMMAND_LINES[name]
    picture, other = folder / "picture.png", folder / "other.png"
    places = {"bad": bad, "picture": picture, "other": other, "out": folder / "out.png", "folder": folder / "out"}
    words = [word.format(**places) for word in command.split()]
    result = run(*words)
    assert result.exit_code == code, result.output
    *before, line = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert not any("error" in other for other in before), result.stderr
    assert "Usage" not in result.output
    if "--json" in {option for parameter in parameters_of(words) for option in parameter.opts}:
        result = run(*words, "--json")
        assert result.exit_code == code
        reported = json.loads(result.stdout.splitlines()[-1])
        assert reported == {"event": "Error", "message": line.removeprefix("error: "), "exit_code": code}
    return line


def parameters_of(words: list[str]) -> Any:
    names = {words[:1][0], " ".join(words[:2])}
    return next((c.params for name, c in COMMANDS.items() if " ".join(name) in names), COMMANDS[("stylize",)].params)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from PIL import Image

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    for name, colour in (("picture.png", "red"), ("other.png", "blue")):
        Image.new("RGB", (40, 30), colour).save(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.__name__)
@pytest.mark.parametrize("name", COMMAND_LINES)
def test_an_input_that_is_not_there(name: str, bad: Callable[[Path], str], folder: Path) -> None:
    assert BAD[bad] in refused(name, bad(folder / "bad.png"), folder=folder)
    assert not (folder / "out").exists()


@pytest.mark.parametrize("name", [name for name in COMMAND_LINES if name != "batch contents with --style"])
def test_a_folder_in_place_of_a_file_and_the_reverse(name: str, folder: Path) -> None:
    bad = folder / "bad.yaml"
    if name in FOLDERS:
        bad.touch()
    else:
        bad.mkdir()
    code = 2 if name in ("plan content", "batch contents") else 3  # a folder without photographs
    refused(name, str(bad), folder=folder, code=code)


@pytest.mark.parametrize("name", [name for name in COMMAND_LINES if name not in (*FOLDERS, *JOBS)])
def test_a_file_without_permission(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = folder / "bad.png"
    bad.write_bytes((folder / "picture.png").read_bytes())
    opened, allowed = io.open, os.access  # not with chmod: nothing is forbidden to root

    def open_(file: Any, *arguments: Any, **options: Any) -> Any:
        if str(file) == str(bad):
            raise PermissionError(13, "Permission denied", str(file))
        return opened(file, *arguments, **options)

    monkeypatch.setattr(io, "open", open_)
    monkeypatch.setattr(os, "access", lambda path, mode, **_: str(path) != str(bad) and allowed(path, mode))
    assert "bad.png" in refused(name, str(bad), folder=folder)


@pytest.mark.parametrize("text", ["levels: {rouns: 3}", "levels: [", "- 1", "\0"])
@pytest.mark.parametrize("name", [name for name in COMMAND_LINES if name.endswith(("--config", "show", "validate"))])
def test_a_broken_configuration(name: str, text: str, folder: Path) -> None:
    (folder / "bad.yaml").write_text(text)
    refused(name, str(folder / "bad.yaml"), folder=folder, code=2)


@pytest.mark.parametrize("command", ["plan {bad} {other} --no-measure", "plan {other} {bad} --no-measure"])
def test_a_picture_without_a_suffix_is_planned(command: str, folder: Path) -> None:
    bad = folder / "no_suffix"
    bad.write_bytes((folder / "picture.png").read_bytes())
    words = [word.format(bad=bad, other=folder / "other.png") for word in command.split()]
    assert run(*words).exit_code == 0


def test_a_report_without_a_terminal_writes_no_empty_line(tmp_path: Path) -> None:
    result = run("report", tmp_path)
    assert result.exit_code == 3 and result.stderr.startswith("error: ")
