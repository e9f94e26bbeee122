"""Three pictures: a mosaic, a woodcut and a watercolour."""

from __future__ import annotations

import numpy as np
from samples_common import (
    Array,
    Mask,
    Shape,
    band_noise,
    blur,
    downscale,
    fractal_noise,
    grid,
    mix,
    palette,
    ramp,
    relief,
    rgb,
    smoothstep,
)
from scipy.spatial import cKDTree
from skimage.measure import find_contours

FACTOR = 2
SHAPE: Shape = (2048, 2048)

# ---------------------------------------------------------------------------------------------------- mosaic

TILE = 36.0  # side of a tessera in canvas pixels
SUN = (0.30, 0.60)  # row and column of the sun's centre as fractions of the width


class Regions:
    """The cartoon of a mosaic: parts stacked from back to front, each with its course lines and colours."""

    def __init__(self, shape: Shape) -> None:
        """An empty cartoon."""
        self.part = np.zeros(shape, np.intp)
        self.course = np.zeros(shape, np.float32)  # distance in pixels along which rows of tiles are counted
        self.colour = np.zeros((*shape, 3), np.float32)
        self.count = 0

    def add(self, inside: Mask, course: Array, colour: Array) -> None:
        """Cover the pixels of `inside` with a new part."""
        self.count += 1
        self.part[inside] = self.count
        self.course[inside] = course[inside]
        self.colour[inside] = colour[inside]


def mosaic_regions(rng: np.random.Generator, shape: Shape) -> Regions:
    """A sun in concentric courses, hills, cypresses and a sea of waves."""
    rows, columns = grid(shape)
    width, regions = shape[1], Regions(shape)
    fromsun = np.hypot(rows - SUN[0], columns - SUN[1])
    turn = np.arctan2(rows - SUN[0], columns - SUN[1])
    everywhere = np.ones(shape, np.bool_)
    rays = 0.5 + 0.5 * np.sin(turn * 14 + 0.5 * np.sin(fromsun * 22))
    sky = ramp(np.clip(fromsun * 0.95 + 0.22 * rays, 0, 1), palette("fbe7b2 f4c566 e99b45 d76f3d b04a3a 7c3a4b 4b3457"))
    regions.add(everywhere, fromsun * width, sky)
    glow = ramp(np.clip(fromsun / 0.17, 0, 1), palette("fffbe0 fdeaa0 f8cf4e f0a92e d8742a a83a24"))
    regions.add(fromsun < 0.175, fromsun * width, glow)
    hills = [
        "6b2f3a 9a4238 c4653f d99a56 e8c583",
        "4d3a2b 7f5a2c b0812f d3a83f ecd07a",
        "2f3b2e 55602f 868239 b9a548 e2c86c",
    ]
    for depth, tones in enumerate(hills):
        crest = 0.50 + 0.07 * depth + 0.055 * np.sin(columns * (4.2 + depth) + 1.3 * depth + 0.8)
        slope = 0.055 * (4.2 + depth) * np.cos(columns * (4.2 + depth) + 1.3 * depth + 0.8)
        below = (rows - crest) / np.sqrt(1 + slope**2)
        tone = np.clip(0.85 - below * 4.5 + 0.12 * band_noise(rng, shape, 240), 0, 1)
        regions.add(rows > crest, below * width, ramp(tone, palette(tones)))
    for column, top, half in [(0.13, 0.30, 0.035), (0.215, 0.38, 0.028), (0.90, 0.42, 0.026)]:
        span = (rows - top) / (0.74 - top)
        edge = half * np.sqrt(np.clip(span, 0, 1)) * np.clip(1.25 - span * 0.6, 0, 1)
        aside = np.abs(columns - column)
        tone = np.clip(0.5 + (column - columns) / half * 0.4 + 0.15 * band_noise(rng, shape, 90), 0, 1)
        inside = (aside < edge) & (span < 1)
        regions.add(inside, (edge - aside) * width, ramp(tone, palette("12261f 1d4030 35603a 6f8a45")))
    for depth in range(5):
        swell = columns * (13 - depth) + 2.1 * depth
        crest = 0.715 + 0.062 * depth + 0.017 * (1 + 0.3 * depth) * (np.sin(swell + 0.6 * np.sin(swell)))
        below = rows - crest
        tone = np.clip(below * 9 - 0.03 + 0.1 * band_noise(rng, shape, 160), 0, 1)
        sea = ramp(tone, palette("f6ecd0 9fd0c0 4aa3a0 1f7480 15506a 183a5a 1b2c4c"))
        regions.add(below > 0, below * width, sea)
    return regions


