"""The canvas: windows on pixels in memory and on disk."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from hires_nst.errors import DiskFull, ResourceError
from hires_nst.transfer.canvas import BYTES_PER_PIXEL, Canvas
from hires_nst.transfer.tiles import Rect
from tests.conftest import random_canvas

CPU = torch.device("cpu")
WINDOW = Rect(1, 2, 4, 6)


@pytest.fixture(params=[False, True], ids=["memory", "disk"])
def canvas(request: pytest.FixtureRequest) -> Canvas:
    result = Canvas.empty(7, 9, on_disk=request.param)
    result.pixels[:] = random_canvas(7, 9).pixels
    return result


@pytest.mark.parametrize("on_disk", [False, True])
def test_an_empty_canvas_is_black(on_disk: bool) -> None:
    canvas = Canvas.empty(5, 8, on_disk=on_disk)
    assert (canvas.height, canvas.width, canvas.image) == (5, 8, Rect(0, 0, 5, 8))
    assert canvas.pixels.dtype == np.float32
    assert canvas.pixels.nbytes == 5 * 8 * BYTES_PER_PIXEL
    assert not canvas.pixels.any()
    assert canvas.on_disk is on_disk


def test_reading_gives_a_copy_of_the_window(canvas: Canvas) -> None:
    before = canvas.pixels.copy()
    window = canvas.read(WINDOW, device=CPU, dtype=torch.float64)
    assert (window.shape, window.dtype) == ((1, 3, 3, 4), torch.float64)
    np.testing.assert_array_equal(window[0].permute(1, 2, 0).float().numpy(), before[1:4, 2:6])
    canvas.read(WINDOW, device=CPU).fill_(7)
    np.testing.assert_array_equal(canvas.pixels, before)


def test_what_is_written_is_read_again_and_the_rest_stays(canvas: Canvas) -> None:
    before, image = canvas.pixels.copy(), torch.rand(1, 3, 3, 4)
    canvas.write(WINDOW, image)
    assert torch.equal(canvas.read(WINDOW, device=CPU), image)
    canvas.pixels[1:4, 2:6] = before[1:4, 2:6]
    np.testing.assert_array_equal(canvas.pixels, before)


def test_adding_is_weighted_by_pixel(canvas: Canvas) -> None:
    before, weight = canvas.pixels.copy(), np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    canvas.add(WINDOW, torch.full((1, 3, 3, 4), 2.0), weight=weight)
    np.testing.assert_allclose(
        canvas.pixels[1:4, 2:6] - before[1:4, 2:6], 2 * weight[..., None].repeat(3, 2), rtol=1e-5
    )
    assert canvas.pixels.sum() - before.sum() == pytest.approx(6 * weight.sum(), rel=1e-5)


def test_a_copy_is_independent_and_in_the_same_kind_of_place(canvas: Canvas) -> None:
    copy = canvas.copy()
    assert copy.on_disk is canvas.on_disk
    np.testing.assert_array_equal(copy.pixels, canvas.pixels)
    copy.pixels[:] = 0
    assert canvas.pixels.any()


def test_clipping_brings_every_value_into_range(canvas: Canvas) -> None:
    canvas.pixels[0, 0] = (-1, 0.5, 2)
    canvas.clip()
    np.testing.assert_array_equal(canvas.pixels[0, 0], [0, 0.5, 1])


def test_a_canvas_on_disk_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    canvas = Canvas.empty(10, 10, on_disk=True)
    assert not list(tmp_path.iterdir())  # it has no name even while it is used
    canvas.pixels[:] = 1
    assert canvas.pixels.mean() == 1


def test_no_memory_for_a_canvas_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def zeros(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("hires_nst.transfer.canvas.zeros", zeros)
    with pytest.raises(ResourceError, match=r"30000 x 20000 px needs 7\.2 GB, more than memory has free"):
        Canvas.empty(20_000, 30_000)


def test_no_folder_for_temporary_files_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    with pytest.raises(ResourceError, match=r"no folder for temporary files is writable.* set TMPDIR"):
        Canvas.empty(20, 30, on_disk=True)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve space in a file")
def test_too_little_space_on_the_disk_is_found_before_it_is_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[int] = []

    def fallocate(file: int, start: int, size: int) -> None:
        requested.append(size)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", fallocate)
    with pytest.raises(
        DiskFull, match=r"needs 7\.2 kB, more than the folder for temporary files.*No space left"
    ) as caught:
        Canvas.empty(20, 30, on_disk=True)
    assert caught.value.path == Path(tempfile.gettempdir())
    assert requested == [20 * 30 * BYTES_PER_PIXEL]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve space in a file")
def test_a_file_system_that_cannot_reserve_space_is_used_anyway(monkeypatch: pytest.MonkeyPatch) -> None:
    def fallocate(file: int, start: int, size: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", fallocate)
    assert Canvas.empty(4, 5, on_disk=True).pixels.shape == (4, 5, 3)
