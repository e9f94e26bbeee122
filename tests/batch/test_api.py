"""The functions of `hires_nst.batch` beside the commands of the same names."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hires_nst import batch
from hires_nst.config import load_config
from hires_nst.errors import ConfigError, InputError
from hires_nst.events import JobDone
from hires_nst.stopping import Stop
from tests.batch.fakes import Seen, rows
from tests.cli.test_commands import run
from tests.conftest import random_canvas

SETTINGS = """
output: {long_edge: 24}
levels: {min_size: 16, coarse_steps: 2}
loss: {style_layers: {conv1_1: 1}, content_layers: {conv2_1: 1}}
runtime: {device: cpu}
batch: {template: "{index}-{width}.png", retry_wait: 0}
jobs:
  - {content: photos/a.png, style: art.png}
  - {content: photos/b.png, style: art.png, set: {output: {long_edge: 40}}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration with two jobs, one with settings of its own."""
    (tmp_path / "photos").mkdir()
    for number, name in enumerate(("photos/a.png", "photos/b.png", "art.png")):
        pixels = np.rint(random_canvas(30, 40, number).pixels * 255).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "jobs.yaml").write_text(SETTINGS)
    return tmp_path / "jobs.yaml"


def test_the_functions_do_what_the_commands_do(file: Path) -> None:
    config, ours, theirs = load_config(file), file.parent / "ours", file.parent / "theirs"
    assert run("batch", "-c", file, "-o", theirs, "--no-report").exit_code == 0
    late, seen = Stop(deadline=time.time()), Seen()
    assert batch.run(None, ours, config=config, stop=late).counts["waiting"] == 2
    summary = batch.resume(ours, on_event=seen.append)
    assert (summary.painted, summary.exit_code, len(seen.of(JobDone))) == (2, 0, 2)
    assert rows(ours).keys() == rows(theirs).keys() == {"1-24.png", "2-40.png"}
    for name in rows(ours):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()
    assert batch.run(None, ours, config=config).painted == 0

    planned = asdict(batch.plan(None, config=config, measure=False))
    assert planned == json.loads(run("plan", "-c", file, "--no-measure", "--json").stdout)
    jobs = batch.jobs(file.parent / "photos", ours, styles=[file.parent / "art.png"], config=config).jobs
    assert [job.content.name for job in jobs] == ["a.png", "b.png"]


def test_wrong_arguments(file: Path) -> None:
    photos, out = file.parent / "photos", file.parent / "out"
    for arguments in ({"executor": "slurm"}, {"address": "auto"}, {"ship": True}):
        with pytest.raises(ConfigError, match="executor"):
            batch.run(photos, out, styles=[file.parent / "art.png"], **arguments)
    with pytest.raises(ConfigError, match="no painting given"):
        batch.run(photos, out)
    with pytest.raises(InputError, match="is not the folder of a batch"):
        batch.resume(photos)
    assert not out.exists()


def test_the_package_is_quick_to_import() -> None:
    code = """import sys, hires_nst.batch as b
print({'torch', 'sqlite3'} & sys.modules.keys())
b.run
print('torch' in sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split("\n")[:2] == ["set()", "False"]
    with pytest.raises(AttributeError, match="no attribute 'walk'"):
        _ = batch.walk
