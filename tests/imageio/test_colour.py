"""Colour spaces that a file names without a profile, in every format that can; expected values come from numpy."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from hires_nst.errors import InputError
from hires_nst.imageio.colour import srgb_profile
from hires_nst.imageio.images import to_picture
from hires_nst.imageio.picture import Picture
from hires_nst.imageio.reading import picture_size, read_picture
from tests.imageio import tiffs
from tests.imageio.pngs import chunk, png
from tests.imageio.tiffs import exif_bytes, page, rational, short, tiff

Curve = Callable[[np.ndarray], np.ndarray]

D65 = (0.3127, 0.329)
SRGB, ADOBE = (0.64, 0.33, 0.3, 0.6, 0.15, 0.06), (0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
P3, BT2020 = (0.68, 0.32, 0.265, 0.69, 0.15, 0.06), (0.708, 0.292, 0.17, 0.797, 0.131, 0.046)
PROPHOTO, D50 = (0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001), (0.3457, 0.3585)

COLOURS = np.array(
    [[[0, 0, 0], [255, 255, 255], [128, 128, 128]], [[150, 100, 90], [60, 110, 130], [20, 25, 30]]], "u1"
)
GREYS = np.array([[0, 30, 128], [200, 255, 77]], "u1")


def srgb_to_light(v: np.ndarray) -> np.ndarray:
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def bt709_to_light(v: np.ndarray) -> np.ndarray:
    return np.where(v < 0.081, v / 4.5, ((v + 0.099) / 1.099) ** (1 / 0.45))


def power(gamma: float) -> Curve:
    return lambda v: v**gamma


def to_xyz(white: tuple[float, float], primaries: tuple[float, ...]) -> np.ndarray:
    """The matrix from light to XYZ, adapted to D65 after Bradford."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in zip(primaries[::2], primaries[1::2], strict=True)]).T
    tristimulus, target = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in (white, D65))
    matrix = columns * np.linalg.solve(columns, tristimulus)
    cone = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    adapted: np.ndarray = np.linalg.inv(cone) @ np.diag((cone @ target) / (cone @ tristimulus)) @ cone @ matrix
    return adapted


def expected(samples: np.ndarray, primaries: tuple[float, ...], curve: Curve, white: Any = D65) -> np.ndarray:
    """sRGB of encoded samples in [0, 1]."""
    light = curve(samples.astype(float)) @ to_xyz(white, primaries).T @ np.linalg.inv(to_xyz(D65, SRGB)).T
    return encoded(light)


def encoded(light: np.ndarray) -> np.ndarray:
    light = light.clip(0, 1)
    result: np.ndarray = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return result


def read(path: Path, data: bytes) -> Picture:
    path.write_bytes(data)
    return read_picture(path, max_megapixels=1)


def note(name: str) -> tuple[str, ...]:
    return (f"the colours were converted from {name} to sRGB",)


def cicp(primaries: int, transfer: int, matrix: int = 0, full: int = 1) -> bytes:
    return chunk(b"cICP", bytes([primaries, transfer, matrix, full]))


def gama(gamma: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(100_000 / gamma)))


def chrm(primaries: tuple[float, ...], white: tuple[float, float] = D65) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *(round(100_000 * number) for number in (*white, *primaries))))


def iccp(profile: bytes) -> bytes:
    return chunk(b"iCCP", b"a\0\0" + zlib.compress(profile))


def profile_of(primaries: tuple[float, ...], gamma: float) -> bytes:
    return bytes(imagecodecs.cms_profile("rgb", whitepoint=[*D65, 1], primaries=primaries, gamma=gamma))


SRGB_CHUNK = chunk(b"sRGB", b"\0")
ADOBE_EXIF = exif_bytes({0xA001: short(0xFFFF)}, interoperability="R03")
UNCALIBRATED = ("Exif calls the colours uncalibrated and there is no profile; they were taken as sRGB",)
ADOBE_CURVE = power(2.19921875)

