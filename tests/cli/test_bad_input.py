"""Whatever is wrong with what the program is given: one sentence, the right exit code, and nothing left behind."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from hires_nst.backbones import weights
from hires_nst.backbones.registry import BACKBONES
from tests.cli.test_commands import ROOT, run
from tests.conftest import random_canvas

Arguments = list[str | Path]

SMALL = ("--size", "32", "--set", "levels.coarse_steps=2", "--set", "levels.min_size=16")


def picture(path: Path, width: int = 64, height: int = 48, **options: Any) -> Path:
    pixels = np.rint(random_canvas(height, width).pixels * 255).astype(np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """A folder with a photograph and a painting."""
    folder = tmp_path / "in"
    folder.mkdir()
    picture(folder / "photo.png")
    picture(folder / "painting.jpg")
    return folder


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """An empty folder."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def refused(code: int, *sentences: str, arguments: Arguments, results: Path) -> str:
    """Run `stylize`, and check that it ends as it should; what it said."""
    before = {path.name: path.read_bytes() for path in results.iterdir() if path.is_file()}
    result = run("stylize", *arguments, *SMALL)
    said = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.exit_code == code, result.output
    assert len(said) == 1
    assert result.stderr.splitlines()[-1] == said[0]
    assert "Traceback" not in result.output
    for sentence in sentences:
        assert sentence in said[0]
    assert {path.name: path.read_bytes() for path in results.iterdir() if path.is_file()} == before
    return said[0]


# Pictures.


