"""Arrays in safetensors files that carry a checksum of the whole file; written and read in pieces, never unpickled."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hires_nst.errors import DamagedFile
from hires_nst.files import CHECKSUM_PLACEHOLDER, is_intact, write_checked

CHUNK = 1 << 23
"""Bytes that are written, or read, at once."""

BFLOAT16 = np.dtype("V2")
"""numpy has no bfloat16: its samples are two bytes of nothing."""

_DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"), "F64": np.dtype("<f8"), "F16": np.dtype("<f2"), "BF16": BFLOAT16, "U16": np.dtype("<u2"),
}  # fmt: skip

Array = NDArray[Any]


@dataclass(frozen=True)
class WholeNumbers:
    """Samples in [0, 1] that are whole numbers of 16 bits divided by `scale`: they are stored as those numbers."""

    samples: NDArray[np.float32]
    scale: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the numbers."""
        return _DTYPES["U16"]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the samples."""
        return self.samples.shape

    @property
    def nbytes(self) -> int:
        """Of the numbers."""
        return self.samples.size * self.dtype.itemsize


def write_tensors(
    path: Path,
    arrays: Mapping[str, Array | WholeNumbers],
    *,
    about: Mapping[str, Any],
    check_stop: Callable[[], None] = lambda: None,
) -> int:
    """Write arrays and JSON-ready data about them in place of what is at `path`.

    An array is float32, float64, float16, uint16 or `BFLOAT16`. It may be a memory map: it is copied piece by piece.
    `check_stop` is called before each piece; it may raise to end the write, which then leaves nothing.

    Returns:
        The size of the file.
    """
    header: dict[str, Any] = {"__metadata__": {"about": json.dumps(about), "checksum": CHECKSUM_PLACEHOLDER.decode()}}
    end = 0
    for name, array in arrays.items():
        kind = next(kind for kind, dtype in _DTYPES.items() if dtype == array.dtype)
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    head = struct.pack("<Q", len(text)) + text

    write_checked(path, head, pieces=_pieces(arrays.values(), check_stop))
    return len(head) + end


def read_tensors(
    path: Path, *, check_stop: Callable[[], None] = lambda: None
) -> tuple[dict[str, Array], dict[str, Any]]:
    """What `write_tensors` wrote: the arrays, read-only and mapped, in their order, and the data about them.

    Raises:
        DamagedFile: the checksum does not match. FileNotFoundError: there is no such file.
    """
    try:
        data = np.memmap(path, np.uint8, "r")
        (length,) = struct.unpack("<Q", data[:8].tobytes())
        if length > data.size:
            raise ValueError("the header is longer than the file")
        head = data[: 8 + length].tobytes()
        header = json.loads(head[8:])
        metadata = header.pop("__metadata__")
        checksum = str(metadata["checksum"])
        if not is_intact(head, _pieces([data[8 + length :]], check_stop), checksum=checksum):
            raise ValueError("its checksum does not match")
        arrays = {}
        for name, entry in header.items():
            first, last = (8 + length + offset for offset in entry["data_offsets"])
            arrays[name] = data[first:last].view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])
        return arrays, json.loads(metadata["about"])
    except FileNotFoundError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError, struct.error, RecursionError) as error:
        raise DamagedFile(f"{path} is damaged ({error})") from None


def _pieces(arrays: Iterable[Array | WholeNumbers], check_stop: Callable[[], None]) -> Iterator[memoryview]:
    """The bytes of arrays, in order."""
    for array in arrays:
        flat = np.ascontiguousarray(array.samples if isinstance(array, WholeNumbers) else array).reshape(-1)
        step = CHUNK // flat.itemsize
        for start in range(0, flat.size, step):
            check_stop()
            part = flat[start : start + step]
            if isinstance(array, WholeNumbers):
                part = np.rint(part * np.float32(array.scale)).astype(array.dtype)
            yield part.view(np.uint8).data
