"""Configurations as mappings, for tests of properties; and a file of YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from hires_nst.backbones.registry import BACKBONES
from hires_nst.config import ColorMode, StyleLossName

TINY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

LAYER = st.sampled_from(BACKBONES["vgg19-slim"].layer_names)
WEIGHT = st.floats(0, 1e6, allow_nan=False)


def _level_of(override: Mapping[str, object]) -> str:
    return str(override["level"])


SECTIONS: dict[str, dict[str, st.SearchStrategy[object]]] = {
    "output": {
        "long_edge": st.none() | st.integers(1, 500_000),
        "bit_depth": st.sampled_from([8, 16]),
        "dpi": st.none() | st.floats(1, 1200),
    },
    "loss": {
        "style": st.sampled_from(get_args(StyleLossName)),
        "style_layers": st.dictionaries(LAYER, st.floats(1e-3, 10), min_size=1),
        "content_layers": st.dictionaries(LAYER, WEIGHT),
        "tv_weight": WEIGHT,
        "colour_tv_weight": WEIGHT,
    },
    "colors": {"mode": st.sampled_from(get_args(ColorMode)), "strength": st.floats(0, 1)},
    "levels": {
        "rounds": st.integers(1, 1000),
        "decay": st.floats(0.01, 1),
        "overrides": st.lists(
            st.fixed_dictionaries(
                {"level": st.integers(0, 9), "rounds": st.integers(0, 9)},
                optional={"loss": st.fixed_dictionaries({"style": st.sampled_from(get_args(StyleLossName))})},
            ),
            unique_by=_level_of,
        ),
    },
    "tiles": {"size": st.just("auto") | st.integers(16, 100_000), "shift": st.booleans()},
    "runtime": {"device": st.sampled_from(["cpu", "cuda:3"]), "seed": st.integers(0, 2**63 - 1)},
}
SCALE = st.floats(0.01, 9) | st.lists(st.floats(0.01, 9), min_size=1)
TURNED: dict[str, st.SearchStrategy[object]] = {
    "weight": st.floats(0.1, 9),
    "rotations": st.lists(st.sampled_from([90, 180, 270]), unique=True),
    "mirror": st.booleans(),
}
PARTS: dict[str, st.SearchStrategy[object]] = {
    **{name: st.fixed_dictionaries({}, optional=keys) for name, keys in SECTIONS.items()},
    "styles": st.lists(
        st.fixed_dictionaries({"image": st.text(min_size=1), "scale": SCALE}, optional=TURNED)
        | st.fixed_dictionaries({"folder": st.text(min_size=1), "size": st.integers(1, 500_000)}, optional=TURNED)
        | st.fixed_dictionaries({"folder": st.text(min_size=1), "images": st.lists(st.text(min_size=1))})
    ),
    "gallery": st.text(min_size=1) | st.lists(st.text(min_size=1)),
}
NESTED = st.fixed_dictionaries({}, optional=PARTS)


def write(folder: Path, text: str, name: str = "c.yaml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file
