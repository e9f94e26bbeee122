"""Finding the metadata in picture files and in images in memory."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

from PIL import Image

from hires_nst.imageio.decoders import png
from hires_nst.imageio.decoders.pillow import open_image
from hires_nst.imageio.metadata import iptc
from hires_nst.imageio.metadata.exif_tags import ExifTags, exif_in, read_exif
from hires_nst.imageio.metadata.ifd import MAX_VALUE, TagReader
from hires_nst.imageio.metadata.record import Metadata
from hires_nst.imageio.recognition import is_tiff, recognise_file

_PROFILE = "Raw profile type "
PNG_XMP, PNG_IPTC = "XML:com.adobe.xmp", f"{_PROFILE}iptc"
"""Keywords of the texts of a PNG that are more than text; the second one is ImageMagick's."""

_XMP_TAG, _IPTC_TAG, _PHOTOSHOP_TAG = 700, 33723, 34377
_TEXTS = {
    "Author": "author", "Creation Time": "date", "Copyright": "copyright", "Title": "title",
    "Description": "description", "Comment": "description",
}  # fmt: skip
"""Keywords of a PNG's texts, the first of two wins, and what they say in the terms of `xmp.FACTS`."""

_EXIF_UUID = b"JpgTiffExif->JP2"
_XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_DAMAGED = "its metadata is damaged and left out"
_DAMAGED_EXIF = "its Exif is damaged and left out in part"
_CUT_SHORT = b"?"
"""Stands for a block that cannot be read."""


def read_metadata(path: Path) -> Metadata:
    """The metadata of a picture file; empty where there is none, and with a note where it is damaged."""
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            format = recognise_file(file)
            read = None if format is None else _READERS.get(format.decoder)
            return Metadata() if read is None else read(file)
    except Exception:  # whatever the decoders raise; the pixels are read elsewhere, with messages
        return Metadata(notes=(_DAMAGED,))


def metadata_of(image: Image.Image) -> Metadata:
    """The metadata of a Pillow image."""
    info = dict(image.info)
    if not info.get("exif"):
        with suppress(Exception):  # whatever Pillow raises over damaged Exif
            tags = Image.Image.getexif(image)  # not that of a PNG, which decodes the pixels to look behind them
            info["exif"] = tags.tobytes() if tags else b""
    return _of_info(info)


def _of_info(info: Mapping[Any, Any]) -> Metadata:
    """The metadata among what Pillow or pillow-heif say of an image."""
    resources, packet, comment = info.get("photoshop"), info.get("xmp") or info.get(PNG_XMP) or b"", info.get("comment")
    texts = {key: text for key, text in info.items() if key in _TEXTS and isinstance(text, str)}
    if isinstance(comment, bytes):
        texts["Comment"] = comment.decode("utf-8", "replace")
    return _metadata(
        exif=info.get("exif") or b"", xmp=packet.encode() if isinstance(packet, str) else packet, texts=texts,
        captions=resources.get(iptc.IIM_RESOURCE, b"") if isinstance(resources, dict) else b"",
    )  # fmt: skip


def _metadata(*, exif: bytes, xmp: bytes, captions: bytes, texts: Mapping[str, str]) -> Metadata:
    """The metadata in what was found; `captions` are IPTC, or Photoshop's resources."""
    tags, is_damaged = read_exif(exif) if exif else (ExifTags(), False)
    facts: dict[str, str] = {}
    for key, fact in _TEXTS.items():
        if text := texts.get(key, "").strip("\0 \r\n"):
            facts.setdefault(fact, text)
    return Metadata(
        exif=tags, xmp=xmp, iptc=_iim(captions), texts=_with_date(facts), notes=(_DAMAGED_EXIF,) if is_damaged else ()
    )


def _iim(captions: bytes) -> bytes:
    """IPTC, which may be inside Photoshop's resources."""
    if captions[:1] != b"\x1c":
        with suppress(ValueError):  # what is neither is called damaged when it is parsed
            return iptc.in_resources(captions)
    return captions


def _with_date(facts: dict[str, str]) -> dict[str, str]:
    """With the date in the form of XMP; PNG suggests that of letters, such as `1 May 2024 10:00:00 +0200`."""
    if "date" in facts:
        with suppress(ValueError, TypeError):
            return {**facts, "date": parsedate_to_datetime(facts["date"]).isoformat()}
    return facts


