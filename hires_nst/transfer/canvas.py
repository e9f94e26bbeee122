"""The image being painted, in memory or memory-mapped and used by window; and others of its size."""

from __future__ import annotations

import errno
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from hires_nst.errors import DiskFull, ResourceError
from hires_nst.files import is_disk_full
from hires_nst.quantities import amount
from hires_nst.transfer.allocator import zeros
from hires_nst.transfer.tiles import Rect

if TYPE_CHECKING:
    import torch
    from torch import Tensor

BYTES_PER_PIXEL = 12
"""Three float32 samples."""

BYTES_PER_WEIGHT = 4
"""The float32 of a pixel that has a weight."""


@dataclass(frozen=True)
class Canvas:
    """Pixels, float32 (H, W, C): an array, or a memory map of an unnamed temporary file.

    An image has 3 channels, sRGB in [0, 1]; weights of pixels have 1.
    """

    pixels: NDArray[np.float32]

    @staticmethod
    def empty(height: int, width: int, *, channels: int = 3, on_disk: bool = False) -> Canvas:
        """A canvas of zeros.

        Raises:
            ResourceError: there is not enough memory, or space in the folder for temporary files.
        """
        shape = (height, width, channels)
        size = height * width * channels * 4
        try:
            if not on_disk:
                return Canvas(zeros(shape))
            with tempfile.TemporaryFile(prefix="hires-nst-") as file:
                _reserve(file.fileno(), size)
                return Canvas(np.memmap(file, np.float32, "w+", shape=shape))
        except (MemoryError, OSError) as error:
            folder = temporary_folder() if on_disk else None
            place = "memory" if folder is None else f"the folder for temporary files, {folder},"
            message = (
                f"a canvas of {width} x {height} px needs {amount(size)}, more than {place} has free ({error}); free "
                "some, or choose a smaller size"
            )
            if folder is not None and isinstance(error, OSError) and is_disk_full(error):
                raise DiskFull(message, folder) from None
            raise ResourceError(message) from None

    @property
    def height(self) -> int:
        """Rows."""
        return len(self.pixels)

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])

    @property
    def image(self) -> Rect:
        """The whole canvas."""
        return Rect(0, 0, self.height, self.width)

    def read(self, rect: Rect, *, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
        """A copy of a window: (1, C, h, w), channels last in memory; float32 unless another `dtype` is given."""
        import torch

        window = torch.from_numpy(np.array(self.pixels[rect.slices()]))
        return window.permute(2, 0, 1)[None].to(device=device, dtype=dtype)

    def write(self, rect: Rect, image: Tensor) -> None:
        """Replace a window by (1, 3, h, w)."""
        self.pixels[rect.slices()] = _pixels(image)

    def add(self, rect: Rect, change: Tensor, *, weight: NDArray[np.float32]) -> None:
        """Add (1, 3, h, w), weighted by (h, w), to a window."""
        self.pixels[rect.slices()] += _pixels(change) * weight[:, :, None]

    def blank(self) -> Canvas:
        """A canvas of zeros of the same size, in the same kind of place."""
        channels, on_disk = self.pixels.shape[2], isinstance(self.pixels, np.memmap)
        return Canvas.empty(self.height, self.width, channels=channels, on_disk=on_disk)

    def copy(self) -> Canvas:
        """Another canvas with the same pixels, in the same kind of place."""
        result = self.blank()
        result.pixels[:] = self.pixels
        return result

    def clip(self) -> None:
        """Clip every value to [0, 1], in place."""
        np.clip(self.pixels, 0, 1, out=self.pixels)


class Place(Protocol):
    """Where new canvases of a run go: height and width to a canvas of zeros."""

    def __call__(self, height: int, width: int, *, channels: int = 3) -> Canvas:
        """See `Canvas.empty`."""


def temporary_folder() -> Path:
    """The folder for temporary files, where canvases on disk are.

    Raises:
        ResourceError: none is writable.
    """
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        raise ResourceError(
            "no folder for temporary files is writable, and canvases on disk need one; free some disk space, set "
            "TMPDIR to another folder, or keep canvases in memory with --set runtime.canvas=memory"
        ) from None


def _reserve(file: int, size: int) -> None:
    """Reserve the disk space at once: writing to a memory map on a full disk would kill the process."""
    if not hasattr(os, "posix_fallocate"):  # not on macOS and Windows
        return
    try:
        os.posix_fallocate(file, 0, size)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # a file system that cannot
            raise


def _pixels(image: Tensor) -> NDArray[np.float32]:
    """(1, 3, h, w) as a float32 array (h, w, 3)."""
    import torch

    array: NDArray[np.float32] = image.detach()[0].permute(1, 2, 0).to("cpu", torch.float32).numpy()
    return array
