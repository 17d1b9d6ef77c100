"""ComparisonFolder: images with the maps of two models."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from hf_guidance.apps.annotation.items.image_folder import ITEMS, MAPS, Entry, ImageFolder
from hf_guidance.apps.annotation.items.scale import COMPARISON, Scale
from hf_guidance.apps.trust_study.comparison_item import QUESTION, ComparisonItem

__all__ = ["ComparisonFolder"]


class ComparisonFolder(ImageFolder):
    """The comparisons of a folder; images are read when they are asked for, maps are memory-mapped.

    ``items.json`` is ``{"models": [name, name], "question": ..., "items": [...]}`` with an object an item::

        {"image": "images/0.png", "id": "0:fork", "text": "a fork on a plate", "parts": ["fork", "the whole caption"]}

    ``maps.npy`` has floating-point numbers of shape (items, 2 models, parts, h, w).

    Args:
        folder: The folder.
        question: What is asked, in place of the folder's own words.

    Raises:
        ValueError: items.json or maps.npy is not there, damaged, or does not fit the other; the names of the models are not
            two; an image is missing, cannot be read, or lies outside the folder; or two items have one id. The message names
            the item.

    Example:
        >>> ComparisonFolder("trust").models
        ('unguided', 'hint')
    """

    scale: ClassVar[Scale] = COMPARISON
    shape: ClassVar[tuple[int | str, ...]] = (2, "parts", "h", "w")
    writers: ClassVar[str] = "hf_guidance.apps.trust_study.write_comparison_folder"

    def __init__(self, folder: str | os.PathLike[str], question: str | None = None) -> None:
        super().__init__(folder, question)
        for place in range(len(self)):  # a comparison that cannot be seen has no answer
            self.picture(place)

    @property
    def models(self) -> tuple[str, str]:
        """Names of the two models, in the order of the maps. The page never shows them."""
        first, second = self.about["models"]
        return first, second

    def __getitem__(self, place: int) -> ComparisonItem:
        entry, image = self.entries[place], self.picture(place)
        assert self.maps is not None  # checked of every entry
        question, text = self.question(place, QUESTION), str(entry.get("text", ""))
        return ComparisonItem(self.ids[place], image, question, text, np.asarray(self.maps[place]), self._parts(place))

    def text(self, place: int) -> str:
        """What is said of an image; empty where nothing is."""
        return str(self.entries[place].get("text", ""))

    def _parts(self, place: int) -> tuple[str, ...]:
        return tuple(map(str, self.entries[place]["parts"]))

    def check_entry(self, entry: Entry, where: str) -> None:
        """Refuse an entry whose parts are not those of the maps, and a folder without maps or without two models."""
        models = self.about.get("models")
        named = isinstance(models, list) and all(isinstance(name, str) and name for name in models)
        if not named or len(set(models or ())) != 2 or len(models or ()) != 2:
            raise ValueError(f"{self.folder / ITEMS}: models is {models!r}; give the names of two models.")
        if self.maps is None:
            raise ValueError(f"{self.folder} has no {MAPS}; write the folder by {self.writers}.")
        parts = entry.get("parts")
        if not isinstance(parts, list) or len(parts) != self.maps.shape[2]:
            raise ValueError(
                f"{where}: parts is {parts!r}; give {self.maps.shape[2]} names, one for each map of a model."
            )

    def about_entry(self, entry: Entry) -> Sequence[Any]:
        """The names of the models, what is said of the image, and what the maps explain."""
        return self.about["models"], entry.get("text"), entry["parts"]