PNGS: dict[str, tuple[list[bytes], Any, Any]] = {
    # chunks: expected from (primaries, curve[, white]), None where nothing changes; notes
    "nothing": ([], None, ()),
    "sRGB": ([SRGB_CHUNK], None, ()),
    "gamma of sRGB": ([gama(2.2)], None, ()),
    "gamma and primaries of sRGB": ([gama(2.2), chrm(SRGB)], None, ()),
    "primaries of sRGB": ([chrm(SRGB)], None, ()),
    "gamma 1": ([gama(1)], (SRGB, power(1)), note("a gamma of 1 (gAMA)")),
    "gamma 1.8": ([gama(1.8)], (SRGB, power(1.8)), note("a gamma of 1.8 (gAMA)")),
    "gamma 1 and primaries of sRGB": ([gama(1), chrm(SRGB)], (SRGB, power(1)), note("a gamma of 1 (gAMA and cHRM)")),
    "Adobe RGB": (
        [gama(2.2), chrm(ADOBE)],
        (ADOBE, power(2.2)),
        note("other primaries and a gamma of 2.2 (gAMA and cHRM)"),
    ),
    "primaries of P3": ([chrm(P3)], (P3, srgb_to_light), note("other primaries (cHRM)")),
    "another white": (
        [gama(1.8), chrm(PROPHOTO, D50)],
        (PROPHOTO, power(1.8), D50),
        note("other primaries and a gamma of 1.8 (gAMA and cHRM)"),
    ),
    "cICP sRGB": ([cicp(1, 13)], None, ()),
    "cICP Display P3": ([cicp(12, 13)], (P3, srgb_to_light), note("Display P3 (cICP)")),
    "cICP BT.709": ([cicp(1, 1)], (SRGB, bt709_to_light), note("BT.709 with the curve of BT.709 (cICP)")),
    "cICP BT.2020": ([cicp(9, 14)], (BT2020, bt709_to_light), note("BT.2020 with the curve of BT.709 (cICP)")),
    "cICP linear": ([cicp(1, 8)], (SRGB, power(1)), note("BT.709 with linear light (cICP)")),
    "cICP gamma 2.2": ([cicp(12, 4)], (P3, power(2.2)), note("Display P3 with a gamma of 2.2 (cICP)")),
    "cICP unspecified": ([cicp(2, 2)], None, ()),
    "cICP of YCbCr, which PNG cannot hold": ([cicp(9, 14, 9)], None, ()),
    "Exif": ([chunk(b"eXIf", ADOBE_EXIF)], (ADOBE, ADOBE_CURVE), note("Adobe RGB (Exif)")),
    "cICP before a profile": ([cicp(12, 13), iccp(srgb_profile())], (P3, srgb_to_light), note("Display P3 (cICP)")),
    "a profile after an unspecified cICP": ([cicp(2, 2), iccp(profile_of(P3, 1.8))], (P3, power(1.8)), None),
    "cICP before all": ([cicp(12, 13), SRGB_CHUNK, gama(1)], (P3, srgb_to_light), note("Display P3 (cICP)")),
    "a profile before sRGB": ([iccp(profile_of(ADOBE, 1.8)), SRGB_CHUNK], (ADOBE, power(1.8)), None),
    "a profile before gamma": ([iccp(srgb_profile()), gama(1)], None, ()),
    "sRGB before gamma": ([SRGB_CHUNK, gama(1), chrm(ADOBE)], None, ()),
    "gamma before Exif": ([gama(2.2), chunk(b"eXIf", ADOBE_EXIF)], None, ()),
    "gamma after a damaged profile": (
        [iccp(b"rubbish"), gama(1)],
        (SRGB, power(1)),
        (
            "the embedded colour profile is damaged or does not fit the picture, and was ignored",
            *note("a gamma of 1 (gAMA)"),
        ),
    ),
}


