"""Reading, resizing and writing pictures."""

from __future__ import annotations

import errno
import os
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps

from hires_nst.errors import InputError, OutputError, ResourceError
from hires_nst.imageio import in_threads, resize, writing
from hires_nst.imageio.colour import srgb_profile
from hires_nst.imageio.picture import Picture
from hires_nst.imageio.reading import picture_size, read_picture
from hires_nst.imageio.resize import resize_pixels, resize_strips
from hires_nst.imageio.writing import Encoding, check_format, check_output, write_picture

HEIGHT, WIDTH = 5, 7
ORIENTATION = 0x0112
RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
RGBA = RNG.integers(0, 256, (HEIGHT, WIDTH, 4)).astype(np.uint8)
GREY = RNG.integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)
DEEP = RNG.integers(0, 65536, (HEIGHT, WIDTH, 4)).astype(np.uint16)
for samples, least in ((RGBA, 16), (GREY, 16), (DEEP, 4096)):  # as alpha, nothing of this is hidden
    np.maximum(samples, least, out=samples)


def read(path: Path) -> Picture:
    return read_picture(path, max_megapixels=1)


def adobe_profile() -> bytes:
    """A matrix profile with the primaries and the gamma of Adobe RGB."""
    primaries = [0.64, 0.33, 0.21, 0.71, 0.15, 0.06]
    return bytes(imagecodecs.cms_profile("rgb", whitepoint=[0.3127, 0.329, 1], primaries=primaries, gamma=2.19921875))


def adobe_to_srgb(encoded: np.ndarray) -> np.ndarray:
    """The textbook conversion, out-of-gamut colours clipped."""
    to_srgb = np.array([[1.39836, -0.39836, 0], [0, 1, 0], [0, -0.04293, 1.04293]])
    linear = np.clip((encoded**2.19921875) @ to_srgb.T, 0, 1)
    srgb: np.ndarray = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return srgb


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


