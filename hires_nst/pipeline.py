"""Run one job: read the images, plan the levels, refine them coarse to fine, write the picture."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import contextmanager
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hires_nst import events, image_files, images
from hires_nst.backbones.registry import BACKBONES, Backbone
from hires_nst.backbones.weights import load_network
from hires_nst.canvas import BYTES_PER_PIXEL, Canvas, Place
from hires_nst.config import Config, Init, StyleImage, parse_config
from hires_nst.errors import ConfigError, InputError, ResourceError
from hires_nst.events import OnEvent
from hires_nst.levels import Level, schedule
from hires_nst.memory import (
    SMALLEST_TILE,
    automatic_tile_size,
    free_memory,
    is_out_of_memory,
    release,
    tile_bytes_per_pixel,
)
from hires_nst.objective import Extractor, Objective, content_norms, style_statistics
from hires_nst.prints import fit, parse_paper
from hires_nst.prints import pixels as print_pixels
from hires_nst.refine import AdamCanvases, Listener, refine_round
from hires_nst.tiles import Grid, make_grid

AUTO_OVERLAP = 48
"""Pixels of overlap where `tiles.overlap` is auto; see benchmarks/results."""

MEASURE_FACTOR = 2
"""Tiles of evaluations without a graph are this much larger, in about the memory of those with one."""

CANVASES = 3
"""Full-size canvases at the finest level: the photograph, the image before a round and after it."""


@dataclass(frozen=True)
class LevelPlan:
    """What will be done at one level; `window` is the side of the largest tile's window in pixels."""

    index: int
    width: int
    height: int
    rounds: int
    steps: int
    tiles: int
    tile_size: int
    window: int

    @property
    def evaluations(self) -> int:
        """Evaluations of each pixel."""
        return self.rounds * self.steps


@dataclass(frozen=True)
class Plan:
    """What a run will do and need.

    Attributes:
        width, height: pixels of the result.
        canvas_bytes: of the full-size canvases together; `canvas_place` says where they are (`memory` or `disk`).
        tile_bytes: an estimate for one tile's optimisation.
        available_bytes: free memory where tiles are optimised.
        output_bytes: the uncompressed size of the result's file.
        seconds_per_megapixel: measured time of one evaluation; None when it was not measured.
        seconds: an estimate of the whole run from it.
    """

    width: int
    height: int
    levels: tuple[LevelPlan, ...]
    model: str
    device: str
    precision: str
    canvas_bytes: int
    canvas_place: str
    tile_bytes: int
    available_bytes: int
    output_bytes: int
    seconds_per_megapixel: float | None
    seconds: float | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """A finished run."""

    output: Path
    width: int
    height: int
    seconds: float
    levels: tuple[LevelPlan, ...]


@dataclass(frozen=True)
class Sheet:
    """The result's size and what of the photograph goes on it.

    Attributes:
        width, height: pixels of the result.
        crop: left, top, width, height in pixels of the photograph.
        dpi: to write into the file, if any.
    """

    width: int
    height: int
    crop: tuple[int, int, int, int]
    dpi: float | None


@dataclass(frozen=True)
class Workshop:
    """What all levels of a run share: the settings, the network, the sizes and the place of canvases."""

    config: Config
    backbone: Backbone
    extract: Extractor
    place: Place
    overlap: int
    emit: OnEvent

    @property
    def stride(self) -> int:
        """The deepest stride in use."""
        return self.backbone.stride_of(self.config.layers)

    def tile_size(self, level: Level) -> int:
        """The side of a level's tiles; the coarsest level is one tile if memory allows."""
        size = automatic_tile_size(
            free_memory(self.extract.device), self.bytes_per_pixel, fraction=self.config.runtime.memory_fraction,
            overlap=self.overlap, stride=self.stride, device=self.extract.device,
        )  # fmt: skip
        if level.index == 0:
            limit = free_memory(self.extract.device) * self.config.runtime.memory_fraction
            if level.height * level.width * self.bytes_per_pixel < limit:
                return max(level.height, level.width, self.stride)
        return size if self.config.tiles.size == "auto" else max(self.config.tiles.size, self.stride)

    @property
    def bytes_per_pixel(self) -> float:
        """Of a tile's window, while it is optimised."""
        half = self.extract.autocast is not None
        return tile_bytes_per_pixel(self.backbone, self.config.layers, self.config.optimizer, half=half)

    def grid(self, height: int, width: int, size: int, *, shifted: bool = False, overlap: int | None = None) -> Grid:
        """The tiles of an image."""
        return make_grid(
            height, width, size=size, stride=self.stride, overlap=self.overlap if overlap is None else overlap,
            shifted=shifted,
        )  # fmt: skip

    def measure_grid(self, height: int, width: int, size: int) -> Grid:
        """Larger tiles, for evaluations without a graph."""
        return self.grid(height, width, size * MEASURE_FACTOR, overlap=0)


