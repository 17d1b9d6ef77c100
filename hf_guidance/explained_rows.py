"""Which (image, class) pairs a step explains, and how a batch is cut by images.

A batch holds image columns (one entry an image) and row columns (one entry an explained pair): ``row``, ``slot``,
``annotated`` (lists on the host, so that choosing rows never waits for the device), ``target``, and every column whose
name holds ``importance``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

HOST_COLUMNS = ("row", "slot", "annotated")


def is_row_column(name: str) -> bool:
    """Whether a column has one entry per explained pair."""
    return name in (*HOST_COLUMNS, "target") or "importance" in name


def draw_one_per_image(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Keep one pair of every image, uniform over its pairs (arXiv 2303.11932: one positive class per image and step).

    Draws from torch's global CPU generator, which checkpoints store: a resumed run draws the same classes.

    Args:
        batch: A collated batch; without the column ``row`` it is returned as it is.
    """
    if "row" not in batch:
        return dict(batch)
    of_image: dict[int, list[int]] = {}
    for index, image in enumerate(batch["row"]):
        of_image.setdefault(image, []).append(index)
    chosen = [pairs[0] if len(pairs) == 1 else pairs[int(torch.randint(len(pairs), ()))] for pairs in of_image.values()]
    drawn = _take_rows(batch, chosen)
    drawn["slot"] = [0] * len(chosen)
    return drawn


def annotated_images(batch: Mapping[str, Any]) -> list[int]:
    """Images with at least one annotated pair, in order; all images without the column ``annotated``."""
    if "annotated" not in batch:
        return list(range(len(next(iter(batch.values())))))
    rows = batch.get("row", range(len(batch["annotated"])))
    return sorted({image for image, annotated in zip(rows, batch["annotated"], strict=True) if annotated})


def annotated_only(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the pairs without annotation; the images stay."""
    if "annotated" not in batch or all(batch["annotated"]):
        return dict(batch)
    rows = dict(batch)
    rows.setdefault("row", list(range(len(batch["annotated"]))))
    rows.setdefault("slot", [0] * len(batch["annotated"]))
    return _take_rows(rows, [index for index, annotated in enumerate(batch["annotated"]) if annotated])


def take_images(batch: Mapping[str, Any], images: Sequence[int]) -> dict[str, Any]:
    """The batch of some images, with their pairs."""
    new_place = {image: place for place, image in enumerate(images)}
    rows = dict(batch)
    count = next((len(value) for name, value in batch.items() if is_row_column(name)), None)
    if count is not None:
        rows.setdefault("row", list(range(count)))
        rows.setdefault("slot", [0] * count)
        rows = _take_rows(rows, [index for index, image in enumerate(rows["row"]) if image in new_place])
        rows["row"] = [new_place[image] for image in rows["row"]]
    return {name: value if is_row_column(name) else _take(value, images) for name, value in rows.items()}


def _take_rows(batch: Mapping[str, Any], chosen: Sequence[int]) -> dict[str, Any]:
    count = len(batch["row"])
    if list(chosen) == list(range(count)):
        return dict(batch)
    return {name: _take(value, chosen) if is_row_column(name) else value for name, value in batch.items()}


def _take(value: Any, chosen: Sequence[int]) -> Any:
    if isinstance(value, Tensor):
        return value[torch.tensor(chosen, dtype=torch.long, device=value.device)] if value.dim() else value
    return [value[index] for index in chosen] if isinstance(value, list) else value
