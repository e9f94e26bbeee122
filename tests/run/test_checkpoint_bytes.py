"""What the run directory takes a pixel, exactly, and that its images come back to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import hires_nst
from hires_nst import Config, events
from hires_nst.run.arrays import array_of, tensor_of
from hires_nst.run.tensors import WholeNumbers, read_tensors, write_tensors
from hires_nst.transfer.canvas import QUANTA, Canvas
from hires_nst.transfer.levels import schedule
from hires_nst.transfer.tiles import make_grid
from tests.conftest import random_canvas

HEADER = 4096
"""Bytes of a file beside its samples, at most."""


def quantised(height: int, width: int) -> Canvas:
    canvas = random_canvas(height, width, 3)
    canvas.quantise()
    return canvas


def test_sixteen_bits_are_nearer_than_half_a_step_and_come_again() -> None:
    before, canvas = random_canvas(300, 20, 3), quantised(300, 20)
    assert (canvas.samples - before.samples).abs().max() <= 0.5001 / QUANTA
    again = canvas.copy()
    again.quantise()
    assert torch.equal(again.samples, canvas.samples)


def test_every_number_of_sixteen_bits_is_stored_as_itself(tmp_path: Path) -> None:
    numbers = np.arange(QUANTA + 1, dtype=np.uint16)
    samples = tensor_of(numbers)
    assert samples.dtype == torch.float32
    assert samples[0] == 0
    assert samples[-1] == 1
    write_tensors(tmp_path / "file", {"pixels": WholeNumbers(array_of(samples), QUANTA)}, about={})
    found = read_tensors(tmp_path / "file")[0]["pixels"]
    assert np.array_equal(found, numbers)
    assert torch.equal(tensor_of(found), samples)


@pytest.mark.parametrize("chunk", [2, 64, 1 << 20])
def test_an_image_comes_back_from_its_file_in_pieces_of_any_size(
    chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hires_nst.run.tensors.CHUNK", 4 * chunk)
    canvas = quantised(31, 17)
    write_tensors(tmp_path / "file", {"pixels": WholeNumbers(array_of(canvas.samples), QUANTA)}, about={})
    assert torch.equal(tensor_of(read_tensors(tmp_path / "file")[0]["pixels"]), canvas.samples)


@pytest.mark.parametrize(("optimizer", "carried", "state"), [("lbfgs", 12, 6), ("adam", 30, 24)])
def test_each_file_takes_so_many_bytes_a_pixel(optimizer: str, carried: int, state: int, tmp_path: Path) -> None:
    for name, (height, width) in {"photo.png": (64, 80), "painting.png": (48, 48)}.items():
        pixels = np.rint(random_canvas(height, width, height).pixels * 255).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    config = Config.model_validate(
        {
            "loss": {"style_layers": {"conv1_1": 1.0}, "content_layers": {"conv2_1": 1.0}},
            "levels": {"min_size": 32, "coarse_steps": 4, "rounds": 2, "steps": 2, "border": 8},
            "tiles": {"size": 32, "overlap": 8, "shift": False}, "optimizer": {"name": optimizer},
        }
    )  # fmt: skip
    seen: list[events.CheckpointWritten] = []

    def listen(event: events.Event) -> None:
        if isinstance(event, events.CheckpointWritten):
            seen.append(event)

    hires_nst.stylize(
        tmp_path / "photo.png", tmp_path / "out.png", styles=tmp_path / "painting.png", config=config, on_event=listen
    )
    finest = schedule(64, 80, levels=config.levels)[-1]
    area = finest.canvas_area
    grid = make_grid(*finest.canvas_size, size=32, stride=config.stride, overlap=8)
    windows = sum(tile.window.area for tile in grid.tiles)

    def samples(kind: str) -> tuple[int, int]:
        files = [event.bytes for event in seen if (event.kind, event.level) == (kind, finest.index)]
        return sum(files) - len(files) * HEADER, sum(files)

    for kind, size in {
        "round": area * 6, "level": area * 6, "optimizer": area * carried, "tile": 2 * windows * (6 + state)
    }.items():  # fmt: skip
        least, most = samples(kind)
        assert least < size < most, kind
