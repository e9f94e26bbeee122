"""A small paint engine: curved strokes with bristles, thickness and two-coloured loads on a canvas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from samples_common import Array, Shape, band_noise, blur, downscale, relief
from scipy import ndimage

BANK = (1024, 512)


@dataclass(frozen=True)
class Brush:
    """How one layer of strokes looks; lengths in canvas pixels."""

    width: float
    length: float
    bristle: float = 0.16  # brightness contrast of the bristle streaks
    load: float = 0.5  # how much of the second colour runs through a stroke
    dryness: float = 0.25  # how early the paint breaks up towards the end of a stroke
    thickness: float = 1.0  # height of the paint
    knife: bool = False  # square ends and ridged borders instead of round ends


class Canvas:
    """Wet paint: a colour and a height for every pixel."""

    def __init__(self, shape: Shape, ground: Array, rng: np.random.Generator) -> None:
        """Start with a ground of one colour on a faint linen weave."""
        self.rng = rng
        self.colour = np.broadcast_to(ground, (*shape, 3)).astype(np.float32).copy()
        self.height = band_noise(rng, shape, 5) * np.float32(0.1)
        self.bristles = band_noise(rng, BANK, 7, 30) + 0.6 * band_noise(rng, BANK, 3.5, 40)
        self.bristles /= self.bristles.std()
        self.streaks = band_noise(rng, BANK, 40, 12)

    def finish(self, factor: int, strength: float) -> Array:
        """Light the relief and reduce the supersampled canvas."""
        smooth = blur(self.height, 0.8)
        lit = self.colour * relief(smooth, strength)[..., None]
        shine = np.clip(relief(blur(self.height, 1.6), strength) - 1.22, 0, 1)[..., None]
        return downscale(lit + shine * 0.6, factor)

    def stroke(self, path: Array, brush: Brush, first: Array, second: Array) -> None:
        """Lay one stroke along a path of (row, column) points, its colours running side by side."""
        rng = self.rng
        width = brush.width * rng.uniform(0.75, 1.25)
        steps = np.hypot(*np.diff(path, axis=0).T)
        total = float(steps.sum())
        along = np.linspace(0, 1, max(4, int(total * 1.3)), dtype=np.float32)
        across = np.linspace(-1, 1, max(4, int(width * 1.5)), dtype=np.float32)
        knots = np.concatenate([[0], np.cumsum(steps)]) / max(total, 1e-6)
        centre = np.stack([np.interp(along, knots, path[:, axis]) for axis in (0, 1)], -1).astype(np.float32)
        tangent = ndimage.uniform_filter1d(np.gradient(centre, axis=0), 9, axis=0)
        tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-6)
        normal = np.stack([-tangent[:, 1], tangent[:, 0]], -1)
        points = centre[:, None] + normal[:, None] * (across[None, :, None] * (width / 2))

        bristle = self._crop(self.bristles, len(along), len(across))
        streak = self._crop(self.streaks, len(along), len(across))
        edge, u = np.abs(across)[None], along[:, None]
        if brush.knife:
            worn = np.minimum(u, 1 - u) * total * 0.5 + bristle * 1.2
            inside = (worn > 0.5) & (edge < 0.96 + 0.05 * streak) & (bristle * 0.5 + 1.4 > u * brush.dryness * 3)
        else:
            nib = width / max(total, 1.0) * 0.5
            end = np.clip(np.minimum(u, 1 - u) / nib, 0, 1)
            worn = np.sqrt(1 - (1 - end) ** 2) + bristle * 0.14
            inside = (edge < worn) & (edge < 0.95 + bristle * 0.12) & (bristle + 2.4 > u * brush.dryness * 8)
        rows = np.round(points[..., 0]).astype(np.intp)
        columns = np.round(points[..., 1]).astype(np.intp)
        inside &= (rows >= 0) & (columns >= 0) & (rows < self.height.shape[0]) & (columns < self.height.shape[1])
        rows, columns, bristle = rows[inside], columns[inside], bristle[inside]

        load = np.clip(0.5 + streak[inside] * 0.6, 0, 1) * np.float32(brush.load)
        colour = first + (second - first) * load[:, None]
        self.colour[rows, columns] = np.clip(colour * (1 + bristle * brush.bristle)[:, None], 0, 1)
        ridge = np.broadcast_to(np.exp(-(((edge - 0.86) / 0.09) ** 2)), inside.shape)[inside]
        body = 1 + (0.22 * bristle) + ridge * (0.8 if brush.knife else 0.45)
        self.height[rows, columns] = 0.35 * self.height[rows, columns] + body * np.float32(brush.thickness)

    def _crop(self, bank: Array, rows: int, columns: int) -> Array:
        """A random piece of a texture bank, its long streaks along the rows of the result."""
        top = int(self.rng.integers(0, bank.shape[0]))
        left = int(self.rng.integers(0, bank.shape[1]))
        piece: Array = bank.T[(left + np.arange(rows)) % bank.shape[1]][:, (top + np.arange(columns)) % bank.shape[0]]
        return piece


def scatter(rng: np.random.Generator, shape: Shape, spacing: float) -> Array:
    """Stroke centres in random order: a jittered lattice slightly larger than the canvas."""
    rows, columns = np.mgrid[-1 : shape[0] / spacing + 1, -1 : shape[1] / spacing + 1]
    points = np.stack([rows.ravel(), columns.ravel()], -1)
    points = (points + rng.uniform(-0.6, 0.6, points.shape)) * spacing
    return rng.permutation(points).astype(np.float32)


def trace(angle: Array, starts: Array, length: Array, knots: int = 14) -> Array:
    """Paths of the given lengths through a field of directions, each centred on its start: (n, knots, 2)."""
    halves = []
    for sign in (-1, 1):
        position, half = starts.copy(), []
        for _ in range(knots // 2):
            row = np.clip(position[:, 0], 0, angle.shape[0] - 1).astype(np.intp)
            column = np.clip(position[:, 1], 0, angle.shape[1] - 1).astype(np.intp)
            heading = angle[row, column]
            step = np.stack([np.sin(heading), np.cos(heading)], -1) * (sign * length / knots)[:, None]
            position = (position + step).astype(np.float32)
            half.append(position)
        halves.append(half)
    return np.stack([*halves[0][::-1], starts, *halves[1]], 1)


def paint_layer(
    canvas: Canvas,
    target: Array,
    angle: Array,
    brush: Brush,
    spacing: float,
    accents: Array,
    where: Array | None = None,
) -> None:
    """Cover the canvas with strokes whose colours come from a target picture, varied and mixed with accents.

    `where` gives each stroke's chance to be painted, by the pixel at its centre.
    """
    rng = canvas.rng
    shape: Shape = (target.shape[0], target.shape[1])
    starts = scatter(rng, shape, spacing)
    inner = np.clip(starts, 0, np.array(shape) - 1).astype(np.intp)
    if where is not None:
        keep = rng.uniform(size=len(starts)) < where[inner[:, 0], inner[:, 1]]
        starts, inner = starts[keep], inner[keep]
    lengths = (brush.length * rng.uniform(0.6, 1.4, len(starts))).astype(np.float32)
    paths = trace(angle, starts, lengths)
    for path, (row, column) in zip(paths, inner, strict=True):
        first = target[row, column] * np.float32(rng.normal(1, 0.07)) + rng.normal(0, 0.018, 3).astype(np.float32)
        nearest = accents[np.argsort(np.abs(accents - first).sum(1))[int(rng.integers(0, 4))]]
        canvas.stroke(path, brush, np.clip(first, 0, 1), nearest)