def broken_picture(name: str, folder: Path) -> Path:
    """A file that is no good as a picture."""
    path = folder / name
    if name == "folder.png":
        path.mkdir()
    elif name == "empty.png":
        path.touch()
    elif name == "text.jpg":
        path.write_text("This is a shopping list.\n" * 50)
    elif name == "one.png":
        picture(path, 1, 1)
    elif name == "narrow.png":
        picture(path, 300, 15)
    elif name.startswith("cut."):
        whole = picture(path).read_bytes()
        path.write_bytes(whole[: len(whole) * 2 // 3])
    return path


BROKEN = {
    "missing.png": "does not exist",
    "cut.jpg": "ends early: part of the JPEG file is missing",
    "cut.png": "ends early: part of the PNG file is missing",
    "cut.tif": "ends early: part of the TIFF file is missing",
    "folder.png": "is a folder",
    "text.jpg": "is not a picture but a text; give a picture",
    "empty.png": "is empty",
    "one.png": "is 1 x 1 px, but vgg19-slim needs 16 px on each side",
    "narrow.png": "is 300 x 15 px, but vgg19-slim needs 16 px on each side",
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("role", ["content", "style"])
def test_a_picture_that_is_none(name: str, role: str, inputs: Path, results: Path) -> None:
    bad = broken_picture(name, inputs)
    photo, painting = (bad, inputs / "painting.jpg") if role == "content" else (inputs / "photo.png", bad)
    refused(3, name, BROKEN[name], arguments=[photo, painting, "-o", results / "o.png"], results=results)


@pytest.mark.parametrize("name", ["missing.png", "text.jpg", "cut.png"])
def test_a_start_that_is_no_picture(name: str, inputs: Path, results: Path) -> None:
    bad = broken_picture(name, inputs)
    arguments: Arguments = [inputs / "photo.png", inputs / "painting.jpg", "-o", results / "o.png"]
    settings = ["--set", "init.kind=file", "--set", f"init.file={bad}"]
    refused(3, name, BROKEN[name], arguments=[*arguments, *settings], results=results)


def test_a_picture_with_more_pixels_than_is_allowed(inputs: Path, results: Path) -> None:
    arguments: Arguments = [inputs / "photo.png", inputs / "painting.jpg", "-o", results / "o.png"]
    refused(
        3, "photo.png has 64 x 48 pixels", "more than the limit of 0.001 megapixels", "raise images.max_megapixels",
        arguments=[*arguments, "--set", "images.max_megapixels=0.001"], results=results,
    )  # fmt: skip


def test_a_decompression_bomb_is_not_decoded(inputs: Path, results: Path) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = inputs / "bomb.png"
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    bomb.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    for arguments in ([bomb, inputs / "painting.jpg"], [inputs / "photo.png", bomb]):
        refused(
            3, "bomb.png has 100000 x 100000 pixels (1e+04 megapixels)",
            arguments=[*arguments, "-o", results / "o.png"], results=results,
        )  # fmt: skip


def test_a_picture_that_is_fully_transparent(inputs: Path, results: Path) -> None:
    Image.fromarray(np.full((48, 64, 4), (9, 9, 9, 0), np.uint8)).save(inputs / "glass.png")
    for pictures in (["photo.png", "glass.png"], ["glass.png", "painting.jpg"]):
        refused(
            3, "glass.png is fully transparent, so there is nothing to see in it",
            arguments=[*(inputs / name for name in pictures), "-o", results / "o.png"], results=results,
        )  # fmt: skip


# The configuration.


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--size", "15"], "a result of 15 x 11 px is too small: vgg19-slim needs 16 px on each side"),
        (["--set", "tiles.sise=64"], "unknown key 'sise' in tiles; did you mean 'size'?"),
        (["--set", "levels.factor=1"], "levels.factor should be a number above 1"),
        (["--set", "loss.content_weight=-1"], "loss.content_weight should be a number of at least 0"),
        (["--set", "loss.content_layers={conv5_3: 1}"], "vgg19-slim has no layer 'conv5_3'"),
        (["--model", "vgg18"], "there is no network 'vgg18'; did you mean 'vgg1"),
        (["--device", "gpu"], "there is no device 'gpu'; write auto, cpu, cuda"),
        (["--tile-size", "3"], "--tile-size should be auto or a whole number from 16"),
        (["--init", "contnet"], "did you mean 'content'?"),
        (["--print", "A11"], "--print: 'A11' is not a paper size"),
        (["--megapixels", "1", "--scale", "2"], "--megapixels and --scale each set the size; give one of them"),
    ],
)
def test_settings_that_are_not_possible(arguments: list[str], sentence: str, inputs: Path, results: Path) -> None:
    size = next((pair for pair in ("--size",) if pair in arguments), None)
    small = SMALL[2:] if size or "--print" in arguments or "--scale" in arguments else SMALL
    files: Arguments = [inputs / "photo.png", inputs / "painting.jpg", "-o", results / "o.png"]
    result = run("stylize", *files, *small, *arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert sentence in result.stderr
    assert not list(results.iterdir())


@pytest.mark.parametrize(
    ("text", "code", "sentence"),
    [
        ("levles: {rounds: 2}", 2, "unknown key 'levles'; did you mean 'levels'?"),
        ("levels: {rounds: 0}", 2, "levels.rounds should be a whole number from 1 to 1000, not 0"),
        ("levels: [1", 2, "is not valid YAML"),
        ("- 1", 2, "must contain a mapping"),
        ("styles: [{image: none.jpg}]", 3, "none.jpg does not exist"),
        ("model: {weights: none.pth}", 5, "there is no weight file"),
    ],
)
def test_a_configuration_file_with_a_mistake(text: str, code: int, sentence: str, inputs: Path, results: Path) -> None:
    (inputs / "c.yaml").write_text(text)
    files: Arguments = [inputs / "photo.png", "-o", results / "o.png", "-c", inputs / "c.yaml"]
    if "styles" not in text:
        files.insert(1, inputs / "painting.jpg")
    refused(code, sentence, arguments=files, results=results)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_without_cuda(inputs: Path, results: Path) -> None:
    files: Arguments = [inputs / "photo.png", inputs / "painting.jpg", "-o", results / "o.png"]
    refused(2, "torch finds no CUDA device here", arguments=[*files, "--device", "cuda"], results=results)


# The result's file.


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("no/o.png", [], "does not exist; create it"),
        ("o.gif", [], "does not end in one of .png, .jpg"),
        ("o", [], "does not end in one of"),
        ("here.png", [], "already exists; use --overwrite"),
        ("here.png/o.png", [], "is not a folder"),
        ("o.jpg", ["--bit-depth", "16"], "16 bits as a JPEG; choose PNG or TIFF"),
        ("sub.png", ["--overwrite"], "is a folder; give the name of the output file"),
        (f"{'x' * 300}.png", [], "cannot be written (File name too long)"),
    ],
)
def test_a_result_that_cannot_be_written(
    name: str, options: list[str], sentence: str, inputs: Path, results: Path
) -> None:
    (results / "here.png").write_bytes(b"precious")
    (results / "sub.png" / "photo-painting.png").mkdir(parents=True)
    arguments: Arguments = [inputs / "photo.png", inputs / "painting.jpg", "-o", results / name, *options]
    refused(2, sentence, arguments=arguments, results=results)


def test_a_folder_without_permission(inputs: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not with chmod: nothing is forbidden to root.
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != results and allowed(path, mode))
    arguments: Arguments = [inputs / "photo.png", inputs / "painting.jpg", "-o", results / "o.png"]
    refused(2, f"the folder {results} is not writable", arguments=arguments, results=results)


