"""The operations of a network that was traced, with their geometry. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

IMAGE = "image"
"""The name of a network's input among the values of its steps."""

Kind = Literal["convolution", "max", "average", "relu", "pointwise", "add", "concatenate"]
Reach = tuple[int, int]
"""Pixels that a position depends on before and after its cell, along one axis."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """The positions that a convolution or pooling reads along one axis, on the grid of cells.

    Position q of the result reads its input from q * stride - before on. An input of n positions gives n // stride, for
    any n: so every position's cell lies inside the image, and a window that begins on the stride grid and ends there,
    or at the image's edge, has the positions of the image.

    Networks differ from that. Where the padding p that a network was trained with gives n / stride positions whenever n
    is a multiple of the stride, `before` is p. Other convolutions and poolings, such as Inception's, which have no
    padding, get the smallest that does: away from the edges they compute the same for a picture moved by some pixels.
    """

    kernel: int
    stride: int = 1
    dilation: int = 1
    before: int

    @staticmethod
    def of(kernel: int, stride: int, *, dilation: int, padding: int) -> Span:
        """The span of an operation with that padding on both sides."""
        least = dilation * (kernel - 1) + 1 - stride
        keeps_grid = least <= 2 * padding <= dilation * (kernel - 1)
        before = padding if keeps_grid else max(0, -(-least // 2))
        return Span(kernel=kernel, stride=stride, dilation=dilation, before=before)

    @property
    def after(self) -> int:
        """Positions that are read beyond the end of an input of whole cells; below 0, that are not read."""
        return self.dilation * (self.kernel - 1) + 1 - self.stride - self.before

    def reach(self, reach: Reach, stride: int) -> Reach:
        """That of the result, where `reach` and `stride` are the input's."""
        return reach[0] + self.before * stride, reach[1] + max(0, self.after) * stride


@dataclass(frozen=True, kw_only=True)
class Step:
    """An operation.

    Attributes:
        name: of its result, and of its module if it has one.
        inputs: the names of what it takes: steps, or `IMAGE`.
        channels, stride: of the result.
        reach: along the rows and along the columns.
        spans: of a convolution or pooling, likewise.
        multiply_adds, parameters: of a convolution, the former for each position.
        in_place: whether it may write its result over its first input, which nothing else needs.
        counts_padding: of an average pooling with zeros around its input.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...]
    channels: int
    stride: int
    reach: tuple[Reach, Reach]
    spans: tuple[Span, Span] | None = None
    multiply_adds: int = 0
    parameters: int = 0
    in_place: bool = False
    counts_padding: bool = True

    @property
    def size(self) -> float:
        """Numbers in the result, for each pixel of the image."""
        return self.channels / self.stride**2


@dataclass(frozen=True, kw_only=True)
class Graph:
    """The operations of a network in the order of evaluation, and the names of the layers' steps, shallow to deep."""

    steps: tuple[Step, ...]
    layers: Mapping[str, str]

    def needed(self, layers: Iterable[str]) -> tuple[Step, ...]:
        """The steps that these layers depend on, themselves included."""
        names = {self.layers[layer] for layer in layers}
        found: list[Step] = []
        for step in reversed(self.steps):
            if step.name in names:
                found.append(step)
                names.update(step.inputs)
        return tuple(reversed(found))