def tile_seeds(rng: np.random.Generator, regions: Regions) -> Array:
    """Tile centres (row, column, label): points one tile apart along the middle line of every course."""
    seeds, coarse = [], 4
    part, course = regions.part[::coarse, ::coarse], regions.course[::coarse, ::coarse]
    for number in range(1, regions.count + 1):
        inside = part == number
        if not inside.any():
            continue
        for row in range(int(course[inside].max() / TILE) + 1):
            for line in find_contours(course, (row + 0.5) * TILE, mask=inside):  # type: ignore[no-untyped-call]
                steps = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))]) * coarse
                if steps[-1] < TILE * 0.4:
                    continue
                count = max(1, round(steps[-1] / (TILE * rng.uniform(0.9, 1.25))))
                at = (np.arange(count) + 0.5 + rng.uniform(-0.14, 0.14, count)) * steps[-1] / count
                points = [np.interp(at, steps, line[:, axis]) * coarse for axis in (0, 1)]
                seeds.append(np.stack([*points, np.full(count, number * 200.0 + row)], -1))
    return np.concatenate(seeds).astype(np.float32)


def mosaic(rng: np.random.Generator) -> Array:
    """Tesserae in courses that follow the forms, glazed, slightly tilted, in sandy grout."""
    regions = mosaic_regions(rng, SHAPE)
    seeds = tile_seeds(rng, regions)
    labels = regions.part * 200.0 + np.floor(regions.course / TILE)
    apart = np.array([1, 1, 300], np.float32)  # separates the courses in the search for the nearest tile
    rows, columns = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]].astype(np.float32)
    wobble = band_noise(rng, SHAPE, 26) * 1.3
    pixels = np.stack([rows + wobble, columns + wobble[::-1], labels], -1).reshape(-1, 3).astype(np.float32) * apart
    distance, index = cKDTree(seeds * apart).query(pixels, k=2)
    nearest, second = index[:, 0], index[:, 1]
    gap = np.linalg.norm((seeds[nearest] - seeds[second]) * apart, axis=1)
    beside = ((distance[:, 1] ** 2 - distance[:, 0] ** 2) / (2 * gap)).reshape(SHAPE).astype(np.float32)
    phase = (regions.course + wobble) % TILE
    border = np.minimum(beside, np.minimum(phase, TILE - phase))
    seam = np.zeros(SHAPE, np.bool_)
    seam[1:] |= regions.part[1:] != regions.part[:-1]
    seam[:, 1:] |= regions.part[:, 1:] != regions.part[:, :-1]
    border = np.where(blur(seam.astype(np.float32), 1.6) > 0.06, 0, border)

    tiles = len(seeds)
    at = np.clip(seeds[:, :2], 0, SHAPE[0] - 1).astype(np.intp)
    paint = regions.colour[at[:, 0], at[:, 1]] * rng.normal(1, 0.13, (tiles, 1)) + rng.normal(0, 0.035, (tiles, 3))
    gold = rng.uniform(size=tiles) < 0.035
    paint[gold] = rgb("e9b84a") * rng.normal(1, 0.1, (int(gold.sum()), 1))
    tilt = rng.normal(0, 0.14, (tiles, 2))
    offset = np.clip((pixels[:, :2] - seeds[nearest, :2]) / TILE, -0.7, 0.7)
    slant = (tilt[nearest] * offset).sum(1).reshape(SHAPE).astype(np.float32)
    glaze = 1 + slant * 1.6 + 0.035 * fractal_noise(rng, SHAPE, 30, 4, 0.7)
    picture = np.clip(paint, 0.03, 1).astype(np.float32)[nearest].reshape(*SHAPE, 3) * glaze[..., None]
    dome = blur(np.clip(border, 0, 7), 1.2)
    picture = picture * relief(dome, 0.55)[..., None]
    picture += np.clip(slant - 0.11, 0, 1)[..., None] * 1.3 * smoothstep(4, 9, border)[..., None]
    grout = rgb("b8a488") * (0.62 + 0.09 * fractal_noise(rng, SHAPE, 12, 3, 0.8))[..., None]
    return downscale(mix(grout, picture, smoothstep(1.6, 3.4, border + 0.5 * band_noise(rng, SHAPE, 9))), FACTOR)


