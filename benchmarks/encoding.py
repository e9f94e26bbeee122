"""The time of writing a picture, with one thread and with all that the program takes.

python benchmarks/encoding.py [--megapixels 20] [--repeat 3]

The picture is the sample photograph, enlarged: noisier ones take longer.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

from common import picture, report

from hires_nst.imageio import in_threads
from hires_nst.imageio.picture import Floats
from hires_nst.imageio.writing import Encoding, write_picture

NAMES = ("a.png", "a.tif", "a.jpg")


def seconds(pixels: Floats, name: str, *, threads: int, repeat: int) -> tuple[float, int]:
    """The least seconds of some tries, and the bytes of the file."""
    encoding, found = Encoding(dpi=300, bit_depth=8, quality=95, compression="deflate"), []
    with tempfile.TemporaryDirectory() as folder, patch.object(in_threads, "THREADS", threads):
        file = Path(folder) / name
        for _ in range(repeat):
            began = time.monotonic()
            write_picture(file, pixels, encoding=encoding, overwrite=True)
            found.append(time.monotonic() - began)
        return min(found), file.stat().st_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, default=20)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    side = round((options.megapixels * 1e6) ** 0.5)
    pixels = picture("contents", "landscape", side, side).pixels
    rows = []
    for name in NAMES:
        one, size = seconds(pixels, name, threads=1, repeat=options.repeat)
        many, _ = seconds(pixels, name, threads=in_threads.THREADS, repeat=options.repeat)
        rows.append([name, f"{one:.2f}", f"{many:.2f}", f"{one / many:.2f}", f"{size / 1e6:.2f}"])
        print(*rows[-1], flush=True)
    report(
        "encoding",
        f"Writing a picture of {options.megapixels:g} megapixels, of 8 bits",
        ["file", "seconds, one thread", f"{in_threads.THREADS} threads", "times as fast", "MB"],
        rows,
    )


if __name__ == "__main__":
    main()
