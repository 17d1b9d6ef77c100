"""A page for every objective and attribution, made of its docstring: a hook of mkdocs (mkdocs.yml, `hooks`).

A method that is exported has its page; nothing in docs/ names it. Where a page writes the name of a method as code, the name
becomes a link to its page.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from importlib import import_module
from typing import Any

ROOMS = {"objectives": "Objectives", "attributions": "Attributions"}
INTRODUCTIONS = {
    "objectives": "What a term of the loss asks. M is the importance, A the map of the attribution, f(x) the logits; sums and "
    "means are over the places of a map. [Choose an objective](../../choose.md) says which one fits your data.",
    "attributions": "Where the model looks, as a map that training can differentiate. f is the input or the activation at a "
    "layer, *score* the explained logit. [Choose an objective](../../choose.md#what-a-map-costs) says what each costs.",
}
_HEADING = re.compile(r"^(\S.*):$", re.MULTILINE)
_ENTRY = re.compile(r"^(\w+):\s*", re.MULTILINE)
_PAPER = re.compile(r"arXiv\s+(\d{4}\.\d{4,5})")
_FORMULA = re.compile(r"``(.+?)``", re.DOTALL)
_CODE = re.compile(r"(?<![\[`])`\w+`(?![`\]])")
_WIDTH = 90  # of a signature in one line
_TABLES = ("Args", "Columns", "Raises")
_TITLES = {"Args": "Arguments", "Raises": "Errors"}
_FIRST, _LAST = ("Note", "When to use", "Example", "Args", "Columns"), ("Raises", "Reference")
_PAGE = re.compile(r"docs/([\w-]+)\.md")


def methods(room: str) -> list[type]:
    """The exported classes of a room that have a docstring of a method, with columns and a reference."""
    module = import_module(f"hf_guidance.{room}")
    found = [getattr(module, name) for name in module.__all__ if inspect.isclass(getattr(module, name))]
    return sorted(
        (cls for cls in found if {"Columns", "Reference"} <= sections(cls).keys()), key=lambda cls: cls.__name__
    )


def sections(cls: type) -> dict[str, str]:
    """Headings of the docstring, in order, to their text; the text above the first has the heading ""."""
    parts = _HEADING.split(inspect.cleandoc(cls.__doc__ or ""))
    texts = {"": parts[0].strip()} | dict(zip(parts[1::2], map(inspect.cleandoc, parts[2::2]), strict=True))
    return {heading: text.strip() for heading, text in texts.items()}


def page_uri(room: str, cls: type) -> str:
    """Where the page of a method lies, from docs/."""
    return f"methods/{room}/{cls.__name__.lower()}.md"


def page_of(room: str, cls: type) -> str:
    """The page of a method, as markdown."""
    found = sections(cls) | {"Args": _fields(cls)}
    lines = [f"# {cls.__name__}", _flat(found.pop("")), _signature(room, cls)]
    for heading in sorted(filter(found.get, found), key=lambda heading: (_place(heading), list(found).index(heading))):
        show = _table if heading in _TABLES else _example if heading == "Example" else _flat
        lines += [f"## {_TITLES.get(heading, heading)}", show(found[heading])]
    return "\n\n".join(lines) + "\n"


def index_of(room: str) -> str:
    """The list of the methods of a room, as markdown."""
    rows = ["| method | what it says | columns | papers |", "|---|---|---|---|"]
    for cls in methods(room):
        found = sections(cls)
        columns = ", ".join(f"`{name}`" for name in _entries(found["Columns"])) or "none"
        papers = dict.fromkeys(_PAPER.findall(" ".join(found["Reference"].split())))
        links = ", ".join(f"[{number}](https://arxiv.org/abs/{number})" for number in papers)
        link = f"[{cls.__name__}]({cls.__name__.lower()}.md)"
        rows.append(f"| {link} | {_cell(_summary(cls))} | {columns} | {links} |")
    return f"# {ROOMS[room]}\n\n{INTRODUCTIONS[room]}\n\n" + "\n".join(rows) + "\n"


def formula_of(cls: type) -> str:
    """The equation: the first code of the docstring that has an equals sign; "" where there is none."""
    return next((code for code in _FORMULA.findall(sections(cls)[""]) if "=" in code), "")


def on_config(config: Any) -> Any:
    """Add the pages to the navigation, before the reference."""
    section = [
        {title: [f"methods/{room}/index.md", *({cls.__name__: page_uri(room, cls)} for cls in methods(room))]}
        for room, title in ROOMS.items()
    ]
    place = next((n for n, entry in enumerate(config.nav) if "Reference" in entry), len(config.nav))
    config.nav[place:place] = section
    return config


def on_files(files: Any, config: Any) -> Any:
    """Make the pages."""
    from mkdocs.structure.files import File

    for room in ROOMS:
        files.append(File.generated(config, f"methods/{room}/index.md", content=index_of(room)))
        for cls in methods(room):
            files.append(File.generated(config, page_uri(room, cls), content=page_of(room, cls)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Link the names of methods that are written as code; headings, blocks of code and the methods' own pages stay."""
    uri: str = page.file.src_uri
    return linked(markdown, "../" * uri.count("/"), uri)


