"""Run one job: read the images, plan the levels, refine them coarse to fine, write the picture."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hires_nst import events, image_files, images
from hires_nst.canvas import Canvas, Place
from hires_nst.config import Config, Init, StyleImage
from hires_nst.errors import InputError, ResourceError
from hires_nst.events import OnEvent
from hires_nst.job import Job, check_painting, open_job, with_styles
from hires_nst.kept import Kept
from hires_nst.levels import Level
from hires_nst.memory import (
    SMALLEST_TILE,
    is_out_of_memory,
    release,
)
from hires_nst.moments import Statistics
from hires_nst.objective import Objective, content_norms, style_statistics
from hires_nst.planning import LevelPlan, level_plans, split_coarse
from hires_nst.refine import AdamCanvases, Listener, refine_round
from hires_nst.sheets import Sheet, minimum_side, sheet_for
from hires_nst.tiles import Grid


@dataclass(frozen=True)
class Result:
    """A finished run."""

    output: Path
    width: int
    height: int
    seconds: float
    levels: tuple[LevelPlan, ...]


def stylize(
    content: Path | str,
    output: Path | str,
    *,
    style: Path | str | Sequence[Path | str] = (),
    config: Config | None = None,
    overwrite: bool = False,
    kept: Kept | None = None,
    on_event: OnEvent = events.ignore,
) -> Result:
    """Paint a photograph in the style of one or several paintings, and write the picture.

    Args:
        content: the photograph's file.
        output: where the picture goes; .png, .jpg or .tif.
        style: the paintings; they replace `config.styles`.
        config: the settings; the schema's defaults when not given.
        overwrite: replace an existing output.
        kept: what earlier calls loaded, for those that come after; nothing is kept when not given.
        on_event: told what happens.

    Raises:
        ConfigError, InputError, OutputError, ResourceError, WeightsError: see `hires_nst.errors`.
    """
    began = time.monotonic()
    content, output = Path(content), Path(output)
    config = with_styles(config or Config(), [style] if isinstance(style, (str, Path)) else style)
    image_files.check_output(output, overwrite=overwrite)
    sheet = sheet_for(images.picture_size(content, max_megapixels=config.images.max_megapixels), config, content)
    image_files.check_format(output, sheet.width, sheet.height, bit_depth=config.output.bit_depth)
    with torch.no_grad(), _readable_memory_errors():
        job = open_job(config, sheet, on_event, kept=kept)
        photograph, alpha = read_content(content, sheet, job)
        if alpha is not None and output.suffix.lower() in (".jpg", ".jpeg"):
            on_event(
                events.Notice("a JPEG holds no transparency, so the photograph's is left out; .png or .tif keep it")
            )
            alpha = None
        paintings = read_paintings(job)
        plans = level_plans(job, sheet)
        on_event(
            events.RunStarted(
                str(content), str(output), sheet.width, sheet.height,
                tuple((p.width, p.height, p.rounds, p.steps, p.tiles) for p in plans),
                float(sum(p.width * p.height * p.evaluations for p in plans)),
                config.model.name, str(job.extract.device),
            )
        )  # fmt: skip
        canvas = paint(job, plans, photograph, paintings)
        image_files.write_picture(
            output, canvas.pixels, alpha, dpi=sheet.dpi, bit_depth=config.output.bit_depth,
            quality=config.output.quality, compression=config.output.compression, overwrite=overwrite,
        )  # fmt: skip
    seconds = time.monotonic() - began
    on_event(events.RunFinished(str(output), sheet.width, sheet.height, seconds))
    return Result(output, sheet.width, sheet.height, seconds, plans)


def read_content(path: Path, sheet: Sheet, job: Job) -> tuple[Canvas, np.ndarray | None]:
    """The photograph at the result's size, and its alpha channel if it has one."""
    picture = images.read_picture(path, max_megapixels=job.config.images.max_megapixels)
    for text in picture.notes:
        job.emit(events.Notice(f"{path}: {text}"))
    left, top, width, height = sheet.crop
    pixels = picture.pixels[top : top + height, left : left + width]
    canvas = job.place(sheet.height, sheet.width)
    images.resize_strips(pixels, canvas.pixels)
    alpha = None
    if picture.alpha is not None:
        alpha = images.resize_pixels(picture.alpha[top : top + height, left : left + width], sheet.width, sheet.height)
    return canvas, alpha


def read_paintings(job: Job) -> list[tuple[Canvas, StyleImage]]:
    """The paintings at their own sizes.

    Raises:
        InputError: one has transparent pixels, or is smaller than the deepest layer needs.
    """
    result = []
    for style in job.config.styles:
        picture = images.read_picture(style.image, max_megapixels=job.config.images.max_megapixels)
        if picture.alpha is not None and float(picture.alpha.min()) < 1:
            raise InputError(
                f"the style {style.image} has transparent pixels, which have no colour to learn from; flatten it onto "
                "a background first"
            )
        check_painting(style, (picture.width, picture.height), job.config)
        for text in picture.notes:
            job.emit(events.Notice(f"{style.image}: {text}"))
        result.append((Canvas(picture.pixels), style))
    return result