def _of_pillow(file: BinaryIO) -> Metadata:
    with open_image(file, ["JPEG", "WEBP", "BMP", "GIF", "AVIF"]) as image:
        return metadata_of(image)


def _of_heif(file: BinaryIO) -> Metadata:
    import pillow_heif

    return _of_info(pillow_heif.open_heif(file).info)


def _of_raw(file: BinaryIO) -> Metadata:
    return _of_tiff(file) if is_tiff(file.read(4)) else Metadata(notes=("the metadata of this camera raw is not read",))


def _of_tiff(file: BinaryIO) -> Metadata:
    tags, is_damaged = exif_in(file)
    reader = TagReader(file)
    wanted = (_XMP_TAG, _IPTC_TAG, _PHOTOSHOP_TAG)
    found = {tag: data for tag, (_, data) in reader.directory(reader.first, wanted=wanted, unchanged=wanted).items()}
    captions = found.get(_IPTC_TAG) or found.get(_PHOTOSHOP_TAG, b"")
    metadata = _metadata(exif=b"", xmp=found.get(_XMP_TAG, b""), captions=captions, texts={})
    return Metadata(
        exif=tags,
        xmp=metadata.xmp,
        iptc=metadata.iptc,
        notes=(_DAMAGED_EXIF,) if is_damaged or reader.is_damaged else (),
    )


def _of_png(file: BinaryIO) -> Metadata:
    found = dict(reversed(list(png.texts(file))))  # of two with one keyword, the first
    profiles = {key: _profile(text) for key, text in found.items() if key.startswith(_PROFILE)}
    blocks = [png.content(file, chunk) or _CUT_SHORT for chunk in png.chunks(file) if chunk.kind == b"eXIf"]
    blocks += filter(None, (profiles.get(f"{_PROFILE}exif"), profiles.get(f"{_PROFILE}APP1")))
    return _metadata(
        exif=blocks[0] if blocks else b"", xmp=found.get(PNG_XMP, "").encode() or profiles.get(f"{_PROFILE}xmp", b""),
        captions=profiles.get(PNG_IPTC, b""), texts=found,
    )  # fmt: skip


def _of_boxes(file: BinaryIO) -> Metadata:
    """JPEG 2000 and JPEG XL: boxes for Exif and XMP, or numbered ones (ISO/IEC 15444-2, 18181-2)."""
    blocks, packets = [b""], [b""]
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        size = length - 8
        if length == 1:
            size = int.from_bytes(file.read(8), "big") - 16
        if kind in (b"Exif", b"xml ", b"uuid") and 16 <= size <= MAX_VALUE:
            data = file.read(size)
            if kind == b"Exif":  # behind the place where it begins
                blocks.append(data[4 + int.from_bytes(data[:4], "big") :])
            elif kind == b"xml " or data[:16] == _XMP_UUID:
                packets.append(data[16:] if kind == b"uuid" else data)
            elif data[:16] == _EXIF_UUID:
                blocks.append(data[16:])
        elif length == 0 or size < 0:  # up to the end
            break
        else:
            file.seek(size, 1)
    return _metadata(exif=blocks[-1], xmp=packets[-1], captions=b"", texts={})


def _profile(text: str) -> bytes:
    """The bytes of a raw profile: its name, their number, and they themselves in hexadecimal."""
    with suppress(ValueError):
        return bytes.fromhex("".join(text.strip().split("\n", 2)[2:]))
    return b""


def raw_profile(name: str, data: bytes) -> bytes:
    """Bytes as ImageMagick and exiftool read them from the text of a PNG."""
    digits = data.hex()
    lines = [digits[start : start + 72] for start in range(0, len(digits), 72)]
    return "\n".join([f"\n{name}", f"{len(data):8}", *lines, ""]).encode()


_READERS: Mapping[str, Callable[[BinaryIO], Metadata]] = MappingProxyType(
    {
        "pillow": _of_pillow,
        "avif": _of_pillow,
        "png": _of_png,
        "tiff": _of_tiff,
        "heif": _of_heif,
        "jpegxl": _of_boxes,
        "jpeg2000": _of_boxes,
        "raw": _of_raw,
    }
)
"""By `PictureFormat.decoder`."""
