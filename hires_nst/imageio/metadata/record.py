"""Metadata: what is kept of a photograph's, and what a result says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hires_nst.imageio.metadata import exif_tags, iptc, xmp
from hires_nst.imageio.metadata.exif_tags import ExifTags
from hires_nst.imageio.metadata.xmp import Origin, Xmp

JPEG_SEGMENT = 65_533
"""The most bytes of metadata in a segment of a JPEG."""

XMP_IN_JPEG, EXIF_IN_JPEG, IPTC_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0", b"Exif\0\0", b"Photoshop 3.0\0"
"""With what these segments begin."""

_MARGIN = 300
"""Bytes that a file adds to its Exif: size, resolution, colours."""


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a picture says of itself besides pixels.

    Attributes:
        xmp: the packet, empty if there is none.
        iptc: IIM, empty if there is none.
        texts: facts from elsewhere, such as the texts of a PNG, by the names in `xmp.FACTS`.
        notes: what could not be read.
    """

    exif: ExifTags = field(default_factory=ExifTags)
    xmp: bytes = b""
    iptc: bytes = b""
    texts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.exif.says_something or self.xmp or self.iptc or self.texts or self.notes)


def metadata_of_result(
    photograph: Metadata, *, origin: Origin | None, keep_location: bool, kind: str
) -> tuple[Metadata, str]:
    """The metadata of a result in a format such as `JPEG`, and a sentence about what is kept and left out.

    Kept are date, author, copyright, description, XMP, IPTC and Exif, but for what is true of one file only, and the
    place unless `keep_location`. Facts that only Exif, IPTC or texts contain are added to the XMP, with the `origin`.
    The sentence is empty if the photograph has no metadata.
    """
    notes, place = list(photograph.notes), False
    try:
        properties = Xmp(photograph.xmp)
        properties.drop_what_is_false()
        place |= not keep_location and properties.drop_place()
    except (ValueError, RecursionError):
        properties = Xmp(b"")
        notes.append("its XMP is damaged and left out")
    try:
        fields = iptc.data_sets(photograph.iptc)
    except ValueError:
        fields = []
        notes.append("its IPTC is damaged and left out")
    tags = photograph.exif
    if not keep_location:
        place |= bool(tags.place) or any(data_set[:2] in iptc.PLACE for data_set in fields)
        fields = [data_set for data_set in fields if data_set[:2] not in iptc.PLACE]
        tags = replace(tags, place={})
    facts = {**photograph.texts, **_facts_of(fields), **_facts_in(tags), **properties.facts()}
    is_described = bool(facts or fields or tags.says_something)
    if origin is not None:
        tags = tags.with_software(f"hires-nst {origin.version}")
    packet = properties.packet(facts, origin)
    result = Metadata(exif=tags, xmp=packet, iptc=iptc.packed(fields))
    if kind == "WebP" and fields:
        result = replace(result, iptc=b"")
        notes.append("its IPTC does not go into a WebP and is left out")
    if kind == "JPEG":
        result = _fitting_jpeg(result, facts, origin=origin, notes=notes)
    if place:
        notes.append("the place where it was taken is left out (--keep-location keeps it)")
    named = [fact for fact in xmp.FACTS if fact in facts] or ["metadata"]
    listed = " and ".join(filter(None, (", ".join(named[:-1]), named[-1])))
    kept = [f"the photograph's {listed} {'are' if len(named) > 1 else 'is'} kept"] if is_described else []
    return result, "; ".join([*kept, *notes])


def _fitting_jpeg(result: Metadata, facts: Mapping[str, str], *, origin: Origin | None, notes: list[str]) -> Metadata:
    """Without the parts that are too long for the segments of a JPEG."""
    if len(EXIF_IN_JPEG + result.exif.block()) + _MARGIN > JPEG_SEGMENT:
        result = replace(
            result, exif=ExifTags() if origin is None else ExifTags().with_software(f"hires-nst {origin.version}")
        )
        notes.append("its Exif is too long for a JPEG and left out")
    if len(IPTC_IN_JPEG + iptc.as_resource(result.iptc)) > JPEG_SEGMENT:
        result = replace(result, iptc=b"")
        notes.append("its IPTC is too long for a JPEG and left out")
    shorter = None if origin is None else replace(origin, settings="", styles=())
    none = Xmp(b"")
    for packet in (result.xmp, none.packet(facts, origin), none.packet({}, origin), none.packet({}, shorter)):
        if len(XMP_IN_JPEG + packet) <= JPEG_SEGMENT:
            break
    if packet != result.xmp:
        notes.append("its XMP is too long for a JPEG and left out")
    return replace(result, xmp=packet)


def _facts_in(tags: ExifTags) -> dict[str, str]:
    found = {
        "author": tags.text(exif_tags.ARTIST), "date": tags.date, "copyright": tags.text(exif_tags.COPYRIGHT),
        "description": tags.text(exif_tags.DESCRIPTION),
    }  # fmt: skip
    return {fact: text for fact, text in found.items() if text}


def _facts_of(fields: list[iptc.DataSet]) -> dict[str, str]:
    wanted = {
        "author": iptc.AUTHOR, "copyright": iptc.COPYRIGHT, "title": iptc.TITLE, "description": iptc.DESCRIPTION
    }  # fmt: skip
    found = {**{fact: iptc.text(fields, name) for fact, name in wanted.items()}, "date": iptc.date(fields)}
    return {fact: text for fact, text in found.items() if text}