# --------------------------------------------------------------------------------------------------- woodcut

INDIGO, BLUE, VERMILION, PAPER, OCHRE = (rgb(code) for code in ("1c2547", "6f9bb0", "cf3f2b", "f3e8cf", "dfa94f"))


class Press:
    """Cuts lines and prints blocks, one over the other, on one sheet of cream paper."""

    def __init__(self, rng: np.random.Generator, shape: Shape) -> None:
        """A blank sheet, and the noise fields of the hand, the wood and the ink."""
        self.rng, self.shape = rng, shape
        fibre = 0.012 * fractal_noise(rng, shape, 40, 4, 0.8) + 0.006 * band_noise(rng, shape, 5, 12)
        self.sheet = np.clip(PAPER * (1 + fibre)[..., None], 0, 1)
        self.hand = band_noise(rng, shape, 30) * 0.05 + band_noise(rng, shape, 110) * 0.16
        self.pressure = 0.07 * band_noise(rng, shape, 45)
        self.cloudy = band_noise(rng, shape, 140)
        self.grain = 0.93 + 0.06 * band_noise(rng, shape, 9, 30) + 0.05 * band_noise(rng, shape, 6)
        self.grain -= 0.8 * smoothstep(2.9, 3.3, band_noise(rng, shape, 7))

    def moved(self, field: Array) -> Array:
        """A noise field with a random shift, so that no two blocks are alike."""
        return np.roll(field, tuple(self.rng.integers(0, self.shape[0], 2)), (0, 1))

    def carved(self, phase: Array, period: float, tone: Array) -> Array:
        """Lines of ink along the level lines of `phase` (in pixels), as wide as the tone (0 to 1) is dark."""
        position = np.abs((phase / period + self.moved(self.hand)) % 1 - 0.5) * 2
        width = np.clip(tone + self.moved(self.pressure), 0, 1.2)
        return smoothstep(1.6 / period, -1.6 / period, position - width)

    def clear(self, cover: Array) -> None:
        """Erase what was printed behind a form."""
        self.sheet = mix(self.sheet, np.broadcast_to(PAPER, self.sheet.shape), cover)

    def ink(self, colour: Array, cover: Array) -> None:
        """Print one block, mottled by the grain of the wood."""
        density = np.clip(cover * self.moved(self.grain), 0, 1)
        self.sheet = mix(self.sheet, self.sheet * 0.08 + colour * 0.92, density)


def woodcut_sky(press: Press) -> None:
    """A vermilion sun in a sky of cloud lines, darker towards the top."""
    rng, shape = press.rng, press.shape
    rows, columns = grid(shape)
    width = shape[1]
    sun = smoothstep(0.002, -0.002, np.hypot(rows - 0.27, columns - 0.66) - 0.15)
    press.ink(OCHRE, smoothstep(0.30, 0.62, rows) * 0.55)
    press.ink(BLUE, smoothstep(0.32, 0.0, rows) * 0.85)
    press.ink(VERMILION, sun)
    drift = rows * width + band_noise(rng, shape, 520, 2.2) * 34
    cloud = band_noise(rng, shape, 330, 2.6)
    tone = np.clip(0.72 - rows * 1.25 + 0.2 * cloud, 0.02, 0.8) - smoothstep(0.7, 1.1, cloud) * 0.6
    lines = press.carved(drift, 21, tone)
    press.ink(INDIGO, np.where(sun > 0.5, lines * (rows > 0.33) * 0.9, lines))


