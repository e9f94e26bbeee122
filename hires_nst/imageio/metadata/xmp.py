"""XMP: the packet that describes a picture, read, freed of what is not true of another picture, and written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.dom import minidom
from xml.parsers.expat import ExpatError
from xml.sax.saxutils import escape

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
DC = "http://purl.org/dc/elements/1.1/"
BASIC = "http://ns.adobe.com/xap/1.0/"
TIFF = "http://ns.adobe.com/tiff/1.0/"
EXIF = "http://ns.adobe.com/exif/1.0/"
PHOTOSHOP = "http://ns.adobe.com/photoshop/1.0/"
OWN = "urn:hires-nst:picture:1.0/"
"""The namespace of what this program says of its pictures."""

_XMLNS = "http://www.w3.org/2000/xmlns/"
_MAX_BYTES = 1 << 22

Name = tuple[str, str]
"""The namespace and the local name of a property."""

FACTS: Mapping[str, tuple[Name, ...]] = {
    "author": ((DC, "creator"), (TIFF, "Artist")),
    "date": ((PHOTOSHOP, "DateCreated"), (EXIF, "DateTimeOriginal"), (BASIC, "CreateDate")),
    "copyright": ((DC, "rights"), (TIFF, "Copyright")),
    "title": ((DC, "title"),),
    "description": ((DC, "description"), (TIFF, "ImageDescription")),
}
"""What people look for first, with the properties that say it; the first one is written."""

_OF_ANOTHER_FILE = (
    OWN, "http://ns.adobe.com/xap/1.0/mm/", "http://ns.adobe.com/camera-raw-settings/1.0/", "http://ns.adobe.com/xmp/note/",
    "http://ns.google.com/photos/", "http://ns.adobe.com/hdr-gain-map/", "http://ns.apple.com/",
    "http://www.metadataworkinggroup.com/schemas/regions/", "http://ns.microsoft.com/photo/1.2/",
)  # fmt: skip
"""Starts of namespaces about a file's history, development, depth, panorama, or parts by their position."""

_TRUE_OF_TIFF = frozenset({"Make", "Model", "Artist", "Copyright", "ImageDescription", "DateTime"})
_FALSE = frozenset(
    (namespace, name)
    for namespace, names in (
        (EXIF, "PixelXDimension PixelYDimension ColorSpace Gamma MakerNote NativeDigest SubjectArea SubjectLocation "
               "ComponentsConfiguration CompressedBitsPerPixel CFAPattern FocalPlaneXResolution FocalPlaneYResolution "
               "FocalPlaneResolutionUnit RelatedSoundFile ImageUniqueID"),
        (PHOTOSHOP, "ColorMode ICCProfile History DocumentAncestors TextLayers LegacyIPTCDigest"),
        (BASIC, "Thumbnails CreatorTool BaseURL"),
    )
    for name in names.split()
)  # fmt: skip
_PLACE_NAMES = re.compile(
    "gps|geotag|latitude|longitude|^(sub)?location|^(city|state|province|country|worldregion)", re.IGNORECASE
)
_PLACE_NAMESPACES = ("http://www.w3.org/2003/01/geo/",)


@dataclass(frozen=True)
class Origin:
    """What this program says of a picture: its own version, the names of the paintings, the settings as JSON."""

    version: str
    styles: tuple[str, ...]
    settings: str


