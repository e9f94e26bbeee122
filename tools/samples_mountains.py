"""The mountains of the landscape: a fractal height map, its light and colours, and a camera that looks at it.

Distances are in metres; the camera looks along the rows of the map, which go away from it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from samples_common import (
    Array,
    Mask,
    Shape,
    band_noise,
    blur,
    fractal_noise,
    mix,
    palette,
    ramp,
    rgb,
    sample,
    smoothstep,
)

SHAPE: Shape = (2622, 1860)
HORIZON = 1560.0  # image row of the horizon
FOCAL = 2300.0  # pixels
EYE = 55.0  # camera height above the lake
CELL = 6.0  # metres per height map sample
MAP: Shape = (2304, 2304)  # depth x width samples
SUN_DIRECTION = np.array([-0.83, 0.45, -0.18], np.float32) / np.float32(0.961)  # x, up, depth
SUN_AT = (1150.0, 150.0)  # row and column of the sun's disc
HAZE = rgb("c9c3cf")
GLOW = rgb("ffd9a0")


def terrain(rng: np.random.Generator) -> Array:
    """Heights in metres above the lake, negative under water; rows go away from the camera."""
    depth, across = np.mgrid[0 : MAP[0], 0 : MAP[1]].astype(np.float32) * CELL
    across = across - MAP[1] * CELL / 2
    ridged, weight = np.zeros(MAP, np.float32), np.ones(MAP, np.float32)
    warp = [band_noise(rng, MAP, 300) * 22 + band_noise(rng, MAP, 90) * 7 for _ in range(2)]
    rows, columns = np.mgrid[0 : MAP[0], 0 : MAP[1]].astype(np.float32)
    for octave in range(8):
        noise = sample(band_noise(rng, MAP, 620 / 2**octave), rows + warp[0], columns + warp[1])
        fold = 1.15 - np.sqrt(noise**2 + 0.012) * 0.62
        ridged += fold * weight * 0.47**octave
        weight = np.clip(0.25 + fold * 0.75, 0.2, 1)
    ridged = (ridged - ridged.mean()) / ridged.std()
    rise = smoothstep(2600, 9500, depth)
    valley = np.exp(-(((across - 250) / 1700) ** 2)) * smoothstep(12500, 5500, depth)
    sides = smoothstep(500, 3600, np.abs(across - 150 + 350 * np.sin(depth / 1500)))
    base = 90 + 1450 * rise * (1 - 0.72 * valley) + 620 * sides * smoothstep(900, 4500, depth)
    rough = 20 + 330 * rise * (1 - 0.5 * valley) + 150 * sides * smoothstep(900, 5000, depth)
    for x, z, height, spread in [(-700, 11200, 1350, 1500), (1700, 9600, 620, 1000), (-2700, 8600, 560, 1100)]:
        base += height * np.exp(-np.hypot(across - x, depth - z) / spread)
    shore = 3300 + 350 * np.sin(across / 700) + 300 * band_noise(rng, MAP, 220)
    inlet = np.abs(across + 100 * np.sin(depth / 600)) - (620 + 0.42 * depth)
    lake = np.maximum(depth - shore, inlet + 120 * band_noise(rng, MAP, 90))
    land = smoothstep(0, 900, lake)
    return np.where(lake < 0, -20, (base + rough * ridged) * land + 4).astype(np.float32)


@dataclass
class View:
    """What a camera sees of the height map: per pixel the map position, or nothing (sky, water)."""

    depth: Array  # metres
    across: Array  # metres
    hit: Mask


def look(heights: Array, eye: float, rows: int, lift: int) -> View:
    """Cast the columns of a camera at height `eye`; image row r stands `lift - r` pixels above the horizon."""
    steps = np.geomspace(420, MAP[0] * CELL - 20, 2600).astype(np.float32)
    columns = np.arange(SHAPE[1], dtype=np.float32)
    slope = (columns - SHAPE[1] / 2) / FOCAL
    across = steps[:, None] * slope[None]
    ground = sample(heights, np.repeat(steps[:, None] / CELL, SHAPE[1], 1), across / CELL + MAP[1] / 2)
    above = np.where(ground > 0, (ground - eye) / steps[:, None] * FOCAL, -1e6)
    top = np.maximum.accumulate(above, axis=0)
    wanted = lift - np.arange(rows, dtype=np.float32)
    depth = np.zeros((rows, SHAPE[1]), np.float32)
    hit = np.zeros((rows, SHAPE[1]), np.bool_)
    for column in range(SHAPE[1]):
        index = np.searchsorted(top[:, column], wanted)
        hit[:, column] = index < len(steps)
        index = np.clip(index, 1, len(steps) - 1)
        low, high = above[index - 1, column], above[index, column]
        part = np.clip((wanted - low) / np.maximum(high - low, 1e-3), 0, 1)
        depth[:, column] = steps[index - 1] + (steps[index] - steps[index - 1]) * part
    if eye > 0:
        floor = np.where(wanted < 0, eye * FOCAL / np.maximum(-wanted, 1e-3), 1e9)
        hit &= depth < floor[:, None] * 1.02
    return View(depth, depth * slope[None], hit)


class Mountains:
    """Colours of the land, ready to be sampled at map positions."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Build the height map and light it."""
        self.heights = terrain(rng)
        along, across = np.gradient(self.heights, CELL)
        normal = np.stack([-across, np.ones(MAP, np.float32), -along], -1)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        light = np.clip(normal @ SUN_DIRECTION, 0, 1) * (1 - 0.85 * self.shadow())
        steep = normal[..., 1]
        detail = fractal_noise(rng, MAP, 60, 5, 0.75)
        snowline = 820 + 110 * detail + 250 * band_noise(rng, MAP, 200) * 0.5
        snow = smoothstep(-60, 90, self.heights - snowline) * smoothstep(0.52, 0.64, steep + 0.035 * detail)
        wood = smoothstep(120, -60, self.heights - 560 - 110 * detail) * smoothstep(0.55, 0.72, steep + 0.04 * detail)
        strata = 0.5 + 0.16 * np.sin(self.heights / 23 + 2 * detail) + 0.16 * detail
        rock = ramp(np.clip(strata, 0, 1), palette("3c3a40 5b5450 7a6c60 978878"))
        meadow = ramp(np.clip(0.5 + 0.22 * detail, 0, 1), palette("39452a 5a6434 858146 a5935a"))
        canopy = fractal_noise(rng, MAP, 5, 2, 0.9)
        forest = ramp(np.clip(0.45 + 0.2 * canopy + 0.1 * detail, 0, 1), palette("0c1613 14241c 203626 3a4c2e"))
        green = smoothstep(0.3, 0.9, band_noise(rng, MAP, 110))
        colour = mix(rock, mix(forest, meadow, green * smoothstep(200, 500, self.heights)), wood)
        colour = mix(colour, np.broadcast_to(rgb("f4f6fb"), colour.shape), snow)
        occlusion = np.clip(1 + (self.heights - blur(self.heights, 12)) / 140, 0.55, 1.25)[..., None]
        ambient = rgb("6f86b8") * (0.42 + 0.25 * steep[..., None]) * occlusion
        self.lit = (colour * (light[..., None] * rgb("ffd7a6") * 1.65 + ambient)).astype(np.float32)
        self.wood = wood * (1 - green * 0.8) * (1 - snow) * (self.heights > 6)
        self.light = light.astype(np.float32)

    def shadow(self) -> Array:
        """How much of the sunlight the mountains block at each sample, 0 to 1."""
        shade = np.zeros(MAP, np.float32)
        planar = SUN_DIRECTION[[2, 0]] / np.hypot(SUN_DIRECTION[0], SUN_DIRECTION[2])
        climb = SUN_DIRECTION[1] / np.hypot(SUN_DIRECTION[0], SUN_DIRECTION[2])
        for reach in np.geomspace(3, 330, 36):
            moved = np.roll(self.heights, tuple(np.round(-planar * reach).astype(int)), (0, 1))
            over = moved - self.heights - climb * reach * CELL
            shade = np.maximum(shade, smoothstep(0, 6 + reach * 0.8, over))
        return shade

    def mark_visible(self, view: View) -> None:
        """Record which parts of the map the camera sees, so that trees are planted only there."""
        rows = np.clip(view.depth[view.hit] / CELL, 0, MAP[0] - 1).astype(np.intp)
        columns = np.clip(view.across[view.hit] / CELL + MAP[1] / 2, 0, MAP[1] - 1).astype(np.intp)
        seen = np.zeros(MAP, np.float32)
        seen[rows, columns] = 1
        self.visible = np.clip(blur(seen, 2) * 3, 0, 1)

    def paint(self, view: View, sky: Array) -> Array:
        """The visible land over the sky, seen through hazy air."""
        rows, columns = view.depth / CELL, view.across / CELL + MAP[1] / 2
        land = np.stack([sample(np.ascontiguousarray(self.lit[..., c]), rows, columns) for c in range(3)], -1)
        level = sample(self.heights, rows, columns)
        return mix(sky, through_air(land, view.depth, view.across, level), edge_weight(view.hit))


def edge_weight(hit: Mask) -> Array:
    """A mask with its border softened by a pixel."""
    return np.where(hit, np.clip(blur(hit.astype(np.float32), 0.8) * 2 - 0.6, 0.3, 1), 0).astype(np.float32)


def through_air(colour: Array, depth: Array, across: Array, level: Array) -> Array:
    """Aerial perspective: distance veils in blue, low and towards the sun in warm mist."""
    density = 0.000085 * np.exp(-level / 2200) + 0.00012 * np.exp(-level / 130)
    veil = 1 - np.exp(-np.maximum(depth - 500, 0) * density)
    sunward = np.exp(-(((across / np.maximum(depth, 1) - (SUN_AT[1] - SHAPE[1] / 2) / FOCAL) / 0.2) ** 2))
    air = mix(np.broadcast_to(rgb("a9b6d3"), colour.shape), np.broadcast_to(GLOW, colour.shape), sunward * 0.75)
    return mix(colour, air, np.clip(veil, 0, 0.9))
