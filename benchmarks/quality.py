"""How good the pictures are: flaws, likeness to painting and photograph, and time, for one or several configurations.

python benchmarks/quality.py [--size 500] [--configuration NAME [preset=PRESET] [KEY=VALUE ...]] ... [--also NAME ...]

Each `--configuration` is a name with a preset or settings, such as

    --configuration default --configuration quick preset=draft levels.rounds=8

and paints every pair through `hires_nst.stylize`. `--also` adds pictures that benchmarks/reference.py has painted.
Pictures are kept in `--work`, so that one that is there with the same settings is not painted again, and an interrupted
one is continued; after a change of the program, give another folder. `--identity 256 512` paints each painting with
itself as its photograph, at these sizes, in the configurations of `--identity-of`. `--page docs/quality.md` writes the
tables into that page.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import common
import numpy as np
import torch
from common import machine, report, table
from judges import Judge, published, tensor
from pairs import SHARED, WORK, Painted, Pair, kept, known_pairs, painted, pixels_of, save, with_long_edge
from reference import STYLE_LOSSES
from sheets import jpeg, sheet, stacked

from hires_nst import evaluate, stylize
from hires_nst.backbones.registry import BACKBONES
from hires_nst.backbones.weights import load_network
from hires_nst.config import Config, gather, parse_config
from hires_nst.config.settings import picture_settings
from hires_nst.evaluation import flaws, metrics
from hires_nst.evaluation.evaluate import LOSS_EDGE
from hires_nst.imageio.picture import Floats
from hires_nst.version import VERSION

MARKS = "<!-- measured: begin -->", "<!-- measured: end -->"
PHOTOGRAPH = "photograph"
"""The name of the row, and of the folder, of the photographs as they are."""

PAINTING = "painting"
"""The name of the row of the paintings, as far as they have the measures."""

SHEET = (
    "The photograph, the painting, and the picture of each configuration: whole, and at 100 % in a corner, where the "
    "photograph is calmest, and where it has the most detail."
)

Measures = dict[str, float]
Errors = Mapping[str, Mapping[str, Mapping[str, tuple[float, float]]]]
"""Of the identity test, by configuration, size and painting."""


@dataclass(frozen=True)
class Configuration:
    """A name for settings of the program."""

    name: str
    preset: str | None = None
    assignments: tuple[str, ...] = ()

    @staticmethod
    def of(words: Sequence[str]) -> Configuration:
        """As on the command line: the name, then `preset=NAME` and `KEY=VALUE`, in any order."""
        name, *settings = words
        presets = [word.removeprefix("preset=") for word in settings if word.startswith("preset=")]
        others = tuple(word for word in settings if not word.startswith("preset="))
        return Configuration(name, presets[-1] if presets else None, others)

    def config(self, size: int) -> Config:
        """The settings for a picture with a long edge of `size` pixels."""
        return parse_config(gather(preset=self.preset, assignments=[*self.assignments, f"output.long_edge={size}"]))

    def paint(self, pair: Pair, file: Path, size: int) -> Painted:
        """The picture of a pair, painted unless it is there; the settings may name the painting, to scale it."""
        config = self.config(size)
        settings = {"version": VERSION, **picture_settings(config.model_dump(mode="json")), **pair.digests}

        def into(target: Path, same: bool) -> bool:
            run_dir = target.with_suffix(".run")
            continued = same and run_dir.exists()
            stylize(
                pair.content, target, styles=() if config.styles else pair.style, config=config, overwrite=True,
                run_dir=run_dir,
                resume="auto" if same else "never",
            )  # fmt: skip
            return continued

        return painted(file, settings, into)


@dataclass(frozen=True)
class Column:
    """A measure as a column of a table: its mean over the pairs, and its worst value.

    Attributes:
        digits: as in a format, such as `.2f`.
        worst: the larger or the smaller one; None where neither is worse.
    """

    measure: str
    title: str
    digits: str
    worst: Callable[[Sequence[float]], float] | None = max

    def cell(self, values: Sequence[float]) -> str:
        """The mean, and the worst in brackets."""
        if not values:
            return ""
        mean = format(float(np.mean(values)), self.digits)
        return mean if self.worst is None else f"{mean} ({format(self.worst(values), self.digits)})"


TIMES = (Column("seconds", "seconds", ".0f", None), Column("cpu_seconds", "seconds of CPU", ".0f", None))
FLAWS = (
    Column("outermost", "outermost 4 px", ".2f"),
    Column("band", "8 to 32 px inside", ".2f"),
    Column("interior", "interior", ".2f"),
    Column("edges", "edges", ".2f"),
    Column("noise", "noise in calm parts", ".2f"),
    *(Column(f"grid {period}", f"squares of {period} px", ".2f") for period in flaws.GRID_PERIODS),
)
LIKENESS = (
    Column("palette", "palette", ".2f"),
    Column("chroma", "chroma", ".1f", None),
    Column("outlines", "outlines", ".3f", min),
    Column("texture", "texture", ".3f", min),
    Column("style as configured", "style as configured", ".3f"),
    Column("content as configured", "content as configured", ".3f"),
)
LOSSES = tuple(Column(name, name, ".4g") for name in STYLE_LOSSES)


def judged(judges: Sequence[Judge]) -> tuple[Column, ...]:
    """The columns of the networks."""
    return tuple(
        Column(f"{j.name} {part}", f"{j.name}, {part}", ".3f") for j in judges for part in ("style", "content")
    )


@torch.no_grad()
def reference_losses(painter: Judge, picture: Floats, style: Floats) -> Measures:
    """The other programs' own style losses, in the program's default network, at the size of `Judge`."""
    small = metrics.reduced(picture, LOSS_EDGE)
    pictures = [tensor(small), tensor(metrics.reduced(style, max(small.shape[:2])))]
    features = [painter.network(image, painter.style_layers) for image in pictures]
    found = {}
    for name, loss in STYLE_LOSSES.items():
        unit = loss.unit(painter.network)
        statistics = [loss.statistics({layer: f * unit for layer, f in fs.items()}) for fs in features]
        found[name] = float(loss(*statistics))
    return found


def measured(picture: Painted, pair: Pair, judges: Sequence[Judge]) -> Measures:
    """All measures of a picture; the first judge is the program's default network."""
    pixels, content, style = pixels_of(picture.file), pixels_of(pair.content), pixels_of(pair.style)
    edges = flaws.edge_colours(pixels, style)
    configured = evaluate(picture.file, content=pair.content, styles=pair.style)
    found = {
        "outermost": edges.outermost, "band": edges.band, "interior": edges.interior, "edges": edges.ratio,
        "noise": flaws.calm_noise(pixels, content), "chroma": flaws.mean_chroma(pixels),
        "palette": metrics.palette_distance(pixels, style), "outlines": metrics.outline_correlation(pixels, content),
        "texture": metrics.texture_similarity(pixels, style),
        "style as configured": configured.style_loss, "content as configured": configured.content_loss,
    }  # fmt: skip
    found |= {f"grid {period}": value for period, value in flaws.calm_grid(pixels, content).items()}
    for judge in judges:
        verdict = judge(pixels, content, style)
        found |= {f"{judge.name} style": verdict.style, f"{judge.name} content": verdict.content}
    found |= reference_losses(judges[0], pixels, style)
    if picture.seconds is not None and picture.cpu_seconds is not None:
        found |= {"seconds": picture.seconds, "cpu_seconds": picture.cpu_seconds}
    return found


