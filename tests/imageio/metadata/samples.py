"""Pictures with every kind of metadata, made for the tests."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image, PngImagePlugin

from hires_nst.imageio.metadata import iptc
from hires_nst.imageio.metadata.embedded import raw_profile

AUTHOR, COPYRIGHT, DESCRIPTION, DATE = "Jürgen Å", "© 2024 J", "Boats", "2024-05-01T10:00:00+02:00"
PLACES = ("Gdansk", "Motlawa", "54,21N", "1999:12:31")
"""Words that stand only where the place is noted: city, location, XMP's and Exif's GPS."""

XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:mine="http://example.org/mine/">
<rdf:Description rdf:about="" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
 xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"
 exif:GPSLatitude="54,21N" exif:PixelXDimension="4000" photoshop:City="Gdansk" mine:Mood="calm &amp; grey">
<dc:creator><rdf:Seq><rdf:li>{AUTHOR}</rdf:li></rdf:Seq></dc:creator>
<dc:subject><rdf:Bag><rdf:li>sea</rdf:li><rdf:li>sky</rdf:li></rdf:Bag></dc:subject>
</rdf:Description>
<rdf:Description rdf:about="" xmlns:ext="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:core="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/" xmlns:mm="http://ns.adobe.com/xap/1.0/mm/">
<ext:LocationShown><rdf:Bag><rdf:li rdf:parseType="Resource"><ext:City>Gdansk</ext:City></rdf:li></rdf:Bag>
</ext:LocationShown><core:Location>Motlawa</core:Location><!-- Motlawa -->
<core:CreatorContactInfo rdf:parseType="Resource"><core:CiEmailWork>j@example.org</core:CiEmailWork>
</core:CreatorContactInfo><mm:DocumentID>xmp.did:1</mm:DocumentID></rdf:Description>
</rdf:RDF></x:xmpmeta><?xpacket end="w"?>""".encode()

IPTC = iptc.packed(
    [
        (1, 90, b"\x1b%G"),
        (2, 80, AUTHOR.encode()),
        (2, 90, b"Gdansk"),
        (2, 92, b"Motlawa"),
        (2, 25, b"sea"),
        (2, 120, DESCRIPTION.encode()),
        (2, 202, b"preview"),
    ]
)


def exif_block(order: str = "<") -> bytes:
    """Exif in either byte order: author, copyright, description, date, place, a thumbnail and a maker's note."""

    def entry(tag: int, kind: int, data: bytes) -> tuple[int, int, bytes]:
        return tag, kind, data

    def short(value: int) -> bytes:
        return struct.pack(f"{order}H", value)

    def long(value: int) -> bytes:
        return struct.pack(f"{order}I", value)

    def directory(offset: int, entries: list[tuple[int, int, bytes]], *, following: int = 0) -> bytes:
        sizes = {2: 1, 3: 2, 4: 4, 5: 8, 7: 1}
        head, values = struct.pack(f"{order}H", len(entries)), b""
        place = offset + 2 + 12 * len(entries) + 4
        for tag, kind, data in sorted(entries):
            field = data.ljust(4, b"\0") if len(data) <= 4 else long(place + len(values))
            values += b"" if len(data) <= 4 else data + bytes(len(data) % 2)
            head += struct.pack(f"{order}HHI", tag, kind, len(data) // sizes[kind]) + field
        return head + long(following) + values

    photo = [
        entry(0x9003, 2, b"2024:05:01 10:00:00\0"), entry(0x9011, 2, b"+02:00\0"), entry(0x927C, 7, b"maker's note"),
        entry(0x829A, 5, long(1) + long(250)), entry(0xA001, 3, short(1)), entry(0xA002, 4, long(4000)),
        entry(0x9286, 7, b"UNICODE\0" + "Grüße".encode("utf-16-le" if order == "<" else "utf-16-be")),
    ]  # fmt: skip
    gps = [entry(1, 2, b"N\0"), entry(2, 5, b"".join(map(long, (54, 1, 21, 1, 0, 1)))), entry(29, 2, b"1999:12:31\0")]
    main = [
        entry(0x010E, 2, DESCRIPTION.encode() + b"\0"), entry(0x0112, 3, short(6)),
        entry(0x013B, 2, AUTHOR.encode() + b"\0"), entry(0x8298, 2, COPYRIGHT.encode() + b"\0"),
        entry(0x0131, 2, b"Camera OS 7\0"),
    ]  # fmt: skip

    def first(places: tuple[int, int, int]) -> bytes:
        pointers = [entry(0x8769, 4, long(places[0])), entry(0x8825, 4, long(places[1]))]
        return directory(8, main + pointers, following=places[2])

    end = 8 + len(first((0, 0, 0)))
    one = directory(end, photo)
    two = directory(end + len(one), gps)
    places = end, end + len(one), end + len(one) + len(two)
    thumbnail = directory(places[2], [entry(0x0103, 3, short(6)), entry(0x0201, 4, long(4)), entry(0x0202, 4, long(4))])
    return (b"II*\0" if order == "<" else b"MM\0*") + long(8) + first(places) + one + two + thumbnail


def photograph(path: Path, *, order: str = "<", size: tuple[int, int] = (64, 48)) -> Path:
    """A photograph in the format of the suffix with Exif, XMP and, but for a WebP, IPTC."""
    pixels = np.random.default_rng(3).integers(0, 255, (size[1], size[0], 3), np.uint8)
    image, block = Image.fromarray(pixels), exif_block(order)
    captions = struct.pack(">4sHHI", b"8BIM", 0x0404, 0, len(IPTC)) + IPTC + bytes(len(IPTC) % 2)
    if path.suffix == ".png":
        info = PngImagePlugin.PngInfo()
        info.add_text("Raw profile type iptc", raw_profile("iptc", captions).decode(), zip=True)
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        image.save(path, pnginfo=info, exif=block)
    elif path.suffix == ".tif":
        byteorder: Any = order
        tags = [
            (0x010E, 2, 0, DESCRIPTION.encode() + b"\0", True), (0x013B, 2, 0, AUTHOR.encode() + b"\0", True),
            (0x8298, 2, 0, COPYRIGHT.encode() + b"\0", True), (700, 1, len(XMP), XMP, True),
            (33723, 7, len(IPTC), IPTC, True), (0x0112, 3, 1, 6, True),
        ]  # fmt: skip
        tifffile.imwrite(
            path,
            pixels,
            photometric="rgb",
            metadata=None,
            extratags=tags,
            byteorder=byteorder,
            software=False,
        )
    elif path.suffix == ".webp":
        image.save(path, exif=block, xmp=XMP, lossless=True)
    else:
        encoded = BytesIO()
        image.save(encoded, "JPEG", exif=b"Exif\0\0" + block, xmp=XMP, quality=95)
        data, part = encoded.getvalue(), b"Photoshop 3.0\0" + captions
        path.write_bytes(data[:2] + struct.pack(">BBH", 0xFF, 0xED, 2 + len(part)) + part + data[2:])
    return path
