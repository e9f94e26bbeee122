"""The formats that are read: pixels, depth, alpha, orientation, profiles, pages, and cut files."""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from hires_nst.errors import InputError
from hires_nst.imageio.picture import Picture
from hires_nst.imageio.reading import picture_size, read_picture
from hires_nst.imageio.recognition import recognise

HEIGHT, WIDTH = 24, 32
Y, X = np.mgrid[:HEIGHT, :WIDTH]
SMOOTH = np.stack([60 + 4 * X, 230 - 5 * Y, 40 + 2 * X + 3 * Y], -1).astype(np.uint8)
ALPHA = (50 + 6 * X).astype(np.uint8)[..., None]
ORIENTATION = 0x0112

pillow_heif = pytest.importorskip("pillow_heif")


def read(path: Path) -> Picture:
    picture = read_picture(path, max_megapixels=1)
    assert picture_size(path, max_megapixels=1) == (picture.width, picture.height)
    return picture


def deep(samples: np.ndarray, bits: int) -> np.ndarray:
    """8-bit samples with further bits below them, which differ."""
    wide = samples.astype(np.uint32) << 8 | (X * 7 + Y * 13)[..., None] % 256
    return np.asarray(wide >> (16 - bits), np.uint16)


def pillow(kind: str, **options: Any) -> Callable[[np.ndarray], bytes]:
    def encode(samples: np.ndarray) -> bytes:
        file = io.BytesIO()
        Image.fromarray(samples.squeeze()).save(file, kind, **options)
        return file.getvalue()

    return encode


def heif(samples: np.ndarray) -> bytes:
    file, mode = io.BytesIO(), {1: "L", 3: "RGB", 4: "RGBA"}[samples.shape[2]]
    data = samples if samples.dtype == np.uint8 else samples << 6
    mode += "" if samples.dtype == np.uint8 else ";16"
    image = pillow_heif.from_bytes(mode=mode, size=(WIDTH, HEIGHT), data=np.ascontiguousarray(data).tobytes())
    image.save(file, quality=-1, chroma=444, matrix_coefficients=0)
    return file.getvalue()


def netpbm(samples: np.ndarray) -> bytes:
    peak = 255 if samples.dtype == np.uint8 else 65535
    head = f"P{5 if samples.shape[2] == 1 else 6}\n# made by a test\n{WIDTH} {HEIGHT}\n{peak}\n"
    return head.encode() + samples.astype(samples.dtype.newbyteorder(">")).tobytes()


def tiff(samples: np.ndarray) -> bytes:
    file = io.BytesIO()
    extra = ["unassalpha"] if samples.shape[2] == 4 else None
    photometric: Any = "rgb" if samples.shape[2] > 1 else "minisblack"
    data = samples if samples.shape[2] > 1 else samples[..., 0]
    tifffile.imwrite(file, data, photometric=photometric, extrasamples=extra, compression="zlib")
    return file.getvalue()


def png(samples: np.ndarray) -> bytes:
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(samples.squeeze())))


def jpegxl(samples: np.ndarray) -> bytes:
    options: dict[str, Any] = {"bitspersample": 10} if samples.dtype == np.uint16 else {}
    return bytes(imagecodecs.jpegxl_encode(samples.squeeze(), lossless=True, **options))


def jpeg2000(samples: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(samples.squeeze(), reversible=True, codecformat="jp2"))


def avif(samples: np.ndarray) -> bytes:
    bits = 8 if samples.dtype == np.uint8 else 10
    return bytes(imagecodecs.avif_encode(samples.squeeze(), level=100, bitspersample=bits, pixelformat="444"))


ENCODERS: dict[str, tuple[Callable[[np.ndarray], bytes], float, dict[str, int]]] = {
    "JPEG": (pillow("JPEG", quality=100, subsampling=0), 0.02, {"L": 8, "RGB": 8}),
    "PNG": (
        lambda samples: bytes(imagecodecs.png_encode(np.ascontiguousarray(samples.squeeze()))),
        0,
        {"L": 16, "RGB": 16, "RGBA": 16},
    ),
    "TIFF": (tiff, 0, {"L": 16, "RGB": 16, "RGBA": 16}),
    "WebP": (pillow("WEBP", lossless=True, exact=True), 0, {"RGB": 8, "RGBA": 8}),
    "HEIC": (heif, 0.02, {"L": 10, "RGB": 10, "RGBA": 10}),
    "AVIF": (avif, 0.02, {"RGB": 10, "RGBA": 10}),
    "JPEG XL": (jpegxl, 0, {"L": 8, "RGB": 8, "RGBA": 8}),
    "JPEG 2000": (jpeg2000, 0, {"L": 16, "RGB": 16, "RGBA": 16}),
    "BMP": (pillow("BMP"), 0, {"L": 8, "RGB": 8}),
    "GIF": (pillow("GIF"), 0, {"L": 8}),
    "PNM": (netpbm, 0, {"L": 16, "RGB": 16}),
}
"""By format: an encoder, how far its samples may be off, and the most bits by kind of picture."""