def woodcut_peak(press: Press) -> None:
    """A snow-capped mountain whose hatching runs down its flanks."""
    rng, shape = press.rng, press.shape
    rows, columns = grid(shape)
    width, apex = shape[1], (0.235, 0.30)
    aside = columns - apex[1]
    jag = 0.006 * band_noise(rng, (1, shape[1]), 190)[0] + 0.0022 * band_noise(rng, (1, shape[1]), 70)[0]
    profile = apex[0] + 0.34 * (1 - np.exp(-np.abs(aside) * 3.1)) * (0.75 + 0.75 * np.abs(aside)) + jag
    inside = smoothstep(0.001, -0.001, profile - rows)
    tongue = (
        0.36
        + 0.05 * np.abs(np.sin(columns * 47 + 3.5 * np.sin(columns * 15))) ** 1.5
        + 0.01 * band_noise(rng, (1, shape[1]), 70)[0]
    )
    rock = inside * smoothstep(-0.002, 0.002, rows - tongue)
    press.clear(inside)
    press.ink(BLUE, rock)
    fan = np.arctan2(aside, rows - apex[0] + 0.14) * width * 0.62
    shadow = np.clip(0.42 + aside * 1.4 + 0.2 * press.moved(press.cloudy), 0.05, 0.92)
    press.ink(INDIGO, rock * press.carved(fan, 19, shadow))
    press.ink(INDIGO, inside * (1 - rock) * press.carved(fan, 27, np.clip(shadow - 0.42, 0, 0.5)))
    press.ink(INDIGO, smoothstep(0.0035, 0.002, np.abs(profile - rows)))


def woodcut_waves(press: Press) -> None:
    """Rows of leaning, foam-edged waves, each carved in lines parallel to its crest."""
    shape = press.shape
    rows, columns = grid(shape)
    width = shape[1]
    drops = band_noise(press.rng, shape, 16)
    for depth in range(7):
        size = 0.5 + 0.22 * depth
        base = 0.565 + 0.012 * depth + 0.0115 * depth**1.75
        lean = columns + 0.55 * (rows - base) + 0.05 * np.sin(columns * 5 + depth * 1.7)
        beat = np.abs(np.sin(lean * 9.5 / size + depth * 1.9)) ** 0.8
        crest = base + 0.085 * size * (beat - 0.6) + 0.003 * size * np.sin(lean * 95 / size)
        below = (rows - crest) / (1 + 0.25 * size)
        inside = smoothstep(-0.0008, 0.0008, below)
        press.clear(inside)
        foam = 0.011 * size * (1 + 0.5 * np.sin(lean * 140 / size) * np.sin(lean * 61 / size))
        body = smoothstep(-0.001, 0.001, below - foam)
        tint = body * smoothstep(0.13 * size, 0.0, below)
        press.ink(BLUE, np.clip(tint * 1.2, 0, 1) * 0.95)
        tone = np.clip(0.28 + below * 5.5 / size + 0.14 * press.moved(press.cloudy), 0.08, 0.93)
        press.ink(INDIGO, body * press.carved(below * width, 15 + 4.5 * size, tone))
        spray = smoothstep(2.2, 2.35, press.moved(drops)) * (below < 0) * (below > -0.03 * size)
        press.clear(spray)
        press.ink(INDIGO, smoothstep(0.0032, 0.0018, np.abs(below + 0.0005)))
        press.ink(INDIGO, smoothstep(0.0022, 0.0012, np.abs(below - foam)))


def woodcut(rng: np.random.Generator) -> Array:
    """A print in indigo, blue, vermilion and ochre on cream paper."""
    press = Press(rng, SHAPE)
    woodcut_sky(press)
    woodcut_peak(press)
    woodcut_waves(press)
    return downscale(press.sheet, FACTOR)