# --- reading: kinds of files


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_rgb(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(RGB).save(path, **options)
    picture = read(path)
    assert (picture.height, picture.width) == (HEIGHT, WIDTH)
    assert picture.pixels.dtype == np.float32 and picture.pixels.flags.c_contiguous
    assert picture.alpha is None and picture.notes == ()
    np.testing.assert_allclose(picture.pixels, RGB / 255, atol=1e-7)
    assert picture_size(path, max_megapixels=1) == (WIDTH, HEIGHT)


def test_jpeg(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 16 * 24 * 3).reshape(16, 24, 3).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=100, subsampling=0)
    np.testing.assert_allclose(read(tmp_path / "a.jpg").pixels, smooth / 255, atol=0.02)


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_rgba(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    options: dict[str, Any] = {"lossless": True, "exact": True} if suffix == "webp" else {}
    Image.fromarray(RGBA).save(path, **options)
    picture = read(path)
    np.testing.assert_allclose(picture.pixels, RGBA[..., :3] / 255, atol=1e-7)
    assert picture.alpha is not None and picture.alpha.dtype == np.float32
    np.testing.assert_allclose(picture.alpha, RGBA[..., 3] / 255, atol=1e-7)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16"])
def test_greyscale(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    wanted, alpha = GREY / 255, None
    if mode == "1":
        wanted = np.asarray(GREY > 127, float)
        Image.fromarray(GREY > 127).save(path)
    elif mode == "LA":
        alpha = GREY.T.reshape(HEIGHT, WIDTH)
        Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)]).save(path)
    elif mode == "I;16":
        wanted = DEEP[..., 0] / 65535
        Image.fromarray(np.ascontiguousarray(DEEP[..., 0])).save(path)
    else:
        Image.fromarray(GREY).save(path)
    picture = read(path)
    np.testing.assert_allclose(picture.pixels, np.repeat(wanted[..., None], 3, 2), atol=1e-7)
    if alpha is None:
        assert picture.alpha is None
    else:
        assert picture.alpha is not None
        np.testing.assert_allclose(picture.alpha, alpha / 255, atol=1e-7)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_palette(tmp_path: Path, suffix: str) -> None:
    image = Image.fromarray(RGB).quantize(8)
    image.save(tmp_path / f"a.{suffix}")
    picture = read(tmp_path / f"a.{suffix}")
    np.testing.assert_allclose(picture.pixels, np.asarray(image.convert("RGB")) / 255, atol=1e-6)
    assert picture.alpha is None


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_transparent_colour_of_a_png(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(RGB).quantize(4) if mode == "P" else Image.fromarray(RGB).convert(mode)
    key = image.getpixel((0, 0))
    image.save(tmp_path / "a.png", transparency=key)
    alpha = read(tmp_path / "a.png").alpha
    assert alpha is not None
    samples = np.asarray(image)
    np.testing.assert_array_equal(alpha == 0, (samples.reshape(HEIGHT, WIDTH, -1) == key).all(2))
    assert set(np.unique(alpha)) <= {0, 1}


def test_deep_png_keeps_its_low_bits(tmp_path: Path) -> None:
    for channels in (2, 3, 4):
        (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(np.ascontiguousarray(DEEP[..., :channels])))
        picture = read(tmp_path / "a.png")
        colours = 1 if channels == 2 else 3
        wanted = np.broadcast_to(DEEP[..., :colours], (HEIGHT, WIDTH, 3)) / 65535
        np.testing.assert_allclose(picture.pixels, wanted, atol=1e-7)
        assert (picture.alpha is None) == (channels == 3)


TIFFS: dict[str, tuple[Any, dict[str, Any], Any]] = {
    "8 bits, planar": (np.moveaxis(RGB, 2, 0), {"photometric": "rgb", "planarconfig": "separate"}, RGB / 255),
    "16 bits": (DEEP[..., :3], {"photometric": "rgb"}, DEEP[..., :3] / 65535),
    "16 bits, big-endian, lzw": (
        DEEP[..., :3],
        {"photometric": "rgb", "byteorder": ">", "compression": "lzw", "predictor": True},
        DEEP[..., :3] / 65535,
    ),
    "16 bits, planar": (
        np.moveaxis(DEEP[..., :3], 2, 0),
        {"photometric": "rgb", "planarconfig": "separate"},
        DEEP[..., :3] / 65535,
    ),
    "32 bits": (DEEP[..., :3].astype(np.uint32) << 16, {"photometric": "rgb"}, DEEP[..., :3] / 65536),
    "grey": (DEEP[..., 0], {"photometric": "minisblack"}, DEEP[..., :1] / 65535),
    "inverted grey": (GREY, {"photometric": "miniswhite"}, 1 - GREY[..., None] / 255),
    "inverted deep grey": (DEEP[..., 0], {"photometric": "miniswhite"}, 1 - DEEP[..., :1] / 65535),
    "float": (RGB.astype(np.float32) / 255, {"photometric": "rgb"}, RGB / 255),
    "double grey": (GREY / 255, {"photometric": "minisblack"}, GREY[..., None] / 255),
    "half": (RGB.astype(np.float16) / 256, {"photometric": "rgb"}, RGB / 256),
    "CMYK": (RGBA, {"photometric": "separated"}, (1 - RGBA[..., :3] / 255) * (1 - RGBA[..., 3:] / 255)),
    "deep CMYK": (DEEP, {"photometric": "separated"}, (1 - DEEP[..., :3] / 65535) * (1 - DEEP[..., 3:] / 65535)),
    "tiles": (np.tile(RGB, (8, 8, 1)), {"photometric": "rgb", "tile": (16, 16)}, np.tile(RGB, (8, 8, 1)) / 255),
    "BigTIFF": (RGB, {"photometric": "rgb", "bigtiff": True}, RGB / 255),
}


@pytest.mark.parametrize("name", TIFFS)
def test_tiff(tmp_path: Path, name: str) -> None:
    data, options, wanted = TIFFS[name]
    tifffile.imwrite(tmp_path / "a.tif", data, **options)
    picture = read(tmp_path / "a.tif")
    np.testing.assert_allclose(picture.pixels, np.broadcast_to(wanted, (*wanted.shape[:2], 3)), atol=1e-6)
    assert picture.alpha is None


def test_tiff_alpha(tmp_path: Path) -> None:
    alpha = RGBA[..., 3:] / 255
    for kind, samples in (("unassalpha", RGB / 255), ("assocalpha", RGB / 255 * alpha)):
        data = np.concatenate([samples, alpha], axis=2).astype(np.float32)
        tifffile.imwrite(tmp_path / "a.tif", data, photometric="rgb", extrasamples=[kind])
        picture = read(tmp_path / "a.tif")
        np.testing.assert_allclose(picture.pixels, RGB / 255, atol=1e-5)
        assert picture.alpha is not None
        np.testing.assert_allclose(picture.alpha, alpha[..., 0], atol=1e-6)
    tifffile.imwrite(tmp_path / "a.tif", RGBA, photometric="rgb", extrasamples=["unspecified"])
    assert read(tmp_path / "a.tif").alpha is None


def test_a_tiff_of_four_bits(tmp_path: Path) -> None:
    tags = {256: 4, 257: 2, 258: 4, 259: 1, 262: 1, 273: 8, 277: 1, 278: 2, 279: 4}  # 4 x 2 grey pixels at byte 8
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    header = b"II*\0" + struct.pack("<I", 12)
    (tmp_path / "a.tif").write_bytes(
        header + bytes.fromhex("01234cef") + struct.pack("<H", len(tags)) + entries + bytes(4)
    )
    wanted = np.array([[0, 1, 2, 3], [4, 12, 14, 15]]) / 15
    np.testing.assert_allclose(read(tmp_path / "a.tif").pixels[..., 0], wanted, atol=1e-7)


def test_jpeg_in_tiff(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 16 * 32 * 3).reshape(16, 32, 3).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", smooth, photometric="rgb", compression="jpeg")
    np.testing.assert_allclose(read(tmp_path / "a.tif").pixels, smooth / 255, atol=0.05)


def test_notes_on_pages_frames_and_floats(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([RGB, 255 - RGB]), photometric="rgb")
    picture = read(tmp_path / "a.tif")
    np.testing.assert_allclose(picture.pixels, RGB / 255, atol=1e-7)
    assert picture.notes == ("the file holds 2 pages; the first one was used",)
    for name in ("a.png", "a.webp"):
        frames = [Image.fromarray(255 - RGB)]
        Image.fromarray(RGB).save(tmp_path / name, save_all=True, append_images=frames, lossless=True)
        picture = read(tmp_path / name)
        np.testing.assert_allclose(picture.pixels, RGB / 255, atol=1e-7)
        assert picture.notes == ("the file holds 2 frames; the first one was used",)
    wild = np.array([[[-1, 0.5, 2], [np.nan, np.inf, 0]]], np.float32)
    tifffile.imwrite(tmp_path / "b.tif", wild, photometric="rgb")
    picture = read(tmp_path / "b.tif")
    np.testing.assert_array_equal(picture.pixels, [[[0, 0.5, 1], [0, 1, 0]]])
    assert picture.notes[-1] == "50 % of the floating-point samples lay outside 0..1, and were clipped"


# --- reading: orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "late.png", "a.webp", "a.tif", "a.jpg"])
def test_orientation(tmp_path: Path, name: str, orientation: int) -> None:
    path = tmp_path / name
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = Image.fromarray(RGB)
    image.getexif()[ORIENTATION] = orientation
    upright = np.asarray(ImageOps.exif_transpose(image))
    if name == "a.tif":
        tifffile.imwrite(path, RGB, photometric="rgb", extratags=[(ORIENTATION, "H", 1, orientation, True)])
    elif name == "late.png":
        image = Image.fromarray(RGB)
        image.save(path)
        path.write_bytes(path.read_bytes()[:-12] + chunk(b"eXIf", exif.tobytes()) + chunk(b"IEND", b""))
    elif name == "a.jpg":
        image = Image.fromarray(np.repeat(np.repeat(RGB, 16, 0), 16, 1))
        image.save(path, exif=exif, quality=100, subsampling=0)
    else:
        image.save(path, exif=exif, lossless=True)
    picture = read(path)
    pixels = picture.pixels[8::16, 8::16] if name == "a.jpg" else picture.pixels
    np.testing.assert_allclose(pixels, upright / 255, atol=0.02 if name == "a.jpg" else 1e-7)
    assert picture.pixels.flags.c_contiguous
    assert picture_size(path, max_megapixels=1) == (picture.width, picture.height)


def test_an_impossible_orientation_is_ignored(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*rubbish")
    np.testing.assert_allclose(read(tmp_path / "a.png").pixels, RGB / 255, atol=1e-7)
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", extratags=[(ORIENTATION, "H", 1, 99, True)])
    np.testing.assert_allclose(read(tmp_path / "a.tif").pixels, RGB / 255, atol=1e-7)


# --- reading: colour


def test_an_adobe_rgb_file_is_converted(tmp_path: Path) -> None:
    wanted = adobe_to_srgb(RGB / 255)
    assert np.abs(wanted - RGB / 255).max() > 0.05  # there is something to convert
    Image.fromarray(RGB).save(tmp_path / "a.png", icc_profile=adobe_profile())
    tifffile.imwrite(tmp_path / "a.tif", RGB.astype(np.uint16) * 257, photometric="rgb", iccprofile=adobe_profile())
    for name in ("a.png", "a.tif"):
        picture = read(tmp_path / name)
        assert picture.notes == ('the colours were converted from "RGB built-in" (embedded profile) to sRGB',)
        np.testing.assert_allclose(picture.pixels, wanted, atol=0.008)  # the matrix above is rounded


def test_a_16_bit_conversion_has_no_bands(tmp_path: Path) -> None:
    ramp = np.repeat(np.linspace(20000, 21000, 256).astype(np.uint16)[None, :, None], 3, 2)
    tifffile.imwrite(tmp_path / "a.tif", ramp, photometric="rgb", iccprofile=adobe_profile())
    assert len(np.unique(read(tmp_path / "a.tif").pixels)) > 200


def test_an_srgb_profile_changes_nothing(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tifffile.imwrite(tmp_path / "a.tif", DEEP[..., :3], photometric="rgb", iccprofile=profile)
    np.testing.assert_allclose(read(tmp_path / "a.tif").pixels, DEEP[..., :3] / 65535, atol=1e-7)


def test_a_grey_profile_is_applied_and_an_rgb_profile_on_grey_too(tmp_path: Path) -> None:
    linear = bytes(imagecodecs.cms_profile("gray", whitepoint=[0.3127, 0.329, 1], gamma=1.0))
    Image.new("L", (2, 2), 55).save(tmp_path / "a.png", icc_profile=linear)
    np.testing.assert_allclose(read(tmp_path / "a.png").pixels, 0.5, atol=0.01)  # 0.2140 linear is 0.5 in sRGB
    Image.fromarray(GREY).save(tmp_path / "b.png", icc_profile=srgb_profile())
    picture = read(tmp_path / "b.png")
    np.testing.assert_allclose(picture.pixels[..., 1], GREY / 255, atol=1e-7)
    assert picture.notes == ()


@pytest.mark.parametrize("profile", [b"rubbish", srgb_profile()[:200], b"\xff" * 600])
def test_a_damaged_profile_is_ignored_with_a_note(tmp_path: Path, profile: bytes) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", iccprofile=profile)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = read(tmp_path / "a.tif")
    np.testing.assert_allclose(picture.pixels, RGB / 255, atol=1e-7)
    assert len(picture.notes) == 1 and "profile is damaged or does not fit" in picture.notes[0]


def test_cmyk_jpeg_without_and_with_an_unfit_profile(tmp_path: Path) -> None:
    image = Image.new("CMYK", (16, 16), (255, 0, 0, 51))
    image.save(tmp_path / "a.jpg", quality=100)
    picture = read(tmp_path / "a.jpg")
    np.testing.assert_allclose(picture.pixels[0, 0], [0, 0.8, 0.8], atol=0.02)
    assert picture.notes == ("the CMYK picture has no colour profile; its colours were estimated",)
    image.save(tmp_path / "b.jpg", quality=100, icc_profile=srgb_profile())
    picture = read(tmp_path / "b.jpg")
    np.testing.assert_allclose(picture.pixels[0, 0], [0, 0.8, 0.8], atol=0.02)
    assert "does not fit" in picture.notes[0]


# --- reading: errors


def broken_files() -> dict[str, Callable[[Path], object]]:
    noise = RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8)

    def cut(name: str, **options: Any) -> Callable[[Path], object]:
        def make(path: Path) -> None:
            whole = path.with_name(name)
            if name.startswith("deep"):
                whole.write_bytes(imagecodecs.png_encode(noise.astype(np.uint16)))
            elif name.endswith(".tif"):
                tifffile.imwrite(whole, noise, photometric="rgb", **options)
            else:
                Image.fromarray(noise).save(whole, **options)
            path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])

        return make

    return {
        "empty": lambda path: path.write_bytes(b""),
        "text": lambda path: path.write_text("this is not a picture"),
        "folder": lambda path: path.mkdir(),
        "missing": lambda path: None,
        "only the start of a TIFF": lambda path: path.write_bytes(b"II*\0"),
        "only the start of a PNG": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"),
        "only the start of a JPEG": lambda path: path.write_bytes(b"\xff\xd8\xff"),
        "LAB TIFF of 32 bits": lambda path: tifffile.imwrite(path, RGB.astype(np.uint32), photometric="cielab"),
        "many channels": lambda path: tifffile.imwrite(
            path, np.zeros((2, 2, 20), np.uint8), photometric="rgb", planarconfig="contig"
        ),
        "signed TIFF": lambda path: tifffile.imwrite(path, RGB.astype(np.int16), photometric="rgb"),
        "cut PNG": cut("a.png"),
        "cut deep PNG": cut("deep.png"),
        "cut JPEG": cut("a.jpeg"),
        "cut WebP": cut("a.webp", lossless=True),
        "cut TIFF": cut("a.tif"),
        "cut compressed TIFF": cut("a.tif", compression="zlib"),
        "cut LZW TIFF": cut("a.tif", compression="lzw"),
    }


