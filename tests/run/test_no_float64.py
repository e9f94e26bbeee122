"""A device without float64, such as Apple's `mps`: the same picture; shown by a device that is made of the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image

import hires_nst
from hires_nst import Config, events
from hires_nst.config import StyleLossName
from hires_nst.errors import Interrupted
from hires_nst.run import context
from hires_nst.stopping import Stop
from hires_nst.transfer import device
from tests.conftest import random_canvas
from tests.transfer.fake_device import FAKE, FakeDevice, OnDevice

LOSSES = get_args(StyleLossName)
CASES: list[dict[str, Any]] = [
    *({"loss": {"style": name}} for name in LOSSES),
    {"tiles": {"coupling": "exact"}, "loss": {"style": "wasserstein"}},
    {"tiles": {"coupling": "independent"}, "loss": {"tv_weight": 0.1, "colour_tv_weight": 0.1}},
    {"optimizer": {"name": "adam"}},
    {"colors": {"mode": "luminance"}},
    {"runtime": {"precision": "bfloat16"}},
]


def settings(sections: dict[str, Any]) -> Config:
    base: dict[str, Any] = {
        "loss": {"style_layers": {"conv1_1": 1.0, "conv2_1": 1.0}, "content_layers": {"conv2_1": 1.0}},
        "levels": {"min_size": 32, "coarse_steps": 3, "rounds": 2, "steps": 2},
        "tiles": {"size": 64, "overlap": 16},
        "runtime": {"precision": "float32"},
    }
    return Config.model_validate({**base, **{key: {**base.get(key, {}), **value} for key, value in sections.items()}})


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    for name, height, width in (("photo", 72, 80), ("painting", 64, 70)):
        pixels = np.rint(random_canvas(height, width, len(name)).pixels * 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def without_float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs are on the fake device."""
    monkeypatch.setattr(context, "choose_device", lambda name: FAKE)
    monkeypatch.setattr(context, "set_determinism", lambda device, *, deterministic: None)
    monkeypatch.setattr(device, "has_float64", lambda device: device != FAKE)
    monkeypatch.setitem(device._LARGEST_TILE, FAKE.type, 1024)
    free = device.free_memory
    monkeypatch.setattr(context, "free_memory", lambda device: free(torch.device("cpu")))
    with FakeDevice():  # type: ignore[no-untyped-call]
        yield


def painted(inputs: Path, sections: dict[str, Any]) -> np.ndarray:
    image = hires_nst.stylize(inputs / "photo.png", styles=inputs / "painting.png", config=settings(sections)).image
    assert image is not None
    return image


@pytest.fixture(scope="module")
def on_the_processor(inputs: Path) -> list[np.ndarray]:
    return [painted(inputs, case) for case in CASES]


@pytest.mark.usefixtures("on_the_processor", "without_float64")
@pytest.mark.parametrize("case", range(len(CASES)), ids=[str(case) for case in CASES])
def test_the_picture_is_the_same(case: int, inputs: Path, on_the_processor: list[np.ndarray]) -> None:
    made = OnDevice.made
    assert np.array_equal(painted(inputs, CASES[case]), on_the_processor[case])
    assert OnDevice.made > made + 1000


@pytest.mark.usefixtures("without_float64")
def test_an_interrupted_run_ends_in_the_same_bytes(inputs: Path, tmp_path: Path) -> None:
    def stylize(out: Path, stop: Stop | None = None) -> None:
        def on_event(event: events.Event) -> None:
            if stop is not None and isinstance(event, events.StepFinished) and event.level == 1:
                stop.request("the test")

        hires_nst.stylize(
            inputs / "photo.png", out, styles=inputs / "painting.png", config=settings({}), on_event=on_event, stop=stop
        )

    stylize(tmp_path / "whole.png")
    with pytest.raises(Interrupted):
        stylize(tmp_path / "out.png", Stop())
    hires_nst.resume(tmp_path / "out.png.run")
    assert (tmp_path / "out.png").read_bytes() == (tmp_path / "whole.png").read_bytes()


@pytest.mark.usefixtures("without_float64")
def test_values_lie_where_there_is_float64() -> None:
    value = torch.rand(3).to(FAKE).requires_grad_()
    exact = device.exact(value)
    assert (exact.device.type, exact.dtype) == ("cpu", torch.float64)
    (gradient,) = torch.autograd.grad(exact.square().sum(), value)
    assert gradient.device == FAKE
    assert torch.allclose(gradient.cpu(), 2 * value.detach().cpu())
    assert device.alike(torch.ones(2, dtype=torch.float64), value).device == FAKE
    with pytest.raises(AssertionError, match="no float64"):
        torch.zeros(2, dtype=torch.float64, device=FAKE)
