"""The pictures beside a report: previews, pictures for the full-size view, and the scores, measured on the way.

Everything is made once, and again only when it is missing or older than its sources. A browser shows a PNG or JPEG of
moderate size as it is. Larger ones would take gigabytes of its memory, so they are cut into a pyramid of JPEG tiles, of
which the view loads those in sight. A TIFF, which no browser shows, becomes a JPEG or, when it is large, a pyramid.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from hires_nst.batch.names import REPORT_FILES
from hires_nst.errors import HiresNstError
from hires_nst.evaluation import metrics
from hires_nst.evaluation.metrics import Score
from hires_nst.files import write_bytes
from hires_nst.imageio.paper import central_crop
from hires_nst.imageio.picture import Floats
from hires_nst.imageio.reading import read_picture
from hires_nst.imageio.resize import resize_pixels
from hires_nst.imageio.transparency import WHITE, flattened
from hires_nst.report.model import ReportedJob
from hires_nst.version import VERSION

FOLDER = REPORT_FILES
PREVIEW_EDGE = 1000
STYLE_EDGE = 240
WHOLE_MEGAPIXELS = 20.0
"""A larger picture is cut into tiles; decoded, one of this size takes a browser 80 MB."""

TILE = 512
STRIP_ROWS = 512
SHOWN_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
NO_LIMIT = float("inf")  # the run has checked images.max_megapixels
OUTPUT = "output"
"""Stands for the result itself in `JobPictures.full`, while that is a file name."""

Bytes8 = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class JobPictures:
    """The pictures of a job on a page: addresses relative to the page, quoted; None for those that cannot be made.

    Attributes:
        width, height: of the result.
        preview: (width, height) of `before` and `after`, which show the same part.
        full: the result in one file that a browser can show.
        tiles: the folder of the pyramid, in place of `full`; `levels` is its number of sizes. Level 0 is the result,
            each further one half the size. The tile at a row and a column is `LEVEL-ROW-COLUMN.jpg`.
        pending: there is a result, and its pictures are still to be made.
    """

    before: str | None = None
    after: str | None = None
    styles: tuple[str | None, ...] = ()
    width: int = 0
    height: int = 0
    preview: tuple[int, int] = (0, 0)
    full: str | None = None
    tiles: str | None = None
    levels: int = 0
    scores: tuple[Score, ...] = ()
    pending: bool = False


def make_pictures(job: ReportedJob, folder: Path, *, make: bool = True) -> JobPictures:
    """Make the missing and outdated pictures of a job in `folder`/report-files, and measure its scores.

    A picture that does not exist or cannot be read is left out. Without `make`, pictures that are not ready are
    `pending`.

    Raises:
        OutputError: the files cannot be written. ResourceError: the disk is full.
    """
    if job.state != "done":
        return JobPictures()
    files = folder / FOLDER
    if not job.output.is_file():
        return JobPictures(styles=tuple(_style(path, files) for path in job.styles))
    key = _digest(job.output.resolve())
    notes = files / f"{key}.json"
    sources = [path for path in (job.output, job.content, *job.styles) if path.is_file()]
    inputs = _digest(VERSION, sources, job.borders)
    pictures = _stored(notes, inputs, files=files) if _is_fresh(notes, sources) else None
    if pictures is None and not make:
        return JobPictures(pending=True)
    styles = tuple(_style(path, files) for path in job.styles)
    if pictures is None:
        pictures = _make(job, files, key=key)
        if pictures is None:
            return JobPictures(styles=styles)
        # Last, as it states that all the others exist.
        write_bytes(notes, json.dumps({"inputs": inputs, **asdict(pictures)}).encode())

    def in_files(name: str | None) -> str | None:
        return None if name is None else address(files / name, folder)

    return replace(
        pictures,
        before=in_files(pictures.before),
        after=in_files(pictures.after),
        full=address(job.output, folder) if pictures.full == OUTPUT else in_files(pictures.full),
        tiles=in_files(pictures.tiles),
        styles=styles,
    )


def address(path: Path, folder: Path) -> str:
    """The URL of a file for a page in `folder`: relative and quoted, or absolute from one drive to another."""
    try:
        relative = os.path.relpath(path, folder)
    except ValueError:
        return path.resolve().as_uri()
    return quote(os.fsencode(relative.replace(os.sep, "/")))


def _make(job: ReportedJob, files: Path, *, key: str) -> JobPictures | None:
    """Make the pictures of a job that is done, with file names for addresses; None if its result cannot be read."""
    pixels = _read_8bit(job.output)
    if pixels is None:
        return None
    height, width = pixels.shape[:2]
    files.mkdir(parents=True, exist_ok=True)
    after = metrics.reduced(pixels, PREVIEW_EDGE)
    preview = after.shape[1], after.shape[0]
    write_bytes(files / f"{key}-after.jpg", _jpeg(_as_bytes(after)))
    content = _content(job, (width, height), preview=preview)
    before, full, tiles, levels = None, None, None, 0
    if content is not None:
        before = f"{_digest(job.content.resolve(), preview)}-before.jpg"
        write_bytes(files / before, _jpeg(_as_bytes(_on_white(content))))
    if width * height > WHOLE_MEGAPIXELS * 1e6:
        tiles = f"{key}-tiles"
        levels = _cut_pyramid(files / tiles, pixels)
    elif job.output.suffix.lower() in SHOWN_SUFFIXES:
        full = OUTPUT
    else:
        full = f"{key}-full.jpg"
        write_bytes(files / full, _jpeg(pixels, quality=92))
    return JobPictures(
        before=before, after=f"{key}-after.jpg", width=width, height=height, preview=preview, full=full, tiles=tiles,
        levels=levels, scores=_scores(job, pixels, content=content),
    )  # fmt: skip


def _stored(notes: Path, inputs: str, *, files: Path) -> JobPictures | None:
    """The pictures that were made earlier, if they were made of the same inputs and all exist."""
    try:
        data = json.loads(notes.read_bytes())
        if data.pop("inputs") != inputs:
            return None
        scores, (width, height) = data.pop("scores"), data.pop("preview")
        pictures = JobPictures(**data, preview=(width, height), scores=tuple(Score(**score) for score in scores))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    names = {pictures.before, pictures.after, pictures.full, pictures.tiles} - {None, OUTPUT}
    return pictures if all((files / str(name)).exists() for name in names) else None


def _is_fresh(target: Path, sources: list[Path]) -> bool:
    """Whether a file exists and is no older than any of its sources."""
    try:
        written = target.stat().st_mtime_ns
        return all(source.stat().st_mtime_ns <= written for source in sources)
    except OSError:
        return False


def _scores(job: ReportedJob, pixels: Bytes8, *, content: Floats | None) -> tuple[Score, ...]:
    """The scores of a result; those for which a picture is missing are left out."""
    styles = [(path.stem, style) for path in job.styles if (style := _read(path)) is not None]
    borders = None if job.borders is None else (job.borders.rows, job.borders.columns)
    return metrics.scores(pixels, content=content, styles=styles, borders=borders)


def _content(job: ReportedJob, size: tuple[int, int], *, preview: tuple[int, int]) -> Floats | None:
    """The part of the content image that became a result of `size`, (h, w, 3 | 4), at the preview's size."""
    pixels = _read(job.content)
    if pixels is None:
        return None
    return resize_pixels(pixels, preview, box=central_crop((pixels.shape[1], pixels.shape[0]), size))


