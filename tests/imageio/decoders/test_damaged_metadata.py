"""JPEG, WebP and TIFF files: damaged metadata never stop the picture or change its pixels. For PNG see test_png."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from hires_nst.errors import InputError
from hires_nst.imageio.colour import DAMAGED_PROFILE, srgb_profile
from hires_nst.imageio.picture import Picture
from hires_nst.imageio.reading import picture_size, read_picture
from tests.imageio.tiffs import exif_bytes, page, short, tiff

RGB = np.random.default_rng(0).integers(0, 256, (16, 24, 3)).astype(np.uint8)
SALVAGED = "damaged metadata of the file were ignored"
PART = b"ICC_PROFILE\0"
SLOW = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def encoded(kind: str, **options: Any) -> bytes:
    file = BytesIO()
    Image.fromarray(RGB).save(file, kind, **options)
    return file.getvalue()


JPEG = encoded("JPEG", quality=95)
WEBP = encoded("WEBP", lossless=True)


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def jpeg(*segments: bytes, first: bool = False) -> bytes:
    """With segments in front of or after that of JFIF."""
    after = 2 if first else 20
    return JPEG[:after] + b"".join(segments) + JPEG[after:]


def riff(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def webp(*before: bytes, after: bytes = b"", more: int = 0) -> bytes:
    """With chunks in front of and after the picture, and a length that is wrong by `more`."""
    header = struct.pack("<I", 0x2C) + struct.pack("<I", 23)[:3] + struct.pack("<I", 15)[:3]
    body = b"WEBP" + riff(b"VP8X", header) + b"".join(before) + WEBP[12:] + after
    return b"RIFF" + struct.pack("<I", len(body) + more) + body


def read(path: Path, data: bytes) -> Picture:
    path.write_bytes(data)
    assert picture_size(path, max_megapixels=1) == (24, 16)
    return read_picture(path, max_megapixels=1)


def assert_is_the_picture(picture: Picture, whole: bytes) -> None:
    wanted = np.asarray(Image.open(BytesIO(whole)).convert("RGB")) if whole[:2] != b"II" else RGB
    np.testing.assert_array_equal(picture.pixels, wanted.astype(np.float32) / 255)


DAMAGED: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "JPEG, JFIF that is cut": (jpeg(segment(0xE0, b"JFIF\0\1")), (SALVAGED,)),
    "JPEG, Adobe that is cut": (jpeg(segment(0xEE, b"Adobe")), (SALVAGED,)),
    "JPEG, Photoshop that is cut": (jpeg(segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed")), (SALVAGED,)),
    "JPEG, a profile without a number": (jpeg(segment(0xE2, PART)), (SALVAGED,)),
    "JPEG, a profile with a part missing": (jpeg(segment(0xE2, PART + b"\1\2" + bytes(99))), (DAMAGED_PROFILE,)),
    "JPEG, a profile that is none": (jpeg(segment(0xE2, PART + b"\1\1" + bytes(99))), (DAMAGED_PROFILE,)),
    "JPEG, a sound profile beside damage": (
        jpeg(segment(0xE2, PART + b"\1\1" + srgb_profile()), segment(0xE0, b"JFIF\0")),
        (SALVAGED,),
    ),
    "JPEG, megabytes of XMP": (jpeg(*[segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + bytes(65000))] * 50), ()),
    "JPEG, Exif that is cut": (jpeg(segment(0xE1, b"Exif\0\0II*\0")), ()),
    "JPEG, pictures that are cut": (jpeg(segment(0xE2, b"MPF\0II*\0")), ()),
    "JPEG, something between": (jpeg(b"\0\1\2\xff\xff"), ()),
    "WebP, a profile that is none": (webp(riff(b"ICCP", b"rubbish")), (DAMAGED_PROFILE,)),
    "WebP, Exif that is none": (webp(after=riff(b"EXIF", b"rubbish")), ()),
    "WebP, Exif that is cut": (webp(after=riff(b"EXIF", bytes(99))[:-50]), (SALVAGED,)),
    "WebP, XMP of another length": (webp(after=b"XMP \xff\xff\xff\xff<x/>"), (SALVAGED,)),
    "WebP, a wrong length": (webp(after=riff(b"XMP ", bytes(99)), more=100), (SALVAGED,)),
    "WebP, an unknown chunk": (webp(riff(b"abcd", bytes(99))), ()),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_metadata_are_ignored(tmp_path: Path, name: str) -> None:
    data, notes = DAMAGED[name]
    picture = read(tmp_path / "a", data)
    assert_is_the_picture(picture, JPEG if name.startswith("JPEG") else WEBP)
    assert picture.notes == notes


def test_what_is_sound_beside_damage_still_counts(tmp_path: Path) -> None:
    exif = segment(0xE1, b"Exif\0\0" + exif_bytes({0xA001: short(2)}, main={0x0112: short(3)}))
    picture = read(tmp_path / "a", jpeg(exif, segment(0xEE, b"Adobe")))
    assert picture.notes == (SALVAGED, "the colours were converted from Adobe RGB (Exif) to sRGB")
    upright = read(tmp_path / "b", jpeg(segment(0xE1, b"Exif\0\0" + exif_bytes({0xA001: short(2)}))))
    np.testing.assert_array_equal(picture.pixels[::-1, ::-1], upright.pixels)


@SLOW
@given(
    marker=st.sampled_from([*range(0xE0, 0xF0), 0xFE]),
    start=st.sampled_from(
        [
            b"",
            b"JFIF\0",
            b"Exif\0\0",
            b"Exif\0\0MM\0*",
            PART,
            PART + b"\1\1",
            b"Adobe\0",
            b"MPF\0",
            b"Photoshop 3.0\x008BIM",
        ]
    ),
    body=st.binary(max_size=40),
    first=st.booleans(),
)
def test_no_segment_of_a_jpeg_changes_its_pixels(
    tmp_path: Path, marker: int, start: bytes, body: bytes, first: bool
) -> None:
    if marker == 0xEE and start == b"Adobe\0" and len(body) > 5:
        body = body[:5] + b"\1" + body[6:]  # the transform of this segment belongs to the picture
    assert_is_the_picture(read(tmp_path / "a", jpeg(segment(marker, start + body), first=first)), JPEG)


@SLOW
@given(
    kind=st.sampled_from([b"ICCP", b"EXIF", b"XMP ", b"abcd"]),
    start=st.sampled_from([b"", b"Exif\0\0", b"II*\0\x08\0\0\0", b"MM\0*"]),
    body=st.binary(max_size=40),
    late=st.booleans(),
    cut=st.integers(0, 20),
)
def test_no_chunk_of_a_webp_changes_its_pixels(
    tmp_path: Path, kind: bytes, start: bytes, body: bytes, late: bool, cut: int
) -> None:
    extra = riff(kind, start + body)
    data = webp(after=extra[: len(extra) - cut]) if late else webp(extra)
    assert_is_the_picture(read(tmp_path / "a", data), WEBP)


@pytest.mark.parametrize(
    "tag", [254, 255, 270, 271, 301, 305, 306, 315, 318, 319, 330, 338, 700, 33432, 33723, 34377, 34665, 34675, 34853]
)
def test_no_damaged_tag_of_a_tiff_changes_its_pixels(tmp_path: Path, tag: int) -> None:
    data = RGB.tobytes()
    for kind in (0, 1, 2, 3, 4, 5, 7, 12, 13, 99):
        for count, where in ((1000, 0xFFFFFFF0), (0, 0), (1, 5), (0xFFFFFFFF, 8), (7, 8), (3000, 8)):
            picture = read(tmp_path / "a", tiff(page(RGB) | {tag: (kind, count, struct.pack("<I", where))}, data=data))
            assert_is_the_picture(picture, b"II")
            if tag == 34675 and picture.notes:
                assert picture.notes == (DAMAGED_PROFILE,)


@pytest.mark.parametrize("whole", [JPEG, webp(after=riff(b"XMP ", bytes(99)))], ids=["JPEG", "WebP"])
def test_every_cut_of_the_picture_is_an_error_of_ours(tmp_path: Path, whole: bytes) -> None:
    for length in range(1, len(whole) - 120, 7):
        (tmp_path / "a").write_bytes(whole[:length])
        with pytest.raises(InputError):
            read_picture(tmp_path / "a", max_megapixels=1)