class Xmp:
    """The properties of a packet; ValueError where it is damaged."""

    def __init__(self, packet: bytes) -> None:
        self._descriptions: list[minidom.Element] = []
        if not packet:
            return
        if len(packet) > _MAX_BYTES:
            raise ValueError("XMP of unusual size")
        encoding = "utf-16" if packet[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        text = re.sub(r"^\s*<\?xml[^>]*\?>", "", packet.decode(encoding).strip("\0 \r\n\t"))
        if "<!" in re.sub("<!--|<!\\[CDATA\\[", "", text):
            raise ValueError("XMP with declarations")  # of entities, which could grow without end
        try:
            document = minidom.parseString(text)
        except ExpatError as error:
            raise ValueError("damaged XMP") from error
        for root in document.getElementsByTagNameNS(RDF, "RDF"):
            for description in _elements(root):
                _take_namespaces(description)
                description.setAttributeNS(RDF, f"{root.prefix or 'rdf'}:about", "")
                self._descriptions.append(description)
        if not self._descriptions:
            raise ValueError("XMP without properties")

    def values(self, name: Name) -> tuple[str, ...]:
        """What a property says: of a text in several languages the default one, of a list every item."""
        for description in self._descriptions:
            if description.hasAttributeNS(*name):
                return (description.getAttributeNS(*name),)
            for element in _elements(description):
                if (element.namespaceURI, element.localName) == name:
                    items = list(element.getElementsByTagNameNS(RDF, "li"))
                    if element.getElementsByTagNameNS(RDF, "Alt"):
                        items = sorted(items, key=lambda item: item.getAttribute("xml:lang") != "x-default")[:1]
                    return tuple(text for item in items or [element] if (text := _text(item)))
        return ()

    def facts(self) -> dict[str, str]:
        """Those of `FACTS` that are known."""
        found = {fact: next(filter(None, map(self.values, names)), ()) for fact, names in FACTS.items()}
        return {fact: "; ".join(values) for fact, values in found.items() if values}

    def origin(self) -> Origin | None:
        """What this program said when it made the picture, if it did."""
        version, settings = self.values((OWN, "Version")), self.values((OWN, "Settings"))
        return Origin(version[0], self.values((OWN, "Styles")), "".join(settings[:1])) if version else None

    def drop_what_is_false(self) -> None:
        """Remove what belongs to the pixels, the history or the development of one file."""
        self._drop(_is_false)

    def drop_place(self) -> bool:
        """Remove the place, and say whether there was any."""
        return self._drop(_is_place)

    def _drop(self, is_unwanted: Callable[[str, str], bool]) -> bool:
        return sum(_prune(description, is_unwanted) for description in self._descriptions) > 0

    def packet(self, facts: Mapping[str, str], origin: Origin | None) -> bytes:
        """The properties as a packet, with the facts that they do not contain, and the origin."""
        missing = {fact: text for fact, text in facts.items() if fact not in self.facts()}
        added = "".join(_fact(fact, text) for fact, text in missing.items()) + ("" if origin is None else _of(origin))
        kept = "".join(f"{description.toxml()}\n" for description in self._descriptions)
        if not kept and not added:
            return b""
        names = {"dc": DC, "xmp": BASIC, "tiff": TIFF, "photoshop": PHOTOSHOP, "hiresnst": OWN}
        declared = " ".join(f'xmlns:{prefix}="{namespace}"' for prefix, namespace in names.items())
        return (
            '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
            f'<x:xmpmeta xmlns:x="adobe:ns:meta/">\n<rdf:RDF xmlns:rdf="{RDF}">\n{kept}'
            f'<rdf:Description rdf:about="" {declared}>\n{added}<tiff:Orientation>1</tiff:Orientation>\n'
            '</rdf:Description>\n</rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>'
        ).encode()


def read_xmp(packet: bytes) -> tuple[dict[str, str], Origin | None]:
    """The facts and the origin that a packet states; none where it is damaged."""
    try:
        properties = Xmp(packet)
        return properties.facts(), properties.origin()
    except (ValueError, RecursionError):
        return {}, None


def _fact(fact: str, text: str) -> str:
    (_, name), *_ = FACTS[fact]
    if fact == "date":
        return f"<photoshop:{name}>{_plain(text)}</photoshop:{name}>\n"
    items = "".join(f"<rdf:li>{_plain(author)}</rdf:li>" for author in text.split(";") if author.strip())
    if fact == "author":
        return f"<dc:{name}><rdf:Seq>{items}</rdf:Seq></dc:{name}>\n"
    return f'<dc:{name}><rdf:Alt><rdf:li xml:lang="x-default">{_plain(text)}</rdf:li></rdf:Alt></dc:{name}>\n'


def _of(origin: Origin) -> str:
    styles = "".join(f"<rdf:li>{_plain(name)}</rdf:li>" for name in origin.styles)
    return (
        f"<xmp:CreatorTool>hires-nst {_plain(origin.version)}</xmp:CreatorTool>\n"
        f"<hiresnst:Version>{_plain(origin.version)}</hiresnst:Version>\n"
        f"<hiresnst:Styles><rdf:Seq>{styles}</rdf:Seq></hiresnst:Styles>\n"
        f"<hiresnst:Settings>{_plain(origin.settings)}</hiresnst:Settings>\n"
    )


def _plain(text: str) -> str:
    """Text as XML, without the characters that it cannot hold."""
    return escape(re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", text).strip())


def _is_false(namespace: str, name: str) -> bool:
    if namespace == TIFF:
        return name not in _TRUE_OF_TIFF
    return namespace.startswith(_OF_ANOTHER_FILE) or (namespace, name) in _FALSE


def _is_place(namespace: str, name: str) -> bool:
    return namespace.startswith(_PLACE_NAMESPACES) or _PLACE_NAMES.search(name) is not None


def _prune(element: minidom.Element, is_unwanted: Callable[[str, str], bool]) -> bool:
    """Remove the unwanted properties in an element, and comments; whether there were properties to remove."""
    found = False
    for attribute in list(element.attributes.values()):
        if attribute.namespaceURI != _XMLNS and is_unwanted(attribute.namespaceURI or "", attribute.localName or ""):
            element.removeAttributeNode(attribute)
            found = True
    for child in list(element.childNodes):
        if not isinstance(child, minidom.Element):
            if not isinstance(child, minidom.Text):
                element.removeChild(child)
        elif is_unwanted(child.namespaceURI or "", child.localName or ""):
            element.removeChild(child)
            found = True
        else:
            found |= _prune(child, is_unwanted)
    return found


def _take_namespaces(element: minidom.Element) -> None:
    """Declare in an element the prefixes that are declared around it."""
    around = element.parentNode
    while isinstance(around, minidom.Element):
        for attribute in around.attributes.values():
            if attribute.namespaceURI == _XMLNS and not element.hasAttribute(attribute.name):
                element.setAttributeNS(_XMLNS, attribute.name, attribute.value)
        around = around.parentNode


def _elements(parent: minidom.Element) -> Iterator[minidom.Element]:
    return (child for child in parent.childNodes if isinstance(child, minidom.Element))


def _text(element: minidom.Element) -> str:
    texts: Sequence[str] = [child.data for child in element.childNodes if isinstance(child, minidom.Text)]
    return "".join(texts).strip()
