"""The bill of a run: what tiles cost in arithmetic, counted, so that it depends on no machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from hires_nst import Config, stylize
from hires_nst.backbones.network import Network
from hires_nst.backbones.vgg import VGG
from hires_nst.run.disk_space import overlap_of
from hires_nst.transfer.extractor import network_of
from hires_nst.transfer.levels import Level, schedule
from hires_nst.transfer.tiles import Grid, make_grid

A4 = (3508, 2480)


@cache
def network() -> Network:
    """The bundled network without numbers: only the shapes count."""
    config = Config.model_validate({"runtime": {"precision": "float32"}})
    return network_of(config, torch.device("cpu")).padded("zeros").to("meta")


@cache
def arithmetic(height: int, width: int, *, content: bool = False, backward: bool = False) -> float:
    """Multiplications and additions of a pass of the network over height x width pixels."""
    config = Config()
    layers = config.loss.active_content_layers if content else config.layers
    image = torch.empty((1, 3, height, width), device="meta", requires_grad=backward)
    with FlopCounterMode(display=False) as counter:
        features = network()(image, set(layers))
        if backward:
            torch.stack([feature.sum() for feature in features.values()]).sum().backward()  # type: ignore[no-untyped-call]
    return float(counter.get_total_flops())


def grids(config: Config, level: Level, size: int) -> Iterator[Grid]:
    """The tiles of a level's rounds: every second round is shifted."""
    for number in range(level.rounds):
        yield make_grid(
            *level.canvas_size, size=max(level.canvas_size) if level.index == 0 else size, stride=config.stride,
            overlap=overlap_of(config), shifted=config.tiles.shift and number % 2 == 1,
        )  # fmt: skip


def ratio(size: int, *, moments: bool = True) -> float:
    """Arithmetic of an A4 in tiles over that of the same evaluations untiled, the photograph once a level on both."""
    config, tiled, untiled = Config(), 0.0, 0.0
    for level in schedule(*A4, levels=config.levels):
        whole = level.canvas_size
        untiled += level.evaluations * arithmetic(*whole, backward=True) + arithmetic(*whole, content=True)
        windows = set()
        for grid in grids(config, level, size):
            for tile in grid.tiles:
                window = tile.window
                tiled += level.steps * arithmetic(window.height, window.width, backward=True)
                windows.add(window)
            if moments and len(grid.tiles) > 1:
                measured = make_grid(*whole, size=2 * size, stride=config.stride)
                halo = network().backbone.halo_of(config.layers)
                for tile in measured.tiles:
                    haloed = tile.owned.grown(halo, measured.image)
                    tiled += arithmetic(haloed.height, haloed.width)
        tiled += sum(arithmetic(window.height, window.width, content=True) for window in windows)
    return tiled / untiled


@pytest.mark.parametrize(("size", "most"), [(1024, 1.46), (2048, 1.26)])
def test_tiles_cost_little_more_than_the_untiled_picture(size: int, most: float) -> None:
    assert 1 < ratio(size) <= most
    assert ratio(size, moments=False) < ratio(size)


@pytest.mark.parametrize("coupling", ["balanced", "independent"])
def test_the_passes_of_a_run_are_those_of_the_bill(
    coupling: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forward and a backward pass for each step of a tile, one over the image a round, the photograph's once."""
    rng = np.random.default_rng(0)
    files = [tmp_path / name for name in ("photo.png", "painting.png")]
    for file in files:
        Image.fromarray(rng.integers(0, 256, (144, 144, 3), np.uint8)).save(file)
    counts: Counter[str] = Counter()
    forward = VGG.forward

    def counted(self: VGG, image: Tensor, layers: Any, **options: Any) -> dict[str, Tensor]:
        kind = "gradient" if image.requires_grad else ",".join(sorted(layers))
        counts[kind] += 1
        return forward(self, image, layers, **options)

    monkeypatch.setattr(VGG, "forward", counted)
    rounds, steps = 4, 3
    config = Config.model_validate(
        {
            "loss": {"style_layers": {"conv1_1": 1, "conv2_1": 1}, "content_layers": {"conv2_2": 1}},
            "levels": {"min_size": 72, "coarse_steps": 5, "rounds": rounds, "steps": steps, "border": 0, "detail": 0},
            "tiles": {"size": 72, "overlap": 8, "coupling": coupling},
            "runtime": {"device": "cpu", "precision": "float32"},
        }
    )
    stylize(files[0], tmp_path / "out.png", styles=files[1], config=config)
    shifted = make_grid(144, 144, size=72, stride=config.stride, overlap=8, shifted=True)
    plain = make_grid(144, 144, size=72, stride=config.stride, overlap=8)
    tiles = rounds // 2 * (len(plain.tiles) + len(shifted.tiles))
    windows = {tile.window for grid in (plain, shifted) for tile in grid.tiles}
    assert counts["gradient"] == 5 + steps * tiles
    measured = rounds if coupling == "balanced" else 0
    assert counts["conv1_1,conv2_1,conv2_2"] == measured
    assert counts["conv2_2"] == 1 + len(windows) + 2  # of the tiles, and the norm of each level
