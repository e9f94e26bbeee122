"""What is kept of a photograph's metadata in every format, what is left out, and damaged metadata."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from hires_nst.imageio.metadata import iptc
from hires_nst.imageio.metadata.embedded import metadata_of, read_metadata
from hires_nst.imageio.metadata.exif_tags import DESCRIPTION as DESCRIPTION_TAG
from hires_nst.imageio.metadata.exif_tags import ExifTags, read_exif
from hires_nst.imageio.metadata.record import JPEG_SEGMENT, Metadata, metadata_of_result
from hires_nst.imageio.metadata.xmp import Origin, Xmp, read_xmp
from hires_nst.imageio.writing import Encoding, write_picture
from tests.imageio.metadata import samples
from tests.imageio.metadata.samples import AUTHOR, COPYRIGHT, DATE, DESCRIPTION, PLACES, exif_block, photograph

KINDS = {"a.png": "PNG", "a.jpg": "JPEG", "a.tif": "TIFF", "a.webp": "WebP"}
ORIGIN = Origin("1.2.3", ("starry & night.jpg", "b.png"), '{"a": "<1>"}')


def written(path: Path, metadata: Metadata | None, **changes: Any) -> Path:
    options = {"dpi": 300, "bit_depth": 8, "quality": 95, "compression": "deflate", **changes}
    pixels = np.random.default_rng(5).random((70, 40, 3), np.float32)
    write_picture(path, pixels, encoding=Encoding(**options), metadata=metadata, overwrite=True)
    return path


def all_bytes(path: Path) -> bytes:
    """A file with the compressed texts of a PNG opened."""
    data = path.read_bytes()
    if path.suffix == ".png":
        position = 8
        while position < len(data):
            length, kind = struct.unpack(">I4s", data[position : position + 8])
            if kind == b"zTXt":
                text = zlib.decompress(data[position + 8 : position + 8 + length].split(b"\0", 1)[1][1:]).decode()
                data += bytes.fromhex("".join(text.strip().split("\n")[2:]))
            position += length + 12
    return data


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_metadata_goes_from_every_format_to_every_format(tmp_path: Path, source: str, target: str, order: str) -> None:
    path = photograph(tmp_path / f"photo{source}", order=order)
    found = read_metadata(path)
    assert found.notes == ()
    metadata, notice = metadata_of_result(found, origin=ORIGIN, keep_location=False, kind=KINDS[target])
    assert "author" in notice and "copyright" in notice and "--keep-location" in notice
    result = written(tmp_path / target, metadata)

    with Image.open(result) as image:  # an independent reader
        image.load()
        exif, info = image.getexif(), image.info
        assert exif[0x0112] == 1
        assert exif[0x0131] == "hires-nst 1.2.3"
        assert exif[0x8298].encode("latin-1").decode() == COPYRIGHT
        assert exif[0x013B].encode("latin-1").decode() == AUTHOR
        assert not exif.get_ifd(0x8825)
        photo = exif.get_ifd(0x8769)
        assert (photo[0xA001], photo[0xA002], photo[0xA003]) == (1, 40, 70)
        if source != "a.tif":
            assert photo[0x9003] == "2024:05:01 10:00:00" and float(photo[0x829A]) == 1 / 250
            assert photo[0x9286] == b"UNICODE\0" + "Grüße".encode("utf-16-le")
            assert 0x927C not in photo
        assert not exif.get_ifd(1)  # a thumbnail
        packet = info.get("xmp") or image.tag_v2[700]
        if target == "a.jpg":
            captions = info.get("photoshop", {}).get(0x0404)
        elif target == "a.tif":
            captions = image.tag_v2.get(33723)
    if target in ("a.jpg", "a.tif") and source != "a.webp":
        assert iptc.text(iptc.data_sets(captions), iptc.AUTHOR) == AUTHOR
        assert not {data_set[:2] for data_set in iptc.data_sets(captions)} & iptc.PLACE
    properties = Xmp(packet)
    assert properties.origin() == ORIGIN
    expected = {"author": AUTHOR, "copyright": COPYRIGHT, "description": DESCRIPTION}
    assert properties.facts() == expected | ({} if source == "a.tif" else {"date": DATE})
    assert properties.values(("http://example.org/mine/", "Mood")) == ("calm & grey",)
    assert properties.values(("http://purl.org/dc/elements/1.1/", "subject")) == ("sea", "sky")
    assert properties.values(("http://ns.adobe.com/tiff/1.0/", "Orientation")) == ("1",)
    assert b"j@example.org" in packet and b"xmp.did:1" not in packet
    for place in PLACES:
        assert place.encode() not in all_bytes(result)

    again = read_metadata(result)
    assert again == replace(metadata, exif=again.exif)
    assert again.exif.dpi == 300


@pytest.mark.parametrize("target", KINDS)
def test_the_place_is_kept_on_request(tmp_path: Path, target: str) -> None:
    found = read_metadata(photograph(tmp_path / "photo.jpg"))
    metadata, notice = metadata_of_result(found, origin=None, keep_location=True, kind=KINDS[target])
    assert "place" not in notice
    result = written(tmp_path / target, metadata)
    with Image.open(result) as image:
        gps = image.getexif().get_ifd(0x8825)
        assert gps[2] == (54, 21, 0) and gps[29] == "1999:12:31"
    data = all_bytes(result)
    assert all(place.encode() in data for place in PLACES if place != "Motlawa" or target != "a.webp")


@pytest.mark.parametrize("target", KINDS)
def test_without_metadata_nothing_but_profile_and_resolution(tmp_path: Path, target: str) -> None:
    result = written(tmp_path / target, None)
    data = all_bytes(result)
    assert not [word for word in (b"hires", b"adobe:ns:meta", b"Exif\0\0") if word in data]
    assert not read_metadata(result)
    with Image.open(result) as image:
        assert "icc_profile" in image.info
        assert read_metadata(result).exif.dpi == 300 or image.info["dpi"] == pytest.approx((300, 300), abs=0.01)


def test_exif_in_a_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hires_nst.imageio.writing._CLASSIC_TIFF_BYTES", 1000)
    exif, _ = read_exif(exif_block())
    result = written(tmp_path / "a.tif", Metadata(exif=exif), compression="lzw", bit_depth=16)
    with tifffile.TiffFile(result) as tiff:
        page = tiff.pages[0]
        assert tiff.is_bigtiff and page.tags["ExifTag"].value["DateTimeOriginal"] == "2024:05:01 10:00:00"
        assert page.tags["GPSTag"].value["GPSDateStamp"] == "1999:12:31"
    again = read_metadata(result).exif
    assert (again.place, again.main[0x013B]) == (exif.place, exif.main[0x013B])


def test_texts_of_a_png_and_comments(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    for key, text in (("Author", "Ann"), ("Creation Time", "1 May 2024 10:00:00 +0200"), ("Comment", "mine")):
        info.add_text(key, text)
    Image.new("RGB", (3, 2)).save(tmp_path / "a.png", pnginfo=info)
    Image.new("RGB", (3, 2)).save(tmp_path / "a.jpg", comment=b"mine")
    with Image.open(tmp_path / "a.png") as image:
        for found in (read_metadata(tmp_path / "a.png"), metadata_of(image)):
            assert found.texts == {"author": "Ann", "date": DATE, "description": "mine"}
            packet = metadata_of_result(found, origin=None, keep_location=False, kind="PNG")[0].xmp
            assert read_xmp(packet)[0] == found.texts
    assert read_metadata(tmp_path / "a.jpg").texts == {"description": "mine"}


@pytest.mark.parametrize("suffix", [".avif", ".heic", ".jp2", ".jxl"])
def test_metadata_of_other_formats(tmp_path: Path, suffix: str) -> None:
    path, image, block = tmp_path / f"a{suffix}", Image.new("RGB", (64, 48)), exif_block(">")
    if suffix == ".heic":
        pillow_heif = pytest.importorskip("pillow_heif")
        pillow_heif.from_pillow(image).save(path, exif=b"Exif\0\0" + block, xmp=samples.XMP)
    elif suffix == ".avif":
        image.save(path, exif=b"Exif\0\0" + block, xmp=samples.XMP)
    else:
        encode: Any = imagecodecs.jpegxl_encode
        boxes = (b"Exif", bytes(4) + block), (b"xml ", samples.XMP)
        if suffix == ".jp2":
            encode = imagecodecs.jpeg2k_encode
            packet = bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + samples.XMP
            boxes = (b"uuid", b"JpgTiffExif->JP2" + block), (b"uuid", packet)
        container = {"usecontainer": True} if suffix == ".jxl" else {"codecformat": "jp2"}
        data = encode(np.asarray(image), **container)
        path.write_bytes(data + b"".join(struct.pack(">I4s", 8 + len(box), kind) + box for kind, box in boxes))
    found = read_metadata(path)
    assert (found.xmp, found.notes) == (samples.XMP, ())
    assert (found.exif.date, found.exif.place) == (DATE, read_exif(block)[0].place)


def test_an_image_in_memory_has_the_metadata_of_its_file(tmp_path: Path) -> None:
    for name in KINDS:
        path = photograph(tmp_path / name)
        with Image.open(path) as image:
            image.load()
            found, expected = metadata_of(image), read_metadata(path)
        assert found.xmp == expected.xmp or name == "a.tif"
        assert found.exif.place == expected.exif.place and found.exif.date == expected.exif.date
        assert found.exif.text(0x010E) == DESCRIPTION


def test_a_plain_picture_says_nothing(tmp_path: Path) -> None:
    for name in (*KINDS, "a.bmp", "a.gif", "a.ppm", "a.jp2", "a.avif"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
        found = read_metadata(tmp_path / name)
        assert not found
        metadata, notice = metadata_of_result(found, origin=None, keep_location=False, kind="JPEG")
        assert (metadata, notice) == (Metadata(), "")


@pytest.mark.parametrize("options", [{}, {"imagej": True}, {"ome": True}, {"description": "Aperio Image Library v1\n"}])
def test_a_description_of_the_pages_is_not_kept(tmp_path: Path, options: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 8, 3), np.uint8), photometric="rgb", **options)
    assert read_metadata(tmp_path / "a.tif").exif.text(DESCRIPTION_TAG) == ""


def test_what_is_kept_is_kept_again() -> None:
    first = Metadata(exif=read_exif(exif_block())[0], xmp=samples.XMP, iptc=samples.IPTC)
    once, _ = metadata_of_result(first, origin=None, keep_location=True, kind="PNG")
    twice, _ = metadata_of_result(once, origin=ORIGIN, keep_location=False, kind="PNG")
    direct, _ = metadata_of_result(first, origin=ORIGIN, keep_location=False, kind="PNG")
    assert (twice.exif, twice.iptc) == (direct.exif, direct.iptc)
    assert read_xmp(twice.xmp) == read_xmp(direct.xmp)
    repainted, _ = metadata_of_result(twice, origin=Origin("9", ("c",), "{}"), keep_location=False, kind="PNG")
    assert read_xmp(repainted.xmp)[1] == Origin("9", ("c",), "{}") and b"starry" not in repainted.xmp


@pytest.mark.parametrize("part", ["exif", "xmp", "iptc", "description", "settings"])
def test_what_is_too_long_for_a_jpeg(tmp_path: Path, part: str) -> None:
    much, origin = "x" * JPEG_SEGMENT, ORIGIN
    source = Metadata(exif=read_exif(exif_block())[0], xmp=samples.XMP, iptc=samples.IPTC)
    if part in ("exif", "description"):
        main = {**source.exif.main, 0x010E: (2, much.encode() + b"\0")}
        source = replace(source, exif=replace(source.exif, main=main))
    elif part == "xmp":
        source = replace(source, xmp=samples.XMP.replace(b"calm", much.encode()))
    elif part == "iptc":
        source = replace(source, iptc=iptc.packed([(2, 120, much.encode())]))
    else:
        origin = replace(ORIGIN, settings=much)
    metadata, notice = metadata_of_result(source, origin=origin, keep_location=False, kind="JPEG")
    assert "too long for a JPEG" in notice
    again = read_metadata(written(tmp_path / "a.jpg", metadata))
    assert again.notes == () and again.xmp == metadata.xmp
    found = read_xmp(again.xmp)[1]
    assert found is not None and (found == ORIGIN) == (part != "settings")
    whole, notice = metadata_of_result(source, origin=origin, keep_location=False, kind="PNG")
    assert "too long" not in notice
    assert read_metadata(written(tmp_path / "a.png", whole)).xmp == whole.xmp


def test_many_entities_are_no_xmp() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + samples.XMP
    for packet in (bomb, bomb.decode().encode("utf-16"), b"<a>" * 3000, b"<a/>", b"\xff\xfe\0"):
        with pytest.raises((ValueError, RecursionError)):
            Xmp(packet)
        _, notice = metadata_of_result(Metadata(xmp=packet), origin=ORIGIN, keep_location=False, kind="PNG")
        assert "XMP is damaged" in notice
    assert Xmp(samples.XMP.decode().encode("utf-16")).facts()["author"] == AUTHOR


# --- damaged metadata never stops a run


def damaged(data: bytes) -> st.SearchStrategy[bytes]:
    """Any bytes, or `data` with a few of them changed, or cut short."""
    flips = st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), min_size=1, max_size=6)

    def changed(places: list[tuple[int, int]], length: int) -> bytes:
        copy = bytearray(data)
        for place, value in places:
            copy[place] = value
        return bytes(copy[:length])

    return st.binary(max_size=80) | st.builds(changed, flips, st.integers(len(data) // 2, 2 * len(data)))


@given(
    exif=damaged(exif_block("<")) | damaged(exif_block(">")), xmp=damaged(samples.XMP), captions=damaged(samples.IPTC),
    kind=st.sampled_from(sorted(KINDS.values())), keep=st.booleans(),
)  # fmt: skip
def test_damaged_metadata_is_left_out(exif: bytes, xmp: bytes, captions: bytes, kind: str, keep: bool) -> None:
    tags, _ = read_exif(exif)
    source = Metadata(exif=tags, xmp=xmp, iptc=captions)
    metadata, notice = metadata_of_result(source, origin=ORIGIN, keep_location=keep, kind=kind)
    assert "\n" not in notice
    assert read_xmp(metadata.xmp)[1] == ORIGIN
    iptc.data_sets(metadata.iptc)
    block = metadata.exif.of_picture((7, 5), dpi=300).block()
    again, is_damaged = read_exif(block)
    assert not is_damaged and again.place == metadata.exif.place


@given(data=st.data(), name=st.sampled_from(sorted(KINDS)))
def test_damaged_files_give_no_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged"
    folder.mkdir(exist_ok=True)
    sound = photograph(folder / name, size=(8, 8)).read_bytes()
    path = folder / f"bad{Path(name).suffix}"
    path.write_bytes(data.draw(damaged(sound)))
    metadata, _ = metadata_of_result(read_metadata(path), origin=ORIGIN, keep_location=True, kind=KINDS[name])
    assert read_xmp(metadata.xmp)[1] == ORIGIN
    written(folder / f"out{Path(name).suffix}", metadata)


def test_damage_is_said(tmp_path: Path) -> None:
    sound = exif_block()
    block = sound[: sound.index(b"\x0e\x01\x02\x00")] + b"\x0e\x01\x02\x00\xff\xff\xff\x7f" + sound[18:]
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", exif=block[: len(block) // 2])
    found = read_metadata(tmp_path / "a.png")
    assert "its Exif is damaged" in found.notes[0]
    assert "its Exif is damaged" in metadata_of_result(found, origin=None, keep_location=False, kind="PNG")[1]
    assert ExifTags() == read_exif(b"II*\0")[0]