def stylize(
    content: Path | str,
    output: Path | str,
    *,
    style: Path | str | Sequence[Path | str] = (),
    config: Config | None = None,
    overwrite: bool = False,
    on_event: OnEvent = events.ignore,
) -> Result:
    """Paint a photograph in the style of one or several paintings, and write the picture.

    Args:
        content: the photograph's file.
        output: where the picture goes; .png, .jpg or .tif.
        style: the paintings; they replace `config.styles`.
        config: the settings; the schema's defaults when not given.
        overwrite: replace an existing output.
        on_event: told what happens.

    Raises:
        ConfigError, InputError, OutputError, ResourceError, WeightsError: see `hires_nst.errors`.
    """
    began = time.monotonic()
    content, output = Path(content), Path(output)
    config = with_styles(config or Config(), [style] if isinstance(style, (str, Path)) else style)
    image_files.check_output(output, overwrite=overwrite)
    check_format(output, config)
    sheet = sheet_for(images.picture_size(content, max_megapixels=config.images.max_megapixels), config, content)
    with torch.no_grad(), _readable_memory_errors():
        workshop = open_workshop(config, sheet, on_event)
        photograph, alpha = read_content(content, sheet, workshop)
        paintings = read_paintings(workshop)
        plans = level_plans(workshop, sheet)
        on_event(
            events.RunStarted(
                str(content), str(output), sheet.width, sheet.height,
                tuple((p.width, p.height, p.rounds, p.steps, p.tiles) for p in plans),
                float(sum(p.width * p.height * p.evaluations for p in plans)),
                config.model.name, str(workshop.extract.device),
            )
        )  # fmt: skip
        canvas = paint(workshop, sheet, photograph, paintings)
        keep_alpha = alpha is not None and output.suffix.lower() in (".png", ".tif", ".tiff")
        image_files.write_picture(
            output, canvas.pixels, alpha if keep_alpha else None, dpi=sheet.dpi, bit_depth=config.output.bit_depth,
            quality=config.output.quality, compression=config.output.compression, overwrite=overwrite,
        )  # fmt: skip
    seconds = time.monotonic() - began
    on_event(events.RunFinished(str(output), sheet.width, sheet.height, seconds))
    return Result(output, sheet.width, sheet.height, seconds, plans)


