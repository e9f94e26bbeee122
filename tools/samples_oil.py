"""Two paintings in thick paint: a swirling night in long strokes and an autumn alley in palette knife."""

from __future__ import annotations

import numpy as np
from samples_brush import Brush, Canvas, paint_layer
from samples_common import Array, Shape, band_noise, blur, fractal_noise, grid, mix, palette, ramp, rgb, smoothstep

FACTOR = 2
SHAPE: Shape = (2048, 2048)

NIGHT = palette("0b1440 13246b 1c3f94 2a62b8 4f8fcb 8fc0d8 d9e3c9 f3e6b0 f2c14e e39a2d 0f3b4a 1f5a5a")
AUTUMN = palette("5b1f1a 8e2b1c c4451f e0722a f0a33a f6cf6b f7e8b8 6e7a3a 34506b 5d7f9c 3a2b45 a9b7b5")


def night_stars() -> list[tuple[float, float, float]]:
    """Row, column and radius of the bright lights, as fractions of the width."""
    return [
        (0.17, 0.82, 0.095), (0.12, 0.33, 0.055), (0.37, 0.045, 0.034), (0.07, 0.57, 0.040),
        (0.45, 0.63, 0.050), (0.30, 0.97, 0.040), (0.58, 0.30, 0.042), (0.06, 0.08, 0.050),
    ]  # fmt: skip


def night_stream(rng: np.random.Generator, shape: Shape) -> Array:
    """A stream function: its level lines are the swirls of the sky and the circles around the lights."""
    rows, columns = grid(shape)
    stream: Array = rows * 1.1 + band_noise(rng, shape, 900) * 0.055 + band_noise(rng, shape, 420) * 0.012
    vortices = [
        (0.34, 0.42, 0.13, 0.33),
        (0.50, 0.80, 0.09, -0.20),
        (0.27, 0.66, 0.07, -0.15),
        (0.60, 0.10, 0.08, 0.17),
    ]
    for row, column, radius, strength in vortices:
        squared = (rows - row) ** 2 + (columns - column) ** 2
        stream += strength * np.exp(-squared / (2 * radius**2))
    for row, column, radius in night_stars():
        distance = np.hypot(rows - row, columns - column)
        stream += 0.9 * radius * np.exp(-((distance / (1.3 * radius)) ** 2)) * 2.2
    return stream.astype(np.float32)


def night_target(rng: np.random.Generator, stream: Array) -> tuple[Array, Array]:
    """The target picture, and the mask of the land with its cypress."""
    shape = (stream.shape[0], stream.shape[1])
    rows, columns = grid(shape)
    bands = 0.5 + 0.5 * np.sin(stream * 58 + band_noise(rng, shape, 260) * 0.7)
    light = np.clip(bands * 0.72 + band_noise(rng, shape, 500) * 0.12 + 0.12 - rows * 0.1, 0, 1)
    sky = ramp(light, NIGHT[:7], [0, 0.18, 0.38, 0.58, 0.76, 0.92, 1.0])
    for row, column, radius in night_stars():
        distance = np.hypot(rows - row, columns - column) / radius
        rings = distance + 0.08 * np.sin(distance * 14)
        halo = ramp(np.clip(rings / 1.7, 0, 1), NIGHT[[7, 7, 8, 9, 8, 8, 7, 6, 5]])
        sky = mix(sky, halo, smoothstep(1.8, 0.8, distance + band_noise(rng, shape, 90) * 0.1))
    land = np.zeros(shape, np.float32)
    for depth in range(4):
        crest = 0.73 + 0.075 * depth + 0.03 * np.sin(columns * (5 + depth) + depth * 2.1)
        crest = crest + 0.012 * np.sin(columns * 17 + depth)
        inside = smoothstep(-0.002, 0.002, rows - crest)
        shade = np.clip(0.55 - (rows - crest) * 4 + 0.22 * np.sin((rows - crest) * 130 + columns * 12), 0, 1)
        tones = NIGHT[[0, 10, 11, 4, 7]] if depth % 2 else NIGHT[[0, 1, 10, 11, 8]]
        sky = mix(sky, ramp(shade * 0.85, tones), inside)
        land = np.maximum(land, inside)
    spine = 0.155 + 0.012 * np.sin(rows * 14)
    half = 0.075 * np.clip((rows - 0.28) / 0.5, 0, 1) ** 0.8 + 0.008 * np.sin(rows * 43) * (rows > 0.33)
    tree = smoothstep(0.004, -0.004, np.abs(columns - spine) - half) * (rows > 0.28)
    flame = np.clip(0.35 + 0.35 * np.sin(columns * 160 + rows * 26) + 0.1 * band_noise(rng, shape, 80), 0, 1)
    return mix(sky, ramp(flame, palette("060d24 0c2230 123c34 2f5a3a")), tree), np.maximum(land, tree)


