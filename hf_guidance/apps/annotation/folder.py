"""A folder of what is asked: images, the maps of a model in one file, and items.json; written by us, or by hand."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_guidance.apps.annotation.as_seen import AsSeen
from hf_guidance.apps.annotation.items import MAP_QUESTION, PATCH_QUESTION, Box, Item
from hf_guidance.common.progress import progress
from hf_guidance.common.text_files import read_json
from hf_guidance.common.whole_file import whole_file, whole_folder
from hf_guidance.data.images.image_files import with_slashes
from hf_guidance.data.images.pictures import open_picture, rgb

__all__ = ["AnnotationFolder", "write_annotation_folder", "write_patch_folder"]

ITEMS, MAPS = "items.json", "maps.npy"
_SAMPLED = 64  # maps whose numbers are in the fingerprint; all of a large file would take minutes


class AnnotationFolder:
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

    def __init__(self, folder: str | os.PathLike[str], question: str | None = None) -> None:
        self.folder = Path(folder)
        if not (self.folder / ITEMS).is_file():
            raise ValueError(
                f"{self.folder} has no {ITEMS}; write such a folder by "
                "hf_guidance.apps.annotation.write_annotation_folder or write_patch_folder."
            )
        found = read_json(self.folder / ITEMS)
        self._about: Mapping[str, Any] = found if isinstance(found, dict) else {"items": found}
        entries = self._about.get("items")
        if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError(f"{self.folder / ITEMS} holds no items; give a list with at least one object.")
        self._entries: list[dict[str, Any]] = entries
        self._maps = _maps_of(self.folder / MAPS, len(entries))
        self._asked = question
        self._sizes = [self._checked(place, entry) for place, entry in enumerate(entries)]
        self.ids = [_id_of(entry) for entry in entries]
        twice, times = Counter(self.ids).most_common(1)[0]
        if times > 1:
            raise ValueError(f"{self.folder / ITEMS}: the id {twice!r} is there twice; give every item its own.")
        self.fingerprint = self._fingerprint()

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, place: int) -> Item:
        entry, path = self._entries[place], self._path(place)
        found = None if self._maps is None or "box" in entry else np.asarray(self._maps[place], np.float32)
        words = PATCH_QUESTION if "box" in entry else MAP_QUESTION
        question = self._asked or entry.get("question") or self._about.get("question") or words
        return Item(self.ids[place], rgb(open_picture(path), str(path)), found, _box_of(entry), str(question))

    def channels(self, place: int) -> list[int]:
        """The channels that a patch stands for; none of a map."""
        return list(self._entries[place].get("channels", ()))

    @property
    def maps_fingerprint(self) -> str | None:
        """``SavedMaps.fingerprint`` of the maps; None of patches, and of maps that have none."""
        found = self._about.get("maps")
        return found if isinstance(found, str) else None

    def files(self) -> list[str]:
        """All files that belong to the folder, by their paths in it."""
        return [ITEMS, *([MAPS] if self._maps is not None else ()), *dict.fromkeys(e["image"] for e in self._entries)]

    def _path(self, place: int) -> Path:
        """Where an image lies in truth: in the folder, or it is not read."""
        path = self.folder / with_slashes(self._entries[place]["image"])
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise ValueError(f"{path} leads out of {self.folder}; copy the image into the folder.")
        return path

    def _checked(self, place: int, entry: dict[str, Any]) -> int:
        name, where = entry.get("image"), f"{self.folder / ITEMS}, item {place}"
        if not isinstance(name, str):
            raise ValueError(f"{where}: image is {name!r}; give the path of a file in the folder.")
        inside = PurePosixPath(with_slashes(name))
        if inside.is_absolute() or ".." in inside.parts or ":" in name.partition("/")[0]:
            raise ValueError(f"{where}: {name!r} lies outside the folder; give a path in it.")
        if _box_of(entry, where) is None and self._maps is None:
            raise ValueError(f"{where}: there is neither {MAPS} nor a box; give one of them.")
        try:
            return os.stat(self.folder / inside).st_size
        except OSError as error:
            raise ValueError(f"{where}: {name!r} cannot be read ({error.strerror}).") from None

    def _fingerprint(self) -> str:
        """A checksum of ids, names and sizes of images, and of the maps' own fingerprint or a sample of their numbers."""
        digest = hashlib.blake2b(digest_size=8)
        shapes = [(entry.get("box"), entry.get("channels")) for entry in self._entries]
        names = [entry["image"] for entry in self._entries]
        digest.update(json.dumps([self.ids, names, self._sizes, shapes, self._about.get("maps")]).encode())
        if self._maps is not None:
            digest.update(repr((self._maps.shape, self._maps.dtype.str)).encode())
            for place in np.unique(np.linspace(0, len(self) - 1, _SAMPLED).astype(int)):
                digest.update(np.ascontiguousarray(self._maps[place]).tobytes())
        return digest.hexdigest()


