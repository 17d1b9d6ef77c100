"""ImageFolder: what every folder of questions has: images, maps of models in one file, and items.json."""

from __future__ import annotations

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from hf_guidance.apps.annotation.items.item import Item
from hf_guidance.apps.annotation.items.scale import YES_NO, Scale
from hf_guidance.common.text_files import read_json
from hf_guidance.data.images.image_files import with_slashes
from hf_guidance.data.images.pictures import open_picture, rgb

__all__ = ["ImageFolder"]

ITEMS, MAPS = "items.json", "maps.npy"
_SAMPLED = 64  # maps whose numbers are in the fingerprint; all of a large file would take minutes
Entry = dict[str, Any]


class ImageFolder(ABC):
    """The questions of a folder; images are read when they are asked for, maps are memory-mapped.

    ``items.json`` is a list with an object an item, or ``{"question": ..., "items": [...], ...}``; each has the path of an
    ``image`` in the folder. ``maps.npy`` has floating-point numbers, an entry for each item.

    Subclasses say what else there is: ``scale``, ``shape`` of the maps of an item, ``writers``, ``check_entry``,
    ``about_entry`` and ``__getitem__``.

    Args:
        folder: The folder.
        question: What is asked, in place of the folder's own words.

    Raises:
        ValueError: items.json or maps.npy is not there, damaged, or does not fit the other; an image is missing or lies outside
            the folder; or two items have one id. The message names the item.
    """

    scale: ClassVar[Scale] = YES_NO
    shape: ClassVar[tuple[int | str, ...]] = ("h", "w")
    """Of the maps of an item: numbers are prescribed, words are not."""
    writers: ClassVar[str]
    """Functions that write such a folder, for messages."""

    def __init__(self, folder: str | os.PathLike[str], question: str | None = None) -> None:
        self.folder = Path(folder)
        if not (self.folder / ITEMS).is_file():
            raise ValueError(f"{self.folder} has no {ITEMS}; write such a folder by {self.writers}.")
        found = read_json(self.folder / ITEMS)
        self.about: Mapping[str, Any] = found if isinstance(found, dict) else {"items": found}
        entries = self.about.get("items")
        if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError(f"{self.folder / ITEMS} holds no items; give a list with at least one object.")
        self.entries: list[Entry] = entries
        self.maps = self._read_maps()
        self._asked = question
        self._sizes = [self._checked(place, entry) for place, entry in enumerate(entries)]
        self.ids = [_id_of(entry) for entry in entries]
        twice, times = Counter(self.ids).most_common(1)[0]
        if times > 1:
            raise ValueError(f"{self.folder / ITEMS}: the id {twice!r} is there twice; give every item its own.")
        self.fingerprint = self._fingerprint()

    def __len__(self) -> int:
        return len(self.entries)

    @abstractmethod
    def __getitem__(self, place: int) -> Item:
        """The question of an item."""

    @abstractmethod
    def check_entry(self, entry: Entry, where: str) -> None:
        """Refuse an entry that lacks anything; ``where`` names it."""

    @abstractmethod
    def about_entry(self, entry: Entry) -> Sequence[Any]:
        """What of an entry is in the fingerprint, beside its id and its image."""

    def picture(self, place: int) -> Image.Image:
        """The image of an item, in RGB.

        Raises:
            ValueError: It cannot be read, or lies outside the folder in truth.
        """
        path = self.folder / with_slashes(self.entries[place]["image"])
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise ValueError(f"{path} leads out of {self.folder}; copy the image into the folder.")
        return rgb(open_picture(path), str(path))

    def question(self, place: int, words: str) -> str:
        """What is asked about an item: what was given, else the item's own words, the folder's, or ``words``."""
        return str(self._asked or self.entries[place].get("question") or self.about.get("question") or words)

    def files(self) -> list[str]:
        """All files that belong to the folder, by their paths in it."""
        return [ITEMS, *([MAPS] if self.maps is not None else ()), *dict.fromkeys(e["image"] for e in self.entries)]

    def _checked(self, place: int, entry: Entry) -> int:
        name, where = entry.get("image"), f"{self.folder / ITEMS}, item {place}"
        if not isinstance(name, str):
            raise ValueError(f"{where}: image is {name!r}; give the path of a file in the folder.")
        inside = PurePosixPath(with_slashes(name))
        if inside.is_absolute() or ".." in inside.parts or ":" in name.partition("/")[0]:
            raise ValueError(f"{where}: {name!r} lies outside the folder; give a path in it.")
        self.check_entry(entry, where)
        try:
            return os.stat(self.folder / inside).st_size
        except OSError as error:
            raise ValueError(f"{where}: {name!r} cannot be read ({error.strerror}).") from None

    def _fingerprint(self) -> str:
        """A checksum of ids, names and sizes of images, and of the maps' own fingerprint or a sample of their numbers."""
        digest = hashlib.blake2b(digest_size=8)
        told = [self.about_entry(entry) for entry in self.entries]
        names = [entry["image"] for entry in self.entries]
        digest.update(json.dumps([self.ids, names, self._sizes, told, self.about.get("maps")]).encode())
        if self.maps is not None:
            digest.update(repr((self.maps.shape, self.maps.dtype.str)).encode())
            for place in np.unique(np.linspace(0, len(self) - 1, _SAMPLED).astype(int)):
                digest.update(np.ascontiguousarray(self.maps[place]).tobytes())
        return digest.hexdigest()

    def _read_maps(self) -> npt.NDArray[np.floating[Any]] | None:
        file, count = self.folder / MAPS, len(self.entries)
        if not file.is_file():
            return None
        try:
            maps: npt.NDArray[np.floating[Any]] = np.load(file, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise ValueError(f"{file} cannot be read as maps ({error}); write it again.") from None
        fits = maps.ndim == len(self.shape) + 1 and len(maps) == count
        sides = zip(maps.shape[1:], self.shape, strict=False)
        if not fits or maps.dtype.kind != "f" or any(isinstance(own, int) and own != side for side, own in sides):
            raise ValueError(
                f"{file} has {maps.dtype} of shape {maps.shape}; it must be floating-point numbers of shape "
                f"({count}, {', '.join(map(str, self.shape))}), an entry for each item of {ITEMS}, as {self.writers} writes it."
            )
        return maps


def _id_of(entry: Mapping[str, Any]) -> str:
    if "id" in entry:
        return str(entry["id"])
    return (
        f"{entry['image']}:{entry['row']}:{entry['col']}" if "row" in entry and "col" in entry else str(entry["image"])
    )
