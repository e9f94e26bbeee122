"""The sentence about a file that cannot be read says which kind of failure it is."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from hires_nst.errors import InputError
from hires_nst.imageio.reading import picture_size, read_picture

RGB = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)


def tiff(samples: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, samples, **{"photometric": "rgb", "metadata": None, **options})
    return file.getvalue()


def damaged(content: bytes, *, at: float = 0.5) -> bytes:
    middle = int(len(content) * at)
    return content[:middle] + bytes(b ^ 0x55 for b in content[middle : middle + 20]) + content[middle + 20 :]


def saved(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)).save(file, kind)
    return file.getvalue()


def deep_jpeg() -> bytes:
    """A JPEG file whose frame has 12 bits a sample."""
    content = saved("JPEG")
    precision = content.index(b"\xff\xc0") + 4
    return content[:precision] + b"\x0c" + content[precision + 1 :]


FOREIGN = {
    b"%PDF-1.7\n": "a PDF document; export its page as PNG",
    b"<?xml version='1.0'?>\n<!-- x --><svg xmlns='x'>": "an SVG drawing; export it as PNG",
    b"<!DOCTYPE html><html>": "an HTML page; download the picture itself",
    b"\n <html><body>Forbidden": "an HTML page; download the picture itself",
    b"version https://git-lfs.github.com/spec/v1\noid": "a Git LFS pointer, not the picture itself; run git lfs pull",
    b"PK\3\4\x14\0": "a ZIP archive or a document; unpack it",
    b"\0\0\0\x18ftypmp42\0\0\0\0isommp42": "a video; export a frame as PNG",
    b"RIFF\0\0\0\0AVI LIST": "a video; export",
    b"RIFF\0\0\0\0WAVEfmt ": "a sound; give a picture",
    bytes(600): "nothing but zeros, as after a failed copy; copy it again",
    "A shopping list: Äpfel.\n".encode(): "a text; give a picture",
}


@pytest.mark.parametrize("content", FOREIGN)
def test_what_is_no_picture_is_named(tmp_path: Path, content: bytes) -> None:
    refused(tmp_path, content, f"is not a picture but {FOREIGN[content]}")


def refused(folder: Path, content: bytes, *sentences: str) -> None:
    path = folder / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_picture(path, max_megapixels=1)
    for sentence in sentences:
        assert f"{path} {sentence}" in str(caught.value) or sentence in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty; give a picture: JPEG, PNG"),
        (b"\x93\x11\x80\x03" * 50, "is not a picture in a format that is known here, or its start is damaged"),
        (b"\x76\x2f\x31\x01" + bytes(90), "is an OpenEXR picture; save it"),
        (b"\0\0\1\0" + bytes(90), "is an ICO picture; save it"),
        (deep_jpeg(), "is a JPEG of 12 bits, which is not read; convert it to PNG, TIFF or an ordinary JPEG"),
        (bytes(imagecodecs.jpegls_encode(RGB)), "is a JPEG without loss (JPEG-LS), which is not read"),
        (b"8BPS\0\1" + bytes(90), "is a Photoshop picture; save it as TIFF, PNG or JPEG"),
        (tiff(RGB.astype(np.int16)), "has signed samples"),
        (tiff(RGB.astype(np.int8)), "unsigned samples of 8 or 16 bits"),
        (tiff(RGB.astype(np.uint64)), "has samples of 64 bits; convert it to 8 or 16 bits"),
        (tiff(RGB[..., 0].astype(np.complex64), photometric="minisblack"), "has complex samples"),
        (tiff(np.zeros((4, 16, 16), np.uint8), photometric="minisblack", volumetric=True), "is a volume of 4 slices"),
        (tiff(np.zeros((8, 8, 20), np.uint8), planarconfig="contig"), "is a TIFF of 20 channels, more than 16"),
        (bytes(imagecodecs.jpeg2k_encode(RGB.astype(np.int16), level=0)), "has signed samples"),
        (saved("PNG")[:-300], "ends early: part of the PNG file is missing"),
        (damaged(saved("PNG")), "is a damaged PNG file: a checksum is wrong"),
        (damaged(tiff(RGB, compression="zlib"), at=0.9), "is a damaged TIFF file"),
        (saved("WEBP")[:-300], "ends early: part of the WebP file is missing"),
        (saved("GIF")[:-300], "ends early: part of the GIF file is missing"),
        (saved("AVIF")[:-300], "ends early: part of the AVIF file is missing"),
        (saved("BMP")[:-300], "ends early: part of the BMP file is missing"),
        (b"P6\n9 9\n255\nabc", "ends early: part of the PNM file is missing"),
        (b"II*\0", "is a damaged TIFF file"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: bytes, sentence: str) -> None:
    refused(tmp_path, content, sentence)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (tiff(RGB.astype(np.int16)), "has signed samples"),
        (tiff(RGB.astype(np.uint64)), "has samples of 64 bits"),
        (tiff(RGB[..., 0].astype(np.complex64), photometric="minisblack"), "has complex samples"),
        (tiff(np.zeros((4, 16, 16), np.uint8), photometric="minisblack", volumetric=True), "is a volume of 4 slices"),
        (tiff(np.zeros((8, 8, 20), np.uint8), planarconfig="contig"), "is a TIFF of 20 channels"),
        (tiff(RGB, photometric="itulab"), "has colours of a kind that is not read"),
        (bytes(imagecodecs.jpeg2k_encode(RGB.astype(np.int16), level=0)), "has signed samples"),
    ],
)
def test_what_the_header_shows_is_refused_by_the_header(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        picture_size(tmp_path / "a", max_megapixels=1)


def test_what_a_format_needs_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    path = tmp_path / "IMG_1.HEIC"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    for function in (read_picture, picture_size):
        with pytest.raises(InputError) as caught:
            function(path, max_megapixels=1)
        assert str(caught.value) == f"{path} is a HEIC picture; run pip install pillow-heif to read it"
