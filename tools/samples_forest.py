"""Conifers, grass and rocks for the landscape: drawn once as small pictures, then planted near and far."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from samples_common import Array, band_noise, fractal_noise, mix, palette, ramp, rgb, sample, smoothstep
from samples_mountains import CELL, FOCAL, GLOW, HORIZON, MAP, SHAPE, Mountains

NEEDLES = palette("0d1a16 16291f 22402b 3a5a35 6d7d42 a8a05a")
BARK = palette("1b1512 35281f 5d4634 8a6c4c")
TREES = [  # column and row of the foot and height of the near conifers, from back to front
    (1540, 2190, 620), (300, 2215, 560), (1790, 2210, 1010), (1660, 2240, 800),
    (60, 2230, 980), (190, 2290, 700), (1440, 2290, 380), (420, 2310, 330),
]  # fmt: skip


def conifer(rng: np.random.Generator, height: int) -> Image.Image:
    """One spruce as a picture with transparency, lit from the left; drawn at twice the given height."""
    tall, wide = height * 2, int(height * 2 * 0.52)
    tree = Image.new("RGBA", (wide, tall), (*shade(NEEDLES, 0.2)[:3], 0))
    draw = ImageDraw.Draw(tree)
    middle, scale = wide / 2, tall / 1000
    sway = rng.normal(0, 6) * scale
    draw.polygon(
        [(middle - 9 * scale, tall), (middle + 9 * scale, tall), (middle + sway, 10 * scale)], fill=shade(BARK, 0.3)
    )
    span, levels = rng.uniform(0.66, 0.86), int(np.clip(22 + height / 20, 24, 64))
    for front in (-0.8, -0.2, 0.3, 0.9):
        for level in range(levels):
            t = float(np.clip((level + rng.uniform(-0.6, 0.6)) / levels, 0, 1))
            top = (0.012 + 0.92 * t**1.08) * tall
            radius = wide * 0.47 * span * (0.02 + 0.98 * t**0.8) * rng.uniform(0.55, 1.12)
            for side in (-1, 1):
                out = side * np.sqrt(1 - front**2) * rng.uniform(0.75, 1.1)
                branch(draw, rng, (middle + sway * (1 - t), top), radius, float(out), front, scale)
    small: Image.Image = tree.resize((wide // 2, tall // 2), Image.Resampling.LANCZOS)
    return small


def shade(colours: Array, position: float) -> tuple[int, int, int, int]:
    """A colour of a ramp, in the form that Pillow takes."""
    colour = ramp(np.clip(np.array([position], np.float32), 0, 1), colours)[0]
    return (int(255 * colour[0]), int(255 * colour[1]), int(255 * colour[2]), 255)


def branch(
    draw: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    root: tuple[float, float],
    radius: float,
    out: float,
    front: float,
    scale: float,
) -> None:
    """A drooping bough with hanging twigs: `out` is its share of the radius to the right, `front` towards us.

    Boughs to the left catch the sun.
    """
    droop = radius * (rng.uniform(0.22, 0.45) + 0.16 * front)
    count = int(np.clip(radius / (3.2 * scale + 1.2), 4, 60))
    light = 0.30 - 0.20 * out + 0.08 * front + rng.normal(0, 0.07)
    for t in np.linspace(-0.12, 1, count):
        x = root[0] + radius * out * t
        y = root[1] + droop * max(t, 0) ** 1.4 - radius * 0.10 * np.sin(t * 3.1)
        size = (12 + 0.12 * radius / scale * (1.15 - t)) * scale * rng.uniform(0.6, 1.3)
        tone = light + rng.normal(0, 0.09) + 0.16 * (t - 0.4)
        lean = np.sign(out + rng.normal(0, 0.3)) * size * rng.uniform(-0.1, 0.8)
        thick = max(1, round(2.4 * scale))
        draw.line([(x, y), (x + lean, y + size)], fill=shade(NEEDLES, tone - 0.13), width=thick)
        draw.line([(x, y - size * 0.1), (x + lean * 1.6, y + size * 0.35)], fill=shade(NEEDLES, tone), width=thick)


def paste(picture: Array, sprite: Array, top: int, left: int, tint: Array | None = None, haze: float = 0.0) -> None:
    """Lay a sprite with transparency on the picture, veiled by haze of the given tint."""
    height, width = sprite.shape[:2]
    first_row, first_column = max(0, -top), max(0, -left)
    last_row, last_column = min(height, picture.shape[0] - top), min(width, picture.shape[1] - left)
    if last_row <= first_row or last_column <= first_column:
        return
    part = sprite[first_row:last_row, first_column:last_column]
    colour = part[..., :3] if tint is None else part[..., :3] * (1 - haze) + tint * haze
    region = picture[top + first_row : top + last_row, left + first_column : left + last_column]
    region += (colour - region) * part[..., 3:]


def as_array(image: Image.Image) -> Array:
    """A picture with transparency as floats."""
    return np.asarray(image, np.float32) / 255


def plant_far(rng: np.random.Generator, picture: Array, mountains: Mountains, eye: float) -> None:
    """Scatter conifers over the wooded slopes, far ones first; `eye` is the camera's height above the water.

    Both cameras, the direct and the mirrored one, must be given generators of the same state.
    """
    stock = [conifer(rng, 160) for _ in range(10)]
    sizes = sorted({int(s) for s in np.geomspace(6, 130, 30)})
    sprites = [
        [as_array(tree.resize((max(3, int(s * 0.52)), s), Image.Resampling.BOX)) for tree in stock] for s in sizes
    ]
    count = 90000
    depth = np.sort(rng.uniform(500, 8500, count))[::-1]
    across = rng.uniform(-0.45, 0.45, count) * depth
    rows, columns = (depth / CELL).astype(np.float32), (across / CELL + MAP[1] / 2).astype(np.float32)
    level, wood, light = (sample(f, rows, columns) for f in (mountains.heights, mountains.wood, mountains.light))
    chance, size, kind = rng.uniform(size=count), rng.uniform(17, 38, count), rng.integers(0, len(stock), count)
    seen = (chance < wood * 0.9) & (level > 3) & (sample(mountains.visible, rows, columns) > 0.3)
    for i in np.flatnonzero(seen):
        x = SHAPE[1] / 2 + across[i] / depth[i] * FOCAL
        y = HORIZON - (level[i] - eye) / depth[i] * FOCAL
        choice = int(np.argmin(np.abs(np.array(sizes) - size[i] / depth[i] * FOCAL)))
        sprite = sprites[choice][kind[i]].copy()
        sprite[..., :3] *= 0.7 + 0.9 * light[i]
        sprite[..., 3] = np.minimum(1, sprite[..., 3] * 1.5)
        haze = float(1 - np.exp(-depth[i] * 0.00009 - 0.00012 * depth[i] * np.exp(-level[i] / 130)))
        tint = rgb("a9b6d3") * 0.6 + GLOW * 0.4
        paste(picture, sprite, int(y - sprite.shape[0]), int(x - sprite.shape[1] / 2), tint, haze * 0.62)


def plant_foreground(rng: np.random.Generator, picture: Array) -> None:
    """The near shore with rocks, conifers and grass, from back to front."""
    width = picture.shape[1]
    columns = np.arange(width, dtype=np.float32)
    line = 2330 - 150 * np.exp(-((columns / 520) ** 2)) - 210 * np.exp(-(((columns - width) / 480) ** 2))
    line = line + 16 * np.sin(columns / 130) + band_noise(rng, (1, width), 60)[0] * 7
    ground(rng, picture, line)
    rocks(rng, picture, line)
    for x, foot, tall in TREES:
        tree = as_array(conifer(rng, tall))
        paste(picture, tree, foot + 25 - tall, x - tree.shape[1] // 2, rgb("c9a98c"), 0.05)
    grass(rng, picture, line)


def ground(rng: np.random.Generator, picture: Array, line: Array) -> None:
    """Earth and moss below the shore line, with a wet, dark margin at the water."""
    shape = (picture.shape[0], picture.shape[1])
    row = np.arange(shape[0], dtype=np.float32)[:, None]
    inland = row - line[None] + 6 * band_noise(rng, shape, 24, 2.5)
    tone = 0.42 + 0.17 * fractal_noise(rng, shape, 160, 6, 0.7, 2.2)
    soil = ramp(np.clip(tone, 0, 1), palette("1f1b14 38351f 55562b 7d7a3e a89a58"))
    pebbles = ramp(
        np.clip(0.5 + 0.25 * fractal_noise(rng, shape, 16, 3, 0.7, 1.6), 0, 1), palette("2b2927 55504a 8d857a")
    )
    soil = mix(pebbles, soil, smoothstep(10, 60, inland)) * (0.55 + 0.45 * smoothstep(0, 26, inland))[..., None]
    picture[:] = mix(picture, soil, smoothstep(-1, 1.5, inland))


def rocks(rng: np.random.Generator, picture: Array, line: Array) -> None:
    """Boulders along the shore, shaded as rough domes lit from the left."""
    width = picture.shape[1]
    for _ in range(46):
        x = float(rng.uniform(0, width))
        size = float(np.exp(rng.uniform(np.log(14), np.log(90))))
        foot = float(line[int(x)]) + rng.uniform(-12, 70)
        wide, tall = int(size * rng.uniform(2, 3)), int(size * rng.uniform(1.1, 1.6))
        rows, columns = np.mgrid[0:tall, 0:wide].astype(np.float32)
        u, v = columns / wide * 2 - 1, rows / tall * 2 - 1
        rough = fractal_noise(rng, (tall, wide), size * 0.9, 5, 0.6)
        radius = np.abs(u) ** 2.4 + np.abs(v) ** 2.4 + 0.16 * rough
        dome = np.sqrt(np.clip(1 - radius, 0, 1)) * size + rough * size * 0.03
        down, right = np.gradient(dome)
        lit = np.clip(0.34 + 0.24 * right + 0.20 * down, 0.02, 1) * (0.75 + 0.25 * (v < 0.2))
        colour = ramp(lit.astype(np.float32), palette("1a191c 37353a 5f5a56 8f8373 c9b694"))
        alpha = smoothstep(0.98, 0.86, radius) * smoothstep(0.99, 0.75, v)
        paste(picture, np.concatenate([colour, alpha[..., None]], -1), int(foot - tall * 0.6), int(x - wide / 2))


def grass(rng: np.random.Generator, picture: Array, line: Array) -> None:
    """Thousands of bent blades in tufts, growing towards the lower edge of the picture."""
    height, width = picture.shape[:2]
    sheet = Image.new("RGBA", (width * 2, (height - 2000) * 2), (40, 44, 24, 0))
    draw = ImageDraw.Draw(sheet)
    tufts = band_noise(rng, (height, width), 70, 1.8)
    colours = palette("1d2412 38421c 5f6a2a 8d8c3c c2ae5a ead28a")
    feet = np.sort(rng.uniform(2060, height + 70, 26000))
    for foot in feet:
        x = float(rng.uniform(-20, width + 20))
        column = int(np.clip(x, 0, width - 1))
        density = tufts[int(min(foot, height - 1)), column]
        if foot < line[column] + 26 or density + rng.normal(0, 0.5) < -0.2:
            continue
        near = np.clip((foot - 2150) / 500, 0.1, 1)
        long = near * rng.uniform(26, 88)
        bend = rng.normal(6, 16) * near
        tone = np.clip(0.40 + 0.2 * density + rng.normal(0, 0.15), 0, 1)
        steps = np.linspace(0, 1, 6)
        points = [((x + bend * s * s) * 2, (foot - 2000 - long * s) * 2) for s in steps]
        thick = max(1.0, 3.6 * near)
        for start, end, s in zip(points[:-1], points[1:], steps, strict=False):
            draw.line(
                [start, end],
                fill=shade(colours, float(tone * (0.35 + 0.8 * s))),
                width=max(1, round(thick * (1.3 - s))),
            )
    blades = as_array(
        sheet.resize((width, height - 2000), Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(0.4))
    )
    paste(picture, blades, 2000, 0)
