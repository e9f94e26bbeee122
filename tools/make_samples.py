"""Draw the sample pictures: two contents and five styles.

    python tools/make_samples.py --out samples [--only NAME]

Everything is drawn from fixed seeds, so every run writes the same pictures.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from samples_common import Array, save_jpeg
from samples_graphic import mosaic, watercolour, woodcut
from samples_landscape import landscape
from samples_oil import autumn_knife, flow_strokes
from skimage import data


@dataclass(frozen=True)
class Sample:
    """One sample: its folder, how it is drawn, and how it is saved."""

    folder: str
    draw: Callable[[np.random.Generator], Array]
    seed: int
    quality: int


def astronaut(_: np.random.Generator) -> Array:
    """NASA's portrait of Eileen Collins, public domain, as shipped with scikit-image."""
    return np.asarray(data.astronaut(), np.float32) / 255  # type: ignore[no-untyped-call]


SAMPLES = {
    "landscape": Sample("contents", landscape, 7, 88),
    "astronaut": Sample("contents", astronaut, 0, 92),
    "flow_strokes": Sample("styles", flow_strokes, 7, 88),
    "autumn_knife": Sample("styles", autumn_knife, 7, 88),
    "mosaic": Sample("styles", mosaic, 7, 88),
    "woodcut": Sample("styles", woodcut, 7, 88),
    "watercolour": Sample("styles", watercolour, 7, 88),
}


def main() -> None:
    """Write all samples, or one."""
    parser = argparse.ArgumentParser(description="Render the sample pictures.")
    parser.add_argument("--out", type=Path, default=Path("samples"), help="folder to write to (default: samples)")
    parser.add_argument("--only", choices=sorted(SAMPLES), help="render this one alone")
    arguments = parser.parse_args()
    for name, wanted in SAMPLES.items():
        if arguments.only not in (None, name):
            continue
        start = time.perf_counter()
        path = arguments.out / wanted.folder / f"{name}.jpg"
        picture = wanted.draw(np.random.default_rng(wanted.seed))
        save_jpeg(path, picture, wanted.quality)
        height, width = picture.shape[:2]
        seconds = time.perf_counter() - start
        print(f"{path}: {width} x {height}, {path.stat().st_size / 1000:.0f} kB, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
