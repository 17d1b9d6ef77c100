"""What an annotation file of PASCAL VOC says: XML in the encoding that it declares, texts, numbers and boxes."""

import codecs
import math
import re
import xml.etree.ElementTree as ElementTree

from hf_guidance.data.builder_base import InvalidAnnotation

CORNERS = ("xmin", "ymin", "xmax", "ymax")
# The longer marks first: that of UTF-32 begins with that of UTF-16.
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
# How "<" looks without a mark.
STARTS = ((b"<\0\0\0", "utf-32-le"), (b"\0\0\0<", "utf-32-be"), (b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"))
DECLARED = re.compile(rb"""^\s*<\?xml[^>]*?\sencoding\s*=\s*["']([\w.:-]+)["']""")


def parse(path: str) -> ElementTree.Element:
    """The root of an annotation file, its tags without namespaces."""
    try:
        with open(path, "rb") as file:
            root = ElementTree.fromstring(decoded(file.read()))
    except (ElementTree.ParseError, UnicodeError, ValueError, LookupError) as error:
        raise InvalidAnnotation("malformed XML", path, f"this is not well-formed XML ({error}).") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    if root.tag.lower() != "annotation" and root.find("object") is None:
        raise InvalidAnnotation(
            "malformed XML", path, f"it is a <{root.tag}>; allowed: an <annotation> with <object>s."
        )
    return root


def decoded(content: bytes) -> str:
    """The text of an XML file: by its byte order mark, by how "<" looks, by the encoding that it declares, or as UTF-8."""
    for start, encoding in (*MARKS, *STARTS):
        if content.startswith(start):
            return content.decode(encoding)
    found = DECLARED.match(content)
    return content.decode(found[1].decode("ascii") if found else "utf-8")


def text(element: ElementTree.Element, tag: str) -> str:
    """The stripped text of a child, empty where there is none."""
    return (element.findtext(tag) or "").strip()


def number(element: ElementTree.Element, tag: str) -> float:
    """The number in a child, NaN where there is none."""
    try:
        return float(text(element, tag))
    except ValueError:
        return math.nan


def corners(element: ElementTree.Element, item: str) -> list[float]:
    """The four numbers of an <object>'s own <bndbox>, not those of its parts, as they are written."""
    box = element.find("bndbox")
    if box is None:
        raise InvalidAnnotation("label without box", item, "the object has a name but no <bndbox>.")
    found = [number(box, tag) for tag in CORNERS]
    if not all(map(math.isfinite, found)):
        written = ", ".join(f"{tag} {text(box, tag)!r}" for tag in CORNERS)
        raise InvalidAnnotation("box not finite", item, f"box not finite: {written}; allowed: four numbers.")
    return found