@pytest.mark.parametrize("deep", [False, True], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("name", PNGS)
def test_colours_of_a_png(tmp_path: Path, name: str, deep: bool) -> None:
    chunks, space, notes = PNGS[name]
    samples = COLOURS.astype(np.uint16) * 257 if deep else COLOURS
    picture = read(tmp_path / "a.png", png(samples, *chunks))
    if space is None:
        np.testing.assert_array_equal(picture.pixels, (COLOURS / 255).astype(np.float32))
    else:
        np.testing.assert_allclose(picture.pixels, expected(COLOURS / 255, *space), atol=0.003)
        assert np.abs(picture.pixels - COLOURS / 255).max() > 0.02  # there was something to convert
    assert picture.notes == notes or (notes is None and "(embedded profile)" in picture.notes[0])


@pytest.mark.parametrize("chunks", [[gama(1)], [gama(1), chrm(ADOBE)], [cicp(1, 8)], [cicp(12, 8)]])
def test_colours_of_a_grey_png(tmp_path: Path, chunks: list[bytes]) -> None:
    picture = read(tmp_path / "a.png", png(GREYS, *chunks))
    wanted = encoded(GREYS[..., None] / 255)
    np.testing.assert_allclose(picture.pixels, np.broadcast_to(wanted, picture.pixels.shape), atol=0.003)
    assert len(picture.notes) == 1


def test_alpha_is_not_converted(tmp_path: Path) -> None:
    samples = np.dstack([COLOURS, GREYS])
    picture = read(tmp_path / "a.png", png(samples, gama(1)))
    assert picture.alpha is not None
    np.testing.assert_allclose(picture.alpha, GREYS / 255, atol=1e-7)


@pytest.mark.parametrize(
    ("code_points", "kind"),
    [
        (cicp(9, 16), r"is an HDR picture \(PQ, named by cICP\)"),
        (cicp(9, 18), r"is an HDR picture \(HLG, named by cICP\)"),
        (cicp(1, 9), "primaries 1, transfer 9, full range"),
        (cicp(10, 17), "primaries 10, transfer 17"),
        (cicp(200, 13), "primaries 200"),
        (cicp(1, 13, 0, 0), "narrow range"),
    ],
)
def test_what_cannot_be_converted_is_refused_by_name(tmp_path: Path, code_points: bytes, kind: str) -> None:
    with pytest.raises(InputError, match=rf"a\.png .*{kind}.*; export it as .* sRGB or Display P3$"):
        read(tmp_path / "a.png", png(COLOURS, code_points))
    with pytest.raises(InputError, match=kind):
        picture_size(tmp_path / "a.png", max_megapixels=1)


@pytest.mark.parametrize("extra", [[gama(1e-3)], [gama(1e3)], [chunk(b"gAMA", bytes(4))], [chrm((0.0,) * 6)]])
def test_impossible_gamma_and_chromaticities_are_ignored(tmp_path: Path, extra: list[bytes]) -> None:
    picture = read(tmp_path / "a.png", png(COLOURS, *extra))
    np.testing.assert_array_equal(picture.pixels, (COLOURS / 255).astype(np.float32))
    assert picture.notes == ("the gamma or the chromaticities are not possible, and were ignored",)


# --- Exif, in every format that has it

EXIFS: dict[str, tuple[bytes, Any, tuple[str, ...]]] = {
    "sRGB": (exif_bytes({0xA001: short(1)}), None, ()),
    "sRGB twice": (exif_bytes({0xA001: short(1)}, interoperability="R98"), None, ()),
    "no space": (exif_bytes({0x9003: (2, 20, b"2020:01:01 10:00:00\0")}), None, ()),
    "Adobe RGB by DCF": (ADOBE_EXIF, (ADOBE, ADOBE_CURVE), note("Adobe RGB (Exif)")),
    "Adobe RGB by index alone": (
        exif_bytes({}, interoperability="R03"),
        (ADOBE, ADOBE_CURVE),
        note("Adobe RGB (Exif)"),
    ),
    "Adobe RGB by ColorSpace": (exif_bytes({0xA001: short(2)}), (ADOBE, ADOBE_CURVE), note("Adobe RGB (Exif)")),
    "a contradiction": (exif_bytes({0xA001: short(1)}, interoperability="R03"), None, ()),
    "uncalibrated": (exif_bytes({0xA001: short(0xFFFF)}), None, UNCALIBRATED),
    "uncalibrated, index of sRGB": (exif_bytes({0xA001: short(0xFFFF)}, interoperability="R98"), None, ()),
    "chromaticities": (
        exif_bytes({0xA001: short(0xFFFF), 0xA500: rational(1.8)}, main={318: rational(*D65), 319: rational(*ADOBE)}),
        (ADOBE, power(1.8)),
        note("other primaries and a gamma of 1.8 (Exif)"),
    ),
    "damaged": (ADOBE_EXIF[:20], None, ()),
}


def in_format(suffix: str, exif: bytes) -> bytes:
    """Large squares of COLOURS, with Exif."""
    squares = COLOURS.repeat(16, 0).repeat(16, 1)
    if suffix == "png":
        return png(squares, chunk(b"eXIf", exif))
    file = BytesIO()
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {"quality": 100, "subsampling": 0}
    Image.fromarray(squares).save(file, {"webp": "WEBP", "jpg": "JPEG"}[suffix], exif=b"Exif\0\0" + exif, **options)
    return file.getvalue()


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.parametrize("name", EXIFS)
def test_colours_by_exif(tmp_path: Path, name: str, suffix: str) -> None:
    exif, space, notes = EXIFS[name]
    picture = read(tmp_path / "a.jpg", in_format(suffix, exif))
    wanted = COLOURS / 255 if space is None else expected(COLOURS / 255, *space)
    np.testing.assert_allclose(picture.pixels[8::16, 8::16], wanted, atol=0.02 if suffix == "jpg" else 0.003)
    assert picture.notes == notes


def test_the_name_of_a_camera_file_tells_what_uncalibrated_means(tmp_path: Path) -> None:
    squares, uncalibrated = COLOURS.repeat(16, 0).repeat(16, 1), exif_bytes({0xA001: short(0xFFFF)})
    for name, exif, notes in (
        ("_MG_0001.JPG", uncalibrated, note("Adobe RGB (Exif and the camera's file name)")),
        ("_dsc1234.jpg", uncalibrated, note("Adobe RGB (Exif and the camera's file name)")),
        ("IMG_0001.JPG", uncalibrated, UNCALIBRATED),
        ("_holiday.jpg", uncalibrated, UNCALIBRATED),
        ("_MG_0001.JPG", exif_bytes({0xA001: short(1)}), ()),
        ("_MG_0001.JPG", b"", ()),
    ):
        Image.fromarray(squares).save(tmp_path / name, quality=100, exif=b"Exif\0\0" + exif)
        assert read_picture(tmp_path / name, max_megapixels=1).notes == notes


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_a_profile_counts_before_exif(tmp_path: Path, suffix: str) -> None:
    image = Image.open(BytesIO(in_format(suffix, ADOBE_EXIF)))
    file = BytesIO()
    image.save(file, image.format, exif=b"Exif\0\0" + ADOBE_EXIF, icc_profile=srgb_profile())
    assert read(tmp_path / "a.jpg", file.getvalue()).notes == ()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_profiles_in_every_format(tmp_path: Path, kind: str, mode: str) -> None:
    samples = COLOURS if mode == "RGB" else GREYS
    gray = bytes(imagecodecs.cms_profile("gray", whitepoint=[*D65, 1], gamma=1.8))
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {"quality": 100}
    squares = Image.fromarray(samples.repeat(16, 0).repeat(16, 1))
    profile = profile_of(P3, 1.8) if mode == "RGB" or kind == "WEBP" else gray
    squares.save(tmp_path / "a", kind, icc_profile=profile, **options)
    picture = read_picture(tmp_path / "a", max_megapixels=1)
    wanted = expected(np.broadcast_to(samples.reshape(2, 3, -1) / 255, (2, 3, 3)), P3, power(1.8))
    np.testing.assert_allclose(picture.pixels[8::16, 8::16], wanted, atol=0.03 if kind == "JPEG" else 0.003)
    assert len(picture.notes) == 1 and "(embedded profile)" in picture.notes[0]


# --- TIFF


def test_exif_in_a_tiff(tmp_path: Path) -> None:
    data = tiff(page(COLOURS), data=COLOURS.tobytes(), exif={0xA001: short(0xFFFF)}, interoperability="R03")
    picture = read(tmp_path / "a.tif", data)
    np.testing.assert_allclose(picture.pixels, expected(COLOURS / 255, ADOBE, ADOBE_CURVE), atol=0.003)
    assert picture.notes == note("Adobe RGB (Exif)")


GAMMA_CURVE = short(*(np.linspace(0, 1, 256) ** 1.5 * 65535).astype(int))
SRGB_CURVE = short(*(srgb_to_light(np.linspace(0, 1, 256)) * 65535).round().astype(int))
TAGS: dict[str, tuple[dict[str, Any], Any, tuple[str, ...]]] = {
    "sRGB": ({"t318": rational(*D65), "t319": rational(*SRGB), "t301": SRGB_CURVE}, None, ()),
    "primaries": (
        {"t318": rational(*D50), "t319": rational(*PROPHOTO)},
        (PROPHOTO, srgb_to_light, D50),
        note("other primaries (TIFF tags)"),
    ),
    "one curve": ({"t301": GAMMA_CURVE}, (SRGB, power(1.5)), note("a curve (TIFF tags)")),
    "three curves": (
        {"t301": short(*struct.unpack("<256H", GAMMA_CURVE[2]) * 3)},
        (SRGB, power(1.5)),
        note("a curve (TIFF tags)"),
    ),
    "a damaged curve": ({"t301": short(1, 2, 3)}, None, ("the tags about the colours are damaged, and were ignored",)),
    "damaged primaries": ({"t319": short(1)}, None, ("the tags about the colours are damaged, and were ignored",)),
    "a profile": ({"t319": rational(*ADOBE), "t34675": (7, 3000, srgb_profile().ljust(3000, b"\0"))}, None, ()),
}


@pytest.mark.parametrize("name", TAGS)
def test_colours_by_the_tags_of_a_tiff(tmp_path: Path, name: str) -> None:
    tags, space, notes = TAGS[name]
    picture = read(tmp_path / "a.tif", tiff(page(COLOURS, **tags), data=COLOURS.tobytes()))
    wanted = COLOURS / 255 if space is None else expected(COLOURS / 255, *space)
    np.testing.assert_allclose(picture.pixels, wanted, atol=0.003)
    assert picture.notes == notes


def test_a_grey_tiff_has_a_curve_too(tmp_path: Path) -> None:
    data = tiff(page(GREYS, photometric=1, t301=GAMMA_CURVE, t319=rational(*ADOBE)), data=GREYS.tobytes())
    picture = read(tmp_path / "a.tif", data)
    np.testing.assert_allclose(picture.pixels[..., 1], encoded((GREYS / 255) ** 1.5), atol=0.003)


def lab_to_srgb(lab: np.ndarray) -> np.ndarray:
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], -1)
    relative = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    x, z = D50[0] / D50[1], (1 - sum(D50)) / D50[1]
    d50 = relative * [x, 1, z]
    cone = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    to_d65 = [D65[0] / D65[1], 1, (1 - sum(D65)) / D65[1]]
    adapt = np.linalg.inv(cone) @ np.diag((cone @ to_d65) / (cone @ [x, 1, z])) @ cone
    return encoded(d50 @ adapt.T @ np.linalg.inv(to_xyz(D65, SRGB)).T)