KINDS = {"L": SMOOTH[..., :1], "RGB": SMOOTH, "RGBA": np.concatenate([SMOOTH, ALPHA], axis=2)}
CASES = [
    (name, kind, bits)
    for name, (_, _, kinds) in ENCODERS.items()
    for kind, most in kinds.items()
    for bits in sorted({8, most})
]


@pytest.mark.parametrize(("name", "kind", "bits"), CASES)
@pytest.mark.parametrize("file", ["a", "a.wrong.png", "a.TXT"])
def test_pixels(tmp_path: Path, name: str, kind: str, bits: int, file: str) -> None:
    encode, tolerance, _ = ENCODERS[name]
    samples = KINDS[kind] if bits == 8 else deep(KINDS[kind], bits)
    (tmp_path / file).write_bytes(encode(samples))
    format = recognise(tmp_path / file)
    assert format is not None and format.name == name
    picture = read(tmp_path / file)
    colours = samples[..., :3] if kind == "RGBA" else samples
    wanted = np.broadcast_to(colours / ((1 << bits) - 1), (HEIGHT, WIDTH, 3))
    np.testing.assert_allclose(picture.pixels, wanted, atol=tolerance or 1e-6)
    assert (picture.alpha is not None) == (kind == "RGBA")
    if picture.alpha is not None:
        np.testing.assert_allclose(picture.alpha, samples[..., 3] / ((1 << bits) - 1), atol=tolerance or 1e-6)
    if bits > 8:
        assert len(np.unique(picture.pixels)) > len(np.unique(KINDS[kind]))
    assert picture.notes == ()


def heif_with(exif: bytes | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(SMOOTH)).save(file, quality=-1, chroma=444, exif=exif, **options)
    return file.getvalue()


def tiff_with(exif: bytes, **options: Any) -> bytes:
    file, parsed = io.BytesIO(), Image.Exif()
    parsed.load(exif)
    tags = [(ORIENTATION, "H", 1, parsed[ORIENTATION], True)]
    tifffile.imwrite(file, SMOOTH, photometric="rgb", extratags=tags)
    return file.getvalue()


