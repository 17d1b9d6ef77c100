"""Which split a file's name says: its words are matched whole, and a name that is only like one is told."""

import re

__all__ = ["SPLITS", "split_words"]

SPLITS = {"train": "train", "val": "validation", "validation": "validation", "test": "test", "trainval": "trainval"}
"""What a name calls a split -> the split."""
_NEAR = re.compile("^(train|val|test|dev)|(train|val)$")


def split_words(name: str) -> tuple[list[str], list[str]]:
    """The splits that a name says, each once, and its words that are like one without being one.

    Args:
        name: A file's name without its ending; words are parted by ``_``, ``-`` and ``.``, and may end with a year.

    Example:
        >>> split_words("instances_val2014"), split_words("train2"), split_words("cards")
        ((['validation'], []), ([], ['train2']), ([], []))
    """
    words = [re.sub(r"\d{4}$", "", word) for word in re.split(r"[_.-]", name.lower()) if word]
    found = list(dict.fromkeys(SPLITS[word] for word in words if word in SPLITS))
    return found, [word for word in words if word not in SPLITS and _NEAR.search(word)]
