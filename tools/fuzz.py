"""Mutate pictures and configurations, and check that they give results or errors of the program's own, and no more.

python tools/fuzz.py --count 50000 [--seed 0] [--folder DIR]

Each case is a sound file with a few bytes or words changed, cut, doubled or moved. Pictures are measured and read, and
their metadata is carried over into results; configurations are loaded and written back. What raises anything but an
error of the program, takes longer than the limit, or ends the process is a finding: it is kept in the folder, and the
exit code is 1.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import random
import resource
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageCms

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hires_nst.config import Config, commented_yaml
from hires_nst.config.loading import validate
from hires_nst.errors import HiresNstError
from hires_nst.imageio.metadata.embedded import read_metadata
from hires_nst.imageio.metadata.record import metadata_of_result
from hires_nst.imageio.metadata.xmp import Origin
from hires_nst.imageio.reading import picture_size, read_picture
from hires_nst.imageio.writing import Encoding, write_picture

SECONDS = 20
"""What a case may take."""
MEMORY = 6_000_000_000
"""Bytes of address space that a case may take."""
ORIGIN = Origin("0", ("painting.jpg",), "{}")
RESULTS = {".png": "PNG", ".jpg": "JPEG", ".tif": "TIFF", ".webp": "WebP"}
ENCODING = Encoding(dpi=300, bit_depth=8, quality=90, compression="deflate")
TOKENS = (
    b"null",
    b"-1",
    b"1e999",
    b".nan",
    b"[]",
    b"{}",
    b"[1",
    b"'",
    b"&a",
    b"*a",
    b"!!python/object:x",
    b"\0",
    b"\xff",
)


def picture_seeds() -> Iterator[tuple[str, bytes]]:
    """Sound pictures of a few pixels: every format, with metadata where it has any."""
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (24, 20, 4), np.uint8)
    deep = rng.integers(0, 65536, (24, 20, 3), np.uint16)
    exif = Image.Exif()
    exif[0x0112], exif[0x013B], exif[0x010E] = 6, "A. Name", "A description"
    exif.get_ifd(0x8769)[0xA001] = 2
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for mode in ("RGB", "RGBA", "L", "LA", "P", "CMYK", "1"):
        image = Image.fromarray(colour).convert("RGB" if mode == "CMYK" else "RGBA").convert(mode)
        for kind in ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM", "JPEG2000", "AVIF"):
            file = io.BytesIO()
            with suppress(OSError, KeyError, ValueError):
                image.save(file, kind, exif=exif.tobytes(), icc_profile=profile)
                yield f"{mode}.{kind.lower()}", file.getvalue()
    yield "deep.png", bytes(imagecodecs.png_encode(deep))
    yield "deep.jxl", bytes(imagecodecs.jpegxl_encode(deep))
    yield "colour.jxl", bytes(imagecodecs.jpegxl_encode(colour))
    samples: list[tuple[str, Any, dict[str, Any]]] = [
        ("deep", deep, {"photometric": "rgb"}),
        ("float", deep.astype(np.float32) / 65535, {"photometric": "rgb", "compression": "deflate"}),
        ("alpha", colour, {"photometric": "rgb", "extrasamples": ["unassalpha"], "iccprofile": profile}),
        ("lab", colour[..., :3], {"photometric": "cielab"}),
        ("cmyk", colour, {"photometric": "separated"}),
        ("signed", deep.astype(np.int16), {"photometric": "rgb"}),
    ]
    for name, data, options in samples:
        file = io.BytesIO()
        tifffile.imwrite(file, data, **options)
        yield f"{name}.tiff", file.getvalue()
    pages = io.BytesIO()
    with tifffile.TiffWriter(pages) as writer:
        writer.write(colour[::2, ::2, :3], subfiletype=1, photometric="rgb")
        writer.write(colour[..., :3], photometric="rgb", subifds=1)
        writer.write(colour[::2, ::2, :3], subfiletype=1, photometric="rgb")
    yield "pages.tiff", pages.getvalue()
    with suppress(ImportError):
        import pillow_heif

        file = io.BytesIO()
        pillow_heif.from_pillow(Image.fromarray(colour)).save(file, exif=exif.tobytes())
        yield "photo.heic", file.getvalue()


def mutated(data: bytes, rng: random.Random, *, is_text: bool) -> bytes:
    """A copy with one to eight changes."""
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        if not result:
            break
        early = rng.random() < 0.5  # headers are at the start
        at = rng.randrange(min(len(result), 200) if early else len(result))
        length = rng.choice((1, 1, 2, 4, 16, 100))
        change = rng.randrange(7)
        if change == 0:
            result[at] ^= 1 << rng.randrange(8)
        elif change == 1:
            result[at : at + length] = rng.randbytes(length)
        elif change == 2:
            del result[at : at + length]
        elif change == 3:
            result[at:at] = result[at : at + length] if rng.random() < 0.5 else rng.randbytes(length)
        elif change == 4:
            del result[at:]
        elif change == 5:
            result[at : at + 4] = rng.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\0\0\0\1"))
        elif is_text:
            result[at : at + length] = rng.choice(TOKENS)
        else:
            other = rng.randrange(len(result))
            result[at : at + length] = result[other : other + length]
    return bytes(result)


def try_picture(path: Path) -> str:
    """Everything that the program does with a picture before it paints."""
    width, height = picture_size(path, max_megapixels=10)
    picture = read_picture(path, max_megapixels=10)
    assert (picture.width, picture.height) == (width, height), "the header's size is not the picture's"
    assert np.isfinite(picture.pixels).all() and 0 <= picture.pixels.min() <= picture.pixels.max() <= 1
    assert picture.alpha is None or (np.isfinite(picture.alpha).all() and picture.alpha.max() <= 1)
    return "read"


def try_metadata(path: Path) -> None:
    """Carry the metadata of a picture over into a result of each format; none of it may stop that."""
    found = read_metadata(path)
    for suffix, kind in RESULTS.items():
        metadata, _ = metadata_of_result(found, origin=ORIGIN, keep_location=True, kind=kind)
        result = path.with_name(f"result-{path.stem}{suffix}")
        write_picture(result, np.zeros((2, 3, 3), np.float32), encoding=ENCODING, metadata=metadata, overwrite=True)
        with Image.open(result) as image:
            image.load()
            assert image.getexif().get(0x0112, 1) == 1, "the orientation is kept"
        result.unlink()


def try_config(path: Path) -> str:
    """Load a configuration, and write it back."""
    config = validate(path)
    again = path.with_name(f"again-{path.name}")
    again.write_text(commented_yaml(config), encoding="utf-8")
    assert validate(again) == config, "written back, the configuration differs"
    again.unlink()
    return "loaded"


def run_case(number: int, seed: int, *, seeds: list[tuple[str, bytes]], folder: Path) -> str:
    """Make a case and try it; what came of it in a word. What is no error of the program is raised."""
    rng = random.Random(f"{seed}-{number}")
    name, data = rng.choice(seeds) if number % 5 else seeds[-1]
    is_config = name.endswith(".yaml")
    path = folder / f"case-{number}{Path(name).suffix}"
    path.write_bytes(mutated(data, rng, is_text=is_config))
    try:
        if not is_config:
            try_metadata(path)
        result = (try_config if is_config else try_picture)(path)
    except HiresNstError as error:
        assert "\n" not in str(error), f"an error of several lines: {error}"
        result = f"refused ({type(error).__name__})"
    path.unlink()
    return f"{Path(name).suffix} {result}"


def work(numbers: range, seed: int, *, folder: Path, reports: Any) -> None:
    """Try a range of cases, and report each before and after."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError(f"longer than {SECONDS} s")))
    seeds = [*picture_seeds(), ("config.yaml", commented_yaml(Config()).encode())]
    for number in numbers:
        reports.put((number, None, None))
        signal.alarm(SECONDS)
        try:
            reports.put((number, run_case(number, seed, seeds=seeds, folder=folder), None))
        except Exception:
            reports.put((number, "FOUND", traceback.format_exc()))
        finally:
            signal.alarm(0)


