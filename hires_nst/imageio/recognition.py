"""What a file is, by its content: one place decides, for every command and for folders. No decoder is imported."""

from __future__ import annotations

import importlib.util
import re
import stat
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any, BinaryIO

from hires_nst.errors import InputError
from hires_nst.files import check_exists, natural
from hires_nst.quantities import counts

HEADER = 512
"""Bytes at the start of a file that tell its kind."""


@dataclass(frozen=True, kw_only=True)
class PictureFormat:
    """A format of pictures.

    Attributes:
        name: as messages call it, such as HEIC.
        decoder: what reads it, a name that `reading` knows; empty if nothing does.
        suffixes: those that its files usually have, in lower case.
        module: the module without which it cannot be read here; empty if none is needed.
        remedy: what to do where it cannot be read, with {} for it or them.
    """

    name: str
    decoder: str = ""
    suffixes: tuple[str, ...] = ()
    module: str = ""
    remedy: str = "save {} as TIFF, PNG or JPEG"

    @property
    def readable(self) -> bool:
        """Whether its pictures can be read here."""
        return bool(self.decoder) and (not self.module or _is_installed(self.module))

    @property
    def unreadable(self) -> str:
        """Why several of its pictures are not read, and what to do: `HEIC pictures: run ... to read them`."""
        return f"{self.name} pictures: {self.remedy.format('them')}"


def _raw(kind: str, *suffixes: str) -> PictureFormat:
    remedy = "run pip install 'hires-nst[raw]' to read {}"
    return PictureFormat(
        name=f"{kind} camera raw".strip(), decoder="raw", suffixes=suffixes, module="rawpy", remedy=remedy
    )


FORMATS_BY_NAME: Mapping[str, PictureFormat] = MappingProxyType(
    {
        format.name: format
        for format in (
            PictureFormat(name="JPEG", decoder="pillow", suffixes=(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo")),
            PictureFormat(name="PNG", decoder="png", suffixes=(".png", ".apng")),
            PictureFormat(name="TIFF", decoder="tiff", suffixes=(".tif", ".tiff")),
            PictureFormat(name="WebP", decoder="pillow", suffixes=(".webp",)),
            PictureFormat(
                name="HEIC", decoder="heif", suffixes=(".heic", ".heif", ".hif"),
                module="pillow_heif", remedy="run pip install pillow-heif to read {}",
            ),
            PictureFormat(
                name="AVIF", decoder="avif", suffixes=(".avif", ".avifs"),
                module="PIL._avif", remedy="run pip install --upgrade pillow to read {}",
            ),
            PictureFormat(name="JPEG XL", decoder="jpegxl", suffixes=(".jxl",)),
            PictureFormat(name="JPEG 2000", decoder="jpeg2000", suffixes=(".jp2", ".j2k", ".jpx", ".jpf", ".j2c")),
            PictureFormat(name="BMP", decoder="pillow", suffixes=(".bmp", ".dib")),
            PictureFormat(name="GIF", decoder="pillow", suffixes=(".gif",)),
            PictureFormat(name="PNM", decoder="pnm", suffixes=(".ppm", ".pgm", ".pbm", ".pnm")),
            _raw("DNG", ".dng"), _raw("CR2", ".cr2"), _raw("CR3", ".cr3"), _raw("CRW", ".crw"),
            _raw("NEF", ".nef", ".nrw"), _raw("ARW", ".arw", ".sr2"), _raw("RAF", ".raf"), _raw("ORF", ".orf"),
            _raw("RW2", ".rw2"), _raw("PEF", ".pef"), _raw("SRW", ".srw"), _raw("X3F", ".x3f"), _raw("MRW", ".mrw"),
            _raw("IIQ", ".iiq"), _raw("", ".3fr", ".erf", ".dcr", ".kdc", ".mos", ".rwl"),
            PictureFormat(name="Photoshop", suffixes=(".psd", ".psb")), PictureFormat(name="GIMP", suffixes=(".xcf",)),
            PictureFormat(name="OpenEXR", suffixes=(".exr",)), PictureFormat(name="Radiance HDR", suffixes=(".hdr",)),
            PictureFormat(name="JPEG XR", suffixes=(".jxr", ".wdp", ".hdp")),
            PictureFormat(name="PAM", suffixes=(".pam",)), PictureFormat(name="PFM", suffixes=(".pfm",)),
            PictureFormat(name="ICO", suffixes=(".ico",)), PictureFormat(name="DICOM", suffixes=(".dcm",)),
        )
    }
)  # fmt: skip

PICTURE_SUFFIXES = frozenset(
    suffix for format in FORMATS_BY_NAME.values() if format.decoder for suffix in format.suffixes
)
"""Suffixes in lower case of files that ought to be pictures, whatever they hold."""

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG", "PNG"),
    (8, b"WEBP", "WebP"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (0, b"FUJIFILMCCD-RAW", "RAF camera raw"),
    (0, b"IIRO", "ORF camera raw"),
    (0, b"IIRS", "ORF camera raw"),
    (0, b"MMOR", "ORF camera raw"),
    (0, b"IIU\0", "RW2 camera raw"),
    (6, b"HEAPCCDR", "CRW camera raw"),
    (0, b"FOVb", "X3F camera raw"),
    (0, b"\0MRM", "MRW camera raw"),
    (0, b"8BPS", "Photoshop"),
    (0, b"gimp xcf", "GIMP"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"#?RGBE", "Radiance HDR"),
    (0, b"II\xbc\x01", "JPEG XR"),
    (0, b"\0\0\1\0", "ICO"),
    (128, b"DICM", "DICOM"),
)
_PATTERNS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL), "BMP"),
    (re.compile(rb"P[1-6](?:\s|#[^\n]*\n)+\d"), "PNM"),
    (re.compile(rb"P7\nWIDTH|P7\n#"), "PAM"),
    (re.compile(rb"P[fF]\s+\d+\s+\d"), "PFM"),
)
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1"}