def plan(
    content: Path | str,
    *,
    style: Path | str | Sequence[Path | str] = (),
    config: Config | None = None,
    measure: bool = True,
    on_event: OnEvent = events.ignore,
) -> Plan:
    """What `stylize` would do and need; writes nothing.

    Args:
        measure: time two evaluations of one tile, for the estimate of the whole.

    Raises:
        As `stylize`, except for the output.
    """
    config = with_styles(config or Config(), [style] if isinstance(style, (str, Path)) else style)
    sheet = sheet_for(images.picture_size(Path(content), max_megapixels=config.images.max_megapixels), config, content)
    notes: list[str] = []

    def note(event: events.Event) -> None:
        notes.extend([event.message] if isinstance(event, events.Notice) else [])
        on_event(event)

    for painting in config.styles:
        images.picture_size(painting.image, max_megapixels=config.images.max_megapixels)
    workshop = open_workshop(config, sheet, note)
    plans = level_plans(workshop, sheet)
    largest = max(plans, key=lambda p: p.window)
    per_megapixel = seconds = None
    if measure:
        per_megapixel = seconds_per_megapixel(workshop, min(largest.window, 512))
        seconds = sum(_work(workshop, p) for p in plans) / 1e6 * per_megapixel
    pixels = sheet.width * sheet.height
    return Plan(
        width=sheet.width,
        height=sheet.height,
        levels=plans,
        model=config.model.name,
        device=str(workshop.extract.device),
        precision=str(workshop.extract.autocast or workshop.extract.dtype).removeprefix("torch."),
        canvas_bytes=pixels * BYTES_PER_PIXEL * canvas_count(config),
        canvas_place="disk" if canvas_on_disk(config, sheet) else "memory",
        tile_bytes=int(largest.window**2 * workshop.bytes_per_pixel),
        available_bytes=free_memory(workshop.extract.device),
        output_bytes=pixels * 3 * config.output.bit_depth // 8,
        seconds_per_megapixel=per_megapixel,
        seconds=seconds,
        notes=tuple(notes),
    )


def with_styles(config: Config, paths: Sequence[Path | str]) -> Config:
    """The configuration with these paintings in place of its own.

    Raises:
        ConfigError: there is no painting at all, though a style layer counts.
    """
    if paths:
        config = config.model_copy(update={"styles": tuple(StyleImage(image=Path(path)) for path in paths)})
    if not config.styles and (config.loss.active_style_layers or config.init.kind == "style"):
        raise ConfigError("there is no style: name at least one painting after the photograph, or under styles: in YAML")
    return config


def check_format(output: Path, config: Config) -> None:
    """Refuse what the file's format cannot hold, before any work is done.

    Raises:
        ConfigError: 16 bits in a JPEG.
    """
    if output.suffix.lower() in (".jpg", ".jpeg") and config.output.bit_depth == 16:
        raise ConfigError(f"a JPEG holds 8 bits per channel: name {output.stem}.png or .tif, or set output.bit_depth: 8")


def sheet_for(size: tuple[int, int], config: Config, content: Path | str) -> Sheet:
    """The result's size for a photograph of `size` (width, height).

    Raises:
        InputError: the photograph, or ConfigError: the result, is smaller than the deepest layer needs.
    """
    width, height = size
    least, wanted = minimum_side(config), config.output
    if min(size) < least:
        raise InputError(f"{content} is {width} x {height} px, but {config.model.name} needs {least} px on each side")
    crop: tuple[int, int, int, int] = (0, 0, width, height)
    if wanted.print is not None:
        paper = print_pixels(parse_paper(wanted.print.paper), dpi=wanted.print.dpi, bleed_mm=wanted.print.bleed_mm)
        placed = fit(width, height, paper, mode=wanted.print.fit)
        left, top, right, bottom = placed.crop[0], placed.crop[1], placed.crop[2], placed.crop[3]
        crop = (round(left), round(top), max(1, round(right)), max(1, round(bottom)))
        sheet = Sheet(placed.width, placed.height, crop, wanted.dpi or wanted.print.dpi)
    else:
        factor = wanted.scale or 1.0
        if wanted.long_edge is not None:
            factor = wanted.long_edge / max(size)
        if wanted.megapixels is not None:
            factor = (wanted.megapixels * 1e6 / (width * height)) ** 0.5
        sheet = Sheet(max(1, round(width * factor)), max(1, round(height * factor)), crop, wanted.dpi)
    if min(sheet.width, sheet.height) < least:
        raise ConfigError(
            f"a result of {sheet.width} x {sheet.height} px is too small: {config.model.name} needs {least} px on each "
            "side; ask for a larger size, or leave the deep layers out"
        )
    return sheet


def minimum_side(config: Config) -> int:
    """Pixels that an image must have on each side for the layers in use."""
    return BACKBONES[config.model.name].stride_of(config.layers)