# ------------------------------------------------------------------------------------------------ watercolour


BLOOMS = [
    (0.24, 0.27), (0.33, 0.70), (0.60, 0.45), (0.74, 0.80), (0.80, 0.17),
    (0.08, 0.53), (0.50, 0.06), (0.54, 0.97), (0.07, 0.93), (0.94, 0.52),
]  # fmt: skip


class Paper:
    """Wet paper: the absorption of the washes adds up, as in glazes."""

    def __init__(self, shape: Shape, rng: np.random.Generator) -> None:
        """Dry cold-pressed paper, and the noise for the edges of the washes."""
        self.rng, self.shape = rng, shape
        self.absorbed = np.zeros((*shape, 3), np.float32)
        self.tooth = fractal_noise(rng, shape, 14, 3, 0.7)
        self.large, self.medium, self.small = (fractal_noise(rng, shape, s, 4, 0.55) for s in (420.0, 130.0, 34.0))

    def wash(
        self, distance: Array, top: int, left: int, pigment: Array, amount: float, wet: float, size: float
    ) -> None:
        """Lay one wash on a patch of paper.

        `distance` is the signed distance in pixels to the drawn outline, negative inside; `wet` between 0 and 1
        is how much of the outline runs softly into the paper; `size` scales the irregularities.
        """
        rng = self.rng
        rows, columns = (slice(top, top + distance.shape[0]), slice(left, left + distance.shape[1]))
        roll = (int(rng.integers(0, self.shape[0])), int(rng.integers(0, self.shape[1])))
        index = np.ix_(
            (np.arange(distance.shape[0]) + roll[0]) % self.shape[0],
            (np.arange(distance.shape[1]) + roll[1]) % self.shape[1],
        )
        large, medium, small = self.large[index], self.medium[index], self.small[index]
        edge = distance + size * (0.055 * medium + 0.018 * small) + 0.8 * small
        soft = 1.5 + size * 0.55 * smoothstep(0.9 - 2.2 * wet, 2.2 - 2.2 * wet, large)
        inside = np.clip(0.5 - edge / (2 * soft), 0, 1)
        inside = inside * inside * (3 - 2 * inside)
        rim = np.exp(-(((edge + 4) / 4) ** 2)) * np.clip(2.5 / soft, 0, 1)
        bloom = np.exp(-(((medium + 0.35 * small - 0.5) / 0.12) ** 2)) * 0.25 * (large > 0.2)
        body = np.clip(0.62 + 0.24 * large + 0.16 * medium + bloom, 0.12, 1.6)
        grain = 1 + 0.14 * self.tooth[rows, columns]
        density = (inside * body + rim * 0.55) * grain * np.float32(amount)
        self.absorbed[rows, columns] += density[..., None] * -np.log(np.clip(pigment, 0.03, 0.995))

    def finish(self) -> Array:
        """The dry painting, in light that shows the texture of the paper."""
        sheet = rgb("fbf7ec") * relief(self.tooth, 0.09)[..., None]
        return sheet * np.exp(-self.absorbed)


def petal(
    paper: Paper,
    centre: tuple[float, float],
    angle: float,
    length: float,
    breadth: float,
    colour: Array,
    amount: float,
    wet: float,
) -> None:
    """A petal or leaf from `centre` along `angle`: pointed ellipse, slightly bent; lengths in pixels."""
    middle = (centre[0] + np.sin(angle) * length / 2, centre[1] + np.cos(angle) * length / 2)
    reach = length * 0.75 + 30
    top, left = (max(0, int(m - reach)) for m in middle)
    bottom, right = (min(limit, int(m + reach)) for m, limit in zip(middle, paper.shape, strict=True))
    if bottom - top < 8 or right - left < 8:
        return
    rows, columns = np.mgrid[top:bottom, left:right].astype(np.float32)
    along = ((rows - middle[0]) * np.sin(angle) + (columns - middle[1]) * np.cos(angle)) / (length / 2)
    across = (rows - middle[0]) * np.cos(angle) - (columns - middle[1]) * np.sin(angle)
    across = across + paper.rng.normal(0, 0.18) * breadth * (along**2 - 0.5)
    half = breadth / 2 * np.clip(1 - along**2, 0, 1) ** 0.6 * (1 + 0.3 * along)
    distance = np.where(np.abs(along) < 1, np.abs(across) - half, np.hypot(across, (np.abs(along) - 1) * length / 2))
    paper.wash(distance.astype(np.float32), top, left, colour, amount, wet, breadth)