TURNED: dict[str, Callable[[bytes], bytes]] = {
    "JPEG": lambda exif: pillow("JPEG", exif=exif, quality=100, subsampling=0)(SMOOTH),
    "PNG": lambda exif: pillow("PNG", exif=exif)(SMOOTH),
    "WebP": lambda exif: pillow("WEBP", exif=exif, lossless=True)(SMOOTH),
    "TIFF": tiff_with,
    "HEIC": heif_with,
    "AVIF": lambda exif: pillow("AVIF", exif=exif, quality=100, subsampling="4:4:4")(SMOOTH),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", TURNED)
def test_every_orientation_is_applied_once(tmp_path: Path, name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = Image.fromarray(SMOOTH)
    image.getexif()[ORIENTATION] = orientation
    (tmp_path / "a").write_bytes(TURNED[name](exif.tobytes()))
    wanted = np.asarray(ImageOps.exif_transpose(image)) / 255
    np.testing.assert_allclose(read(tmp_path / "a").pixels, wanted, atol=0.03)


def adobe() -> bytes:
    primaries = [0.64, 0.33, 0.21, 0.71, 0.15, 0.06]
    return bytes(imagecodecs.cms_profile("rgb", whitepoint=[0.3127, 0.329, 1], primaries=primaries, gamma=2.19921875))


def jp2_with_profile(profile: bytes) -> bytes:
    """A JPEG 2000 whose box of colours holds a profile."""
    whole = jpeg2000(SMOOTH)
    at = whole.index(b"colr") - 4
    length = int.from_bytes(whole[at : at + 4], "big")
    box = b"colr\2\0\0" + profile
    box = struct.pack(">I", len(box) + 4) + box
    header = whole.index(b"jp2h") - 4
    grown = int.from_bytes(whole[header : header + 4], "big") + len(box) - length
    start = whole[:header] + struct.pack(">I", grown) + whole[header + 4 : at]
    return start + box + whole[at + length :]


PROFILED: dict[str, Callable[[bytes], bytes]] = {
    "JPEG": lambda profile: pillow("JPEG", icc_profile=profile, quality=100, subsampling=0)(SMOOTH),
    "HEIC": lambda profile: heif_with(icc_profile=profile, icc_profile_type="prof"),
    "AVIF": lambda profile: pillow("AVIF", icc_profile=profile, quality=100, subsampling="4:4:4")(SMOOTH),
    "JPEG 2000": jp2_with_profile,
}


@pytest.mark.parametrize("name", PROFILED)
def test_a_profile_is_applied(tmp_path: Path, name: str) -> None:
    Image.fromarray(SMOOTH).save(tmp_path / "wanted.png", icc_profile=adobe())
    (tmp_path / "a").write_bytes(PROFILED[name](adobe()))
    wanted = read(tmp_path / "wanted.png").pixels
    assert np.abs(wanted - SMOOTH / 255).mean() > 0.04
    assert np.abs(read(tmp_path / "a").pixels - wanted).mean() < 0.01  # unconverted it is more than 0.04


def test_the_colours_that_a_jpeg_xl_names_are_converted(tmp_path: Path) -> None:
    linear = np.full((8, 8, 3), 14025, np.uint16)  # 0.2140 of 1 in linear light, as imagecodecs marks 16 bits
    (tmp_path / "a.jxl").write_bytes(imagecodecs.jpegxl_encode(linear, lossless=True))
    picture = read(tmp_path / "a.jxl")
    np.testing.assert_allclose(picture.pixels, 0.5, atol=0.005)
    assert "linear light (JPEG XL)" in picture.notes[0]


def code_points(content: bytes, primaries: int, transfer: int) -> bytes:
    """A HEIC or AVIF with other code points."""
    place = content.index(b"colrnclx") + 8
    return content[:place] + struct.pack(">HH", primaries, transfer) + content[place + 4 :]


@pytest.mark.parametrize("name", ["HEIC", "AVIF"])
def test_code_points_are_applied_and_hdr_is_refused_from_the_start(tmp_path: Path, name: str) -> None:
    whole = ENCODERS[name][0](SMOOTH)
    (tmp_path / "a").write_bytes(code_points(whole, 12, 13))
    assert read(tmp_path / "a").notes == ("the colours were converted from Display P3 (nclx) to sRGB",)
    (tmp_path / "a").write_bytes(code_points(whole, 1, 1))  # as encoders of video mark sRGB
    assert read(tmp_path / "a").notes == ()
    (tmp_path / "a").write_bytes(code_points(whole, 9, 16))
    for function in (read_picture, picture_size):
        with pytest.raises(InputError, match=r"a is an HDR picture \(PQ, named by nclx\)"):
            function(tmp_path / "a", max_megapixels=1)


@pytest.mark.parametrize("header", [56, 108, 124])
@pytest.mark.parametrize(("bits", "wanted"), [((0, 0), None), ((255, 255), None), ((0, 255), (0, 1))])
def test_the_alpha_mask_of_a_bmp(
    tmp_path: Path, header: int, bits: tuple[int, int], wanted: tuple[int, int] | None
) -> None:
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    head = struct.pack("<IiiHHIIiiII", header, 2, 1, 1, 32, 3, 8, 0, 0, 0, 0) + masks
    head = (head + (b"BGRs" if header > 56 else b"")).ljust(header, b"\0")
    pixels = b"".join(bytes([40, 90, 200, alpha]) for alpha in bits)
    (tmp_path / "a").write_bytes(b"BM" + struct.pack("<IHHI", 22 + header, 0, 0, 14 + header) + head + pixels)
    picture = read(tmp_path / "a")
    np.testing.assert_allclose(picture.pixels[0, 1] * 255, [200, 90, 40], atol=1e-3)
    assert (None if picture.alpha is None else tuple(picture.alpha[0])) == wanted


@pytest.mark.parametrize("kind", ["GIF", "AVIF", "WEBP"])
def test_of_an_animation_the_first_frame(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (32, 24), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a", kind, save_all=True, append_images=frames[1:])
    picture = read(tmp_path / "a")
    np.testing.assert_allclose(picture.pixels, np.broadcast_to([1, 0, 0], picture.pixels.shape), atol=0.03)
    assert picture.notes == ("the file holds 2 frames; the first one was used",)


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"P1\n3 2\n0 1 0\n#x\n111", [[1, 0, 1], [0, 0, 0]]),
        (b"P2 3 1 1000 0 500 1000", [[0, 0.5, 1]]),
        (b"P3 1 1\n65535\n65535 65535 65535", [[1]]),
        (b"P4\n10 1\n\xff\x80", [[0] * 9 + [1]]),
        (b"P5 2 1 1023\n\x01\xff\x03\xff", [[511 / 1023, 1]]),
    ],
)
def test_netpbm(tmp_path: Path, content: bytes, wanted: list[list[float]]) -> None:
    (tmp_path / "a.pgm").write_bytes(content)
    np.testing.assert_allclose(read(tmp_path / "a.pgm").pixels[..., 0], wanted, atol=1e-6)