def photograph(pair: Pair, file: Path, size: int) -> Painted:
    """The photograph as it is, with a long edge of `size` pixels: what the measures say where nothing was painted."""
    save(with_long_edge(pixels_of(pair.content), size), file)
    return Painted(file, None, None)


def of_painting(pair: Pair, size: int) -> Measures:
    """What a painting of `size` pixels at most has of its own, noise and squares in its own calm parts."""
    pixels = pixels_of(pair.style)
    pixels = with_long_edge(pixels, min(size, max(pixels.shape[:2])))
    grids = {f"grid {period}": value for period, value in flaws.calm_grid(pixels, pixels).items()}
    return {"noise": flaws.calm_noise(pixels, pixels), "chroma": flaws.mean_chroma(pixels), **grids}


def painter() -> Judge:
    """The default network of the program."""
    backbone = BACKBONES[Config().model.name]
    return Judge(backbone.name, load_network(backbone, pooling=backbone.pooling, padding="replicate"))


def rows(results: Mapping[str, Mapping[str, Measures]], columns: Sequence[Column]) -> list[list[str]]:
    """A row for each configuration that has one of the measures."""
    cells = {
        name: [column.cell([m[column.measure] for m in found.values() if column.measure in m]) for column in columns]
        for name, found in results.items()
    }
    return [[name, *row] for name, row in cells.items() if any(row)]


