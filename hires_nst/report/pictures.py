"""The pictures beside a report: previews, what the full-size view shows, and the scores measured on the way.

Everything is made once: again only when it is missing, or older than the pictures that it shows. A browser shows a PNG
or JPEG of moderate size as it is. Larger ones would take gigabytes of its memory, so these are cut into a pyramid
of JPEG tiles, of which the view loads those in sight. A TIFF, which no browser shows, becomes a JPEG or, when
it is large, a pyramid.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
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
from hires_nst.files import atomic_write
from hires_nst.imageio.paper import central_crop
from hires_nst.imageio.picture import Floats
from hires_nst.imageio.reading import read_picture
from hires_nst.imageio.resize import resize_pixels
from hires_nst.report.model import ReportedJob
from hires_nst.version import VERSION

FOLDER = REPORT_FILES
PREVIEW_EDGE = 1000
STYLE_EDGE = 240
WHOLE_MEGAPIXELS = 20.0
"""A larger picture is cut into tiles; decoded, one of this size takes a browser 80 MB."""

TILE = 512
STRIP_ROWS = 512
SHOWN_SUFFIXES = (".png", ".jpg", ".jpeg")
NO_LIMIT = float("inf")  # the run itself checked images.max_megapixels

Bytes8 = NDArray[np.uint8]


@dataclass(frozen=True)
class JobPictures:
    """What a page shows of a job: addresses relative to the page, quoted; None for what could not be made.

    Attributes:
        width, height: of the result.
        preview: (width, height) of `before` and `after`, which show the same part.
        full: the result in one file that a browser can show.
        tiles: the folder of the pyramid, in place of `full`; `levels` is how many sizes it has. Level 0 is the result,
            each further one half the size. The tile at a row and a column is `LEVEL-ROW-COLUMN.jpg`.
        pending: there is a result, and what the page shows of it is still to be made.
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
    """Make what is missing or outdated of a job's pictures in `folder`/report-files, and measure its scores.

    A picture that is not there or cannot be read is left out. Unless they are to be made, they are `pending` where they
    are not ready.

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
    inputs = _digest(VERSION, sources, job.crop, job.borders)
    made = _made(notes, inputs, files) if _is_fresh(notes, sources) else None
    if made is None and not make:
        return JobPictures(pending=True)
    styles = tuple(_style(path, files) for path in job.styles)
    if made is None:
        try:
            made = _make(job, files, key)
        except _Unreadable:
            return JobPictures(styles=styles)
        # Last, as it says that all the others are there.
        data = json.dumps({"inputs": inputs, **made}).encode()
        save(notes, data)
    whole = made["full"]
    return JobPictures(
        before=made["before"] and address(files / made["before"], folder),
        after=address(files / made["after"], folder),
        styles=styles,
        width=made["width"],
        height=made["height"],
        preview=(made["preview"][0], made["preview"][1]),
        full=address(job.output, folder) if whole == "output" else whole and address(files / whole, folder),
        tiles=made["tiles"] and address(files / made["tiles"], folder),
        levels=made["levels"],
        scores=tuple(Score(**score) for score in made["scores"]),
    )


def address(path: Path, folder: Path) -> str:
    """The URL of a file for a page in `folder`: relative and quoted, or absolute from one drive to another."""
    try:
        relative = os.path.relpath(path, folder)
    except ValueError:
        return path.resolve().as_uri()
    return quote(os.fsencode(relative.replace(os.sep, "/")))


class _Unreadable(Exception):
    pass


def _make(job: ReportedJob, files: Path, key: str) -> dict[str, Any]:
    """Make everything of a job that is done."""
    pixels = _read_8bit(job.output)
    height, width = pixels.shape[:2]
    files.mkdir(parents=True, exist_ok=True)
    after = metrics.reduced(pixels, PREVIEW_EDGE)
    preview = after.shape[1], after.shape[0]
    _save_jpeg(files / f"{key}-after.jpg", after)
    photograph = _photograph(job, (width, height), preview)
    before = None
    if photograph is not None:
        before = f"{_digest(job.content.resolve(), job.crop, preview)}-before.jpg"
        _save_jpeg(files / before, photograph)
    whole: str | None = None
    tiles, levels = None, 0
    if width * height > WHOLE_MEGAPIXELS * 1e6:
        tiles = f"{key}-tiles"
        levels = _cut_pyramid(files / tiles, pixels)
    elif job.output.suffix.lower() in SHOWN_SUFFIXES:
        whole = "output"
    else:
        whole = f"{key}-full.jpg"
        _save_jpeg(files / whole, pixels, quality=92)
    return {
        "before": before,
        "after": f"{key}-after.jpg",
        "width": width,
        "height": height,
        "preview": preview,
        "full": whole,
        "tiles": tiles,
        "levels": levels,
        "scores": [asdict(score) for score in _scores(job, pixels, photograph)],
    }


def _made(notes: Path, inputs: str, files: Path) -> dict[str, Any] | None:
    """What was made before, when it is all there and of the same inputs."""
    try:
        made: dict[str, Any] = json.loads(notes.read_bytes())
        names = [made[kind] for kind in ("before", "after", "full", "tiles")]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    there = all((files / name).exists() for name in names if name not in (None, "output"))
    return made if made.get("inputs") == inputs and there else None


def _is_fresh(target: Path, sources: list[Path]) -> bool:
    """Whether a file is there and no older than any of its sources."""
    try:
        made = target.stat().st_mtime_ns
        return all(source.stat().st_mtime_ns <= made for source in sources)
    except OSError:
        return False


def _scores(job: ReportedJob, pixels: Bytes8, photograph: Floats | None) -> tuple[Score, ...]:
    """The measures of a result; those for which a picture is missing are left out."""
    paintings = {path: painting for path in job.styles if (painting := _read(path)) is not None}
    borders = None if job.borders is None else (job.borders.rows, job.borders.columns)
    return metrics.scores(
        pixels, content=photograph, styles={path.stem: p for path, p in paintings.items()}, borders=borders
    )


def _photograph(job: ReportedJob, size: tuple[int, int], preview: tuple[int, int]) -> Floats | None:
    """The part of the photograph that was painted, at the preview's size."""
    pixels = _read(job.content)
    if pixels is None:
        return None
    box = job.crop or central_crop((pixels.shape[1], pixels.shape[0]), size)
    return resize_pixels(pixels, preview, box=(float(box[0]), float(box[1]), float(box[2]), float(box[3])))