@pytest.mark.parametrize("name", broken_files())
def test_an_unreadable_file_is_one_sentence(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    path = tmp_path / "photo.jpg"
    broken_files()[name](path)
    with pytest.raises(InputError, match=r"photo\.jpg") as caught:
        read(path)
    message = str(caught.value)
    assert "; " in message and "\n" not in message
    assert caplog.records == []  # the decoders keep their views to themselves
    if name in ("empty", "text"):
        with pytest.raises(InputError):
            picture_size(path, max_megapixels=1)


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, mode: str = "r") -> BinaryIO:
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "a.png").touch()
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"a\.png cannot be read: permission denied"):
        read(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_too_many_pixels_are_refused_before_decoding(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (40, 50)).save(path)
    if suffix != "webp":  # of which Pillow wants the whole file at once
        path.write_bytes(path.read_bytes()[:-20])  # decoding would fail
    limit = Image.MAX_IMAGE_PIXELS
    for function in (read_picture, picture_size):
        with pytest.raises(InputError, match=r"40 x 50 pixels \(0\.002 mega.* 0\.001 mega.*images\.max_megapixels"):
            function(path, max_megapixels=0.001)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_our_limit_replaces_that_of_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (40, 50)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read(tmp_path / "a.png").width == 40
    assert Image.MAX_IMAGE_PIXELS == 100


# --- resizing


@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 3), (40, 30, 1)])
def test_resizing_keeps_a_constant_and_the_shape(shape: tuple[int, ...]) -> None:
    result = resize_pixels(np.full(shape, 0.25, np.float32), (11, 57))
    assert result.shape == (57, 11, *shape[2:]) and result.dtype == np.float32
    np.testing.assert_allclose(result, 0.25, atol=1e-6)


