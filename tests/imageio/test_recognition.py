"""What a file is, by its content."""

from __future__ import annotations

import io
import os
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from hires_nst.imageio.recognition import FORMATS_BY_NAME, is_picture, recognise

PIXELS = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)


def saved(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, kind)
    return file.getvalue()


def tiff(**options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, PIXELS, photometric="rgb", **options)
    return file.getvalue()


def sensor(make: str = "", *, dng: bool = False, big: bool = False, byteorder: Any = "<") -> bytes:
    """A preview, and inside it a page of a sensor's samples."""
    tags: list[Any] = [(271, 2, len(make) + 1, make, True)] if make else []
    tags += [(50706, 1, 4, b"\1\4\0\0", True)] if dng else []
    file = io.BytesIO()
    with tifffile.TiffWriter(file, bigtiff=big, byteorder=byteorder) as writer:
        writer.write(PIXELS, photometric="rgb", subfiletype=1, subifds=1, extratags=tags)
        writer.write(PIXELS[..., 0], photometric="cfa", extratags=[(33421, 3, 2, (2, 2), True), (33422, 1, 4, b"0112")])
    return file.getvalue()


def box(brand: bytes, *others: bytes) -> bytes:
    brands = b"".join(others)
    return struct.pack(">I4s4sI", 16 + len(brands), b"ftyp", brand, 0) + brands + bytes(100)


KNOWN = {
    "JPEG": saved("JPEG"), "PNG": saved("PNG"), "WebP": saved("WEBP"), "AVIF": saved("AVIF"), "BMP": saved("BMP"),
    "GIF": saved("GIF"), "PNM": b"P5\n# a comment\n2 1 255\nab", "TIFF": tiff(), "TIFF: big": tiff(bigtiff=True),
    "TIFF: MM": tiff(byteorder=">"), "JPEG 2000": saved("JPEG2000"), "JPEG 2000: stream": b"\xff\x4f\xff\x51\0",
    "JPEG XL": b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL: stream": b"\xff\x0a\0", "HEIC": box(b"heic", b"mif1", b"heic"),
    "HEIC: mif1": box(b"mif1", b"heic"), "AVIF: mif1": box(b"mif1", b"avif", b"miaf"), "CR3": box(b"crx ", b"isom"),
    "CR2": b"II*\0\x10\0\0\0CR\2\0" + bytes(50), "RAF": b"FUJIFILMCCD-RAW 0201", "ORF": b"IIRO\x08\0\0\0",
    "RW2": b"IIU\0\x08\0\0\0", "DNG": sensor(dng=True), "DNG: MM": sensor(dng=True, byteorder=">"),
    "DNG: big": sensor(dng=True, big=True), "DNG: linear": tiff(extratags=[(50706, 1, 4, b"\1\4\0\0", True)]),
    "NEF": sensor("NIKON CORPORATION"), "ARW": sensor("SONY"), "camera raw: of any make": sensor("Somebody"),
    "TIFF: of a camera": tiff(extratags=[(271, 2, 6, "NIKON", True)]), "Photoshop": b"8BPS\0\1",
}  # fmt: skip


@pytest.mark.parametrize("kind", KNOWN)
@pytest.mark.parametrize("name", ["a", "a.JPE", "a.png", "a.txt"])
def test_a_picture_is_known_by_its_content(tmp_path: Path, kind: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(KNOWN[kind])
    format = recognise(path)
    assert format is not None and is_picture(path)
    assert format.name.removesuffix(" camera raw") == kind.split(":")[0]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"P", b"P6 of the list\n", b"photo.jpg\nBM.jpg\n", b"BMW and others", b"%PDF-1.7", b"RIFF\0\0\0\0WAVEfmt ",
        b"<html>", box(b"isom", b"mp42"), box(b"qt  "), bytes(600), b"\xff" * 600, b"version https://git-lfs\n",
    ],
)  # fmt: skip
def test_what_is_no_picture(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    assert recognise(tmp_path / "a") is None
    assert not is_picture(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "a.HEIC")
    assert is_picture(tmp_path / "a.HEIC")  # and then fails by name


def test_what_cannot_be_opened_is_none(tmp_path: Path) -> None:
    assert recognise(tmp_path) is None
    assert recognise(tmp_path / "missing") is None
    assert recognise(Path("a\0b")) is None
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert recognise(tmp_path / "pipe") is None


def test_every_start_of_a_tiff_is_recognised_without_an_error(tmp_path: Path) -> None:
    whole = sensor(dng=True)
    for length in range(len(whole)):
        (tmp_path / "a").write_bytes(whole[:length])
        format = recognise(tmp_path / "a")
        assert format is None if length < 4 else format is not None and format.name in ("TIFF", "DNG camera raw")


def test_what_needs_another_package_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert FORMATS_BY_NAME["JPEG"].readable and not FORMATS_BY_NAME["Photoshop"].readable
    monkeypatch.setitem(sys.modules, "rawpy", None)
    raw = FORMATS_BY_NAME["NEF camera raw"]
    assert not raw.readable
    assert raw.unreadable == "NEF camera raw pictures: run pip install 'hires-nst[raw]' to read them"