def flower(paper: Paper, row: float, column: float, size: float, colours: Array) -> None:
    """Two rings of translucent petals and a dark, wet heart."""
    rng = paper.rng
    turn = rng.uniform(0, 6.3)
    for ring, count in ((1.0, 6), (0.62, 5)):
        for number in range(count):
            angle = turn + ring * 2 + number * 2 * np.pi / count + rng.normal(0, 0.15)
            length, breadth = size * ring * rng.uniform(0.85, 1.15), size * ring * rng.uniform(0.55, 0.8)
            colour = colours[int(rng.integers(0, len(colours)))]
            petal(paper, (row, column), angle, length, breadth, colour, rng.uniform(0.4, 0.85), rng.uniform(0.05, 0.5))
    for _ in range(9):
        start = (row + rng.normal(0, size * 0.05), column + rng.normal(0, size * 0.05))
        length = size * rng.uniform(0.12, 0.3)
        petal(paper, start, rng.uniform(0, 6.3), length, length * 0.4, rgb("3a2350"), 1.0, 0.3)


def watercolour(rng: np.random.Generator) -> Array:
    """A garden in bloom: wet background washes, leaves, flowers and splashes."""
    paper = Paper(SHAPE, rng)
    size = SHAPE[0]
    for tint in palette("b9dbe4 dfead0 f8e6c4 d2cfec c4e3d9 f7dada b4d1e6 dfe7c2 f2e0ec b0d5d5 e7eec4 c8d6f0"):
        row, column = rng.uniform(0, size, 2)
        petal(paper, (row, column), rng.uniform(0, 6.3), size * 0.75, size * 0.42, tint, 1.0, 0.8)
    greens = palette("4f9a5b 2f7b5f 8fb24a 3d8f96 b5c05c 3b6f8b")
    for _ in range(110):
        row, column = rng.uniform(0.1 * size, size * 1.05), rng.uniform(0, size)
        length = rng.uniform(0.08, 0.2) * size
        tip = row - length
        if min(np.hypot(tip / size - r, column / size - c) for r, c in BLOOMS) < 0.13:
            continue
        colour = greens[int(rng.integers(0, len(greens)))]
        angle = -np.pi / 2 + rng.normal(0, 0.6)
        breadth = length * rng.uniform(0.15, 0.35)
        petal(paper, (row, column), angle, length, breadth, colour, rng.uniform(0.45, 0.9), rng.uniform(0, 0.5))
    blooms = [
        palette(c)
        for c in ("e8415f f4818a d52a5c", "5a5fd0 8587dc 3b80d0", "f8a830 fcd25a f5803a", "d86ab8 f090d0 9a5fc0")
    ]
    for number, (row, column) in enumerate(BLOOMS):
        flower(paper, row * size, column * size, size * rng.uniform(0.12, 0.18), blooms[number % 4])
    for _ in range(170):
        length = float(np.exp(rng.uniform(np.log(8), np.log(46))))
        colour = blooms[int(rng.integers(0, 4))][0] if rng.uniform() < 0.5 else greens[int(rng.integers(0, 6))]
        row, column = rng.uniform(0, size, 2)
        petal(paper, (row, column), rng.uniform(0, 6.3), length, length * 0.85, colour, rng.uniform(0.4, 0.9), 0.1)
    return downscale(paper.finish(), FACTOR)