def test_resizing_keeps_a_ramp_and_clips_overshoot() -> None:
    ramp = np.broadcast_to(np.linspace(0, 1, 64, dtype=np.float32), (8, 64))
    half = resize_pixels(ramp, (32, 8))
    np.testing.assert_allclose(half[:, 4:-4], ramp.reshape(8, 32, 2).mean(2)[:, 4:-4], atol=1e-3)
    edge = np.repeat(np.array([[0.0, 1.0]], np.float32), 8, 1)
    enlarged = resize_pixels(edge, (64, 4))
    assert enlarged.min() == 0 and enlarged.max() == 1


def test_a_box_is_cut_out() -> None:
    source = RNG.random((20, 30, 3), np.float32)
    np.testing.assert_array_equal(resize_pixels(source, (12, 8), box=(3, 5, 12, 8)), source[5:13, 3:15])
    whole = resize_pixels(source, (60, 40))
    np.testing.assert_allclose(resize_pixels(source, (25, 15), box=(5, 2.5, 12.5, 7.5)), whole[5:20, 10:35], atol=1e-5)


@pytest.mark.parametrize("strip_rows", [1, 7, 64, 1000])
@pytest.mark.parametrize("size", [(300, 20), (613, 45), (150, 31), (37, 9), (3, 2), (1, 1)])
def test_strips_equal_one_go(size: tuple[int, int], strip_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resize, "STRIP_ROWS", strip_rows)
    source = RNG.random((300, 20, 3), np.float32)
    target = np.full((*size, 3), np.nan, np.float32)
    resize_strips(source, target)
    np.testing.assert_allclose(target, resize_pixels(source, (size[1], size[0])), atol=1e-5)