def write_annotation_folder(
    dataset: Iterable[Mapping[str, Any]],
    maps: Sequence[Any],
    folder: str | os.PathLike[str],
    *,
    processor: Any = None,
    question: str | None = None,
) -> Path:
    """Write images and maps as a folder that the page asks about.

    Args:
        dataset: Rows with an "image" (PIL), and an "image_id" or not, in the order of the maps.
        maps: One (h, w) array an image, all of one size: an array (n, h, w), or ``SavedMaps``, whose fingerprint is kept.
        folder: Where to write; whole or absent.
        processor: The model's image processor: where it crops, people are shown the part that the model sees. None where the
            model sees whole pictures.
        question: What is asked.

    Returns:
        The folder.

    Raises:
        ValueError: Rows and maps differ in number, or maps in size.
    """
    target = Path(folder).absolute()
    _refuse_full(target)
    with whole_folder(target) as draft:
        (draft / "images").mkdir()
        seen = AsSeen(processor)
        shape = np.shape(maps[0])
        array = np.lib.format.open_memmap(draft / MAPS, "w+", np.float32, (len(maps), *shape))
        entries = []
        for place, row in enumerate(progress(dataset, "images to ask about")):
            if place >= len(maps):
                raise ValueError(
                    f"there are only {len(maps)} maps, and more rows; give the data set that they were made of."
                )
            if np.shape(maps[place]) != shape:
                raise ValueError(
                    f"map {place} has shape {np.shape(maps[place])}, the first {shape}; give maps of one size."
                )
            array[place] = maps[place]
            name = f"images/{place}.png"
            seen.picture(rgb(row["image"], f"row {place}")).save(draft / name)
            entries.append({"id": str(row.get("image_id", place)), "image": name})
        if len(entries) != len(maps):
            raise ValueError(
                f"there are {len(maps)} maps for {len(entries)} rows; give the data set that they were made of."
            )
        array.flush()
        _write_items(draft, entries, question, getattr(maps, "fingerprint", None))
    return target


def write_patch_folder(
    dataset: Sequence[Mapping[str, Any]],
    patches: Sequence[Mapping[str, Any]],
    folder: str | os.PathLike[str],
    *,
    processor: Any = None,
    question: str | None = None,
) -> Path:
    """Write the patches of neurons as a folder that the page asks about; of the images only those that have one.

    Args:
        dataset: Rows with an "image" (PIL).
        patches: Objects with "image" (its row in the data set), "row" and "col" (the cell), "box" (left, top, right, bottom in
            pixels as the model is given them) and "channels" (those that the patch stands for); each (image, row, col) once. So
            `PatchTable.to_items` gives them.
        folder: Where to write; whole or absent.
        processor: The model's image processor: where it crops, people are shown the part that the model sees. None where the
            model sees whole pictures.
        question: What is asked.

    Returns:
        The folder.

    Raises:
        ValueError: The folder is not empty.
    """
    target = Path(folder).absolute()
    _refuse_full(target)
    with whole_folder(target) as draft:
        (draft / "images").mkdir()
        entries, as_seen = [], AsSeen(processor)
        for patch in progress(patches, "patches to ask about"):
            place = int(patch["image"])
            picture = rgb(dataset[place]["image"], f"row {place}")
            seen = as_seen.picture(picture)
            if not (file := draft / "images" / f"{place}.png").exists():
                seen.save(file)
            left, top, right, bottom = map(float, patch["box"])
            box = as_seen.box((left, top, right, bottom), picture, seen)
            cell = {"row": int(patch["row"]), "col": int(patch["col"]), "box": list(box)}
            entries.append(
                {"image": f"images/{place}.png", **cell, "channels": [int(one) for one in patch["channels"]]}
            )
        _write_items(draft, entries, question, None)
    return target


def _refuse_full(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target} is there already, perhaps with answers; name another folder, or move it away.")


def _write_items(folder: Path, entries: list[dict[str, Any]], question: str | None, maps: Any) -> None:
    about = {"question": question, "maps": None if maps is None else str(maps), "items": entries}
    with whole_file(folder / ITEMS) as draft:
        draft.write_text(
            json.dumps({key: value for key, value in about.items() if value is not None}), encoding="utf-8"
        )


def _maps_of(file: Path, count: int) -> npt.NDArray[np.floating[Any]] | None:
    if not file.is_file():
        return None
    try:
        maps: npt.NDArray[np.floating[Any]] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{file} cannot be read as maps ({error}); write it again.") from None
    if maps.ndim != 3 or maps.dtype.kind != "f" or len(maps) != count:
        raise ValueError(
            f"{file} has {maps.dtype} of shape {maps.shape}; it must be floating-point numbers of shape ({count}, h, w), a map "
            f"for each item of {ITEMS}."
        )
    return maps


def _id_of(entry: Mapping[str, Any]) -> str:
    if "id" in entry:
        return str(entry["id"])
    return (
        f"{entry['image']}:{entry['row']}:{entry['col']}" if "row" in entry and "col" in entry else str(entry["image"])
    )


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