def resized(source: Canvas, height: int, width: int, place: Place) -> Canvas:
    """The image at another size, antialiased; the same canvas when the size is the same."""
    if (source.height, source.width) == (height, width):
        return source
    target = place(height, width)
    images.resize_strips(source.pixels, target.pixels)
    return target


def painting_at(painting: Canvas, style: StyleImage, level: Level, *, least: int, place: Place) -> tuple[Canvas, bool]:
    """The painting at the size that goes with a level: its long edge is `style.scale` times the level's.

    It is never enlarged beyond its own pixels, nor made smaller than `least` on a side.

    Returns:
        The canvas, and whether the painting's own pixels were too few.
    """
    own_long, own_short = max(painting.height, painting.width), min(painting.height, painting.width)
    factor = style.scale * max(level.height, level.width) / own_long
    enlarged = factor > 1
    factor = min(1.0, max(factor, least / own_short))
    height, width = (max(least, round(edge * factor)) for edge in (painting.height, painting.width))
    return resized(painting, height, width, place), enlarged


def paint(
    job: Job, plans: Sequence[LevelPlan], photograph: Canvas, paintings: list[tuple[Canvas, StyleImage]]
) -> Canvas:
    """All levels, coarse to fine."""
    canvas: Canvas | None = None
    finest_told = False
    for planned in plans:
        level = planned.level
        began = time.monotonic()
        content = resized(photograph, level.height, level.width, job.place)
        if canvas is None:
            canvas = first_canvas(job, content, paintings)
        else:
            canvas = enlarged_canvas(job, canvas, photograph, content)
        least = minimum_side(job.config)
        scaled = [(painting_at(p, s, level, least=least, place=job.place), s.weight) for p, s in paintings]
        if not finest_told and any(short for (_, short), _ in scaled):
            finest_told = True
            job.emit(
                events.Notice(
                    f"a painting has too few pixels for {level.width} x {level.height}; it is not enlarged, so from "
                    "here on its strokes keep their own size in pixels (a larger scan or a smaller styles.scale helps)"
                )
            )
        canvas = paint_level(
            job, level, len(plans), canvas, content, [(p, w) for (p, _), w in scaled], size=planned.tile_size
        )
        job.emit(events.LevelFinished(level.index, len(plans), time.monotonic() - began))
    assert canvas is not None
    return canvas


def paint_level(
    job: Job,
    level: Level,
    count: int,
    canvas: Canvas,
    content: Canvas,
    paintings: Sequence[tuple[Canvas, float]],
    *,
    size: int,
) -> Canvas:
    """The rounds of one level, in tiles of `size` pixels or, where memory runs out, of fewer."""
    config, extract, emit = job.config, job.extract, job.emit
    measuring = job.measure_grid(level.height, level.width, size)
    objective = Objective(
        extract=extract,
        loss=config.loss,
        style=style_targets(job, level, paintings, size),
        content_norms=content_norms(
            extract, content, [name for name in config.layers if name in config.loss.active_content_layers], measuring
        ),
        height=level.height,
        width=level.width,
    )  # fmt: skip
    adam = None
    if config.optimizer.name == "adam":
        adam = AdamCanvases(job.place(level.height, level.width), job.place(level.height, level.width))
    tiles = len(job.grid(level.height, level.width, size).tiles)
    emit(events.LevelStarted(level.index, count, level.width, level.height, level.rounds, level.steps, tiles))
    number = 0
    while number < level.rounds:
        shifted = config.tiles.shift and number % 2 == 1
        grid = job.grid(level.height, level.width, size, shifted=shifted)
        began = time.monotonic()
        painted: tuple[Canvas, float] | None = None
        try:
            with torch.enable_grad():
                painted = refine_round(
                    canvas, content, objective, grid,
                    measure_grid=job.measure_grid(level.height, level.width, size),
                    coupling=config.tiles.coupling, optimizer=config.optimizer, steps=level.steps, adam=adam,
                    fresh=number == 0,
                    listener=_listener(emit, level, number, grid, exact=config.tiles.coupling == "exact"),
                )  # fmt: skip
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        if painted is None:  # not inside the `except`, where the error still holds on to the tile's tensors
            size = smaller_tiles(size, grid, job.stride)
            release(extract.device)
            emit(events.TilesShrunk(level.index, number, size))
            if number == 0:
                level = split_coarse(level, job.grid(level.height, level.width, size), config)
            continue
        canvas, loss = painted
        emit(events.RoundFinished(level.index, number, level.rounds, loss, time.monotonic() - began))
        number += 1
    return canvas