def flow_strokes(rng: np.random.Generator) -> Array:
    """Night-blue and gold impasto whose strokes follow vortices."""
    stream = night_stream(rng, SHAPE)
    target, land = night_target(rng, stream)
    down, right = np.gradient(stream)
    rows, columns = grid(SHAPE)
    for row, column, radius in night_stars():
        distance = np.hypot(rows - row, columns - column) / radius
        near = np.exp(-((distance / 1.9) ** 4)) * np.hypot(down, right).mean() * 6
        down = down + near * (rows - row) / radius
        right = right + near * (columns - column) / radius
    angle = np.arctan2(-right, down)
    crest = 0.35 * np.cos(columns * 6 + rows * 9)
    tree = (np.abs(columns - 0.155) < 0.09) & (rows > 0.27) & (land > 0.5) & (rows < 0.9)
    angle = np.where(land > 0.5, np.where(tree, -np.pi / 2 + 0.5 * np.sin(rows * 26), crest), angle).astype(np.float32)
    canvas = Canvas(SHAPE, rgb("1b2450"), rng)
    paint_layer(canvas, blur(target, 14), angle, Brush(74, 330, dryness=0.1), 48, NIGHT)
    paint_layer(canvas, blur(target, 5), angle, Brush(36, 210), 28, NIGHT)
    paint_layer(canvas, target, angle, Brush(22, 130, thickness=1.2), 20, NIGHT)
    paint_layer(canvas, target, angle, Brush(13, 80, thickness=1.1), 24, NIGHT, detail(target))
    return canvas.finish(FACTOR, 0.6)


def detail(target: Array) -> Array:
    """Where a picture has edges that need fine strokes: probabilities in [0.1, 1]."""
    tone = target.mean(-1)
    edges = blur(np.hypot(*np.gradient(blur(tone, 3))), 6)
    return np.clip(edges / np.quantile(edges, 0.9), 0.1, 1).astype(np.float32)


BIRCHES = [(0.07, 0.030), (0.19, 0.020), (0.30, 0.013), (0.395, 0.008), (0.70, 0.010), (0.80, 0.019), (0.93, 0.034)]


def autumn_target(rng: np.random.Generator, shape: Shape) -> tuple[Array, Array]:
    """An alley of birches in autumn over a wet path that mirrors them, and the mask of the trunks."""
    rows, columns = grid(shape)
    horizon = 0.60
    mirrored = np.where(rows > horizon, 2 * horizon - rows, rows)
    clumps = fractal_noise(rng, shape, 380, 4, 0.65)
    opening = np.exp(-(((columns - 0.54) / 0.13) ** 2) - ((mirrored - 0.46) / 0.24) ** 2)
    light = np.clip(0.42 + 0.17 * clumps + 0.55 * opening - 0.10 * (mirrored < 0.12), 0, 1)
    picture = ramp(light, AUTUMN[[10, 0, 1, 2, 3, 4, 5, 6]])
    cool = smoothstep(0.7, 1.6, band_noise(rng, shape, 230)) * 0.8
    picture = mix(picture, ramp(light, AUTUMN[[10, 8, 9, 11, 6]]), cool)
    trunks = np.zeros(shape, np.float32)
    for column, width in BIRCHES:
        axis = column + 0.012 * np.sin(mirrored * 9 + column * 40)
        inside = smoothstep(0.002, -0.002, np.abs(columns - axis) - width * (0.6 + 0.6 * mirrored))
        side = np.clip(0.5 + (axis - columns) / width * 0.35 + 0.18 * band_noise(rng, shape, 60, 3), 0, 1)
        picture = mix(picture, ramp(side, AUTUMN[[10, 0, 8, 11, 6]]), inside)
        trunks = np.maximum(trunks, inside)
    wet = smoothstep(horizon, horizon + 0.02, rows)
    ground = ramp(np.clip(0.45 + 0.22 * fractal_noise(rng, shape, 200, 3, 0.6, 3), 0, 1), AUTUMN[[10, 8, 9, 11, 6]])
    path = smoothstep(0.05, -0.05, np.abs(columns - 0.54) - 0.06 - (rows - horizon) * 0.9)
    leaves = ramp(np.clip(0.5 + 0.25 * fractal_noise(rng, shape, 150, 4, 0.7, 2), 0, 1), AUTUMN[[0, 1, 2, 3, 4, 5]])
    floor = mix(leaves, picture * 0.5 + ground * 0.5, path)
    return mix(picture, floor, wet), trunks


def autumn_knife(rng: np.random.Generator) -> Array:
    """Palette-knife slabs of autumn colours."""
    target, trunks = autumn_target(rng, SHAPE)
    rows, _ = grid(SHAPE)
    leaning = 0.75 * band_noise(rng, SHAPE, 420) + 0.35 * band_noise(rng, SHAPE, 150)
    upper = -np.pi / 2 + leaning * (1 - 0.9 * trunks)
    lower = 0.2 * band_noise(rng, SHAPE, 300)
    angle = np.where(rows < 0.61, upper, lower).astype(np.float32)
    canvas = Canvas(SHAPE, rgb("6b3a24"), rng)
    slab = Brush(100, 190, bristle=0.07, load=0.7, dryness=0.25, knife=True)
    paint_layer(canvas, blur(target, 12), angle, slab, 52, AUTUMN)
    paint_layer(canvas, blur(target, 4), angle, Brush(58, 110, 0.07, 0.7, 0.3, 1.1, True), 34, AUTUMN)
    paint_layer(canvas, target, angle, Brush(30, 64, 0.07, 0.6, 0.3, 1.2, True), 26, AUTUMN, detail(target))
    paint_layer(canvas, target, angle, Brush(15, 34, 0.06, 0.5, 0.2, 1.3, True), 24, AUTUMN, detail(target) * 0.7)
    return canvas.finish(FACTOR, 0.75)
