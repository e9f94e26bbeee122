"""Free memory of the machine, the estimate for a tile, and the tile size."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from hires_nst.backbones.registry import BACKBONES
from hires_nst.config import Config, Optimizer
from hires_nst.transfer import memory
from hires_nst.transfer.memory import automatic_tile_size, free_host_memory, tile_bytes_per_pixel

LAYERS = Config().layers
GIGA = 10**9


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Control groups without files, on a machine with 8 GB that are free."""
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    monkeypatch.setattr(memory, "OWN_CGROUP", tmp_path / "own")
    available = SimpleNamespace(available=8 * GIGA)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: available)
    return tmp_path


def limit(group: Path, limit: str, used: int, cached: int = 0) -> None:
    group.mkdir(parents=True, exist_ok=True)
    (group / "memory.max").write_text(f"{limit}\n")
    (group / "memory.current").write_text(f"{used}\n")
    (group / "memory.stat").write_text(f"anon 5\nactive_file {cached // 2}\ninactive_file {cached - cached // 2}\n")


def test_without_a_control_group_the_machine_says_what_is_free(group: Path) -> None:
    assert free_host_memory() == 8 * GIGA


@pytest.mark.parametrize(
    ("maximum", "used", "cached", "free"),
    [
        (str(4 * GIGA), GIGA, 0, 3 * GIGA),
        (str(20 * GIGA), GIGA, 0, 8 * GIGA),
        ("max", GIGA, 0, 8 * GIGA),
        (str(4 * GIGA), 5 * GIGA, 0, 0),
        (str(4 * GIGA), 4 * GIGA, 3 * GIGA, 3 * GIGA),
    ],
)
def test_a_control_group_limits_it_and_its_cached_files_make_way(
    group: Path, maximum: str, used: int, cached: int, free: int
) -> None:
    limit(group, maximum, used, cached)
    assert free_host_memory() == free


def limit_1(group: Path, limit: int, used: int, cached: int = 0) -> None:
    """The same of version 1."""
    group.mkdir(parents=True, exist_ok=True)
    (group / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (group / "memory.usage_in_bytes").write_text(f"{used}\n")
    (group / "memory.stat").write_text(f"inactive_file 7\ntotal_active_file 0\ntotal_inactive_file {cached}\n")


@pytest.mark.parametrize(
    ("own", "mine", "above", "top", "free"),
    [
        ("0::/slice/me", 2, 3, 4, 2),
        ("0::/slice/me", 3, 2, 4, 2),
        ("0::/slice/me", 4, 3, 2, 2),
        ("0::/slice/me", 20, 20, 20, 8),
        ("0::/slice", 1, 3, 4, 3),  # somebody else's group
        ("0::/", 1, 2, 4, 4),
        ("0::/docker/me", 1, 2, 4, 4),  # the machine's path in a container
        ("0::/../../slice/me", 2, 3, 4, 2),
        ("1:name=x:/y\n0::/slice/me", 2, 3, 4, 2),
        ("what\n0::/slice/me", 1, 1, 4, 4),
    ],
)
def test_the_tightest_group_on_the_way_up_counts(
    group: Path, own: str, mine: int, above: int, top: int, free: int
) -> None:
    (group / "own").write_text(f"{own}\n")
    for folder, giga in ((group / "slice" / "me", mine), (group / "slice", above), (group, top)):
        limit(folder, str((giga + 1) * GIGA), 2 * GIGA, GIGA)
    assert free_host_memory() == free * GIGA


@pytest.mark.parametrize(
    ("own", "mine", "top", "free"),
    [
        ("4:cpu:/x\n3:hugetlb,memory:/docker/me\n0::/", 3, 5, 3),
        ("3:memory:/docker/me", 5, 3, 3),
        ("3:memory:/machine/me", 1, 3, 3),
        ("3:memory:/docker/me", 2**33, 2**33, 8),  # no limit
    ],
)
def test_groups_of_version_1_count_too(group: Path, own: str, mine: int, top: int, free: int) -> None:
    (group / "own").write_text(f"{own}\n")
    limit_1(group / "memory" / "docker" / "me", (mine + 1) * GIGA, 2 * GIGA, GIGA)
    limit_1(group / "memory", (top + 1) * GIGA, 2 * GIGA, GIGA)
    assert free_host_memory() == free * GIGA


def test_unreadable_numbers_of_a_control_group_are_ignored(group: Path) -> None:
    limit(group, "what", 0)
    assert free_host_memory() == 8 * GIGA


def test_a_tile_needs_more_with_wider_networks_deeper_layers_and_more_history() -> None:
    def need(name: str = "vgg19", layers: tuple[str, ...] = LAYERS, history: int = 20, *, half: bool = False) -> float:
        return tile_bytes_per_pixel(BACKBONES[name], layers, optimizer=Optimizer(history=history), half=half)

    assert need() > need("vgg19-slim")
    assert need() > need(layers=("conv1_1",))
    assert need() > need(history=2)
    assert need() > need(half=True) > need() / 3
    assert need("vgg19", ()) > 0
    # About 3.8 kB of activations a pixel for VGG-19 in float32, and twice the optimiser's 46 vectors at most.
    assert 3800 < need() < 8000
    adam = tile_bytes_per_pixel(BACKBONES["vgg19"], LAYERS, optimizer=Optimizer(name="adam"), half=False)
    assert adam < need()


def test_the_estimate_covers_what_autograd_really_keeps() -> None:
    from tests.conftest import TINY, tiny_network

    network, side, layers = tiny_network(dtype=torch.float32), 64, TINY.layer_names
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    x = torch.rand(1, 3, side, side, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        powers = [(f - f.mean((2, 3), keepdim=True)).square().sum() for f in network(x, layers).values()]
    assert len(powers) == len(layers)
    estimate = tile_bytes_per_pixel(TINY, layers, optimizer=Optimizer(name="adam"), half=False) * side * side
    assert 0.25 * estimate < sum(kept.values()) < estimate  # the vectors of the optimiser are most of the rest


@pytest.mark.parametrize("free", [0, GIGA // 100, GIGA, 10 * GIGA, 10**15])
@pytest.mark.parametrize("largest", [1024, 3072])
def test_an_automatic_tile_fits_lies_on_the_stride_grid_and_keeps_its_bounds(free: int, largest: int) -> None:
    size = automatic_tile_size(free // 2, 2000, overlap=48, stride=16, largest=largest)
    assert size % 16 == 0
    assert memory.SMALLEST_TILE <= size <= largest
    if size > memory.SMALLEST_TILE:
        assert (size + 2 * 48) ** 2 * 2000 <= free * 0.5
    if free == 10**15:
        assert size == largest


def test_no_memory_left_is_no_complex_number() -> None:
    assert automatic_tile_size(0, 2000, overlap=0, stride=16, largest=1024) == memory.SMALLEST_TILE