LAB = np.array([[[0, 0, 0], [100, 0, 0], [50, 0, 0]], [[60, 40, -30], [55, -25, 20], [30, 10, 35]]], float)
LABS: dict[str, tuple[int, np.ndarray]] = {
    "CIELAB 8": (8, np.stack([(LAB[..., 0] * 2.55).round(), LAB[..., 1] % 256, LAB[..., 2] % 256], -1).astype("u1")),
    "CIELAB 16": (
        8,
        np.stack([LAB[..., 0] * 655.35, LAB[..., 1] * 256 % 65536, LAB[..., 2] * 256 % 65536], -1).round().astype("u2"),
    ),
    "CIELAB float": (8, LAB.astype("f4")),
    "ICCLAB 8": (9, np.stack([LAB[..., 0] * 2.55, LAB[..., 1] + 128, LAB[..., 2] + 128], -1).round().astype("u1")),
    "ICCLAB 16": (
        9,
        np.stack([LAB[..., 0] * 652.8, (LAB[..., 1] + 128) * 256, (LAB[..., 2] + 128) * 256], -1).round().astype("u2"),
    ),
}


@pytest.mark.parametrize("name", LABS)
def test_cielab(tmp_path: Path, name: str) -> None:
    photometric, samples = LABS[name]
    picture = read(tmp_path / "a.tif", tiff(page(samples, photometric=photometric), data=samples.tobytes()))
    np.testing.assert_allclose(picture.pixels, lab_to_srgb(LAB), atol=0.006)
    assert picture.notes == note("CIELAB")


