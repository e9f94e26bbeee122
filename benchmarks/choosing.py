"""The pictures of docs/choosing.md: what each loss, content weight, style scale, start and way of colouring does.

python benchmarks/choosing.py [--size 384] [--min-size 96] [--shared ../shared] [sheet ...]

Each sheet is a photograph, a painting and the pictures of several configurations, written to benchmarks/results/ with
the seconds of CPU that each took. Pictures are kept in `--work`, see quality.py.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import get_args

import common
import numpy as np
from common import SAMPLES, report
from pairs import SHARED, WORK, Pair, pixels_of
from PIL import Image, ImageDraw, ImageFilter
from quality import Configuration
from sheets import jpeg, labelled, stacked

from hires_nst.config import ColorMode
from hires_nst.imageio.picture import Floats

CELL = 320


@dataclass(frozen=True)
class Row:
    """Pictures that stand side by side.

    Attributes:
        content, style: files; those of the shared folder begin with `shared/`.
        configurations: as on the command line of quality.py.
    """

    content: str
    style: str
    configurations: tuple[str, ...]

    def pair(self, shared: Path) -> Pair:
        """The photograph and the painting."""
        content, style = (
            shared / name.removeprefix("shared/") if name.startswith("shared/") else SAMPLES / name
            for name in (self.content, self.style)
        )
        return Pair(f"{content.stem}-{style.stem}", content, style)


PHOTOS, PAINTINGS = "shared/images/photos", "shared/images/paintings"
LANDSCAPE, ASTRONAUT = "contents/landscape.jpg", "contents/astronaut.jpg"
PARROTS, PORTRAIT, BIKES = f"{PHOTOS}/kodim23.png", f"{PHOTOS}/kodim04.png", f"{PHOTOS}/kodim05.png"
STREAM, LIGHTHOUSE, WINDOWS = f"{PHOTOS}/kodim13.png", f"{PHOTOS}/kodim19.png", f"{PHOTOS}/kodim01.png"
VAN_GOGH, HOKUSAI = f"{PAINTINGS}/van_gogh_starry_night.jpg", f"{PAINTINGS}/hokusai_great_wave.jpg"
DELAUNAY, STROKES, MOSAIC = f"{PAINTINGS}/delaunay_portrait.jpg", "styles/flow_strokes.jpg", "styles/mosaic.jpg"

_LOSSES = (
    "mean-covariance", "gram", "mean-std", "gram+mean-std", "central-moments", "wasserstein", "sliced", "neighbours",
)  # fmt: skip
SHEETS: dict[str, tuple[Row, ...]] = {
    "losses": tuple(
        Row(content, style, tuple(f"{name} loss.style={name}" for name in _LOSSES))
        for content, style in ((LANDSCAPE, STROKES), (PORTRAIT, DELAUNAY))
    ),
    "content_weight": (
        Row(ASTRONAUT, STROKES, tuple(f"{w} loss.content_weight={w}" for w in (0.02, 0.05, 0.1, 0.2, 0.4, 0.8))),
    ),
    "style_scale": (
        Row(
            LANDSCAPE, STROKES,
            tuple(f'{s} styles=[{{"image":"STYLE","scale":{s}}}]' for s in (0.4, 0.6, 0.8, 1.0, 1.5)),
        ),
    ),
    "start": (
        Row(
            LANDSCAPE, MOSAIC,
            (
                "content", "content-and-noise init.noise=0.5", "style init.kind=style", "noise init.kind=noise",
                "grey init.kind=grey", "style-noise init.kind=style-noise",
            ),
        ),
    ),
    "colors": (
        Row(
            PORTRAIT, VAN_GOGH,
            (
                *(f"{mode} colors.mode={mode}" for mode in get_args(ColorMode)),
                "match-by-half colors.mode=match colors.strength=0.5",
            ),
        ),
    ),
    "styles": tuple(
        Row(
            content, style,
            ("default", *(f"{name} loss.style={name}" for name in ("gram", "wasserstein", "neighbours"))),
        )
        for content, style in (
            (STREAM, VAN_GOGH), (PORTRAIT, DELAUNAY), (BIKES, "styles/woodcut.jpg"), (WINDOWS, PARROTS),
            (LIGHTHOUSE, HOKUSAI),
        )
    ),
    "layers": (
        Row(
            ASTRONAUT, VAN_GOGH,
            (
                *(f"{name} loss.layers={name}" for name in ("gatys", "johnson", "cubist", "shallow", "expressionist")),
                "all-up-to-conv4_1 loss.layers=all-up-to:conv4_1",
            ),
        ),
    ),
    "balance": (
        Row(
            ASTRONAUT, VAN_GOGH,
            (
                "gram loss.style=gram", "in-balance loss.style=gram loss.balance=gradients",
                *(
                    f"{name} loss.style=gram loss.normalization={name} loss.balance=gradients"
                    for name in ("gatys2015", "gatys2016", "johnson2016")
                ),
            ),
        ),
    ),
    "orientations": (
        Row(
            BIKES, HOKUSAI,
            (
                "default", 'two-scales styles=[{"image":"STYLE","scale":[0.5,1]}]',
                'rotations styles=[{"image":"STYLE","rotations":[90,180,270]}]',
                'mirror styles=[{"image":"STYLE","mirror":true}]',
            ),
        ),
    ),
    "parts": (
        Row(
            LANDSCAPE, MOSAIC,
            (
                "default", 'own-mask styles=[{"image":"STYLE","own_mask":"LOWER"}]',
                "content-mask loss.content_weight=0.8 regions.content=SKY", 'folder styles=[{"folder":"FOLDER"}]',
            ),
        ),
    ),
    "regions": (
        Row(
            LANDSCAPE, STROKES,
            (
                'one styles=[{"image":"STYLE"}]', 'the-other styles=[{"image":"OTHER"}]',
                'two-regions styles=[{"image":"STYLE","mask":"SKY"},{"image":"OTHER"}]',
            ),
        ),
        Row(
            PORTRAIT, STROKES,
            (
                "default", "half-protected regions.protect=faces regions.protect_strength=0.5",
                "protected regions.protect=faces",
            ),
        ),
    ),
}  # fmt: skip

SKY_LINE = (
    *((0.0, 0.285), (0.09, 0.275), (0.2, 0.33), (0.3, 0.36), (0.42, 0.36), (0.5, 0.4), (0.59, 0.43), (0.66, 0.4)),
    *((0.72, 0.37), (0.8, 0.38), (0.87, 0.33), (1.0, 0.31)),
)
"""The lower edge of the sky in the sample landscape, in widths and heights."""


def sky_mask(folder: Path) -> Path:
    """The mask of the sky in the sample landscape, with a soft edge."""
    width, height = 355, 500
    mask = Image.new("L", (width, height))
    line = [(x * width, y * height) for x, y in SKY_LINE]
    ImageDraw.Draw(mask).polygon([(0, 0), *line, (width, 0)], fill=255)
    file = folder / "sky.png"
    folder.mkdir(parents=True, exist_ok=True)
    mask.filter(ImageFilter.GaussianBlur(3)).save(file)
    return file


def lower_mask(painting: Path, folder: Path) -> Path:
    """A mask of the lowest third of a painting."""
    with Image.open(painting) as image:
        width, height = image.size
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).rectangle((0, 2 * height // 3, width, height), fill=255)
    file = folder / f"lower-{painting.stem}.png"
    folder.mkdir(parents=True, exist_ok=True)
    mask.save(file)
    return file


def painted_row(row: Row, pair: Pair, options: argparse.Namespace) -> tuple[Floats, list[list[str]]]:
    """The pictures of a row side by side, and a line of the table for each."""
    cells = [labelled("photograph", pixels_of(pair.content), CELL), labelled("painting", pixels_of(pair.style), CELL)]
    lines = []
    for words in row.configurations:
        places = {
            "STYLE": pair.style, "OTHER": SAMPLES / MOSAIC, "FOLDER": SAMPLES / "styles",
            "SKY": sky_mask(options.work), "LOWER": lower_mask(pair.style, options.work),
        }  # fmt: skip
        settings = [reduce(lambda text, name: text.replace(name, str(places[name])), places, w) for w in words.split()]
        configuration = Configuration.of([*settings, f"levels.min_size={options.min_size}", *options.set])
        file = options.work / str(options.size) / f"choosing-{configuration.name}" / f"{pair.name}.png"
        picture = configuration.paint(pair, file, options.size)
        cells.append(labelled(configuration.name, pixels_of(picture.file), CELL))
        seconds = "" if picture.cpu_seconds is None else f"{picture.cpu_seconds:.0f}"
        lines.append([pair.name, configuration.name, " ".join(words.split()[1:]), seconds])
        print(*lines[-1], flush=True)
    return np.concatenate(cells, axis=1), lines


def _folded(row: Floats, columns: int) -> list[Floats]:
    """A row of cells in several of at most `columns`."""
    width = columns * CELL
    return [row[:, left : left + width] for left in range(0, row.shape[1], width)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sheets", nargs="*", metavar="sheet", help=f"which of {', '.join(SHEETS)}; all when not given")
    parser.add_argument("--size", type=int, default=384, help="pixels of the long edge")
    parser.add_argument("--min-size", type=int, default=96, help="pixels of the coarsest level's short side")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings of every picture")
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder with images/")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of the pictures")
    options = parser.parse_args()
    for name in options.sheets or SHEETS:
        rows, lines = [], []
        for row in SHEETS[name]:
            pair = row.pair(options.shared)
            if not (pair.content.is_file() and pair.style.is_file()):
                print(f"{pair.name} is left out: {pair.content} or {pair.style} is not there")
                continue
            pixels, told = painted_row(row, pair, options)
            rows += _folded(pixels, 5)
            lines += told
        (common.RESULTS / f"choosing_{name}.jpg").write_bytes(jpeg(stacked(rows)))
        header = ["pair", "name", "settings", "seconds of CPU"]
        report(f"choosing_{name}", f"Choosing: {name}, {options.size} px", header, lines, script="choosing")


if __name__ == "__main__":
    main()
