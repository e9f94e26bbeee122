"""What the benchmarks share: images, scores, and tables of results."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from hires_nst.backbones.vgg_layers import VGGBackbone
from hires_nst.config import Config
from hires_nst.evaluation.metrics import seam_visibility
from hires_nst.imageio.reading import read_picture
from hires_nst.imageio.resize import resize_pixels
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.device import free_memory
from hires_nst.transfer.extractor import Extractor, load_extractor
from hires_nst.transfer.kept import KEPT_SHARE, KeptActivations
from hires_nst.transfer.objective import Objective
from hires_nst.transfer.style import style_layers_of, style_statistics
from hires_nst.transfer.sums import content_norms
from hires_nst.transfer.tiles import Grid, make_grid
from hires_nst.transfer.weights import WeightedImage

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "samples"
RESULTS = Path(os.environ.get("HIRES_NST_RESULTS", ROOT / "benchmarks" / "results"))
PAIRS = (("landscape", "flow_strokes"), ("astronaut", "mosaic"))


def picture(kind: str, name: str, width: int, height: int) -> Canvas:
    """A sample image, cropped in the centre to width x height."""
    source = read_picture(SAMPLES / kind / f"{name}.jpg", max_megapixels=100).pixels
    rows, columns = source.shape[:2]
    part = min(columns / width, rows / height)
    left, top = (max(0.0, side / 2) for side in (columns - width * part, rows - height * part))
    box = (left, top, width * part, height * part)
    return Canvas.of(resize_pixels(source, (width, height), box=box))


def extractor(config: Config) -> Extractor:
    """The configured network on the configured device, as in the program."""
    return load_extractor(config)


def random_weights(backbone: VGGBackbone) -> dict[str, Tensor]:
    """Random weights (He et al. 2015) for a network, which take the time of its own."""
    generator, weights = torch.Generator().manual_seed(0), {}
    for layer in backbone.convolutions:
        shape = (layer.out_channels, layer.in_channels, 3, 3)
        scale = (2 / (9 * layer.in_channels)) ** 0.5
        weights[f"{layer.name}.weight"] = scale * torch.randn(shape, generator=generator)
        weights[f"{layer.name}.bias"] = torch.zeros(layer.out_channels)
    return weights


def forward_grid(canvas: Canvas, size: int = 512) -> Grid:
    """Tiles for evaluations without a graph."""
    return make_grid(canvas.height, canvas.width, size=size, stride=16)


def objective_for(extract: Extractor, config: Config, content: Canvas, style: Canvas, *, border: int = 0) -> Objective:
    """The objective of an image of the content's size, its border included."""
    content_layers = [name for name in config.layers if name in config.loss.active_content_layers]
    return Objective(
        extract=extract,
        loss=config.loss,
        style=style_statistics(
            extract,
            [(WeightedImage(style), 1.0)],
            layers=style_layers_of(config.loss, config.layers),
            grid_of=forward_grid,
            loss=config.loss.style,
        ),
        content_norms=content_norms(extract, WeightedImage(content), layers=content_layers, grid=forward_grid(content)),
        height=content.height,
        width=content.width,
        border=border,
        kept=KeptActivations(free_memory(extract.device) // KEPT_SHARE),
    )


def scores(objective: Objective, canvas: Canvas, content: Canvas) -> tuple[float, float]:
    """The style and content loss of a whole finished image."""
    return objective.losses(canvas, content, grid=forward_grid(canvas))


def seams(canvas: Canvas, grids: Sequence[Grid]) -> float:
    """How visible the tile borders of all grids are; see `seam_visibility`."""
    rows = sorted({cut for grid in grids for cut in grid.row_cuts[1:-1]})
    columns = sorted({cut for grid in grids for cut in grid.column_cuts[1:-1]})
    return seam_visibility(canvas.pixels, rows=rows, columns=columns)


def machine() -> str:
    """The date and this machine, in one line."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    today = datetime.date.today().isoformat()
    return f"{today}, {device} ({platform.machine()}), Python {platform.python_version()}, torch {torch.__version__}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def report(
    name: str,
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    notes: Sequence[str] = (),
    *,
    script: str | None = None,
) -> None:
    """Print a table and write it as Markdown under benchmarks/results/."""
    lines = [f"# {title}", "", machine(), ""]
    lines += [table(header, rows), "", *notes, "", f"Made by `python benchmarks/{script or name}.py`."]
    text = "\n".join(lines) + "\n"
    RESULTS.mkdir(parents=True, exist_ok=True)
    suffix = "-cuda" if torch.cuda.is_available() else ""
    (RESULTS / f"{name}{suffix}.md").write_text(text)
    print(text)
