"""What the docstring of a method says of itself: its formula, and its sources, which become BibTeX."""

from __future__ import annotations

import inspect
import re
import unicodedata
from dataclasses import dataclass

_PARAGRAPH = "\n\n"
_SENTENCE = re.compile(r"(?<!et al)\.\s+|:\s+")
_NESTED = re.compile(r"\s*\([^()]*\"[^()]*\)")  # (first version: "...")


@dataclass(frozen=True)
class Source:
    """A paper, as a docstring names it.

    Attributes:
        authors: Names; "others" for et al.
        title: Its title.
        venue: Where it was published; may be empty.
        year: May be empty.
        arxiv: Its number, or empty.
    """

    authors: tuple[str, ...]
    title: str
    venue: str
    year: str
    arxiv: str

    @property
    def key(self) -> str:
        """As Google Scholar makes it: rao2023studying."""
        first = _ascii(self.authors[0].split()[-1]) if self.authors else ""
        word = next((w for w in map(_ascii, self.title.split()) if w not in ("a", "an", "the", "on", "")), "")
        return f"{first}{self.year}{word}" or "source"

    def bibtex(self) -> str:
        """One entry, @misc."""
        fields = {
            "author": " and ".join(self.authors), "title": f"{{{self.title}}}", "howpublished": self.venue,
            "year": self.year, "eprint": self.arxiv, "archivePrefix": "arXiv" if self.arxiv else "",
        }  # fmt: skip
        lines = [f"  {name} = {{{value}}}" for name, value in fields.items() if value and value != "{}"]
        return f"@misc{{{self.key},\n" + ",\n".join(lines) + "\n}"


def summary_of(cls: type) -> str:
    """The first paragraph of a class's own docstring, where the formula stands; empty if it has none."""
    return _own_docstring(cls).split(_PARAGRAPH)[0].strip()


def reference_of(cls: type) -> str:
    """The section *Reference* of a class's own docstring, in one line; empty if it has none."""
    parts = re.split(r"^(\S.*):$", _own_docstring(cls), flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    return " ".join(found.get("Reference", found.get("References", "")).split())


def sources_in(reference: str) -> list[Source]:
    """The papers that a section *Reference* names: authors, "title", venue year, arXiv number.

    Args:
        reference: As ``reference_of`` gives it.

    Example:
        >>> [source.key for source in sources_in(reference_of(Energy))]
        ['rao2023studying']
    """
    text = _NESTED.sub("", reference)
    titles = list(re.finditer(r'"([^"]+)"', text))
    ends = [*(match.start() for match in titles[1:]), len(text)]
    sources, before = [], 0
    for match, end in zip(titles, ends, strict=False):  # no title has an end, too
        authors = _SENTENCE.split(text[before : match.start()])[-1]
        sources.append(_source(authors, match.group(1), text[match.end() : end]))
        before = match.end()
    return sources


def _source(authors: str, title: str, details: str) -> Source:
    authors = authors.split(" by ")[-1].strip(" ,").replace("et al.", "and others")
    names = [_bare(name) for name in re.split(r",|\s+and\s+|^and\s+", authors)]
    arxiv = re.search(r"arXiv\s*:?\s*(\d{4}\.\d{4,5}|[a-z-]+/\d{7})", details)
    venue = re.split(r"arXiv|\.\s|\.$", details)[0]
    year = re.search(r"\b(?:19|20)\d\d\b", venue)
    venue = re.sub(r"\([^()]*\)|\b(?:19|20)\d\d\b", "", venue)
    return Source(
        tuple(name for name in names if name),
        _bare(title).rstrip(".,"),
        _bare(venue).strip(" ,"),
        year.group() if year else "",
        arxiv.group(1) if arxiv else "",
    )


def _own_docstring(cls: type) -> str:
    own = cls.__dict__.get("__doc__") or ""
    made = own.startswith(f"{cls.__name__}(") and own.endswith(")")  # by dataclass, of the fields
    return "" if made else inspect.cleandoc(own)


def _bare(text: str) -> str:
    """A text that closes neither a brace of BibTeX nor the block of code around it."""
    return " ".join(re.sub(r"[{}\\`]", "", text).split())


def _ascii(word: str) -> str:
    plain = unicodedata.normalize("NFKD", word).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]", "", plain.split("-")[0])