_RAW_MAKERS = {b"NIKON": "NEF", b"SONY": "ARW", b"PENTAX": "PEF", b"RICOH": "PEF", b"SAMSUNG": "SRW"}
_SAMPLES_OF_A_SENSOR = {32803, 34892}  # PhotometricInterpretation: colour filter array, LinearRaw
_MOST_DIRECTORIES = 16
_TAGS = _PHOTOMETRIC, _MAKE, _SUB_IFDS, _DNG_VERSION = 262, 271, 330, 50706


def recognise(path: Path) -> PictureFormat | None:
    """The format of the picture in a file, by its content; None if it holds none or cannot be opened.

    It may still be damaged, or not be readable here: see `PictureFormat.readable`.
    """
    with suppress(OSError, ValueError):  # ValueError: of a name with a zero byte
        if stat.S_ISREG(path.stat().st_mode):  # to open a pipe would wait for its other end
            with path.open("rb") as file:
                return recognise_file(file)
    return None


def recognise_file(file: BinaryIO) -> PictureFormat | None:
    """`recognise` of an open file, whose position is 0 afterwards."""
    file.seek(0)
    head = file.read(HEADER)
    try:
        name = _name_of(head) or (_name_of_tiff(file, head) if is_tiff(head) else None)
    finally:
        file.seek(0)
    return None if name is None else FORMATS_BY_NAME[name]


def is_picture(path: Path) -> bool:
    """Whether a file given by name is meant as a picture: it is one by its content, or is named like one."""
    return is_named_like_a_picture(path) or recognise(path) is not None


def is_named_like_a_picture(path: PurePath) -> bool:
    """Whether a file ought to be a picture, by its suffix."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def is_tiff(head: bytes) -> bool:
    """Whether a file starts like a TIFF: classic or BigTIFF, of either byte order."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def pictures_in(folder: Path) -> tuple[list[Path], Counter[str]]:
    """The pictures in a folder, in natural order, without those that are hidden or in folders inside it.

    What is only named like a picture is among them, to fail by name.

    Returns:
        The files; and how many others there are by the reason why they are not read here.

    Raises:
        InputError: the folder cannot be read, or there is no picture in it.
    """
    try:
        files = [file for file in folder.iterdir() if not file.name.startswith(".")]
    except OSError as error:
        check_exists(folder)
        raise InputError(f"the folder {folder} cannot be read ({error.strerror}); check its permissions") from None
    formats = {file: recognise(file) for file in files}
    unreadable = Counter(format.unreadable for format in formats.values() if format and not format.readable)
    found = [file for file, format in formats.items() if (format.readable if format else is_named_like_a_picture(file))]
    if not found:
        hint = counts(unreadable) or "check the folder"
        raise InputError(f"there is no picture in the folder of paintings {folder}; {hint}")
    return sorted(found, key=lambda file: natural(file.name)), unreadable


