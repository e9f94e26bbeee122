"""The precision of the network: what the device has, unless it would change the gradient of a run's pictures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hires_nst import Config, events, stylize
from hires_nst.run import precision
from hires_nst.run.context import open_context
from hires_nst.run.output_size import output_size_of
from hires_nst.transfer import device

CPU = torch.device("cpu")


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    files = tmp_path / "photo.png", tmp_path / "painting.png"
    for file in files:
        Image.fromarray(rng.integers(0, 256, (70, 90, 3), np.uint8)).save(file)
    return files


def settings(name: str = "auto") -> Config:
    return Config.model_validate(
        {
            "levels": {"min_size": 64, "coarse_steps": 1, "rounds": 1, "steps": 1},
            "runtime": {"device": "cpu", "precision": name},
        }
    )


@pytest.fixture(params=[True, False])
def fast(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the processor multiplies in bfloat16."""
    monkeypatch.setattr(device, "_multiplies_in_bfloat16", lambda _: request.param)
    return bool(request.param)


def test_the_network_has_the_precision_of_the_device_or_the_one_that_is_set(fast: bool) -> None:
    expected = {"auto": torch.bfloat16 if fast else torch.float32, "bfloat16": torch.bfloat16, "float32": torch.float32}
    for name, dtype in expected.items():
        config = settings(name)
        context = open_context(config, output_size_of((90, 70), config, content="photo.png"))
        assert context.extract.network.precision == dtype
        features = context.extract(torch.rand(1, 3, 32, 32), ["conv1_1", "conv3_1"])
        for feature in features.values():
            assert feature.dtype == dtype
            assert feature.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("least", [0.99, 1.1])
def test_a_gradient_that_differs_makes_it_float32(
    least: float, fast: bool, pictures: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(precision, "LEAST_COSINE", least)
    found: list[events.Event] = []
    stylize(pictures[0], tmp_path / "out.png", styles=pictures[1], config=settings(), on_event=found.append)
    notices = [event.message for event in found if isinstance(event, events.Notice)]
    assert any("float32" in text for text in notices) == (fast and least > 1)


def test_a_precision_that_is_set_is_not_checked(
    pictures: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(precision, "LEAST_COSINE", 1.1)
    found: list[events.Event] = []
    stylize(pictures[0], tmp_path / "out.png", styles=pictures[1], config=settings("bfloat16"), on_event=found.append)
    assert not any(isinstance(event, events.Notice) and "float32" in event.message for event in found)


def test_half_precision_paints_nearly_the_same_picture(pictures: tuple[Path, Path]) -> None:
    first, second = (
        stylize(pictures[0], styles=pictures[1], config=settings(name)).image for name in ("bfloat16", "float32")
    )
    assert first is not None and second is not None
    assert np.abs(first.astype(float) - second).mean() < 1