def follow(numbers: range, seed: int, *, folder: Path, on_result: Callable[[int, str, str | None], None]) -> None:
    """Try a range of cases in a process that may die, and go on after the case that ended it."""
    context = multiprocessing.get_context("spawn")
    while numbers:
        reports = context.Queue()
        process = context.Process(target=work, args=(numbers, seed), kwargs={"folder": folder, "reports": reports})
        process.start()
        last, done = numbers.start - 1, numbers.start - 1
        while done < numbers[-1]:
            try:
                number, result, trace = reports.get(timeout=2 * SECONDS)
            except Exception:
                break
            last = number
            if result is not None:
                done = number
                on_result(number, result, trace)
        process.join(timeout=5)
        if done < numbers[-1]:
            process.kill()
            process.join()
            last = max(last, done + 1)
            on_result(last, "FOUND", f"the process ended ({process.exitcode}), or stopped responding")
            done = last
        numbers = range(done + 1, numbers.stop)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the cases are written, and the findings kept")
    options = parser.parse_args()
    results, found = Counter[str](), 0
    folder = options.folder or Path(tempfile.mkdtemp(prefix="fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)

    def on_result(number: int, result: str, trace: str | None) -> None:
        nonlocal found
        results[result] += 1
        if trace is not None:
            found += 1
            print(f"case {number}: {trace.strip().splitlines()[-1]}", flush=True)
            (folder / f"case-{number}.txt").write_text(trace)

    follow(range(options.start, options.start + options.count), options.seed, folder=folder, on_result=on_result)
    for result, count in sorted(results.items()):
        print(f"{count:8} {result}")
    print(f"{options.count} cases, {found} findings{f' in {folder}' if found else ''}")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
