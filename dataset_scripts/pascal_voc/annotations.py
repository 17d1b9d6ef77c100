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
# Names that writers declare for what they write -> the encoding that holds all of it, as browsers read them.
SUPERSETS = {
    **dict.fromkeys(("shift-jis", "shiftjis", "sjis", "x-sjis", "windows-31j"), "cp932"),
    **dict.fromkeys(("gb2312", "gbk", "x-gbk"), "gb18030"),
    **dict.fromkeys(("euc-kr", "ks-c-5601-1987", "windows-949"), "cp949"),
    "windows-874": "cp874",
    "x-mac-cyrillic": "mac-cyrillic",
}
# Tools write "Unspecified" where nobody said it, as VOC does for poses.
FLAGS = {**dict.fromkeys(("", "0", "0.0", "false", "unspecified"), False), **dict.fromkeys(("1", "1.0", "true"), True)}


def parse(path: str) -> ElementTree.Element:
    """The root of an annotation file, its tags in lower case and without namespaces."""
    try:
        with open(path, "rb") as file:
            root = ElementTree.fromstring(decoded(file.read()))
    except FileNotFoundError:
        message = "it is a link to a file that does not exist."
        raise InvalidAnnotation("link to a missing file", path, message) from None
    except (ElementTree.ParseError, UnicodeError, ValueError, LookupError) as error:
        raise InvalidAnnotation("malformed XML", path, f"this is not well-formed XML ({error}).") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2].lower()
    if root.tag != "annotation" and root.find("object") is None:
        raise InvalidAnnotation(
            "malformed XML", path, f"it is a <{root.tag}>; allowed: an <annotation> with <object>s."
        )
    _check_objects(root, path)
    return root


def _check_objects(root: ElementTree.Element, path: str) -> None:
    """Refuse objects at another place or of another name: without them the image would show nothing."""
    read = {part for thing in root.findall("object") for part in thing.iter()}
    for element in root.iter():
        if element not in read and (element.tag == "object" or element.find("bndbox") is not None):
            message = f"it has a <{element.tag}> that is no <object> right below <annotation>; write it as one."
            raise InvalidAnnotation("object at another place", path, message)


def decoded(content: bytes) -> str:
    """The text of an XML file: by its byte order mark, by how "<" looks, by the encoding that it declares, or as UTF-8."""
    for start, encoding in (*MARKS, *STARTS):
        if content.startswith(start):
            return content.decode(encoding)
    found = DECLARED.match(content)
    name = found[1].decode("ascii").lower().replace("_", "-") if found else "utf-8"
    if name.startswith(("utf-16", "utf-32")):  # .NET declares how its strings were kept, and writes UTF-8
        name = "utf-8"
    return content.decode(SUPERSETS.get(name, name))


def text(element: ElementTree.Element, tag: str) -> str:
    """The stripped text of a child, empty where there is none."""
    return (element.findtext(tag) or "").strip()


def number(element: ElementTree.Element, tag: str) -> float:
    """The number in a child, NaN where there is none."""
    try:
        return float(text(element, tag))
    except ValueError:
        return math.nan


def flagged(element: ElementTree.Element, tag: str, item: str) -> bool:
    """Whether a child is a set flag: 1 or true; 0, false, Unspecified or nothing is none."""
    written = text(element, tag)
    if written.lower() not in FLAGS:
        raise InvalidAnnotation(
            f"{tag} is no flag", item, f"{tag} is {written!r}; allowed: 0, 1, true, false, Unspecified, or nothing."
        )
    return FLAGS[written.lower()]


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