def style_targets(
    job: Job, level: Level, paintings: Sequence[tuple[Canvas, float]], size: int
) -> dict[str, Statistics]:
    """The paintings' statistics for a level, by layer; `size` is that of the level's tiles."""
    layers = tuple(name for name in job.config.layers if name in job.config.loss.active_style_layers)

    def measure() -> dict[str, Statistics]:
        return style_statistics(
            job.extract, paintings, layers, lambda painting: job.measure_grid(painting.height, painting.width, size)
        )

    if job.kept is None:
        return measure()
    return job.kept.statistics((job.kept_key, layers, level.height, level.width, size), measure)


def smaller_tiles(size: int, grid: Grid, stride: int) -> int:
    """Half the tile size, after memory ran out.

    Raises:
        ResourceError: tiles of that size would be nearly all overlap.
    """
    used = max(max(tile.owned.height, tile.owned.width) for tile in grid.tiles)
    half = min(size, used) // 2 // stride * stride
    if half < max(SMALLEST_TILE, stride):
        raise ResourceError(
            f"memory ran out with tiles of {used} px, and smaller ones make no sense; close other programs, choose a "
            "smaller network (--model vgg19-slim), or run on another device"
        )
    return half


def first_canvas(job: Job, content: Canvas, paintings: Sequence[tuple[Canvas, StyleImage]]) -> Canvas:
    """The start of the coarsest level, as `init` says."""
    init: Init = job.config.init
    rng = np.random.default_rng(job.config.runtime.seed)
    height, width = content.height, content.width
    canvas = job.place(height, width)
    shape = canvas.pixels.shape
    if init.kind == "uniform":
        canvas.pixels[:] = rng.random(shape, np.float32)
        return canvas
    noise = rng.standard_normal(shape, np.float32) * np.float32(0.2) + np.float32(0.5) if _noisy(init) else None
    if init.kind == "noise":
        assert noise is not None
        canvas.pixels[:] = noise
    else:
        canvas.pixels[:] = _start_pixels(job, init, content, paintings)
        if noise is not None:
            canvas.pixels[:] = (1 - init.noise) * canvas.pixels + init.noise * noise
    canvas.clip()
    return canvas


def _noisy(init: Init) -> bool:
    return init.kind == "noise" or init.noise > 0


def _start_pixels(job: Job, init: Init, content: Canvas, paintings: Sequence[tuple[Canvas, StyleImage]]) -> np.ndarray:
    """The pixels of a start from an image, filling the canvas."""
    if init.kind == "content":
        return content.pixels
    if init.kind == "style":
        source = paintings[0][0].pixels
    else:
        assert init.file is not None
        source = images.read_picture(init.file, max_megapixels=job.config.images.max_megapixels).pixels
    # Fill the canvas without distortion: the largest centred part of the same shape.
    rows, columns = source.shape[:2]
    part = min(columns / content.width, rows / content.height)
    across, down = content.width * part, content.height * part
    box = ((columns - across) / 2, (rows - down) / 2, across, down)
    return images.resize_pixels(source, content.width, content.height, box=box)


def enlarged_canvas(job: Job, canvas: Canvas, photograph: Canvas, content: Canvas) -> Canvas:
    """The start of a finer level: the last one enlarged, with a share of the photograph's own fine detail."""
    result = resized(canvas, content.height, content.width, job.place)
    share = job.config.levels.detail
    if share:
        coarse = resized(photograph, canvas.height, canvas.width, job.place)
        smooth = resized(coarse, content.height, content.width, job.place)
        for top in range(0, content.height, 256):
            rows = slice(top, top + 256)
            result.pixels[rows] += np.float32(share) * (content.pixels[rows] - smooth.pixels[rows])
    result.clip()
    return result


def _listener(emit: OnEvent, level: Level, number: int, grid: Grid, *, exact: bool) -> Listener:
    """The callbacks of a round as events."""
    tiles = 1 if exact else len(grid.tiles)

    def finished(tile: int, loss: float, seconds: float) -> None:
        area = grid.image.area if exact else grid.tiles[tile].owned.area
        emit(events.TileFinished(level.index, number, tile, tiles, loss, seconds, float(area * level.steps)))

    return Listener(
        started=lambda style: emit(events.RoundStarted(level.index, number, level.rounds, tiles, style)),
        step=lambda tile, step, loss: emit(events.StepFinished(level.index, number, tile, step, level.steps, loss)),
        tile=finished,
    )


@contextmanager
def _readable_memory_errors() -> Iterator[None]:
    """Say in one sentence that memory ran out where halving tiles is no help."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(
            "memory ran out; ask for a smaller size, smaller tiles (--tile-size), or canvases on disk "
            "(--set runtime.canvas=disk)"
        ) from None