def test_long_strips_from_and_to_memory_maps(tmp_path: Path) -> None:
    shape, enlarged = (3000, 4, 3), (9001, 5, 3)
    source = np.memmap(tmp_path / "source", np.float32, "w+", shape=shape)
    source[:] = RNG.random(shape, np.float32)
    target = np.memmap(tmp_path / "target", np.float32, "w+", shape=enlarged)
    resize_strips(source, target)
    np.testing.assert_allclose(target, resize_pixels(np.asarray(source), (5, 9001)), atol=2e-5)


# --- writing


def encoding(**changes: Any) -> Encoding:
    return Encoding(**{"dpi": 300, "bit_depth": 8, "quality": 95, "compression": "deflate", **changes})


def pictures(height: int = 150, width: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """More rows than two strips have; the first pixels are out of range."""
    pixels = RNG.random((height, width, 3), np.float32)
    pixels[0, 0] = [-0.5, 0.5, 1.5]
    return pixels, RNG.uniform(0.1, 1, (height, width)).astype(np.float32)


@pytest.mark.parametrize("bit_depth", [8, 16])
@pytest.mark.parametrize("with_alpha", [False, True])
@pytest.mark.parametrize("name", ["a.png", "A.TIF", "lzw.tiff", "none.tif"])
def test_round_trip(tmp_path: Path, name: str, with_alpha: bool, bit_depth: Any) -> None:
    pixels, alpha = pictures()
    path = tmp_path / name
    compression: Any = {"lzw.tiff": "lzw", "none.tif": "none"}.get(name, "deflate")
    wanted = encoding(bit_depth=bit_depth, compression=compression)
    write_picture(path, pixels, alpha=alpha if with_alpha else None, encoding=wanted)
    picture = read(path)
    peak = 2**bit_depth - 1
    quantised = np.rint(np.clip(pixels, 0, 1) * np.float32(peak))
    np.testing.assert_allclose(picture.pixels, np.clip(pixels, 0, 1), atol=0.51 / peak)  # rounded, not cut
    assert picture.notes == ()
    if with_alpha:
        assert picture.alpha is not None
        np.testing.assert_allclose(picture.alpha, alpha, atol=0.51 / peak)
    else:
        assert picture.alpha is None
    with Image.open(path) as image:  # an independent reader
        assert image.info["icc_profile"] == srgb_profile()
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)
        assert image.mode == ("RGBA" if with_alpha else "RGB")
        np.testing.assert_allclose(np.asarray(image)[..., :3] / 255, np.clip(pixels, 0, 1), atol=1.01 / 255)
    if path.suffix.lower() != ".png":
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages[0]
            assert page.bitspersample == bit_depth and page.rowsperstrip == 64
            np.testing.assert_array_equal(page.asarray()[..., :3], quantised)
    else:
        np.testing.assert_array_equal(imagecodecs.png_decode(path.read_bytes())[..., :3], quantised)