# Pages.


def pages(*written: tuple[np.ndarray, int, int]) -> bytes:
    """A TIFF of pages: samples, NewSubfileType, number of the pages after it that lie inside it."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for samples, kind, inside in written:
            photometric: Any = "rgb" if samples.ndim == 3 else "mask"
            writer.write(samples, photometric=photometric, subfiletype=kind, subifds=inside or None, metadata=None)
    return file.getvalue()


HALF, QUARTER, MASK, OTHER = SMOOTH[::2, ::2], SMOOTH[::4, ::4], SMOOTH[..., 0] > 128, 255 - SMOOTH
PAGES: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "a reduced page first": (pages((HALF, 1, 0), (SMOOTH, 0, 0)), ()),
    "a preview first, not marked": (pages((QUARTER, 0, 0), (SMOOTH, 0, 0)), ()),
    "a pyramid": (pages((SMOOTH, 0, 0), (HALF, 1, 0), (QUARTER, 1, 0)), ()),
    "a pyramid, not marked": (pages((SMOOTH, 0, 0), (HALF, 0, 0), (QUARTER, 0, 0)), ()),
    "a pyramid from its top": (pages((QUARTER, 0, 0), (HALF, 0, 0), (SMOOTH, 0, 0)), ()),
    "a pyramid in SubIFDs": (pages((SMOOTH, 0, 2), (HALF, 1, 0), (QUARTER, 1, 0)), ()),
    "the picture in a SubIFD": (pages((HALF, 1, 1), (SMOOTH, 0, 0)), ()),
    "the picture in a SubIFD of a page not marked": (pages((HALF, 0, 1), (SMOOTH, 0, 0)), ()),
    "a mask first": (pages((MASK, 4, 0), (SMOOTH, 0, 0)), ()),
    "a document": (pages((SMOOTH, 2, 0), (OTHER, 2, 0)), ("the file holds 2 pages; the first one was used",)),
    "a document with previews": (
        pages((HALF, 1, 0), (SMOOTH, 0, 0), (HALF, 1, 0), (OTHER, 0, 0)),
        ("the file holds 2 pages; the first one was used",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_the_page_in_full_resolution_is_read(tmp_path: Path, name: str) -> None:
    content, notes = PAGES[name]
    (tmp_path / "a.tif").write_bytes(content)
    picture = read(tmp_path / "a.tif")
    np.testing.assert_allclose(picture.pixels, SMOOTH / 255, atol=1e-6)
    assert picture.notes == notes


# Camera raw.


def dng(*, orientation: int = 1, linear: bool = False) -> bytes:
    """An uncompressed DNG with a grey preview in front, Bayer or linear; its left half is bright."""
    file, samples = io.BytesIO(), np.full((64, 96), 2000, np.uint16)
    samples[:, :48] = 60000
    tags: list[Any] = [
        (50706, 1, 4, b"\1\4\0\0", True), (50707, 1, 4, b"\1\1\0\0", True), (271, 2, 6, "Maker", True),
        (272, 2, 6, "Model", True), (50708, 2, 12, "Maker Model", True), (ORIENTATION, "H", 1, orientation, True),
        (50721, 10, 9, (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1), True),
        (50728, 5, 3, (1, 1, 1, 1, 1, 1), True),
    ]  # fmt: skip
    sensor: list[Any] = [(33421, 3, 2, (2, 2), True), (33422, 1, 4, b"\0\1\1\2", True)]
    with tifffile.TiffWriter(file) as writer:
        writer.write(np.full((8, 12, 3), 128, np.uint8), photometric="rgb", subfiletype=1, subifds=1, extratags=tags)
        if linear:
            writer.write(np.stack([samples] * 3, -1), photometric=34892, subfiletype=0, planarconfig="contig")
        else:
            writer.write(samples, photometric="cfa", subfiletype=0, extratags=sensor)
    return file.getvalue()


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize(("orientation", "size", "bright"), [(1, (96, 64), "left"), (6, (64, 96), "top")])
def test_camera_raw_is_developed(
    tmp_path: Path, orientation: int, size: tuple[int, int], bright: str, linear: bool
) -> None:
    pytest.importorskip("rawpy")
    (tmp_path / "IMG_1.dng").write_bytes(dng(orientation=orientation, linear=linear))
    picture = read(tmp_path / "IMG_1.dng")
    assert (picture.width, picture.height) == size
    half = picture.pixels[:, : size[0] // 2 - 8] if bright == "left" else picture.pixels[: size[1] // 2 - 8]
    other = picture.pixels[:, size[0] // 2 + 8 :] if bright == "left" else picture.pixels[size[1] // 2 + 8 :]
    assert half.mean() > 0.9 and other.mean() < 0.4
    assert picture.notes == ("camera raw, developed with the camera's white balance",)


def test_camera_raw_without_rawpy_is_refused_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", None)
    (tmp_path / "IMG_1.dng").write_bytes(dng())
    for function in (read_picture, picture_size):
        with pytest.raises(InputError) as caught:
            function(tmp_path / "IMG_1.dng", max_megapixels=1)
        assert str(caught.value) == (
            f"{tmp_path / 'IMG_1.dng'} is a DNG camera raw picture; run pip install 'hires-nst[raw]' to read it"
        )


def test_how_camera_raw_is_developed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    class Raw:
        sizes = SimpleNamespace(width=6, height=4, pixel_aspect=1.0, flip=5)

        def postprocess(self, **options: Any) -> np.ndarray:
            given.update(options)
            return np.full((6, 4, 3), 65535, np.uint16)

        def __enter__(self) -> Raw:
            return self

        def __exit__(self, *error: object) -> None:
            pass

    fake: Any = SimpleNamespace(
        imread=lambda file: Raw(), ColorSpace=SimpleNamespace(sRGB="sRGB"), LibRawError=KeyError, __spec__=object()
    )
    monkeypatch.setitem(sys.modules, "rawpy", fake)
    (tmp_path / "a.NEF").write_bytes(b"IIRO\x08\0\0\0")
    picture = read(tmp_path / "a.NEF")
    assert (picture.width, picture.height, picture.pixels.min()) == (4, 6, 1)
    assert given == {"use_camera_wb": True, "output_bps": 16, "output_color": "sRGB", "gamma": (2.4, 12.92)}


# Cut files.

WHOLE = {
    **{name: encode(KINDS["RGB" if "RGB" in kinds else "L"]) for name, (encode, _, kinds) in ENCODERS.items()},
    "JPEG XL in boxes": bytes(imagecodecs.jpegxl_encode(SMOOTH, lossless=True, usecontainer=True)),
    "deep JPEG 2000": jpeg2000(deep(SMOOTH, 16)),
    "deep AVIF": avif(deep(SMOOTH, 10)),
    "pages": pages((HALF, 1, 0), (SMOOTH, 0, 0)),
    "DNG": dng(),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_cut_file_ends_early(tmp_path: Path, name: str) -> None:
    whole = WHOLE[name]
    (tmp_path / "a").write_bytes(whole[: len(whole) * 3 // 5])
    if name == "DNG":
        pytest.importorskip("rawpy")
    with pytest.raises(InputError, match=r"a ends early: part of the .* file is missing; copy or download it again"):
        read(tmp_path / "a")


@given(st.sampled_from(sorted(WHOLE)), st.floats(0, 1), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255))))
@settings(max_examples=300, deadline=None)
def test_a_damaged_file_gives_a_picture_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, name: str, part: float, changes: list[tuple[float, int]]
) -> None:
    content = bytearray(WHOLE[name][: round(len(WHOLE[name]) * part)])
    for place, value in changes:
        if content:
            content[min(len(content) - 1, int(place * len(content)))] = value
    path = tmp_path_factory.getbasetemp() / "damaged.jpg"
    path.write_bytes(content)
    for function in (read_picture, picture_size):
        try:
            function(path, max_megapixels=1)
        except InputError as error:
            assert "damaged.jpg" in str(error) and "; " in str(error) and "\n" not in str(error)
