"""Why a file cannot be read, in one sentence: what it is, what is wrong with it, and what to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO

from hires_nst.imageio.recognition import HEADER, PictureFormat, recognise_file

SIGNED = "has signed samples, of which black and white are not known; convert it to unsigned samples of 8 or 16 bits"


class CutShort(ValueError):
    """The file ends before its picture does."""


class Unsupported(ValueError):
    """A sound file of a kind that is not read. The message continues the file's name, and says what to do."""


_KINDS: tuple[tuple[re.Pattern[bytes], str, str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), kind, remedy)
    for pattern, kind, remedy in (
        (rb"%PDF", "a PDF document", "export its page as PNG"),
        (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript file", "export it as PNG"),
        (rb"(?i:(?:\xef\xbb\xbf)?\s*(?:<[?!][^>]*>\s*)*<svg)", "an SVG drawing", "export it as PNG"),
        (rb"(?i:(?:\xef\xbb\xbf)?\s*(?:<!doctype html|(?:<[?!][^>]*>\s*)*<(?:html|head|body|script)))", "an HTML page",
         "download the picture itself"),
        (rb"version https://git-lfs", "a Git LFS pointer, not the picture itself", "run git lfs pull"),
        (rb"PK[\x03\x05]", "a ZIP archive or a document", "unpack it, and give the picture in it"),
        (rb"Rar!|7z\xbc\xaf|\x1f\x8b|BZh|\xfd7zXZ", "a compressed archive", "unpack it, and give the picture in it"),
        (rb".{4}(?:ftyp|moov|mdat|wide|skip)|RIFF.{4}AVI |\x1a\x45\xdf\xa3|FLV|\x00\x00\x01[\xb3\xba]", "a video",
         "export a frame as PNG"),
        (rb"RIFF.{4}WAVE|ID3|OggS|fLaC", "a sound", "give a picture"),
        (rb"\x00\x05\x16[\x00\x07]", "what macOS keeps beside a file (AppleDouble)",
         "give the file without ._ in its name"),
        (rb"MZ|\x7fELF|\xca\xfe\xba\xbe", "a program", "give a picture"),
        (rb"\x00+\Z", "nothing but zeros, as after a failed copy", "copy it again from its source"),
        (rb"(?:[\t\n\r\f\x20-\x7e]|[\xc2-\xf4][\x80-\xbf]+)+\Z", "a text", "give a picture"),
    )
)  # fmt: skip
_UNUSUAL_FRAMES = {
    0xC3: "without loss",
    0xF7: "without loss (JPEG-LS)",
    **dict.fromkeys((0xC5, 0xC6, 0xC7), "in stages"),
}
"""Frames of a JPEG by their marker that are not decoded (ITU-T T.81, table B.1; T.87): lossless, hierarchical."""
_CONVERT = "convert it to PNG, JPEG or TIFF"
_CONVERT_JPEG = "convert it to PNG, TIFF or an ordinary JPEG"
_AGAIN = "copy or download it again, or save it again from the program that made it"
_EARLY = re.compile(
    r"truncat|cut short|ends? early|end of (?:file|data)|need_more_input|premature|eof|not enough", re.I
)
_CHECKSUM = re.compile(r"checksum|crc|adler|incorrect data check", re.IGNORECASE)


def failure(path: Path, file: BinaryIO, *, error: Exception) -> str:
    """The sentence about a file that could not be decoded because of `error`."""
    format = recognise_file(file)
    if isinstance(error, Unsupported):
        return f"{path} {error}"
    if format is None:
        return f"{path} {_foreign(file)}"
    if not format.readable:
        return unreadable(path, format)
    if format.name == "JPEG" and (kind := _unusual_jpeg(file)):
        return f"{path} is a JPEG {kind}, which is not read; {_CONVERT_JPEG}"
    if isinstance(error, ImportError):
        return f"{path} needs a decoder that is missing here ({error}); update imagecodecs"
    if isinstance(error, CutShort) or _EARLY.search(str(error)) or _is_cut_short(file, format):
        return f"{path} ends early: part of the {format.name} file is missing; {_AGAIN}"
    if _CHECKSUM.search(str(error)):
        return f"{path} is a damaged {format.name} file: a checksum is wrong; {_AGAIN}"
    return f"{path} is a damaged {format.name} file, or of a very unusual kind; {_AGAIN}"


def unreadable(path: Path, format: PictureFormat) -> str:
    """The sentence about a picture whose format is not read here."""
    article = "an" if format.name[0] in "AEIO" else "a"
    return f"{path} is {article} {format.name} picture; {format.remedy.format('it')}"


def _foreign(file: BinaryIO) -> str:
    """What a file is that is no picture, and what to do."""
    file.seek(0)
    head = file.read(HEADER)
    for pattern, kind, remedy in _KINDS:
        if pattern.match(head):
            return f"is not a picture but {kind}; {remedy}"
    return f"is not a picture in a format that is known here, or its start is damaged; {_CONVERT}"


def _unusual_jpeg(file: BinaryIO) -> str:
    """What is unusual about a JPEG file, by the header of its first frame; empty if nothing is."""
    position = 2
    while True:
        file.seek(position)
        marker = file.read(5)
        if len(marker) < 5 or marker[0] != 0xFF or marker[1] == 0xDA:  # the samples begin
            return ""
        if marker[1] in _UNUSUAL_FRAMES:
            return _UNUSUAL_FRAMES[marker[1]]
        if 0xC0 <= marker[1] <= 0xCF and marker[1] not in (0xC4, 0xC8, 0xCC):
            return "" if marker[4] == 8 else f"of {marker[4]} bits"
        position += 2 + int.from_bytes(marker[2:4], "big")


def _is_cut_short(file: BinaryIO, format: PictureFormat) -> bool:
    """Whether a file is shorter than it says, or its end is missing."""
    size = file.seek(0, 2)
    if format.name in ("PNG", "JPEG", "GIF", "JPEG 2000"):
        ends = {"PNG": b"IEND", "JPEG": b"\xff\xd9", "GIF": b"\x3b", "JPEG 2000": b"\xff\xd9"}
        file.seek(max(0, size - (1 << 16)))
        return ends[format.name] not in file.read()
    file.seek(0)
    head = file.read(16)
    if format.name == "WebP":
        return size < int.from_bytes(head[4:8], "little") + 8
    if format.name == "BMP":
        return size < int.from_bytes(head[2:6], "little")
    if format.name in ("HEIC", "AVIF", "CR3 camera raw") or head[4:8] == b"JXL ":
        return _boxes_end(file, size) > size
    return False


def _boxes_end(file: BinaryIO, size: int) -> int:
    """Where the boxes of a file end, which come one after the other with their lengths in front."""
    position = 0
    while position < size:
        file.seek(position)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length == 0:  # up to the end of the file
            return size
        if len(head) < 8 or length < 8:
            return size + 1
        position += length
    return position