@pytest.mark.parametrize("height", [1, 63, 64, 65, 128, 150])
def test_the_strips_of_a_png_are_one_stream(tmp_path: Path, height: int) -> None:
    pixels, _ = pictures(height=height)
    write_picture(tmp_path / "a.png", pixels, encoding=encoding())
    data, stream, place = (tmp_path / "a.png").read_bytes(), b"", 8
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        stream += data[place + 8 : place + 8 + length] if kind == b"IDAT" else b""
        place += length + 12
    inflate = zlib.decompressobj()
    rows = np.frombuffer(inflate.decompress(stream), np.uint8).reshape(height, -1)
    assert inflate.eof and not inflate.unused_data  # with its checksum
    assert (rows[:, 0] == 2).all()
    samples = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    np.testing.assert_array_equal(rows[:, 1:].cumsum(0, dtype=np.uint8), samples.reshape(height, -1))


def test_jpeg_is_written_with_full_chroma(tmp_path: Path) -> None:
    pixels = resize_pixels(RNG.random((4, 5, 3), np.float32), (50, 40))
    write_picture(tmp_path / "a.jpg", pixels, encoding=encoding(dpi=299.6, quality=100))
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.info["icc_profile"] == srgb_profile()
        assert image.info["dpi"] == (300, 300)
        assert [component[1:3] for component in image.layer] == [(1, 1)] * 3
    np.testing.assert_allclose(read(tmp_path / "a.jpg").pixels, pixels, atol=0.02)
    write_picture(
        tmp_path / "noise.jpeg", RNG.random((400, 400, 3), np.float32), encoding=encoding(dpi=None, quality=100)
    )
    assert read(tmp_path / "noise.jpeg").width == 400


