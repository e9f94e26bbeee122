"""What can be shown on a GPU alone; skipped where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import hires_nst
from hires_nst import Config, events
from hires_nst.config import Loss
from hires_nst.errors import Interrupted, ResourceError
from hires_nst.stopping import Stop
from hires_nst.transfer import device
from hires_nst.transfer.refine import tile_gradient
from hires_nst.transfer.tiles import make_grid
from tests.conftest import random_canvas
from tests.transfer.test_equivalence import on_device, problem

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

SETTINGS: dict[str, Any] = {
    "levels": {"min_size": 256, "coarse_steps": 6, "rounds": 2, "steps": 2},
    "tiles": {"size": 512},
    "runtime": {"device": "cuda"},
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    for name, height, width in (("photo", 600, 640), ("painting", 300, 320)):
        pixels = np.rint(random_canvas(height, width, 1).pixels * 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def limited() -> Iterator[None]:
    """This process may have 100 MB of the device, of which a tile of 512 px and its overlap needs twice as much."""
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(100e6 / torch.cuda.get_device_properties(0).total_memory)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


def stylize(inputs: Path, out: Path, stop: Stop | None = None, **sections: Any) -> list[events.Event]:
    seen: list[events.Event] = []

    def on_event(event: events.Event) -> None:
        seen.append(event)
        if stop is not None and isinstance(event, events.TileFinished) and event.level == 1:
            stop.request("the test")

    config = Config.model_validate({**SETTINGS, **sections})
    hires_nst.stylize(
        inputs / "photo.png", out, styles=inputs / "painting.png", config=config, on_event=on_event, stop=stop
    )
    return seen


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image, np.float32)


@pytest.mark.usefixtures("limited")
def test_tiles_are_halved_when_the_device_has_too_little_memory(inputs: Path, tmp_path: Path) -> None:
    seen = stylize(inputs, tmp_path / "out.png")
    shrunk = [event for event in seen if isinstance(event, events.TilesShrunk)]
    assert shrunk
    assert shrunk[0].size < 512
    assert pixels(tmp_path / "out.png").shape == (600, 640, 3)


@pytest.mark.usefixtures("limited")
def test_what_does_not_fit_at_all_is_said_in_one_sentence(inputs: Path, tmp_path: Path) -> None:
    torch.cuda.set_per_process_memory_fraction(8e6 / torch.cuda.get_device_properties(0).total_memory)
    with pytest.raises(ResourceError, match="out of memory"):
        stylize(inputs, tmp_path / "out.png")


def test_an_interrupted_run_ends_in_the_same_bytes(inputs: Path, tmp_path: Path) -> None:
    sections: dict[str, Any] = {"tiles": {"size": 256}}
    stylize(inputs, tmp_path / "whole.png", **sections)
    with pytest.raises(Interrupted):
        stylize(inputs, tmp_path / "out.png", Stop(), **sections)
    hires_nst.resume(tmp_path / "out.png.run")
    assert (tmp_path / "out.png").read_bytes() == (tmp_path / "whole.png").read_bytes()


def test_the_device_paints_what_the_processor_paints(inputs: Path, tmp_path: Path) -> None:
    for kind in ("cpu", "cuda"):
        stylize(inputs, tmp_path / f"{kind}.png", runtime={"device": kind, "precision": "float32"})
    assert np.abs(pixels(tmp_path / "cpu.png") - pixels(tmp_path / "cuda.png")).mean() < 3


def test_half_precision_paints_nearly_the_same(inputs: Path, tmp_path: Path) -> None:
    for precision in ("float32", "bfloat16"):
        stylize(inputs, tmp_path / f"{precision}.png", runtime={"device": "cuda", "precision": precision})
    assert np.abs(pixels(tmp_path / "float32.png") - pixels(tmp_path / "bfloat16.png")).mean() < 8


def test_recorded_steps_give_the_same_bytes(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    capture, found = device.capture, list[object]()

    def counted(*arguments: Any) -> Any:
        found.append(capture(*arguments))
        return found[-1]

    monkeypatch.setattr(device, "capture", counted)
    levels = {**SETTINGS["levels"], "coarse_steps": 24}
    for graphs in (True, False):
        stylize(
            inputs, tmp_path / f"{graphs}.png", levels=levels, output={"metadata": "strip"},
            runtime={"device": "cuda", "cuda_graphs": graphs},
        )  # fmt: skip
    assert len(found) == 1
    assert found[0] is not None
    assert (tmp_path / "True.png").read_bytes() == (tmp_path / "False.png").read_bytes()


def test_an_evaluation_does_not_wait_for_the_device() -> None:
    loss = Loss(style_layers={"conv1_1": 1.0, "conv3_1": 0.5}, content_layers={"conv4_2": 1.0})
    objective, content, _ = problem(64, 80, loss=loss, palette=True)
    cuda = torch.device("cuda")
    objective = on_device(objective, cuda)
    tile = make_grid(64, 80, size=9999, stride=16).tiles[0]
    features = objective.content_features(content, tile.window)
    gradient = tile_gradient(objective, tile, content_features=features, start=None)
    x = torch.rand((1, 3, 64, 80), dtype=torch.float64, device=cuda, requires_grad=True)
    gradient(x)
    torch.cuda.set_sync_debug_mode("error")
    try:
        gradient(x)
    finally:
        torch.cuda.set_sync_debug_mode("default")
