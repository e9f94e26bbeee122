"""Sums over many numbers whose bits do not depend on the number of the processor's threads.

torch splits a sum to a single number among its threads, and MKL a product of matrices along its longest side; rounding
then depends on where. Here the parts have a fixed size.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

PART = 2048
"""Numbers in a part of a sum."""

SMALL = 1 << 15
"""Numbers that torch leaves to one thread."""

ROWS = 256
"""Rows in a part of a product."""

COLUMNS = 1024
"""Columns in a part of a product."""


def total(values: Tensor) -> Tensor:
    """The sum of all elements; differentiable."""
    flat = values.flatten()
    while len(flat) > SMALL:
        flat = F.pad(flat, (0, -len(flat) % PART)).view(-1, PART).sum(1)
    return flat.sum()


def inner(first: Tensor, second: Tensor) -> Tensor:
    """The inner product of two vectors (n,), without a graph."""
    whole = len(first) // PART * PART
    parts = torch.linalg.vecdot(first[:whole].view(-1, PART), second[:whole].view(-1, PART))
    return total(parts) + (first[whole:] * second[whole:]).sum()


def transposed_product(first: Tensor, second: Tensor) -> Tensor:
    """first^T second, (C, C), for two matrices (n, C), without a graph."""
    rest = max(-len(first) % ROWS, 2 * ROWS - len(first))  # a single part would be split again
    if rest:
        first, second = F.pad(first, (0, 0, 0, rest)), F.pad(second, (0, 0, 0, rest))
    shape = (-1, ROWS, first.shape[1])
    return torch.bmm(first.view(shape).transpose(1, 2), second.view(shape)).sum(0)


def product(matrix: Tensor, columns: Tensor) -> Tensor:
    """The product (a, n) of matrices (a, b) and (b, n) with many columns; differentiable."""
    count = columns.shape[1]
    padded = F.pad(columns, (0, max(-count % COLUMNS, 2 * COLUMNS - count)))  # a single part would be split again
    parts = padded.reshape(len(columns), -1, COLUMNS).transpose(0, 1)
    result = torch.bmm(matrix.expand(len(parts), *matrix.shape), parts)
    return result.transpose(0, 1).reshape(len(matrix), -1)[:, :count]


@contextmanager
def in_one_thread() -> Iterator[None]:
    """Have a processor's operations in the block run in one thread: for those whose bits depend on how they are split.

    torch's bilinear interpolation is one: where a thread's part of a row ends, it rounds in another way.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