def test_permission_lost_during_the_run(inputs: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if target.name == "o.png":
            raise PermissionError(errno.EACCES, "Permission denied")
        return replaced(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    arguments: Arguments = [inputs / "photo.png", inputs / "painting.jpg", "-o", results / "o.png"]
    refused(2, "o.png may not be written", arguments=arguments, results=results)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_no_space_left_while_writing(suffix: str, inputs: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    out = results / f"o{suffix}"
    out.write_bytes(b"precious")
    arguments: Arguments = [inputs / "photo.png", inputs / "painting.jpg", "-o", out, "--overwrite"]
    refused(4, "no space left on the disk", arguments=arguments, results=results)


# The weights.


def test_weights_that_cannot_be_downloaded(
    inputs: Path, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(urllib.request, "urlopen", nobody)
    arguments: Arguments = [inputs / "photo.png", inputs / "painting.jpg", "-o", results / "o.png", "--model", "vgg19"]
    refused(
        5, "could not be downloaded", "Name or service not known", "--model vgg19-slim", "models import FILE",
        "TORCH_HOME", arguments=arguments, results=results,
    )  # fmt: skip
    assert not list((tmp_path / "home").rglob("*.*"))


def test_damaged_weights_in_the_cache(
    inputs: Path, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    file = tmp_path / "home" / "hub" / "checkpoints" / "vgg19-dcbb9e9d.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"half a file")
    arguments: Arguments = [inputs / "photo.png", inputs / "painting.jpg", "-o", results / "o.png", "--model", "vgg19"]
    refused(5, file.name, arguments=arguments, results=results)


def test_damaged_bundled_weights(inputs: Path, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "vgg19-slim.safetensors"
    damaged.write_bytes(weights.bundled_file(BACKBONES["vgg19-slim"]).read_bytes()[:-1000])
    monkeypatch.setattr(weights, "bundled_file", lambda backbone: damaged)
    arguments: Arguments = [inputs / "photo.png", inputs / "painting.jpg", "-o", results / "o.png"]
    refused(5, "vgg19-slim.safetensors", arguments=arguments, results=results)


# In a process of its own.


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "hires_nst", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=heed_interrupts,
    )  # fmt: skip


def heed_interrupts() -> None:
    """A shell's background job ignores SIGINT, and its children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_the_program_itself_ends_with_one_line(inputs: Path, results: Path) -> None:
    bad = broken_picture("text.jpg", inputs)
    process = start("stylize", bad, inputs / "painting.jpg", "-o", results / "o.png")
    out, said = process.communicate(timeout=120)
    assert (process.returncode, out) == (3, "")
    assert said == f"error: {bad} is not a picture but a text; give a picture\n"
    assert not list(results.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for a single process")
@pytest.mark.parametrize(("kind", "name", "code"), [("SIGINT", "Ctrl-C", 130), ("SIGTERM", "SIGTERM", 143)])
def test_a_signal_stops_the_run_so_that_it_can_go_on(
    kind: str, name: str, code: int, inputs: Path, results: Path
) -> None:
    import resource  # not on Windows

    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = start(
        "stylize", inputs / "photo.png", inputs / "painting.jpg", "-o", results / "o.png", "--json",
        "--set", "levels.coarse_steps=100000",
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if '"StepFinished"' in line:
            break
    before = psutil.Process(process.pid).cpu_times()
    process.send_signal(signal.Signals[kind])
    out, said = process.communicate(timeout=120)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = sum(after[:2]) - sum(children[:2]) - before.user - before.system  # its own time, whoever else is at work
    assert used < 10
    assert process.returncode == code, said
    run = results / "o.png.run"
    assert said == f"error: stopped by {name}; resume with `hires-nst resume {run}`\n"
    assert f'"exit_code": {code}' in out.splitlines()[-1]
    assert list(results.iterdir()) == [run]
    said_of_it = run_program("status", run)
    assert f"stopped by {name}" in said_of_it
    assert f"hires-nst resume {run}" in said_of_it


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for a single process")
def test_the_second_ctrl_c_ends_at_once_and_damages_nothing(inputs: Path, results: Path) -> None:
    process = start(
        "stylize", inputs / "photo.png", inputs / "painting.jpg", "-o", results / "o.png", "--json",
        "--set", "levels.coarse_steps=100000", "--set", "checkpoint.every_seconds=0.001",
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if '"step"' in line and '"CheckpointWritten"' in line:
            break
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert said.endswith(f"; resume with `hires-nst resume {results / 'o.png.run'}`\n")  # two at once may count as one
    assert "place     level 1/" in run_program("status", results / "o.png.run")


def run_program(*arguments: str | Path) -> str:
    """What a command that succeeds prints."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout
