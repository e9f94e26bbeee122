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
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import hires_nst
from hires_nst import Config
from hires_nst.config import Loss, StyleLossName
from hires_nst.transfer import device
from hires_nst.transfer.captured import LEAST_STEPS, captured
from hires_nst.transfer.losses import STYLE_LOSSES
from hires_nst.transfer.refine import tile_gradient
from hires_nst.transfer.tiles import make_grid
from tests.conftest import random_canvas
from tests.transfer.test_equivalence import on_device, problem

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


class FromTheHost(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes what an evaluation brings from the host to the device, which a recording cannot do."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor)]
        if isinstance(result, Tensor) and result.is_meta and any(not t.is_meta and t.ndim for t in tensors):
            self.found.append(str(func))
        return result


@pytest.mark.parametrize("style", [name for name in STYLE_LOSSES if name != "wasserstein"])
def test_an_evaluation_needs_nothing_from_the_host_and_tells_it_nothing(style: StyleLossName) -> None:
    """On the device `meta`, which has no numbers to read back."""
    loss = Loss(
        style=style, style_layers={"conv1_1": 1.0, "conv3_1": 0.5}, content_layers={"conv4_2": 1.0}, tv_weight=0.1,
        colour_tv_weight=0.1,
    )  # fmt: skip
    objective, content, _ = problem(64, 80, loss=loss, palette=True)
    meta = torch.device("meta")
    objective = on_device(objective, meta)
    tile = make_grid(64, 80, size=9999, stride=16).tiles[0]
    features = objective.content_features(content, tile.window)
    gradient = tile_gradient(objective, tile, content_features=features, start=None)
    x = torch.empty((1, 3, 64, 80), dtype=torch.float64, device=meta, requires_grad=True)
    with FromTheHost() as noted:
        gradient(x)
    assert not noted.found
    assert objective.maps_on_device


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
