"""The files around the package agree with each other: metadata, image, workflow, hooks, citation."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))


def read_yaml(name: str) -> Any:
    return YAML(typ="safe").load((ROOT / name).read_text(encoding="utf-8"))


def test_the_citation_has_what_the_format_requires_and_agrees_with_the_package() -> None:
    citation = read_yaml("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert citation["message"]
    assert f'name = "{citation["title"]}"' in PYPROJECT
    assert f'license = "{citation["license"]}"' in PYPROJECT
    assert [f'"{author["name"]}"' in PYPROJECT for author in citation["authors"]] == [True]
    assert all(f'"{keyword}"' in PYPROJECT for keyword in citation["keywords"])


def test_the_workflow_runs_make_targets_on_every_version_of_python() -> None:
    jobs = read_yaml(".github/workflows/ci.yml")["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert sorted(commands) == ["make check", "make docker-check", "make docs", "make test"]
    versions = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', PYPROJECT)
    assert jobs["test"]["strategy"]["matrix"]["python"] == versions
    assert f'requires-python = ">={versions[0]}"' in PYPROJECT


def test_hooks_run_make_targets() -> None:
    (repository,) = read_yaml(".pre-commit-config.yaml")["repos"]
    commands = {hook["entry"] for hook in repository["hooks"]}
    assert commands == {"make check", "make test", "make docs"}


def test_ci_runs_make_targets() -> None:
    (targets,) = re.findall(r"^for target in (.*);", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"check", "test", "docs", "docker-check", "demo"} == set(targets.split())
    assert set(targets.split()) <= TARGETS


def test_the_image_is_built_from_files_that_are_there_and_not_ignored() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    copied = [
        name for names in re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile, re.MULTILINE) for name in names.split()
    ]
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert set(copied) == allowed
    assert all((ROOT / name).exists() for name in copied)
    needed = re.findall(r'"(torch(?:vision)?>=[\d.]+)"', PYPROJECT)
    assert all(f'"{requirement}"' in dockerfile for requirement in needed)
    assert len(needed) == 2
    assert "USER 1000" in dockerfile, "not as root"
    assert not [rule for rule in rules if fnmatch.fnmatch("hires_nst/__init__.py", rule) and rule not in ("*",)]


def test_every_marker_of_the_package_is_shipped() -> None:
    assert (ROOT / "hires_nst" / "py.typed").exists()
    assert '"Typing :: Typed"' in PYPROJECT
    assert 'configs = "hires_nst/presets"' in PYPROJECT


def test_the_bundled_paintings_are_pictures_with_facts() -> None:
    folder = ROOT / "hires_nst" / "gallery" / "bundled"
    assert set(read_yaml("hires_nst/gallery/bundled/gallery.yaml")) == {file.name for file in folder.glob("*.jpg")}
    assert len(list(folder.iterdir())) == 7
    assert 'packages = ["hires_nst"]' in PYPROJECT, "with all files in it"
