"""Broken documents: a valid one of which parts are removed, repeated, renamed or replaced, and bytes that are damaged."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

ODD_TEXTS = (
    "", " ", "0", "-1", "nan", "inf", "1e999", "\x00", "\ud800", "é", "../x", "/", "null", "9" * 400, "a" * 3000, "<", "{{x}}",
)  # fmt: skip
ODD_NUMBERS = (
    0,
    -1,
    1,
    2,
    10**9,
    10**30,
    -(10**30),
    0.5,
    -0.0,
    1e-300,
    1e308,
    float("nan"),
    float("inf"),
    float("-inf"),
)
ODD = (None, True, False, [], {}, [[]], [None], *ODD_TEXTS, *ODD_NUMBERS)


def odd(chance: random.Random, parts: list[Any], depth: int = 0) -> Any:
    """A value of any kind: odd by itself, a part of the document at another place, or a small tree of such."""
    kind = chance.random()
    if kind < 0.6 or depth > 3:
        return copy.deepcopy(chance.choice(ODD))
    if kind < 0.8:
        return copy.deepcopy(chance.choice(parts))
    if kind < 0.83:
        return nested(chance.choice((5, 30, 150)), chance.random() < 0.5)
    items = [odd(chance, parts, depth + 1) for _ in range(chance.randrange(4))]
    return items if kind < 0.92 else {chance.choice(ODD_TEXTS): item for item in items}


def nested(depth: int, lists: bool) -> Any:
    """Lists or objects within each other."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if lists else {"type": value}
    return value


def changed(chance: random.Random, document: Any) -> Any:
    """The document with one to four places changed."""
    document = copy.deepcopy(document)
    for _ in range(chance.randrange(1, 5)):
        places = list(_places(document))
        if not places:
            return odd(chance, [document])
        holder, key = chance.choice(places)
        parts = [holder[key] for holder, key in places]
        _change(chance, holder, key, odd(chance, parts))
    return document


def _places(value: Any) -> Any:
    stack = [value]
    while stack:  # not by recursion: documents may be deep
        holder = stack.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            yield holder, key
            stack.append(holder[key])


def _change(chance: random.Random, holder: Any, key: Any, value: Any) -> None:
    kind = chance.random()
    if kind < 0.5:
        holder[key] = value
    elif kind < 0.7:
        del holder[key]
    elif isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]) if kind < 0.85 else value)
    elif kind < 0.85:
        holder[chance.choice((*ODD_TEXTS, *holder))] = holder.pop(key)
    else:
        holder[chance.choice(ODD_TEXTS)] = value


def damaged(chance: random.Random, content: bytes) -> bytes:
    """Bytes cut short, doubled, exchanged or inserted."""
    for _ in range(chance.randrange(1, 4)):
        place = chance.randrange(len(content) + 1)
        kind = chance.randrange(5)
        if kind == 0:
            content = content[:place]
        elif kind == 1:
            content = content[:place] + bytes([chance.randrange(256)]) + content[place + 1 :]
        elif kind == 2:
            content = content[:place] + chance.randbytes(chance.randrange(1, 9)) + content[place:]
        elif kind == 3:
            content = content[:place] + content[place : place + 40] * 2 + content[place + 40 :]
        else:
            content = chance.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\x00")) + content
    return content


def json_bytes(chance: random.Random, document: Any) -> bytes:
    """A JSON file of a changed document, in one case of five with damaged bytes too."""
    text = json.dumps(changed(chance, document), ensure_ascii=chance.random() < 0.7)
    if chance.random() < 0.02:  # deeper than Python's own recursion
        start, end = chance.choice((("[", "]"), ('{"type":', "}")))
        depth = chance.choice((900, 5_000, 100_000))
        text = text.replace(": ", ": " + start * depth + "1" + end * depth + ',"x": ', 1)
    content = text.encode("utf-8", "surrogatepass")
    return damaged(chance, content) if chance.random() < 0.2 else content


def xml_bytes(chance: random.Random, tree: list[Any]) -> bytes:
    """An XML file of a changed ``[tag, text, *children]``, in one case of five with damaged bytes too."""
    content = _xml(changed(chance, tree)).encode("utf-8", "surrogatepass")
    if chance.random() < 0.1:
        name = chance.choice(
            ("utf-8", "utf-16", "latin-1", "gb2312", "none", "\u00e9", "ascii", "idna", "rot13", "undefined")
        )
        content = f'<?xml version="1.0" encoding="{name}"?>'.encode() + content
    return damaged(chance, content) if chance.random() < 0.2 else content


def _xml(node: Any) -> str:
    written, stack = [], [node]
    while stack:
        part = stack.pop()
        if isinstance(part, list) and part:
            tag = str(part[0]) if not isinstance(part[0], list) else "x"
            written.append(f"<{tag}>")
            stack.append(_End(f"</{tag}>"))
            stack.extend(reversed(part[1:]))
        elif isinstance(part, dict):
            written.extend(f"<{key}>{value}</{key}>" for key, value in part.items() if not isinstance(value, dict))
        elif part is not None:
            written.append(str(part))
    return "".join(written)


class _End(str):
    __slots__ = ()