def whole_painting(style: Floats, size: int) -> Floats:
    """A painting with a long edge of `size` pixels, continued by reflection where it has fewer."""
    height, width = style.shape[:2]
    if size <= max(height, width):
        return with_long_edge(style, size)
    factor = size / max(height, width)
    more = [(0, round(side * factor) - side) for side in (height, width)]
    return np.pad(style, (*more, (0, 0)), mode="reflect")


def identity(
    configurations: Sequence[Configuration], styles: Sequence[Path], sizes: Sequence[int], work: Path
) -> dict[str, dict[str, dict[str, tuple[float, float]]]]:
    """The errors of each painting as its own photograph, by configuration, size and name; see `flaws.colour_error`."""
    found: dict[str, dict[str, dict[str, tuple[float, float]]]] = {}
    for size in sizes:
        for style in styles:
            file = work / "identity" / str(size) / "paintings" / f"{style.stem}.png"
            if not file.is_file():
                save(whole_painting(pixels_of(style), size), file)
            for configuration in configurations:
                target = work / "identity" / str(size) / configuration.name / f"{style.stem}.png"
                picture = configuration.paint(Pair(style.stem, file, file), target, size)
                error = flaws.colour_error(pixels_of(picture.file), pixels_of(file))
                found.setdefault(configuration.name, {}).setdefault(str(size), {})[style.stem] = error
                print("identity", size, style.stem, configuration.name, *(f"{e:.2f}" for e in error), flush=True)
    return found


def identity_rows(found: Errors) -> list[list[str]]:
    """A row for each configuration and size: means, and the largest in brackets."""
    columns = Column("rmse", "", ".2f"), Column("lab", "", ".2f")
    return [
        [name, size, *(c.cell([e[k] for e in errors.values()]) for k, c in enumerate(columns))]
        for name, by_size in found.items()
        for size, errors in by_size.items()
    ]


NOTES = {
    "": "Mean over the pairs, in brackets the worst. Edges: mean CIELAB distance to the painting's nearest colour, "
    "and the outermost 4 pixels over the band. Noise: power above three quarters of the Nyquist frequency where the "
    "photograph is calm, times 1e6. Squares: power at the period of a grid over that expected there; 1 is no grid. "
    "Those of the painting are in its own calm parts.",
    "_likeness": "Mean over the pairs, in brackets the worst. Style and content of a network: the plain "
    "mean-covariance loss, each difference over its target's own squared norm, and the squared error of the content "
    "over its own, summed over the layers. As configured: the losses of `hires-nst evaluate` with its defaults.",
    "_identity": "Root mean square, and mean, over the pixels; mean over the paintings, in brackets the worst. A "
    "painting of fewer pixels is continued by reflection. At a size of one level only, a start from the photograph "
    "is the painting already; at larger ones it is the coarser level enlarged, which lacks the detail.",
    "_losses": "The style losses of other programs, as in benchmarks/reference.py, in the program's default network.",
}


def tell(options: argparse.Namespace, results: Mapping[str, Mapping[str, Measures]], judges: Sequence[Judge]) -> str:
    """Write the tables; returns them for a page."""
    count = max(len(found) for found in results.values())
    size = f"{count} pair{'s' if count > 1 else ''}, {options.size} px"
    parts = []
    for suffix, title, columns in (
        ("", f"Flaws: {size}", (*TIMES, *FLAWS)),
        ("_likeness", f"Likeness to painting and photograph: {size}", (*LIKENESS, *judged(judges))),
        ("_losses", f"Style losses of other programs: {size}", (*TIMES, *LOSSES, *judged(judges)[1:2])),
    ):
        header, cells = ["configuration", *(column.title for column in columns)], rows(results, columns)
        report(f"{options.name}{suffix}", title, header, cells, [NOTES[suffix]], script="quality")
        parts += [f"### {title}", table(header, cells), NOTES[suffix]]
    return "\n\n".join(parts)