def _style(path: Path, files: Path) -> str | None:
    """The address of the preview of a style image."""
    target = files / f"{_digest(path.resolve())}-style.jpg"
    if not _is_fresh(target, [path]):
        pixels = _read(path)
        if pixels is None:
            return None
        files.mkdir(parents=True, exist_ok=True)
        write_bytes(target, _jpeg(_as_bytes(_on_white(metrics.reduced(pixels, STYLE_EDGE)))))
    return address(target, files.parent)


def _read(path: Path) -> Floats | None:
    """An input picture, (H, W, 3 | 4); None if it no longer exists or cannot be read."""
    try:
        return read_picture(path, max_megapixels=NO_LIMIT).samples
    except HiresNstError:
        return None


def _read_8bit(path: Path) -> Bytes8 | None:
    """A result as uint8 (H, W, 3), on white where it is transparent: a quarter of the memory of an input picture.

    None if it cannot be read.
    """
    suffix = path.suffix.lower()
    channels = (3,) if suffix in (".jpg", ".jpeg") else (3, 4)
    with suppress(OSError, ValueError, RuntimeError, LookupError, tifffile.TiffFileError):  # another program's file
        if suffix in (".tif", ".tiff"):
            samples = np.asarray(tifffile.imread(path))
        else:
            decoders = {".png": imagecodecs.png_decode, ".webp": imagecodecs.webp_decode}
            samples = np.asarray(decoders.get(suffix, imagecodecs.jpeg8_decode)(path.read_bytes()))
        if samples.ndim == 3 and samples.shape[2] in channels and samples.dtype in (np.uint8, np.uint16):
            return samples if samples.shape[2] == 3 and samples.dtype == np.uint8 else _flattened(samples)
    pixels = _read(path)
    return None if pixels is None else _as_bytes(_on_white(pixels))


