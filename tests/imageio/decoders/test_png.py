"""PNG files: nothing beside the picture can stop it."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hires_nst.errors import InputError
from hires_nst.imageio.colour import DAMAGED_PROFILE, srgb_profile
from hires_nst.imageio.decoders.png import MAX_INFLATED, texts
from hires_nst.imageio.picture import Picture
from hires_nst.imageio.reading import picture_size, read_picture
from tests.imageio.pngs import chunk, picture_chunks, png

RNG = np.random.default_rng(0)
SAMPLES: dict[str, np.ndarray] = {
    "8 bits": RNG.integers(0, 256, (4, 5, 3)).astype(np.uint8),
    "grey": RNG.integers(0, 256, (4, 5)).astype(np.uint8),
    "16 bits": RNG.integers(0, 65536, (4, 5, 3)).astype(np.uint16),
    "alpha": RNG.integers(0, 256, (4, 5, 4)).astype(np.uint8),
}
RGB = SAMPLES["8 bits"]
LONG = zlib.compress(bytes(3 << 20))
BOMB = zlib.compress(bytes(MAX_INFLATED + 1), 9)


def read(path: Path, data: bytes) -> Picture:
    path.write_bytes(data)
    return read_picture(path, max_megapixels=1)


def assert_shows(picture: Picture, samples: np.ndarray) -> None:
    values = samples / np.iinfo(samples.dtype).max
    values = values[..., None] if values.ndim == 2 else values
    np.testing.assert_array_equal(picture.pixels, np.broadcast_to(values[..., :3], picture.pixels.shape).astype("f4"))


BESIDE = (
    {
        "3 MB of text": (chunk(b"zTXt", b"Comment\0\0" + LONG), ()),
        "3 MB of XMP": (chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LONG), ()),
        "3 MB of plain text": (chunk(b"tEXt", b"Comment\0" + b"a" * (3 << 20)), ()),
        "3 MB of Exif": (chunk(b"eXIf", bytes(3 << 20)), ()),
        "3 MB of profile": (chunk(b"iCCP", b"a\0\0" + LONG), (DAMAGED_PROFILE,)),
        "a long sound profile": (chunk(b"iCCP", b"a\0\0" + zlib.compress(srgb_profile() + bytes(3 << 20))), ()),
        "a text bomb": (chunk(b"zTXt", b"Comment\0\0" + BOMB), ()),
        "a profile bomb": (chunk(b"iCCP", b"a\0\0" + BOMB), (DAMAGED_PROFILE,)),
        "a profile that is cut": (chunk(b"iCCP", b"a\0\0" + LONG[:-9]), (DAMAGED_PROFILE,)),
        "a profile without a name": (chunk(b"iCCP", b""), (DAMAGED_PROFILE,)),
        "a text that is no text": (chunk(b"zTXt", b"\xff"), ()),
        "an unknown chunk": (chunk(b"quUx", b"1"), ()),
        "a suggested palette": (chunk(b"PLTE", b"\1" * 5), ()),
        "impossible dots": (chunk(b"pHYs", b""), ()),
        "an impossible time": (chunk(b"tIME", bytes(3)), ()),
        "impossible animation": (chunk(b"acTL", bytes(3)) + chunk(b"fcTL", bytes(3)), ()),
        "impossible gamma": (
            chunk(b"gAMA", bytes(4)),
            ("the gamma or the chromaticities are not possible, and were ignored",),
        ),
    }
    | {
        f"a wrong checksum of {kind.decode()}": (
            chunk(kind, data, sound=False),
            (DAMAGED_PROFILE,) if kind == b"iCCP" else (f"damaged parts of the file were ignored: {kind.decode()}",),
        )
        for kind, data in {
            b"iCCP": b"a\0\0" + zlib.compress(srgb_profile()),
            b"gAMA": struct.pack(">I", 100_000),
            b"cHRM": bytes(32),
            b"sRGB": b"\0",
            b"cICP": bytes([9, 16, 0, 1]),
            b"eXIf": bytes(20),
            b"tRNS": bytes(6),
        }.items()
    }
    | {
        f"a wrong checksum of {kind.decode()}": (chunk(kind, b"abc\0\0abc", sound=False), ())
        for kind in (b"tEXt", b"zTXt", b"iTXt", b"pHYs", b"tIME", b"bKGD", b"quUx", b"acTL")
    }
)


@pytest.mark.parametrize("samples", SAMPLES.values(), ids=list(SAMPLES))
@pytest.mark.parametrize("name", BESIDE)
def test_no_chunk_beside_the_picture_stops_it(tmp_path: Path, name: str, samples: np.ndarray) -> None:
    extra, notes = BESIDE[name]
    for data in (png(samples, extra), png(samples, after=extra)):
        picture = read(tmp_path / "a.png", data)
        assert_shows(picture, samples)
        assert picture.notes == notes
        assert picture_size(tmp_path / "a.png", max_megapixels=1) == (5, 4)


def test_bombs_take_no_memory(tmp_path: Path) -> None:
    bomb = zlib.compress(bytes(5 * MAX_INFLATED), 1)
    tracemalloc.start()
    read(tmp_path / "a.png", png(RGB, chunk(b"iCCP", b"a\0\0" + bomb), chunk(b"zTXt", b"a\0\0" + bomb)))
    assert tracemalloc.get_traced_memory()[1] < 4 * MAX_INFLATED
    tracemalloc.stop()
    half = zlib.compress(bytes(MAX_INFLATED // 2), 1)
    many = png(RGB, *[chunk(b"zTXt", b"%d\0\0" % number + half) for number in range(5)])
    assert [keyword for keyword, _ in texts(BytesIO(many))] == ["0", "1"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from([b"iCCP", b"gAMA", b"cHRM", b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"pHYs", b"acTL", b"zzZz"]),
    data=st.binary(max_size=60),
    sound=st.booleans(),
    late=st.booleans(),
)
def test_damage_beside_the_picture_never_changes_its_pixels(
    tmp_path: Path, kind: bytes, data: bytes, sound: bool, late: bool
) -> None:
    if sound and kind in (b"gAMA", b"cHRM"):
        data = data[:3]  # whole ones change the colours
    extra = chunk(kind, data, sound=sound)
    assert_shows(read(tmp_path / "a.png", png(RGB, after=extra) if late else png(RGB, extra)), RGB)


@pytest.mark.parametrize("samples", SAMPLES.values(), ids=list(SAMPLES))
@pytest.mark.parametrize("damaged", [b"IHDR", b"IDAT"])
def test_a_wrong_checksum_of_the_picture_is_an_error(tmp_path: Path, samples: np.ndarray, damaged: bytes) -> None:
    parts = zip((b"IHDR", b"IDAT"), picture_chunks(samples), strict=True)
    body = b"".join(chunk(kind, data, sound=kind != damaged) for kind, data in parts)
    with pytest.raises(InputError, match="damaged"):
        read(tmp_path / "a.png", b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b""))


def test_the_first_of_two_chunks_of_a_kind_counts(tmp_path: Path) -> None:
    linear = bytes(imagecodecs.cms_profile("gray", whitepoint=[0.3127, 0.329, 1], gamma=1.0))
    profiles = [chunk(b"iCCP", b"a\0\0" + zlib.compress(profile)) for profile in (linear, srgb_profile())]
    picture = read(tmp_path / "a.png", png(np.full((1, 1), 55, np.uint8), *profiles))
    np.testing.assert_allclose(picture.pixels, 0.5, atol=0.01)


def test_texts() -> None:
    file = png(
        RGB,
        chunk(b"tEXt", b"Author\0Andr\xe9"),
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"long")),
        chunk(b"tEXt", b"Title\0lost", sound=False),
        chunk(b"zTXt", b"Comment\0\0" + BOMB),
        after=chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0en\0XMP\0" + "<x>é\0</x>".encode())
        + chunk(b"iTXt", b"Title\0\1\0\0\0" + zlib.compress("Ö".encode())),
    )
    found = [("Author", "André"), ("Comment", "long"), ("XML:com.adobe.xmp", "<x>é\0</x>"), ("Title", "Ö")]
    assert list(texts(BytesIO(file))) == found


@pytest.mark.parametrize("samples", [SAMPLES["8 bits"], SAMPLES["16 bits"]], ids=["8 bits", "16 bits"])
def test_every_cut_of_a_file_is_a_picture_or_an_error_of_ours(tmp_path: Path, samples: np.ndarray) -> None:
    whole = png(samples, chunk(b"gAMA", struct.pack(">I", 45455)))
    for length in range(1, len(whole)):
        try:
            assert_shows(read(tmp_path / "a.png", whole[:length]), samples)
        except InputError:
            continue
