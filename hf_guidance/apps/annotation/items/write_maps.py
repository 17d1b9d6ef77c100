"""write_annotation_folder: images and the maps of a model as a folder that people are asked about."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hf_guidance.apps.annotation.items.as_seen import AsSeen
from hf_guidance.apps.annotation.items.draft import new_folder, open_maps, write_items
from hf_guidance.common.progress import progress
from hf_guidance.data.images.pictures import rgb

__all__ = ["write_annotation_folder"]


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
        ValueError: Rows and maps differ in number, or maps in size; or the folder is not empty.
    """
    with new_folder(folder) as (target, draft):
        seen = AsSeen(processor)
        shape = np.shape(maps[0])
        array = open_maps(draft, (len(maps), *shape))
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
        array.flush()  # type: ignore[attr-defined]
        write_items(draft, entries, question=question, maps=getattr(maps, "fingerprint", None))
    return target