def _style(path: Path, files: Path) -> str | None:
    """The address of a painting's preview."""
    target = files / f"{_digest(path.resolve())}-style.jpg"
    if not _is_fresh(target, [path]):
        pixels = _read(path)
        if pixels is None:
            return None
        files.mkdir(parents=True, exist_ok=True)
        _save_jpeg(target, metrics.reduced(pixels, STYLE_EDGE))
    return address(target, files.parent)


def _read(path: Path) -> Floats | None:
    """An input picture, if it is still there and can be read."""
    try:
        return read_picture(path, max_megapixels=NO_LIMIT).pixels
    except HiresNstError:
        return None


def _read_8bit(path: Path) -> Bytes8:
    """A result as uint8 (H, W, 3), on white where it is transparent: a quarter of the memory of an input picture."""
    try:
        if path.suffix.lower() in (".tif", ".tiff"):
            samples = np.asarray(tifffile.imread(path))
        else:
            decode = imagecodecs.png_decode if path.suffix.lower() == ".png" else imagecodecs.jpeg8_decode
            samples = np.asarray(decode(path.read_bytes()))
        plain = samples.ndim == 3 and samples.dtype in (np.uint8, np.uint16)
        if plain and samples.shape[2] == 3 and samples.dtype == np.uint8:
            return samples
        if plain and (
            samples.shape[2] == 3 or (samples.shape[2] == 4 and path.suffix.lower() in (".png", ".tif", ".tiff"))
        ):
            return _flattened(samples)
    except (OSError, ValueError, RuntimeError, LookupError, tifffile.TiffFileError):
        pass  # what the program did not write itself may be of any kind
    pixels = _read(path)
    if pixels is None:
        raise _Unreadable
    return _as_bytes(pixels)


def _flattened(samples: NDArray[Any]) -> Bytes8:
    """uint8 or uint16 (H, W, 3 | 4) as uint8 (H, W, 3) on white, in strips."""
    result = np.empty((*samples.shape[:2], 3), np.uint8)
    peak = np.float32(np.iinfo(samples.dtype).max)
    for top in range(0, len(samples), STRIP_ROWS):
        strip = samples[top : top + STRIP_ROWS].astype(np.float32) / peak
        colour = strip[..., :3]
        if strip.shape[2] == 4:
            colour = colour * strip[..., 3:] + (1 - strip[..., 3:])
        result[top : top + STRIP_ROWS] = _as_bytes(colour)
    return result


def _as_bytes(pixels: Floats) -> Bytes8:
    return np.rint(pixels * 255).astype(np.uint8)


def _cut_pyramid(target: Path, pixels: Bytes8) -> int:
    """Cut a picture into tiles at its own size, half of it, and so on until the preview does; the number of sizes.

    The folder takes its place when it is complete.
    """
    temporary = Path(tempfile.mkdtemp(prefix=".", suffix=".part", dir=target.parent))
    try:
        level = 0
        while True:
            for row in range(-(-pixels.shape[0] // TILE)):
                for column in range(-(-pixels.shape[1] // TILE)):
                    part = pixels[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
                    (temporary / f"{level}-{row}-{column}.jpg").write_bytes(_jpeg(part, quality=90))
            level += 1
            if max(pixels.shape[:2]) <= 2 * PREVIEW_EDGE:
                break
            pixels = _halved(pixels)
        temporary.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return level


def _halved(pixels: Bytes8) -> Bytes8:
    """Half the size, rounded up: means of 2 x 2 pixels, in strips."""
    height, width = pixels.shape[:2]
    result = np.empty((-(-height // 2), -(-width // 2), 3), np.uint8)
    for top in range(0, height, STRIP_ROWS):
        strip = pixels[top : top + STRIP_ROWS].astype(np.uint16)
        strip = np.pad(strip, ((0, strip.shape[0] % 2), (0, width % 2), (0, 0)), mode="edge")
        total = strip[::2, ::2] + strip[1::2, ::2] + strip[::2, 1::2] + strip[1::2, 1::2]
        result[top // 2 : top // 2 + len(total)] = (total + 2) // 4
    return result


def _save_jpeg(path: Path, pixels: Floats | Bytes8, *, quality: int = 85) -> None:
    save(path, _jpeg(pixels if pixels.dtype == np.uint8 else _as_bytes(pixels), quality=quality))  # type: ignore[arg-type]


def _jpeg(pixels: Bytes8, *, quality: int) -> bytes:
    encoded = BytesIO()
    # Not progressive: for that, Pillow guesses how large the file becomes, and fails on noise, which is larger.
    Image.fromarray(np.ascontiguousarray(pixels)).save(encoded, "JPEG", quality=quality, subsampling=0)
    return encoded.getvalue()


def save(path: Path, data: bytes) -> None:
    """Write a file, in place of whatever is there."""

    def write(file: BinaryIO) -> None:
        file.write(data)

    atomic_write(path, write, overwrite=True)


def _digest(*parts: object) -> str:
    """A name for what these parts say, of 16 letters and digits."""
    return hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "surrogateescape")).hexdigest()[:16]
