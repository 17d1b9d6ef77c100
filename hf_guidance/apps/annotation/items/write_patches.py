"""write_patch_folder: patches of neurons as a folder that people are asked about."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_guidance.apps.annotation.items.as_seen import AsSeen
from hf_guidance.apps.annotation.items.draft import new_folder, write_items
from hf_guidance.common.progress import progress
from hf_guidance.data.images.pictures import rgb

__all__ = ["write_patch_folder"]


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
    with new_folder(folder) as (target, draft):
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
        write_items(draft, entries, question=question)
    return target
