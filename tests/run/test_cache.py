"""What runs keep for those that come after changes nothing in their pictures."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hires_nst.run import context, level_objective
from hires_nst.run.cache import MOST_NETWORKS, MOST_STATISTICS, Cache
from hires_nst.transfer import extractor
from tests.run.test_pipeline import config, paint, save


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often networks were loaded and statistics measured."""
    counts = {"load_network": 0, "style_statistics": 0}

    def counting(module: Any, name: str) -> None:
        plain = getattr(module, name)

        def wrapped(*arguments: Any, **options: Any) -> Any:
            counts[name] += 1
            return plain(*arguments, **options)

        monkeypatch.setattr(module, name, wrapped)

    counting(extractor, "load_network")
    counting(level_objective, "style_statistics")
    return counts


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Two photographs of one size, one of another, and two paintings."""
    from tests.conftest import random_canvas

    sizes = {"a.png": (64, 80), "b.png": (64, 80), "c.png": (70, 50), "x.png": (96, 90), "y.png": (90, 96)}
    return [save(tmp_path / name, random_canvas(*size, seed)) for seed, (name, size) in enumerate(sizes.items())]


def test_networks_and_statistics_are_cached_and_change_nothing(
    pictures: list[Path], tmp_path: Path, counted: dict[str, int]
) -> None:
    cache = Cache()
    for number, photo in enumerate([*pictures[:3], pictures[0]]):
        for painting in pictures[3:]:
            with_it, without = tmp_path / f"{number}-{painting.stem}.png", tmp_path / "alone.png"
            paint(photo, with_it, painting, cache=cache)
            before = dict(counted)
            paint(photo, without, painting, overwrite=True)
            counted.update(before)
            assert with_it.read_bytes() == without.read_bytes()
    assert counted["load_network"] == 1
    assert counted["style_statistics"] == 2 * 2 + 2  # two levels of the first size and one of the other, two paintings


@pytest.mark.parametrize(
    "other",
    [
        {"model": {"pooling": "average"}},
        {"model": {"padding": "zeros"}},
        {"runtime": {"precision": "bfloat16"}},
        {"loss": {"style_layers": {"conv1_1": 1.0}}},
        {"levels": {"min_size": 64}},
        {"tiles": {"size": 48}},
        {"loss": {"style": "gram"}},
    ],
)
def test_other_settings_are_not_mixed_up(other: dict[str, Any], pictures: list[Path], tmp_path: Path) -> None:
    cache = Cache()
    paint(pictures[0], tmp_path / "first.png", pictures[3], cache=cache)
    paint(pictures[0], tmp_path / "second.png", pictures[3], config(**other), cache=cache)
    paint(pictures[0], tmp_path / "alone.png", pictures[3], config(**other))
    assert (tmp_path / "second.png").read_bytes() == (tmp_path / "alone.png").read_bytes()


def test_a_painting_that_changed_is_measured_again(pictures: list[Path], tmp_path: Path) -> None:
    cache = Cache()
    paint(pictures[0], tmp_path / "first.png", pictures[3], cache=cache)
    pictures[3].write_bytes(pictures[4].read_bytes())
    paint(pictures[0], tmp_path / "second.png", pictures[3], cache=cache)
    paint(pictures[0], tmp_path / "alone.png", pictures[3])
    assert (tmp_path / "second.png").read_bytes() == (tmp_path / "alone.png").read_bytes()


def test_weights_are_known_by_their_content(tmp_path: Path) -> None:
    def key_of(path: Path | None) -> Any:
        return context.model_key(config(model={"weights": path}), Cache())

    one, same, other = (tmp_path / name for name in ("one", "same", "other"))
    for path in (one, same, other):
        path.write_text("other" if path == other else "one")
    assert key_of(one) == key_of(same)
    assert len({key_of(one), key_of(other), key_of(None), key_of(tmp_path / "none")}) == 4


def test_only_the_most_recently_used_is_cached() -> None:
    cache, made = Cache(), []

    def measure(key: int) -> Any:
        made.append(key)
        return {}

    for key in (*range(MOST_STATISTICS), 0, MOST_STATISTICS, 0, 1):
        cache.statistics(key, partial(measure, key))
    assert made == [*range(MOST_STATISTICS), MOST_STATISTICS, 1]
    for key in range(MOST_NETWORKS + 1):
        cache.network(key, partial(measure, 100 + key))
    cache.network(0, lambda: measure(200))
    assert made[-1] == 200
