from __future__ import annotations

import math

import pytest

from hires_nst.config import (
    Config,
    parse_config,
)
from hires_nst.errors import ConfigError


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:12"])
def test_devices(device: str) -> None:
    assert parse_config({"runtime": {"device": device}}).runtime.device == device


@pytest.mark.parametrize("device", ["", "mps", "cuda:", "cuda:x", "cuda:²", "cuda:9999", "cpu:1", "cuda:0\n"])
def test_no_devices(device: str) -> None:
    with pytest.raises(ConfigError, match="there is no device"):
        parse_config({"runtime": {"device": device}})


@pytest.mark.parametrize("section", ["levels", "runtime", "output", "init", "images"])
def test_no_number_may_be_nan(section: str) -> None:
    for key, value in getattr(Config(), section).model_dump().items():
        if isinstance(value, float):
            with pytest.raises(ConfigError):
                parse_config({section: {key: math.nan}})
