"""Which words of a caption name something that can be seen, and what: the table of visual words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from hf_guidance.common.text_files import read_json

COCO_FILE = Path(__file__).with_name("coco_visual_words.json")
_WORD = re.compile(r"[^\W_]+")  # "hot-dog" and "dog's" are read as "hot dog" and "dog s"


@dataclass(frozen=True)
class VisualWord:
    """A name found in a caption.

    Attributes:
        name: As the table has it: "dog", "traffic lights".
        category: What it names: "dog", "traffic light".
        start: Its first character in the caption.
        end: The character after its last one.
    """

    name: str
    category: str
    start: int
    end: int


@dataclass(frozen=True)
class VisualWords:
    """Names, of one word or several, and the category that each names.

    Names are compared by their words in lower case: hyphens and other signs separate words. Of the names that begin at a word
    the longest counts, and its words belong to no other name: "hot dog" is no dog. A name with the category None names nothing
    that has a category, which keeps its words from being read alone: with "bus stop": None, "a bus stop" shows no bus.

    A name has one category. A table that gives it two is refused: decide, or leave the name out. `VisualWords.coco` resolved
    such names by the rule that its file tells.

    Args:
        table: Name -> category or None, in any case and spelling that the rule above reads alike.

    Raises:
        ValueError: A name without a word, two spellings of one name with several categories, a category that is not text, or
            no name with a category.

    Example:
        >>> words = VisualWords({"dog": "dog", "puppy": "dog", "hot dog": "hot dog"})
        >>> [(found.name, found.category) for found in words.find("A puppy eats a hot-dog.")]
        [('puppy', 'dog'), ('hot dog', 'hot dog')]
    """

    table: Mapping[str, str | None]
    _longest: int = field(default=1, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        read: dict[str, str | None] = {}
        for name, category in _pairs(self.table):
            if name in read and read[name] != category:
                raise ValueError(
                    f"the name {name!r} has two categories, {read[name]!r} and {category!r}; give it one, or leave it out."
                )
            read[name] = category
        if not any(category is not None for category in read.values()):
            raise ValueError("the table has no name with a category; give name -> category, such as {'puppy': 'dog'}.")
        object.__setattr__(self, "table", read)
        object.__setattr__(self, "_longest", max(len(name.split()) for name in read))

    @classmethod
    def coco(cls) -> VisualWords:
        """The table of the 80 categories of COCO that the package carries; its file tells the rule by which it was made.

        Example:
            >>> VisualWords.coco().category("women")
            'person'
        """
        return cls.load(COCO_FILE)

    @classmethod
    def load(cls, path: str | Path) -> VisualWords:
        """Read a table that `save` wrote, or a JSON file of the same form: ``{"words": {category: [names]}}``.

        Args:
            path: The file. Names under the key "" name nothing.

        Raises:
            ValueError: The file has another form, or a name is listed under two categories.
        """
        content = read_json(str(path))
        lists = content.get("words") if isinstance(content, dict) else None
        if not isinstance(lists, dict):
            raise ValueError(f'{path} holds no table; allowed: {{"words": {{category: [names]}}}}.')
        try:
            return cls.of_categories(lists)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    @classmethod
    def of_categories(cls, names: Mapping[str, Iterable[str]]) -> VisualWords:
        """A table from the names of each category.

        Args:
            names: Category -> its names; the category "" holds names that name nothing.

        Raises:
            ValueError: A name is listed under two categories; or as for the table.

        Example:
            >>> VisualWords.of_categories({"circle": ["circle", "circles"], "": ["circle of life"]}).categories
            ('circle',)
        """
        table: dict[str, str | None] = {}
        for category, listed in names.items():
            if isinstance(listed, str) or not isinstance(listed, Iterable):
                raise ValueError(f"category {category!r} has {listed!r:.60}; give a list of names.")
            for name in listed:
                text = words_of(name)
                if table.get(text, category or None) != (category or None):
                    raise ValueError(
                        f"the name {text!r} is listed for {table[text]!r} and for {category!r}; keep one, or leave it out."
                    )
                table[text] = category or None
        return cls(table)

    @classmethod
    def from_names(cls, categories: Iterable[str]) -> VisualWords:
        """A table of categories by their own names, in the singular and in the regular plural.

        Example:
            >>> VisualWords.from_names(["cross", "circle"]).category("crosses")
            'cross'
        """
        return cls.of_categories({name: dict.fromkeys((name, plural(words_of(name)))) for name in categories})

    @property
    def categories(self) -> tuple[str, ...]:
        """All categories, in the order of the table."""
        return tuple(dict.fromkeys(category for category in self.table.values() if category is not None))

    def category(self, name: str) -> str | None:
        """The category of a name, None where it names none.

        Args:
            name: One word, or a name of several.
        """
        return self.table.get(words_of(name))

    def of_tokens(self, words: Sequence[str]) -> list[tuple[int, int, str]]:
        """Names in a list of words.

        Args:
            words: Single words in lower case, without signs.

        Returns:
            For each name the index of its first word, the index after its last one, and its category.

        Example:
            >>> VisualWords.coco().of_tokens(["a", "traffic", "light"])
            [(1, 3, 'traffic light')]
        """
        found, place = [], 0
        while place < len(words):
            longest = min(self._longest, len(words) - place)
            lengths = range(longest, 0, -1)
            length = next((n for n in lengths if " ".join(words[place : place + n]) in self.table), 0)
            category = self.table[" ".join(words[place : place + length])] if length else None
            if category is not None:
                found.append((place, place + length, category))
            place += length or 1
        return found

    def find(self, caption: str) -> list[VisualWord]:
        """Names in a caption, in their order.

        Args:
            caption: Text in any case, with signs.

        Raises:
            ValueError: It is not text.
        """
        if not isinstance(caption, str):
            raise ValueError(f"the caption is {caption!r:.60}; give text.")
        places = [(match.group().lower(), match.start(), match.end()) for match in _WORD.finditer(caption)]
        words = [word for word, _, _ in places]
        return [
            VisualWord(" ".join(words[first:after]), category, places[first][1], places[after - 1][2])
            for first, after, category in self.of_tokens(words)
        ]

    def save(self, path: str | Path) -> None:
        """Write the table, names by category in their order, so that `load` reads it."""
        lists: dict[str, list[str]] = {}
        for name, category in self.table.items():
            lists.setdefault(category or "", []).append(name)
        Path(path).write_text(json.dumps({"words": lists}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def table_of(words: VisualWords | None) -> VisualWords:
    """The table that is given, or that of COCO for None.

    Raises:
        ValueError: It is no `VisualWords`.
    """
    if words is None:
        return _coco()
    if not isinstance(words, VisualWords):
        raise ValueError(
            f"words is {words!r:.60}; give a VisualWords, as VisualWords({{'puppy': 'dog'}}), or None for COCO's."
        )
    return words


@cache
def _coco() -> VisualWords:
    return VisualWords.coco()


def words_of(name: Any) -> str:
    """A name as it is compared: its words in lower case with single blanks.

    Args:
        name: Text with at least one word.

    Raises:
        ValueError: It is not text, or has no word.

    Example:
        >>> words_of("Hot-Dog")
        'hot dog'
    """
    text = " ".join(_WORD.findall(name.lower())) if isinstance(name, str) else ""
    if not text:
        raise ValueError(f"the name {name!r:.60} has no word; give text such as 'traffic light'.")
    return text


def plural(name: str) -> str:
    """The regular plural of a name: of its last word, by the rules of spelling alone.

    Args:
        name: In lower case.

    Example:
        >>> [plural(name) for name in ("dog", "bus", "teddy bear", "berry", "toy")]
        ['dogs', 'buses', 'teddy bears', 'berries', 'toys']
    """
    if re.search(r"[^aeiou]y$", name):
        return name[:-1] + "ies"
    return name + ("es" if name.endswith(("s", "x", "z", "ch", "sh")) else "s")


def _pairs(table: Any) -> Iterator[tuple[str, str | None]]:
    if not isinstance(table, Mapping):
        raise ValueError(f"the table is {table!r:.60}; give name -> category, such as {{'puppy': 'dog'}}.")
    for name, category in table.items():
        if category is not None and (not isinstance(category, str) or not category):
            raise ValueError(
                f"the name {name!r} has the category {category!r:.60}; give text, or None for no category."
            )
        yield words_of(name), category