def linked(markdown: str, root: str, own: str = "") -> str:
    """The text with links in the place of `` `Name` ``.

    Args:
        markdown: A page.
        root: The way from the page to docs/.
        own: The page itself, which is not linked.
    """
    places = {f"`{cls.__name__}`": page_uri(room, cls) for room in ROOMS for cls in methods(room)}
    lines, inside = [], False
    for line in markdown.split("\n"):
        inside ^= line.lstrip().startswith("```")
        if not inside and not line.startswith("#"):
            line = _CODE.sub(lambda found: _link(found[0], places.get(found[0], own), root, own), line)
        lines.append(line)
    return "\n".join(lines)


def _link(code: str, place: str, root: str, own: str) -> str:
    return code if place == own else f"[{code}]({root}{place})"


def _place(heading: str) -> int:
    order = (*_FIRST, "", *_LAST)
    return order.index(heading if heading in order else "")


def _signature(room: str, cls: type) -> str:
    given = [f"{field.name}={_default(field)}" for field in dataclasses.fields(cls) if field.init]
    text = f"{cls.__name__}({', '.join(given)})"
    if len(text) > _WIDTH:
        text = f"{cls.__name__}(\n" + "".join(f"    {one},\n" for one in given) + ")"
    return f"```python\nfrom hf_guidance.{room} import {cls.__name__}\n\n{text}\n```"


def _default(field: dataclasses.Field[Any]) -> str:
    value = field.default if field.default is not dataclasses.MISSING else field.default_factory()  # type: ignore[misc]
    return getattr(value, "__name__", None) or repr(value)


def _fields(cls: type) -> str:
    """What is said of each field, by the class itself or by the first of its bases that says something."""
    said: dict[str, str] = {}
    for base in cls.__mro__:
        if base.__module__.startswith("hf_guidance"):
            found = sections(base)
            for heading in ("Args", "Attributes"):
                said = _entries(found.get(heading, "")) | said
    names = [field.name for field in dataclasses.fields(cls) if field.init]
    return "\n".join(f"{name}: {said[name]}" for name in names if name in said)


def _entries(text: str) -> dict[str, str]:
    parts = _ENTRY.split(text)
    return {name: " ".join(said.split()) for name, said in zip(parts[1::2], parts[2::2], strict=True)}


def _table(text: str) -> str:
    entries = _entries(text)
    if not entries:
        return f"{_flat(text).capitalize()}."
    rows = [f"| `{name}` | {_cell(_flat(said))} |" for name, said in entries.items()]
    return "\n".join(["| name | meaning |", "|---|---|", *rows])


def _example(text: str) -> str:
    return f"```pycon\n{text}\n```"


def _cell(text: str) -> str:
    # A bar inside code does not end a cell, and a backslash there would be shown.
    parts = " ".join(text.split()).split("`")
    return "`".join(part if index % 2 else part.replace("|", "\\|") for index, part in enumerate(parts))


def _summary(cls: type) -> str:
    """The first paragraph without its papers, and the equation where it is not there."""
    first = re.sub(r"\s*\([^()]*arXiv[^()]*\)", "", _flat(sections(cls)[""]).split("\n\n")[0])
    formula = formula_of(cls)
    return first if f"`{formula}`" in first else f"{first.removesuffix('.')}: `{formula}`"


def _flat(text: str) -> str:
    """Paragraphs in one line each, with single backticks, and links to the pages that are named."""
    lines = "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
    return _PAGE.sub(lambda found: f"[{found[1].replace('-', ' ')}](../../{found[1]}.md)", lines.replace("``", "`"))