def open_workshop(config: Config, sheet: Sheet, emit: OnEvent) -> Workshop:
    """Choose the device and the precision, and load the network.

    Raises:
        ConfigError: the device is not there. WeightsError: see `load_network`.
    """
    device = choose_device(config.runtime.device)
    backbone = BACKBONES[config.model.name]
    network = load_network(
        backbone, pooling=config.model.pooling, padding=config.model.padding, file=config.model.weights, on_event=emit
    )
    autocast = None
    if config.runtime.precision == "bfloat16" or (
        config.runtime.precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported()
    ):
        autocast = torch.bfloat16
    on_disk = canvas_on_disk(config, sheet)
    stride = backbone.stride_of(config.layers)
    overlap = AUTO_OVERLAP if config.tiles.overlap == "auto" else config.tiles.overlap
    return Workshop(
        config=config,
        backbone=backbone,
        extract=Extractor(network.to(device), device, torch.float32, autocast),
        place=lambda height, width: Canvas.empty(height, width, on_disk=on_disk),
        overlap=-(-overlap // stride) * stride,
        emit=emit,
    )


def choose_device(name: str) -> torch.device:
    """The device of that name; `auto` is the first CUDA device, or else the CPU.

    Raises:
        ConfigError: this machine or this build of torch has it not.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        found = f"{count} CUDA device{'s' if count != 1 else ''}" if count else "no CUDA device"
        raise ConfigError(f"there is no device {name}: torch finds {found} here; --device cpu works everywhere")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("there is no device mps: torch finds no Apple GPU here; --device cpu works everywhere")
    return device


def canvas_count(config: Config) -> int:
    """Full-size canvases at the finest level."""
    return CANVASES + (4 if config.optimizer.name == "adam" else 0)


def canvas_on_disk(config: Config, sheet: Sheet) -> bool:
    """Whether canvases are memory-mapped: as told, or when they would take more than half of the free memory."""
    if config.runtime.canvas != "auto":
        return config.runtime.canvas == "disk"
    need = sheet.width * sheet.height * BYTES_PER_PIXEL * canvas_count(config)
    return need > free_memory(torch.device("cpu")) / 2


def level_plans(workshop: Workshop, sheet: Sheet) -> tuple[LevelPlan, ...]:
    """The levels of the run with their tiles."""
    plans = []
    for level in schedule(sheet.height, sheet.width, workshop.config.levels):
        size = workshop.tile_size(level)
        grid = workshop.grid(level.height, level.width, size)
        window = max(max(tile.window.height, tile.window.width) for tile in grid.tiles)
        level = split_coarse(level, grid, workshop.config)
        plans.append(
            LevelPlan(
                level.index, level.width, level.height, level.rounds, level.steps, len(grid.tiles), size, window
            )
        )
    return tuple(plans)


def split_coarse(level: Level, grid: Grid, config: Config) -> Level:
    """A coarsest level that does not fit into one tile is refined in rounds, like the others."""
    if level.index or len(grid.tiles) == 1 or level.steps <= config.levels.steps:
        return level
    rounds = -(-level.evaluations // config.levels.steps)
    return Level(level.index, level.height, level.width, rounds, config.levels.steps)


def read_content(path: Path, sheet: Sheet, workshop: Workshop) -> tuple[Canvas, np.ndarray | None]:
    """The photograph at the result's size, and its alpha channel if it has one."""
    picture = images.read_picture(path, max_megapixels=workshop.config.images.max_megapixels)
    for text in picture.notes:
        workshop.emit(events.Notice(f"{path}: {text}"))
    left, top, width, height = sheet.crop
    pixels = picture.pixels[top : top + height, left : left + width]
    canvas = workshop.place(sheet.height, sheet.width)
    images.resize_strips(pixels, canvas.pixels)
    alpha = None
    if picture.alpha is not None:
        alpha = images.resize_pixels(
            picture.alpha[top : top + height, left : left + width], sheet.width, sheet.height
        )
    return canvas, alpha


def read_paintings(workshop: Workshop) -> list[tuple[Canvas, StyleImage]]:
    """The paintings at their own sizes.

    Raises:
        InputError: one has transparent pixels, or is smaller than the deepest layer needs.
    """
    least, result = minimum_side(workshop.config), []
    for style in workshop.config.styles:
        picture = images.read_picture(style.image, max_megapixels=workshop.config.images.max_megapixels)
        if picture.alpha is not None and float(picture.alpha.min()) < 1:
            raise InputError(
                f"the style {style.image} has transparent pixels, which have no colour to learn from; flatten it onto "
                "a background first"
            )
        if min(picture.height, picture.width) < least:
            raise InputError(
                f"the style {style.image} is {picture.width} x {picture.height} px, but {workshop.config.model.name} "
                f"needs {least} px on each side"
            )
        for text in picture.notes:
            workshop.emit(events.Notice(f"{style.image}: {text}"))
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


def paint(workshop: Workshop, sheet: Sheet, photograph: Canvas, paintings: list[tuple[Canvas, StyleImage]]) -> Canvas:
    """All levels, coarse to fine."""
    levels = schedule(sheet.height, sheet.width, workshop.config.levels)
    canvas: Canvas | None = None
    finest_told = False
    for level in levels:
        began = time.monotonic()
        content = resized(photograph, level.height, level.width, workshop.place)
        if canvas is None:
            canvas = first_canvas(workshop, content, paintings)
        else:
            canvas = enlarged_canvas(workshop, canvas, photograph, content)
        least = minimum_side(workshop.config)
        scaled = [(painting_at(p, s, level, least=least, place=workshop.place), s.weight) for p, s in paintings]
        if not finest_told and any(short for (_, short), _ in scaled):
            finest_told = True
            workshop.emit(
                events.Notice(
                    f"a painting has fewer pixels than {level.width} x {level.height}; it is not enlarged, so from here "
                    "on its strokes keep their own size in pixels (a larger scan, or a smaller styles.scale, changes that)"
                )
            )
        canvas = paint_level(workshop, level, len(levels), canvas, content, [(p, w) for (p, _), w in scaled])
        workshop.emit(events.LevelFinished(level.index, len(levels), time.monotonic() - began))
    assert canvas is not None
    return canvas


def paint_level(
    workshop: Workshop,
    level: Level,
    count: int,
    canvas: Canvas,
    content: Canvas,
    paintings: Sequence[tuple[Canvas, float]],
) -> Canvas:
    """The rounds of one level."""
    config, extract, emit = workshop.config, workshop.extract, workshop.emit
    size = workshop.tile_size(level)
    measuring = workshop.measure_grid(level.height, level.width, size)
    objective = Objective(
        extract=extract,
        loss=config.loss,
        style=style_statistics(
            extract, paintings, [name for name in config.layers if name in config.loss.active_style_layers],
            lambda painting: workshop.measure_grid(painting.height, painting.width, size),
        ),
        content_norms=content_norms(
            extract, content, [name for name in config.layers if name in config.loss.active_content_layers], measuring
        ),
        height=level.height,
        width=level.width,
    )  # fmt: skip
    level = split_coarse(level, workshop.grid(level.height, level.width, size), config)
    adam = None
    if config.optimizer.name == "adam":
        adam = AdamCanvases(workshop.place(level.height, level.width), workshop.place(level.height, level.width))
    tiles = len(workshop.grid(level.height, level.width, size).tiles)
    emit(events.LevelStarted(level.index, count, level.width, level.height, level.rounds, level.steps, tiles))
    number = 0
    while number < level.rounds:
        shifted = config.tiles.shift and number % 2 == 1
        grid = workshop.grid(level.height, level.width, size, shifted=shifted)
        began = time.monotonic()
        try:
            with torch.enable_grad():
                canvas, loss = refine_round(
                    canvas, content, objective, grid,
                    measure_grid=workshop.measure_grid(level.height, level.width, size),
                    coupling=config.tiles.coupling, optimizer=config.optimizer, steps=level.steps, adam=adam,
                    listener=_listener(emit, level, number, grid, exact=config.tiles.coupling == "exact"),
                )  # fmt: skip
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            size = smaller_tiles(size, grid, workshop.stride)
            release(extract.device)
            emit(events.TilesShrunk(level.index, number, size))
            continue
        emit(events.RoundFinished(level.index, number, level.rounds, loss, time.monotonic() - began))
        number += 1
    return canvas


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


def first_canvas(workshop: Workshop, content: Canvas, paintings: Sequence[tuple[Canvas, StyleImage]]) -> Canvas:
    """The start of the coarsest level, as `init` says."""
    init: Init = workshop.config.init
    rng = np.random.default_rng(workshop.config.runtime.seed)
    height, width = content.height, content.width
    canvas = workshop.place(height, width)
    shape = canvas.pixels.shape
    if init.kind == "uniform":
        canvas.pixels[:] = rng.random(shape, np.float32)
        return canvas
    noise = rng.standard_normal(shape, np.float32) * np.float32(0.2) + np.float32(0.5) if _noisy(init) else None
    if init.kind == "noise":
        assert noise is not None
        canvas.pixels[:] = noise
    else:
        canvas.pixels[:] = _start_pixels(workshop, init, content, paintings)
        if noise is not None:
            canvas.pixels[:] = (1 - init.noise) * canvas.pixels + init.noise * noise
    canvas.clip()
    return canvas


def _noisy(init: Init) -> bool:
    return init.kind == "noise" or init.noise > 0


def _start_pixels(
    workshop: Workshop, init: Init, content: Canvas, paintings: Sequence[tuple[Canvas, StyleImage]]
) -> np.ndarray:
    """The pixels of a start from an image, filling the canvas."""
    if init.kind == "content":
        return content.pixels
    if init.kind == "style":
        source = paintings[0][0].pixels
    else:
        assert init.file is not None
        source = images.read_picture(init.file, max_megapixels=workshop.config.images.max_megapixels).pixels
    # Fill the canvas without distortion: the largest centred part of the same shape.
    rows, columns = source.shape[:2]
    part = min(columns / content.width, rows / content.height)
    across, down = content.width * part, content.height * part
    box = ((columns - across) / 2, (rows - down) / 2, across, down)
    return images.resize_pixels(source, content.width, content.height, box=box)


def enlarged_canvas(workshop: Workshop, canvas: Canvas, photograph: Canvas, content: Canvas) -> Canvas:
    """The start of a finer level: the last one enlarged, with a share of the photograph's own fine detail."""
    result = resized(canvas, content.height, content.width, workshop.place)
    share = workshop.config.levels.detail
    if share:
        coarse = resized(photograph, canvas.height, canvas.width, workshop.place)
        smooth = resized(coarse, content.height, content.width, workshop.place)
        for top in range(0, content.height, 256):
            rows = slice(top, top + 256)
            result.pixels[rows] += np.float32(share) * (content.pixels[rows] - smooth.pixels[rows])
    result.clip()
    return result


def seconds_per_megapixel(workshop: Workshop, side: int) -> float:
    """The time of one evaluation (forward and backward) of a tile of noise, per million pixels."""
    layers = set(workshop.config.layers)
    x = torch.rand((1, 3, side, side), device=workshop.extract.device).requires_grad_()
    seconds = 0.0
    for _ in range(2):  # the first one warms up
        began = time.monotonic()
        with torch.enable_grad():
            value = torch.stack([f.float().square().mean() for f in workshop.extract(x, layers).values()]).sum()
            (pull,) = torch.autograd.grad(value, x)
        pull.sum().item()
        seconds = time.monotonic() - began
    return seconds / (side * side / 1e6)


def _work(workshop: Workshop, level: LevelPlan) -> float:
    """Pixel evaluations of a level, with overlaps, moments and the photograph's activations (a third each)."""
    grid = workshop.grid(level.height, level.width, level.tile_size)
    windows = sum(tile.window.area for tile in grid.tiles)
    measured = grid.image.area if level.tiles > 1 else 0
    return level.rounds * (level.steps * windows + (windows + measured) / 3)


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
