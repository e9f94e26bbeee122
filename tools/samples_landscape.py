"""A rendered landscape: snowy mountains and a low sun over a lake, conifers on the shore.

The lake shows the same scene from a second camera that is mirrored below the water.
"""

from __future__ import annotations

import numpy as np
from samples_common import Array, band_noise, blur, fractal_noise, mix, palette, ramp, rgb, sample, smoothstep
from samples_forest import plant_far, plant_foreground
from samples_mountains import EYE, FOCAL, HORIZON, SHAPE, SUN_AT, Mountains, edge_weight, look


def make_sky(rng: np.random.Generator, rows: int) -> Array:
    """A gradient with a low sun and clouds that shrink towards the horizon; the last row is the horizon."""
    shape = (rows, SHAPE[1])
    row, column = np.mgrid[0:rows, 0 : SHAPE[1]].astype(np.float32)
    up = 1 - row / rows
    sky = ramp(up, palette("ffe2b4 f9cfa6 d9bfc0 a9b6d6 7099cf 3f73b6 2a579c"), [0, 0.10, 0.25, 0.42, 0.60, 0.82, 1])
    away = np.hypot(row - SUN_AT[0] * rows / HORIZON, (column - SUN_AT[1]) * 0.8)
    sky = sky + (np.exp(-away / 260)[..., None] * rgb("ffcf80") * 0.55) + np.exp(-away / 60)[..., None] * 0.5
    distance = 1 / (up * 1.15 + 0.14)
    u, v = distance * 520, (column - SHAPE[1] / 2) / SHAPE[1] * distance * 640
    layer = (2048, 2048)
    field = fractal_noise(rng, layer, 300, 8, 0.55)
    cover = band_noise(rng, layer, 520) * 0.7
    cirrus = fractal_noise(rng, layer, 420, 6, 0.6, 5)
    bend = band_noise(rng, layer, 120) * 7
    warped = (u + sample(bend, u, v), v + sample(bend, v, u))
    here = sample(field + cover, *warped)
    toward = sample(blur(field + cover, 4), warped[0] + 9, warped[1] - 14)
    amount = smoothstep(0.15, 1.25, here)
    lit = np.clip(0.62 + 0.42 * (here - toward) - 0.11 * (here - 0.8) + 0.12 * np.exp(-away / 600), 0, 1)
    cloud = ramp(lit, palette("6f7391 948fa8 c7b1b2 f3d3b0 fff0d8"))
    thin = smoothstep(0.1, 2.2, sample(cirrus, u * 0.7, v * 0.7)) * 0.45 * (1 - amount)
    sky = mix(sky, np.broadcast_to(rgb("fdeee2"), (*shape, 3)), thin)
    cloud = mix(cloud, sky, smoothstep(0.22, 0.0, up) * 0.55)
    return np.clip(mix(sky, cloud, amount * 0.93), 0, 1.15).astype(np.float32)


def ripples(rng: np.random.Generator, rows: int) -> tuple[Array, Array]:
    """Slopes of the water along and across the view, for each row below the horizon."""
    below = np.arange(rows, dtype=np.float32)[:, None] + 1.5
    depth = EYE * FOCAL / below
    across = depth * ((np.arange(SHAPE[1], dtype=np.float32) - SHAPE[1] / 2) / FOCAL)[None]
    swell = fractal_noise(rng, (2048, 2048), 90, 5, 0.62, 2.2)
    calm = band_noise(rng, (2048, 2048), 420, 2.5)
    deep = np.repeat(depth, SHAPE[1], 1)
    near = sample(swell, deep * 2.2, across * 2.2)
    far = sample(swell, deep * 0.42 + 700, across * 0.42 + 300)
    fade = smoothstep(2600, 500, deep)
    strength = 0.35 + 0.65 * smoothstep(-0.4, 0.9, sample(calm, deep * 0.35, across * 0.35))
    return (near * fade + far * 0.8) * strength, np.roll(near * fade + far * 0.6, 400, 1) * strength


def make_lake(rng: np.random.Generator, mirrored: Array) -> Array:
    """The water from the horizon down; row r of `mirrored` is what a still lake shows r rows below the horizon."""
    rows = SHAPE[0] - int(HORIZON)
    along, across = ripples(rng, rows)
    below = np.arange(rows, dtype=np.float32)[:, None]
    row = np.clip(below + along * (2 + below * 0.020), 0, len(mirrored) - 1)
    column = np.clip(np.arange(SHAPE[1], dtype=np.float32) + across * (1.0 + below * 0.006), 0, SHAPE[1] - 1)
    stretched = np.stack([blur(np.ascontiguousarray(mirrored[..., c]), 1.2) for c in range(3)], -1)
    image = np.stack([sample(np.ascontiguousarray(stretched[..., c]), row, column) for c in range(3)], -1)
    grazing = np.clip(1 - below / 1500, 0.3, 1) - 0.10 * np.clip(along, -1.5, 1.5) * np.clip(below / 500, 0, 1)
    water = ramp(np.clip(below / rows, 0, 1) * np.ones_like(along), palette("35597a 1f4a63 143a48 12332f"))
    image = mix(water, image * rgb("eef3f8"), np.clip(0.12 + 0.80 * grazing, 0, 1))
    breeze = smoothstep(0.7, 1.6, along) * smoothstep(40, 0, below) * 0.15
    return mix(image, np.broadcast_to(rgb("e8ecf2"), image.shape), breeze)


def landscape(rng: np.random.Generator) -> Array:
    """The whole picture, from the sky to the grass at the lower edge."""
    horizon = int(HORIZON)
    mountains = Mountains(rng)
    sky = make_sky(rng, horizon)
    extended = np.concatenate([sky, np.broadcast_to(sky[-1:], (160, *sky.shape[1:]))])
    seen = look(mountains.heights, EYE, horizon + 160, horizon)
    mountains.mark_visible(seen)
    direct = mountains.paint(seen, extended)
    below = SHAPE[0] - horizon
    upside = mountains.paint(look(mountains.heights, -EYE, horizon, horizon), sky)
    trees = rng.integers(0, 2**31)
    plant_far(np.random.default_rng(trees), direct, mountains, EYE)
    plant_far(np.random.default_rng(trees), upside, mountains, -EYE)
    picture: Array = np.concatenate([direct[:horizon], make_lake(rng, upside[::-1][:below])])
    cover = edge_weight(seen.hit[horizon:])[..., None]
    picture[horizon : horizon + 160] += (direct[horizon:] - picture[horizon : horizon + 160]) * cover
    plant_foreground(rng, picture)
    return np.clip(picture, 0, 1)