def _flattened(samples: NDArray[Any]) -> Bytes8:
    """uint8 or uint16 (H, W, 3 | 4) as uint8 (H, W, 3) on white, in strips."""
    result = np.empty((*samples.shape[:2], 3), np.uint8)
    peak = np.float32(np.iinfo(samples.dtype).max)
    for top in range(0, len(samples), STRIP_ROWS):
        strip = samples[top : top + STRIP_ROWS].astype(np.float32) / peak
        result[top : top + STRIP_ROWS] = _as_bytes(_on_white(strip))
    return result


def _on_white(pixels: Floats) -> Floats:
    """(H, W, 3), of (H, W, 3) or, with alpha, (H, W, 4)."""
    return pixels if pixels.shape[2] == 3 else flattened(pixels[..., :3], pixels[..., 3], background=WHITE)


def _as_bytes(pixels: Floats) -> Bytes8:
    return np.rint(pixels * 255).astype(np.uint8)


def _cut_pyramid(target: Path, pixels: Bytes8) -> int:
    """Cut a picture into tiles at its own size, half of it, and so on until the preview is enough.

    Returns:
        The number of sizes. The folder `target` is replaced when all tiles are written.
    """
    with TemporaryDirectory(prefix=".", suffix=".part", dir=target.parent, ignore_cleanup_errors=True) as name:
        temporary = Path(name)
        for level in count():
            for row, top in enumerate(range(0, pixels.shape[0], TILE)):
                for column, left in enumerate(range(0, pixels.shape[1], TILE)):
                    tile = _jpeg(pixels[top : top + TILE, left : left + TILE], quality=90)
                    (temporary / f"{level}-{row}-{column}.jpg").write_bytes(tile)
            if max(pixels.shape[:2]) <= 2 * PREVIEW_EDGE:
                break
            pixels = _halved(pixels)
        temporary.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        temporary.replace(target)
    return level + 1


def _halved(pixels: Bytes8) -> Bytes8:
    """Half the size, rounded up: means of 2 x 2 pixels."""
    return np.asarray(Image.fromarray(pixels).reduce(2))


def _jpeg(pixels: Bytes8, *, quality: int = 85) -> bytes:
    encoded = BytesIO()
    # Not progressive: for that, Pillow guesses the size of the file, and fails on noise, whose files are larger.
    Image.fromarray(np.ascontiguousarray(pixels)).save(encoded, "JPEG", quality=quality, subsampling=0)
    return encoded.getvalue()


def _digest(*parts: object) -> str:
    """A file name of 16 letters and digits that stands for these values."""
    return hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "surrogateescape")).hexdigest()[:16]