def _is_installed(module: str) -> bool:
    """Whether a module can be imported; it is not imported, but the package around it may be."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _name_of(head: bytes) -> str | None:
    for offset, magic, name in _MAGIC:
        if head.startswith(magic, offset):
            return name
    if head[4:8] == b"ftyp":
        length = int.from_bytes(head[:4], "big")
        brands = {head[8:12], *(head[start : start + 4] for start in range(16, min(length, len(head)), 4))}
        kinds = ((_AVIF_BRANDS, "AVIF"), ({b"crx "}, "CR3 camera raw"), (_HEIF_BRANDS, "HEIC"))
        return next((name for marks, name in kinds if brands & marks), None)
    return next((name for pattern, name in _PATTERNS if pattern.match(head)), None)


def _name_of_tiff(file: BinaryIO, head: bytes) -> str:
    """TIFF, or the kind of camera raw in one: by the tags of its directories (DNG 1.7, chapter 3; TIFF/EP)."""
    if head[8:10] == b"CR":
        return "CR2 camera raw"
    if head[8:12] == b"IIII":
        return "IIQ camera raw"
    maker, raw = b"", False
    with suppress(struct.error, OSError, OverflowError):  # a damaged file is for the decoder to explain
        for tags in _directories(file, head):
            if _DNG_VERSION in tags:
                return "DNG camera raw"
            maker = maker or next((value for value in tags.get(_MAKE, ()) if isinstance(value, bytes)), b"")
            raw = raw or not _SAMPLES_OF_A_SENSOR.isdisjoint(tags.get(_PHOTOMETRIC, ()))
    if not raw:
        return "TIFF"
    kind = _RAW_MAKERS.get(maker.upper().rstrip(b"\0 ").split(b" ")[0], "")
    return f"{kind} camera raw".strip()


def _directories(file: BinaryIO, head: bytes) -> Iterator[dict[int, tuple[Any, ...]]]:
    """The values of the tags that matter here, of a TIFF's first pages and of the pages inside these."""
    order, big = "<" if head[:2] == b"II" else ">", b"+" in head[2:4]
    count, entry, offset = ("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I")

    def unpack(form: str, data: bytes) -> tuple[Any, ...]:
        return struct.unpack(order + form, data)

    def read(form: str, position: int) -> tuple[Any, ...]:
        file.seek(position)
        return unpack(form, file.read(struct.calcsize(order + form)))

    def value(kind: int, length: int, *, field: bytes) -> tuple[Any, ...]:
        form = {1: f"{min(length, 64)}B", 2: f"{min(length, 64)}s", 3: f"{min(length, 16)}H"}.get(kind)
        form = form or f"{min(length, 16)}{'Q' if kind in (16, 18) else 'I'}"
        size = struct.calcsize(order + form)
        return unpack(form, field[:size]) if size <= len(field) else read(form, *unpack(offset, field))

    waiting, seen = list(read(offset, 8 if big else 4)), {0}
    while waiting and len(seen) <= _MOST_DIRECTORIES:
        position = waiting.pop(0)
        if position in seen:
            continue
        seen.add(position)
        (entries,) = read(count, position)
        form, position = order + entry, position + struct.calcsize(order + count)
        table = file.read(entries * struct.calcsize(form))
        found = {
            tag: value(kind, length, field=field)
            for tag, kind, length, field in struct.iter_unpack(form, table)
            if tag in _TAGS
        }
        yield found
        waiting += [place for place in found.get(_SUB_IFDS, ()) if isinstance(place, int)]
        waiting += read(offset, position + len(table))
