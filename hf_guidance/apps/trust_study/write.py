"""write_comparison_folder: images and the maps of two models as a folder that people are asked about."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hf_guidance.apps.annotation.items.as_seen import AsSeen
from hf_guidance.apps.annotation.items.draft import new_folder, open_maps, write_items
from hf_guidance.common.progress import progress
from hf_guidance.data.images.pictures import rgb

__all__ = ["write_comparison_folder"]

PARTS = ("where the model looks",)


def write_comparison_folder(
    dataset: Sequence[Mapping[str, Any]],
    maps: Mapping[str, Sequence[Any]],
    folder: str | os.PathLike[str],
    *,
    processor: Any = None,
    question: str | None = None,
) -> Path:
    """Write images and the maps of two models as a folder that the page asks about.

    Args:
        dataset: Rows with an "image" (PIL), in the order of the maps; and, or not, "image_id", the name of the row; "text",
            what is said of the image, such as a caption; and "parts", what each of its maps explains, such as
            ``["fork", "the whole caption"]``.
        maps: Name of each of the two models to its maps: for each row (h, w) numbers, or (parts, h, w) where a row has several;
            all of one size. Arrays and ``SavedMaps`` do.
        folder: Where to write; whole or absent.
        processor: The models' image processor: where it crops, people are shown the part that the models see. None where they
            see whole pictures.
        question: What is asked.

    Returns:
        The folder.

    Raises:
        ValueError: There are not two models, rows and maps differ in number, maps in size, or parts in number; or the folder is
            not empty.

    Example:
        >>> write_comparison_folder(test, {"unguided": maps_before, "guided": maps_after}, "trust")
    """
    check_models(maps)
    for name, own in maps.items():
        if len(own) != len(dataset) or not len(own):
            raise ValueError(
                f"{name} has {len(own)} maps for {len(dataset)} rows; give a map for each of at least one row."
            )
    with new_folder(folder) as (target, draft):
        seen, names = AsSeen(processor), list(maps)
        shape = _parts_first(maps[names[0]][0], names[0], 0).shape
        array = open_maps(draft, (len(dataset), 2, *shape))
        entries = []
        for place in progress(range(len(dataset)), "comparisons to ask about"):
            row = dataset[place]
            for number, name in enumerate(names):
                array[place, number] = _checked(_parts_first(maps[name][place], name, place), shape, name, place)
            file = f"images/{place}.png"
            seen.picture(rgb(row["image"], f"row {place}")).save(draft / file)
            told = {"text": str(row["text"])} if row.get("text") else {}
            entry = {"id": str(row.get("image_id", place)), "image": file, "parts": _parts(row, shape[0], place)}
            entries.append(entry | told)
        array.flush()  # type: ignore[attr-defined]
        known = [getattr(own, "fingerprint", None) for own in maps.values()]
        write_items(draft, entries, models=names, question=question, maps=known if all(known) else None)
    return target


def check_models(models: Mapping[str, Any]) -> None:
    """Refuse what is not of two models that have names.

    Raises:
        ValueError: It is not.
    """
    names = list(models)
    if len(names) != 2 or not all(isinstance(name, str) and name for name in names):
        raise ValueError(
            f"there are {len(names)} models, {names}; give two, each by a name that is text and not empty."
        )


def _parts_first(values: Any, name: str, place: int) -> Any:
    """The maps of a row as (parts, h, w)."""
    found = np.asarray(values, np.float32)
    found = found[None] if found.ndim == 2 else found
    if found.ndim != 3 or not found.size:
        raise ValueError(f"map {place} of {name} has shape {found.shape}; give (h, w), or (parts, h, w).")
    return found


def _checked(found: Any, shape: tuple[int, ...], name: str, place: int) -> Any:
    if found.shape != shape:
        raise ValueError(f"map {place} of {name} has shape {found.shape}, the first {shape}; give maps of one size.")
    return found


def _parts(row: Mapping[str, Any], count: int, place: int) -> list[str]:
    given = row.get("parts") or PARTS
    parts = [given] if isinstance(given, str) else list(given)
    if len(parts) != count:
        raise ValueError(f"row {place}: parts is {parts}, its maps are {count}; name what each map explains.")
    return [str(part) for part in parts]
