from __future__ import annotations

import math

import pytest

from hires_nst.config import Config, Optimizer, parse_config
from hires_nst.errors import ConfigError


@pytest.mark.parametrize("device", ["auto", "cpu", "mps", "cuda", "cuda:0", "cuda:12"])
def test_devices(device: str) -> None:
    assert parse_config({"runtime": {"device": device}}).runtime.device == device


@pytest.mark.parametrize("device", ["", "mps:0", "rocm", "cuda:", "cuda:x", "cuda:²", "cuda:9999", "cpu:1", "cuda:0\n"])
def test_no_devices(device: str) -> None:
    with pytest.raises(ConfigError, match="there is no device"):
        parse_config({"runtime": {"device": device}})


@pytest.mark.parametrize("section", ["levels", "runtime", "output", "init", "images"])
def test_no_number_may_be_nan(section: str) -> None:
    for key, value in getattr(Config(), section).model_dump().items():
        if isinstance(value, float):
            with pytest.raises(ConfigError):
                parse_config({section: {key: math.nan}})


@pytest.mark.parametrize(
    ("optimizer", "variables"),
    [
        (Optimizer(), ["laplacian", "plain", "plain"]),
        (Optimizer(name="adam"), ["plain", "plain", "plain"]),
        (Optimizer(pixels="plain"), ["plain", "plain", "plain"]),
        (Optimizer(pixels="laplacian"), ["laplacian", "laplacian", "laplacian"]),
    ],
)
def test_the_variables_of_a_level(optimizer: Optimizer, variables: list[str]) -> None:
    assert [optimizer.at_level(level).pixels for level in range(3)] == variables


def test_a_total_variation_alone_is_something_to_optimise() -> None:
    for weight in ("tv_weight", "colour_tv_weight"):
        Config.model_validate({"loss": {"style_weight": 0.0, "content_weight": 0.0, weight: 1.0}})
