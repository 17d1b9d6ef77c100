"""AnnotationFolder: maps of a model, or patches of its neurons, to which people say yes or no."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from hf_guidance.apps.annotation.items.image_folder import MAPS, Entry, ImageFolder
from hf_guidance.apps.annotation.items.item import Box, Item
from hf_guidance.apps.annotation.items.map_item import MAP_QUESTION, MapItem
from hf_guidance.apps.annotation.items.patch_item import PATCH_QUESTION, PatchItem

__all__ = ["AnnotationFolder"]


class AnnotationFolder(ImageFolder):
    """The questions of a folder; images are read when they are asked for, maps are memory-mapped.

    ``items.json`` is a list with an object an item, or ``{"question": ..., "maps": ..., "items": [...]}``::

        {"image": "images/0.png", "id": "0", "question": "..."}                        a map: row 0 of maps.npy
        {"image": "images/7.png", "row": 3, "col": 1, "box": [32, 96, 64, 128], "channels": [5, 210]}          a patch

    ``maps.npy`` has floating-point numbers of shape (items, h, w); a folder of patches has none.

    Args:
        folder: The folder.
        question: What is asked, in place of the folder's own words.

    Raises:
        ValueError: items.json or maps.npy is not there, damaged, or does not fit the other; an image is missing or lies outside
            the folder; or two items have one id. The message names the item.

    Example:
        >>> AnnotationFolder("to_answer")[0].question
        'Does the model look at the right thing?'
    """

    writers: ClassVar[str] = "hf_guidance.apps.annotation.write_annotation_folder or write_patch_folder"

    def __getitem__(self, place: int) -> Item:
        entry, image = self.entries[place], self.picture(place)
        text = str(entry.get("text", ""))
        box = _box_of(entry)
        if box is not None:
            return PatchItem(self.ids[place], image, self.question(place, PATCH_QUESTION), text, box)
        assert self.maps is not None  # each item has one of the two
        shown = np.asarray(self.maps[place], np.float32)
        return MapItem(self.ids[place], image, self.question(place, MAP_QUESTION), text, shown)

    def channels(self, place: int) -> list[int]:
        """The channels that a patch stands for; none of a map."""
        return list(self.entries[place].get("channels", ()))

    @property
    def maps_fingerprint(self) -> str | None:
        """``SavedMaps.fingerprint`` of the maps; None of patches, and of maps that have none."""
        found = self.about.get("maps")
        return found if isinstance(found, str) else None

    def check_entry(self, entry: Entry, where: str) -> None:
        """Refuse an entry without a map and without a box, or with a box that is none."""
        if _box_of(entry, where) is None and self.maps is None:
            raise ValueError(f"{where}: there is neither {MAPS} nor a box; give one of them.")

    def about_entry(self, entry: Entry) -> Sequence[Any]:
        """The box, and the channels that it stands for."""
        return entry.get("box"), entry.get("channels")


def _box_of(entry: Mapping[str, Any], where: str = "") -> Box | None:
    if "box" not in entry:
        return None
    try:
        left, top, right, bottom = map(float, entry["box"])
    except (TypeError, ValueError):
        left, top, right, bottom = (0.0,) * 4
    if not (left < right and top < bottom and np.isfinite([left, top, right, bottom]).all()):
        raise ValueError(f"{where}: box is {entry['box']!r}; give [left, top, right, bottom] in pixels of the image.")
    return left, top, right, bottom