def fill(page: Path, text: str) -> None:
    """Replace what stands between the two marks of a page."""
    before, begin, rest = page.read_text().partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not begin or not end:
        raise SystemExit(f"{page} has no marks {' and '.join(MARKS)}")
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=500, help="pixels of the long edge")
    parser.add_argument(
        "--configuration", nargs="+", action="append", metavar="WORD", help="a name, then preset=NAME or KEY=VALUE"
    )
    parser.add_argument("--also", nargs="+", default=[], metavar="NAME", help="folders of pictures that are there")
    parser.add_argument("--identity", nargs="+", type=int, default=[], metavar="PIXELS", help="sizes of the test")
    parser.add_argument("--identity-of", nargs="+", metavar="NAME", help="its configurations; all when not given")
    parser.add_argument("--pairs", nargs="+", help="beginnings of the pairs' names; all when not given")
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder with images/ and teachers/")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of the pictures")
    parser.add_argument("--name", default="quality", help="of the results")
    parser.add_argument("--page", type=Path, help="a page to write the tables into")
    return parser.parse_args()


def pictures_of(pair: Pair, configurations: Sequence[Configuration], options: argparse.Namespace) -> dict[str, Painted]:
    """A pair's pictures by name: the photograph, those of the configurations, and those that are there already."""
    folder, name = options.work / str(options.size), f"{pair.name}.png"
    found = {PHOTOGRAPH: photograph(pair, folder / PHOTOGRAPH / name, options.size)}
    found |= {c.name: c.paint(pair, folder / c.name / name, options.size) for c in configurations}
    for other in options.also:
        picture = kept(folder / other / name)
        if picture is None:
            print(f"{folder / other / name} is left out: it is not there, or not finished")
        else:
            found[other] = picture
    return found


def tell_identity(options: argparse.Namespace, found: Errors) -> str:
    """Write the table of the identity test, if there was one; returns it for a page."""
    if not found:
        return ""
    header = ["configuration", "pixels", "error of the samples, in 255ths", "CIELAB distance"]
    cells = identity_rows(found)
    title, note = "Each painting as its own photograph", NOTES["_identity"]
    report(f"{options.name}_identity", title, header, cells, [note], script="quality")
    return "\n\n".join(["", f"### {title}", table(header, cells), note])


def main() -> None:
    options = parsed()
    configurations = [Configuration.of(words) for words in options.configuration or [["default"]]]
    pairs = known_pairs(options.shared, options.pairs)
    judges = [painter(), *published(options.shared)]
    results: dict[str, dict[str, Measures]] = {}
    sheets = []
    for pair in pairs:
        pictures = pictures_of(pair, configurations, options)
        for name in (PHOTOGRAPH, PAINTING):
            results.setdefault(name, {})
        results[PAINTING][pair.name] = of_painting(pair, options.size)
        for name, picture in pictures.items():
            measures = results.setdefault(name, {})[pair.name] = measured(picture, pair, judges)
            print(pair.name, name, {key: round(value, 4) for key, value in measures.items()}, flush=True)
        shown = {name: pixels_of(picture.file) for name, picture in pictures.items() if name != PHOTOGRAPH}
        sheets.append(sheet(pixels_of(pair.content), pixels_of(pair.style), shown))
        save(sheets[-1], options.work / str(options.size) / "sheets" / f"{pair.name}.png")
    styles = dict.fromkeys(pair.style for pair in pairs)
    tested = [c for c in configurations if options.identity_of is None or c.name in options.identity_of]
    identities = identity(tested, list(styles), options.identity, options.work)
    text = tell(options, results, judges) + tell_identity(options, identities)
    everything = {
        "machine": machine(), "size": options.size, "measures": results, "identity": identities,
        "configurations": {c.name: {"preset": c.preset, "set": c.assignments} for c in configurations},
    }  # fmt: skip
    (common.RESULTS / f"{options.name}.json").write_text(json.dumps(everything, indent=1) + "\n")
    image = common.RESULTS / f"{options.name}.jpg"
    image.write_bytes(jpeg(stacked(sheets)))
    if options.page:
        link = Path(os.path.relpath(image, options.page.parent)).as_posix()
        fill(options.page, f"{machine()}\n\n{text}\n\n![{SHEET}]({link})\n\n{SHEET}")


if __name__ == "__main__":
    main()
