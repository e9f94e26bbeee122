"""How much memory a run may use: a share of what is free, or an amount."""

from __future__ import annotations

import pytest

from hires_nst.config import Runtime, parse_config
from hires_nst.errors import ConfigError
from hires_nst.quantities import parse_amount


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4 GB", 4_000_000_000), ("1.5gb", 1_500_000_000), ("800 MB", 800_000_000), (" 2 GiB ", 2 << 30),
        ("2000000 kB", 2_000_000_000), (".5 TB", 500_000_000_000), ("5000000 B", 5_000_000),
    ],
)  # fmt: skip
def test_amounts_are_read_with_their_unit(text: str, size: int) -> None:
    assert parse_amount(text) == size


@pytest.mark.parametrize("text", ["4", "", "GB", "-1 GB", "4 G", "much", "1e3 MB", "12 B", "nan GB"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"amount of memory|too little memory"):
        parse_amount(text)


@pytest.mark.parametrize("value", [0, -0.5, 1.5, "4", "a lot", True])
def test_a_share_or_an_amount_is_asked_for(value: object) -> None:
    with pytest.raises(ConfigError, match=r"runtime\.memory"):
        parse_config({"runtime": {"memory": value}})


def test_the_budget_is_a_share_of_what_is_left_or_the_amount_less_what_is_taken() -> None:
    assert Runtime(memory=0.5).budget(1000, taken=200) == 400
    assert Runtime(memory="1 GB").budget(3 * 10**9, taken=10**8) == 9 * 10**8
    assert Runtime(memory="1 GB").budget(5 * 10**8, taken=10**8) == 4 * 10**8
    assert Runtime(memory="1 GB").budget(10**9, taken=2 * 10**9) == 0
    assert Runtime(memory=0.5).budget(100, taken=200) == 0