def test_without_a_resolution_none_is_written(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "a.webp"):
        write_picture(tmp_path / name, pictures()[0], encoding=encoding(dpi=None))
        with Image.open(tmp_path / name) as image:
            assert "dpi" not in image.info


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp"])
def test_the_same_picture_gives_the_same_bytes_with_any_number_of_threads(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, _ = pictures(height=700)
    write_picture(tmp_path / name, pixels, encoding=encoding())
    first = (tmp_path / name).read_bytes()
    monkeypatch.setattr(in_threads, "THREADS", 1 if in_threads.THREADS > 1 else 4)
    write_picture(tmp_path / name, pixels, encoding=encoding(), overwrite=True)
    assert (tmp_path / name).read_bytes() == first


def test_a_large_tiff_becomes_a_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_CLASSIC_TIFF_BYTES", 1000)
    pixels, _ = pictures()
    write_picture(tmp_path / "a.tif", pixels, encoding=encoding())
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.is_bigtiff
    np.testing.assert_allclose(read(tmp_path / "a.tif").pixels, np.clip(pixels, 0, 1), atol=0.51 / 255)


@pytest.mark.parametrize("quality", [90, 100])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_webp_is_lossless_at_full_quality(tmp_path: Path, with_alpha: bool, quality: int) -> None:
    pixels = resize_pixels(RNG.random((4, 5, 3), np.float32), (50, 130))
    alpha = np.linspace(0.1, 1, 130 * 50, dtype=np.float32).reshape(130, 50) if with_alpha else None
    path = tmp_path / "a.WebP"
    write_picture(path, pixels, alpha=alpha, encoding=encoding(dpi=299.5, quality=quality))
    with Image.open(path) as image:
        assert image.info["icc_profile"] == srgb_profile()
        assert [float(image.getexif()[tag]) for tag in (282, 283, 296)] == [299.5, 299.5, 2]
    picture = read(path)
    if with_alpha:
        assert picture.alpha is not None and alpha is not None
        np.testing.assert_array_equal(picture.alpha, np.rint(alpha * 255) / np.float32(255))
    else:
        assert picture.alpha is None
    exact = np.rint(pixels * np.float32(255)) / np.float32(255)
    assert np.array_equal(picture.pixels, exact) == (quality == 100)
    np.testing.assert_allclose(picture.pixels, exact, atol=0.2)


def test_what_webp_cannot_hold(tmp_path: Path) -> None:
    check_format(tmp_path / "a.webp", (16_383, 1), bit_depth=8)
    with pytest.raises(OutputError, match=r"16 bits as a WebP; choose PNG or TIFF"):
        check_format(tmp_path / "a.webp", (1, 1), bit_depth=16)
    with pytest.raises(OutputError, match=r"a WebP with 1 x 16384 pixels; choose PNG or TIFF"):
        check_format(tmp_path / "a.webp", (1, 16_384), bit_depth=8)


def test_what_jpeg_cannot_hold(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    with pytest.raises(OutputError, match=r"16 bits .*PNG or TIFF"):
        check_format(path, (4, 3), bit_depth=16)
    with pytest.raises(OutputError, match=r"65501 x 1 pixels; choose PNG or TIFF"):
        check_format(path, (65_501, 1), bit_depth=8)
    assert list(tmp_path.iterdir()) == []


def test_outputs_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there.png").write_bytes(b"old")
    (tmp_path / "folder.png").mkdir()
    check_output(tmp_path / "new.PNG", overwrite=False)
    check_output(tmp_path / "there.png", overwrite=True)
    for name, overwrite, sentence in (
        ("there.png", False, "already exists; use --overwrite"),
        ("folder.png", True, "is a folder"),
        ("a.gif", False, "does not end in one of .png, .jpg, .jpeg, .tif, .tiff, .webp"),
        ("a", False, "does not end in"),
        ("nowhere/a.png", False, "does not exist"),
        ("there.png/a.png", False, "is not a folder"),
        ("x" * 300 + ".png", False, "cannot be written"),
    ):
        with pytest.raises(OutputError, match=sentence):
            check_output(tmp_path / name, overwrite=overwrite)
    check_output(tmp_path / "new.png", overwrite=False, inputs=[tmp_path / "there.png", tmp_path / "gone.png"])
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=r"there\.png is one of the pictures that the run reads"):
            check_output(tmp_path / "there.png", overwrite=overwrite, inputs=[tmp_path / "." / "there.png"])
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="is not writable"):
        check_output(tmp_path / "new.png", overwrite=False)


# --- atomicity


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp"])
def test_a_full_disk_while_a_picture_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="no space left"):
        write_picture(tmp_path / name, pictures()[0], encoding=encoding())
    assert list(tmp_path.iterdir()) == []
