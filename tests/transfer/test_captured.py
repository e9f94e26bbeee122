"""Steps that are recorded and repeated: here by a trace of tensor operations, which like a CUDA graph has no host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

import hires_nst
from hires_nst import Config
from hires_nst.transfer import device
from hires_nst.transfer.captured import LEAST_STEPS, captured
from hires_nst.transfer.losses import STYLE_LOSSES
from tests.conftest import random_canvas

Function = Callable[[Tensor], tuple[Tensor, ...]]


class Recorder:
    """Stands for `device.capture`; counts what it records and repeats."""

    def __init__(self) -> None:
        self.recorded = self.repeated = 0

    def __call__(self, function: Function, example: Tensor) -> device.Repeat | None:
        try:
            trace = make_fx(function)(example)
        except RuntimeError as error:
            assert "get value out of a tracing tensor" in str(error)
            return None
        self.recorded += 1

        def repeat(tensor: Tensor) -> tuple[Tensor, ...]:
            self.repeated += 1
            return tuple(trace(tensor))

        return repeat


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    found = Recorder()
    monkeypatch.setattr(device, "capture", found)
    return found


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for name, seed in (("photo.png", 1), ("painting.png", 2)):
        pixels = np.rint(random_canvas(48, 40, seed).pixels * 255).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    return tmp_path


def painted(pictures: Path, **sections: Any) -> bytes:
    levels = {"min_size": 48, "coarse_steps": LEAST_STEPS, "border": 0}
    config = {"levels": levels, "output": {"metadata": "strip"}, **sections}
    out = pictures / "out.png"
    hires_nst.stylize(
        pictures / "photo.png", out, styles=pictures / "painting.png", config=Config.model_validate(config),
        overwrite=True,
    )  # fmt: skip
    return out.read_bytes()


@pytest.mark.parametrize("style", list(STYLE_LOSSES))
def test_repeated_steps_give_the_same_picture_with_every_loss(style: str, pictures: Path, recorder: Recorder) -> None:
    sections = {"loss": {"style": style, "style_layers": {"conv1_1": 1.0, "conv2_1": 1.0}}}
    repeated = painted(pictures, **sections)
    reads_back = style == "wasserstein"
    assert recorder.recorded == (not reads_back)
    assert recorder.repeated == (0 if reads_back else LEAST_STEPS - 2 + 1)  # and once to compare
    assert painted(pictures, **sections, runtime={"cuda_graphs": False}) == repeated
    assert recorder.recorded == (not reads_back)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_repeated_steps_give_the_same_picture_with_every_optimizer(
    optimizer: str, pictures: Path, recorder: Recorder
) -> None:
    repeated = painted(pictures, optimizer={"name": optimizer})
    assert recorder.repeated
    assert painted(pictures, optimizer={"name": optimizer}, runtime={"cuda_graphs": False}) == repeated


def test_few_steps_are_not_recorded(pictures: Path, recorder: Recorder) -> None:
    painted(pictures, levels={"min_size": 48, "coarse_steps": LEAST_STEPS - 1})
    assert not recorder.recorded


def test_what_gives_other_numbers_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "capture", lambda function, example: lambda x: (x.sum() + 1e-6, x))
    calls = 0

    def gradient(x: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal calls
        calls += 1
        return x.detach().sum(), x.detach()

    evaluated = captured(gradient, steps=LEAST_STEPS)
    for number in range(4):
        assert evaluated(torch.full((1, 3, 2, 2), float(number)))[0] == 12 * number
    assert calls == 4


def test_a_processor_records_nothing() -> None:
    assert device.capture(lambda x: (x,), torch.zeros(1)) is None
