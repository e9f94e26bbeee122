"""The fuzzer finds what it looks for, and the program withstands a few of its cases."""

from __future__ import annotations

from pathlib import Path

import fuzz
import pytest

from hires_nst.config import Config, commented_yaml

CASES = 150


def test_a_few_cases(tmp_path: Path) -> None:
    seeds = [*fuzz.picture_seeds(), ("config.yaml", commented_yaml(Config()).encode())]
    results = {fuzz.run_case(number, 1, seeds=seeds, folder=tmp_path) for number in range(CASES)}
    assert any("refused" in result for result in results)
    assert any("loaded" in result for result in results)


def test_a_finding_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(fuzz, "try_config", fail)
    with pytest.raises(ZeroDivisionError):
        fuzz.run_case(0, 0, seeds=[("config.yaml", b"version: 1")], folder=tmp_path)
    assert (tmp_path / "case-0.yaml").exists()