@pytest.mark.parametrize(("photometric", "name"), [(10, "ITULAB"), (32844, "LOGL"), (32845, "LOGLUV"), (999, "999")])
def test_other_colours_are_refused_by_name(tmp_path: Path, photometric: int, name: str) -> None:
    with pytest.raises(InputError, match=rf"a\.tif has colours of a kind that is not read \({name}\); save it as RGB"):
        read(tmp_path / "a.tif", tiff(page(COLOURS, photometric=photometric), data=COLOURS.tobytes()))


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("subsampling", [(1, 1), (2, 2), (2, 1)])
def test_ycbcr_without_jpeg(tmp_path: Path, subsampling: tuple[int, int], orientation: int) -> None:
    across, down = subsampling
    luma = np.arange(10, 250, 15, dtype=np.uint8).reshape(4, 4)
    blue, red = (np.full((4 // down, 4 // across), value, np.uint8) for value in (140, 110))
    units = luma.reshape(4 // down, down, 4 // across, across).transpose(0, 2, 1, 3).reshape(4 // down, 4 // across, -1)
    data = np.concatenate([units, blue[..., None], red[..., None]], 2).tobytes()
    entries = page(np.zeros((4, 4, 3), np.uint8), photometric=6, t530=short(*subsampling), t274=short(orientation))
    picture = read(tmp_path / "a.tif", tiff(entries | {279: tiffs.long(len(data))}, data=data))
    y = luma / 255
    wanted = np.stack([y + 1.402 * -18 / 255, y - (0.344136 * 12 - 0.714136 * 18) / 255, y + 1.772 * 12 / 255], -1)
    wanted = np.rot90(wanted, -1) if orientation == 6 else wanted
    np.testing.assert_allclose(picture.pixels, wanted.clip(0, 1), atol=0.006)


def test_ycbcr_of_16_bits_is_refused_by_name(tmp_path: Path) -> None:
    samples = COLOURS.astype(np.uint16)
    with pytest.raises(InputError, match=r"a\.tif has YCbCr colours in 3 channels of 16 bits; save it as RGB"):
        read(tmp_path / "a.tif", tiff(page(samples, photometric=6, t530=short(1, 1)), data=samples.tobytes()))


# --- BMP


def bmp(kind: int, *, endpoints: tuple[float, ...] = (0.0,) * 9, gamma: float = 0, profile: bytes = b"") -> bytes:
    """A BMP file with a header of version 5."""
    rows = b"".join(row[:, ::-1].tobytes().ljust(12, b"\0") for row in COLOURS[::-1])
    start = 14 + 124
    header = (
        struct.pack("<IiiHHIIiiII", 124, 3, 2, 1, 24, 0, len(rows), 0, 0, 0, 0) + bytes(16) + struct.pack("<I", kind)
    )
    header += struct.pack("<9I", *(round(number * 2**30) for number in endpoints))
    header += struct.pack("<3I", *[round(gamma * 65536)] * 3)
    header += struct.pack("<4I", 4, 124 + len(rows), len(profile), 0)
    return b"BM" + struct.pack("<IHHI", start + len(rows) + len(profile), 0, 0, start) + header + rows + profile


BMPS: dict[str, tuple[bytes, Any, Any]] = {
    "sRGB": (bmp(0x73524742), None, ()),
    "Windows": (bmp(0x57696E20), None, ()),
    "calibrated without numbers": (bmp(0), None, ()),
    "calibrated sRGB": (bmp(0, endpoints=tuple(to_xyz(D65, SRGB).T.ravel()), gamma=2.2), None, ()),
    "calibrated": (
        bmp(0, endpoints=tuple(to_xyz(D65, ADOBE).T.ravel()), gamma=1.8),
        (ADOBE, power(1.8)),
        note("other primaries and a gamma of 1.8 (BMP header)"),
    ),
    "calibrated impossibly": (
        bmp(0, endpoints=(1.0,) * 9),
        None,
        ("the gamma or the chromaticities are not possible, and were ignored",),
    ),
    "a profile": (bmp(0x4D424544, profile=profile_of(P3, 1.8)), (P3, power(1.8)), None),
    "a profile that is cut": (
        bmp(0x4D424544, profile=profile_of(P3, 1.8))[:-9],
        None,
        ("the embedded colour profile is damaged or does not fit the picture, and was ignored",),
    ),
}


@pytest.mark.parametrize("name", BMPS)
def test_colours_of_a_bmp(tmp_path: Path, name: str) -> None:
    data, space, notes = BMPS[name]
    picture = read(tmp_path / "a.bmp", data)
    wanted = COLOURS / 255 if space is None else expected(COLOURS / 255, *space)
    np.testing.assert_allclose(picture.pixels, wanted, atol=0.003)
    assert picture.notes == notes or (notes is None and "(embedded profile)" in picture.notes[0])


# --- images in memory


def test_a_pillow_image_is_converted_as_its_file_is(tmp_path: Path) -> None:
    for data in (png(COLOURS, gama(1.8), chrm(ADOBE)), png(COLOURS, SRGB_CHUNK, gama(1)), in_format("jpg", ADOBE_EXIF)):
        from_file = read(tmp_path / "a", data)
        with Image.open(tmp_path / "a") as image:
            picture = to_picture(image, max_megapixels=1)
        np.testing.assert_array_equal(picture.pixels, from_file.pixels)
        assert len(picture.notes) == len(from_file.notes)


def test_a_lab_image_of_pillow_is_converted() -> None:
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = ImageCms.applyTransform(Image.fromarray(COLOURS), to_lab)
    assert lab is not None
    picture = to_picture(lab, max_megapixels=1)
    np.testing.assert_allclose(picture.pixels, COLOURS / 255, atol=0.02)
    assert picture.notes == note("CIELAB")


def test_damaged_exif_does_not_stop_a_pillow_image() -> None:
    image = Image.fromarray(COLOURS)
    image.info["exif"] = b"Exif\0\0rubbish"
    np.testing.assert_allclose(to_picture(image, max_megapixels=1).pixels, COLOURS / 255, atol=1e-6)


# --- floating-point TIFF

AS_SRGB = "floating-point samples without a colour profile were taken as sRGB, not as linear light"
UNIT = COLOURS.astype(np.float32) / 255
LINEAR = profile_of(SRGB, 1.0)
HDR = UNIT + np.where(COLOURS == 255, np.float32(7.5), np.float32(0))


def share(percent: str) -> str:
    return f"{percent} % of the floating-point samples lay outside 0..1, and were clipped"


FLOATS: dict[str, tuple[np.ndarray, bytes | None, np.ndarray, tuple[str, ...]]] = {
    "0..1": (UNIT, None, UNIT, (AS_SRGB,)),
    "0..1, linear profile": (UNIT, LINEAR, encoded(UNIT), ()),
    "a little above 1": (UNIT * 1.1, None, (UNIT * 1.1).clip(0, 1), (AS_SRGB, share("17"))),
    "whole numbers to 255": (
        UNIT * 255,
        None,
        UNIT,
        ("floating-point samples up to 255 were divided by 255", AS_SRGB),
    ),
    "fractions to 255": (
        UNIT * 254.5,
        None,
        UNIT * 254.5 / 255,
        ("floating-point samples up to 254.5 were divided by 255", AS_SRGB),
    ),
    "whole numbers to 65535": (
        UNIT * 65535,
        None,
        UNIT,
        ("floating-point samples up to 65535 were divided by 65535", AS_SRGB),
    ),
    "whole numbers to 255, linear profile": (
        COLOURS.astype(np.float32),
        LINEAR,
        encoded(UNIT),
        ("floating-point samples up to 255 were divided by 255",),
    ),
    "highlights, linear profile": (HDR, LINEAR, encoded(HDR), (share("17"),)),
    "highlights": (HDR, None, UNIT, (AS_SRGB, share("17"))),
    "below 0": (UNIT - 0.01, None, (UNIT - 0.01).clip(0, 1), (AS_SRGB, share("17"))),
}


@pytest.mark.parametrize("name", FLOATS)
def test_floating_point(tmp_path: Path, name: str) -> None:
    samples, profile, wanted, notes = FLOATS[name]
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="rgb", iccprofile=profile)
    picture = read_picture(tmp_path / "a.tif", max_megapixels=1)
    np.testing.assert_allclose(picture.pixels, wanted, atol=0.003 if profile else 1e-5)
    assert [text for text in picture.notes if "converted" not in text] == list(notes)
    assert ("converted" in "".join(picture.notes)) == bool(profile)


@pytest.mark.parametrize(("peak", "factor"), [(255, 1), (65535, 257)])
def test_narrow_samples_in_wide_integers_are_not_blackened(tmp_path: Path, peak: int, factor: int) -> None:
    tifffile.imwrite(tmp_path / "a.tif", COLOURS.astype(np.uint32) * factor, photometric="rgb")
    picture = read_picture(tmp_path / "a.tif", max_megapixels=1)
    np.testing.assert_allclose(picture.pixels, COLOURS / 255, atol=1e-6)
    assert picture.notes == (f"32-bit samples up to {peak} were divided by {peak}",)


def test_floating_point_alpha_follows_the_colours(tmp_path: Path) -> None:
    samples = np.dstack([UNIT * 255, np.full((2, 3), 51.0)]).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="rgb", extrasamples=["unassalpha"])
    picture = read_picture(tmp_path / "a.tif", max_megapixels=1)
    assert picture.alpha is not None
    np.testing.assert_allclose(picture.alpha, 0.2, atol=1e-6)


def test_floating_point_without_numbers(tmp_path: Path) -> None:
    samples = UNIT.copy()
    samples[0, 0] = np.nan, np.inf, -np.inf
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="rgb")
    picture = read_picture(tmp_path / "a.tif", max_megapixels=1)
    np.testing.assert_array_equal(picture.pixels[0, 0], [0, 1, 0])
    assert picture.notes == (
        "5.6 % of the floating-point samples are not numbers (NaN), and were taken as 0",
        AS_SRGB,
        share("11"),
    )


@pytest.mark.parametrize(
    ("samples", "profile"),
    [
        (UNIT * 2 + 1, None),
        (UNIT * 400 + 2.5, None),
        (UNIT * 1e6, None),
        (UNIT - 1.5, None),
        (UNIT * 40 + 2.5, LINEAR),
        (np.full_like(UNIT, np.inf), LINEAR),
    ],
)
def test_floating_point_is_never_whitened(tmp_path: Path, samples: np.ndarray, profile: bytes | None) -> None:
    tifffile.imwrite(tmp_path / "a.tif", samples.astype("f4"), photometric="rgb", iccprofile=profile)
    with pytest.raises(InputError, match=r"floating-point samples from .*; save it with samples between 0"):
        read_picture(tmp_path / "a.tif", max_megapixels=1)
