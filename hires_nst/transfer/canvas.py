"""The image being painted, used by window, in memory, on a device or memory-mapped; and others of its size."""

from __future__ import annotations

import errno
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

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

HALF_BYTES_PER_PIXEL = 6
"""Three samples of 16 bits."""

BYTES_PER_WEIGHT = 4
"""The float32 of a pixel that has a weight."""

STRIP_ROWS = 256

QUANTA = 65535
"""The steps of 16 bits between 0 and 1."""

Sample = Literal["float32", "float16", "bfloat16"]
"""The type of a canvas's samples, by its name in torch."""


@dataclass(frozen=True, eq=False)
class Canvas:
    """An image, or something else of three numbers a pixel, of which windows are read and written.

    An image has 3 channels, sRGB in [0, 1]; weights of pixels have 1.

    Attributes:
        samples: (H, W, C) of a floating type, on any device; in memory, or a memory map of an unnamed temporary file.
        on_disk: whether it is such a map.
    """

    samples: Tensor
    on_disk: bool = False

    @staticmethod
    def of(pixels: NDArray[np.floating]) -> Canvas:
        """A canvas of an array (H, W, C), whose memory it shares unless the array is read-only."""
        import torch

        return Canvas(torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy()))

    @staticmethod
    def empty(
        height: int, width: int, *, channels: int = 3, sample: Sample = "float32", on_disk: bool = False
    ) -> Canvas:
        """A canvas of zeros in the memory of the host, or on its disk.

        Raises:
            ResourceError: there is not enough memory, or space in the folder for temporary files.
        """
        import torch

        dtype = getattr(torch, sample)
        size = height * width * channels * dtype.itemsize
        try:
            if not on_disk:
                data = zeros(size)
            else:
                with tempfile.TemporaryFile(prefix="hires-nst-") as file:
                    _reserve(file.fileno(), size)
                    data = np.memmap(file, np.uint8, "w+", shape=(size,))
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
        return Canvas(torch.from_numpy(data).view(dtype).view(height, width, channels), on_disk)

    @property
    def pixels(self) -> NDArray[np.float32]:
        """The samples as an array that shares their memory; only on the host. Of a float16 canvas it is float16."""
        array: NDArray[np.float32] = self.samples.numpy()
        return array

    @property
    def sample(self) -> Sample:
        """The type of the samples."""
        name: Sample = str(self.samples.dtype).removeprefix("torch.")  # type: ignore[assignment]
        return name

    @property
    def height(self) -> int:
        """Rows."""
        return len(self.samples)

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.samples.shape[1])

    @property
    def image(self) -> Rect:
        """The whole canvas."""
        return Rect(0, 0, self.height, self.width)

    def read(self, rect: Rect, *, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
        """A copy of a window: (1, C, h, w), channels last in memory; float32 unless another `dtype` is given."""
        import torch

        window = self.samples[rect.slices()].to(device)
        return window.to(dtype or torch.float32, copy=True).contiguous().permute(2, 0, 1)[None]

    def write(self, rect: Rect, image: Tensor) -> None:
        """Replace a window by (1, 3, h, w)."""
        self.samples[rect.slices()] = _of_canvas(image, self)

    def add(self, rect: Rect, change: Tensor, *, weight: NDArray[np.float32]) -> None:
        """Add (1, 3, h, w), weighted by (h, w), to a window."""
        import torch

        factor = torch.from_numpy(weight).to(self.samples.device)[:, :, None]
        window = self.samples[rect.slices()]
        window.copy_(window.to(torch.float32) + _of_canvas(change, self) * factor)  # faster than += in half precision

    def blank(self, sample: Sample | None = None) -> Canvas:
        """A canvas of zeros of the same size, in the same kind of place; of this type of samples if none is given."""
        import torch

        sample = sample or self.sample
        channels = self.samples.shape[2]
        if self.samples.device.type != "cpu":
            shape, dtype = (self.height, self.width, channels), getattr(torch, sample)
            return Canvas(torch.zeros(shape, dtype=dtype, device=self.samples.device))
        return Canvas.empty(self.height, self.width, channels=channels, sample=sample, on_disk=self.on_disk)

    def copy(self) -> Canvas:
        """Another canvas with the same samples, in the same kind of place."""
        result = self.blank()
        result.samples.copy_(self.samples)
        return result

    def to(self, device: torch.device) -> Canvas:
        """The canvas on a device; itself if it is there."""
        return self if self.samples.device == device else Canvas(self.samples.to(device))

    def clip(self) -> None:
        """Clip every sample to [0, 1], in place."""
        self.samples.clamp_(0, 1)

    def add_clipped(self, change: Canvas) -> None:
        """Add another canvas of this size, in place, and clip every sum to [0, 1]."""
        for top in range(0, self.height, STRIP_ROWS):
            rows = self.samples[top : top + STRIP_ROWS]
            rows += change.samples[top : top + STRIP_ROWS]
            rows.clamp_(0, 1)

    def quantise(self) -> None:
        """Round every sample, in [0, 1], to the nearest of 16 bits: a whole number times 1 / `QUANTA`, in place."""
        for top in range(0, self.height, STRIP_ROWS):
            self.samples[top : top + STRIP_ROWS].mul_(QUANTA).round_().mul_(1 / QUANTA)


class Place(Protocol):
    """Where new canvases of a run go: height and width to a canvas of zeros."""

    def __call__(self, height: int, width: int, *, channels: int = 3, sample: Sample = "float32") -> Canvas:
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


def _of_canvas(image: Tensor, canvas: Canvas) -> Tensor:
    """(1, 3, h, w) as (h, w, 3) float32 on a canvas's device."""
    import torch

    return image.detach()[0].permute(1, 2, 0).to(canvas.samples.device, torch.float32)
