"""Masks of categories in rows of captions: run-length encoded as COCO does, and read again."""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

Mask = npt.NDArray[np.bool_]


def encode_mask(category: str, mask: npt.NDArray[Any]) -> dict[str, Any]:
    """The entry of column ``segmentations`` for a mask.

    Args:
        category: What the mask shows.
        mask: (height, width), booleans or numbers, of which all but 0 are inside.

    Returns:
        ``{"category", "size": [height, width], "counts"}``, as pycocotools encodes it, the counts as text.

    Raises:
        ValueError: The mask is not (height, width), or holds NaN or infinity.

    Example:
        >>> encode_mask("dog", np.ones((2, 3)))["size"]
        [2, 3]
    """
    rle = coco.encode(np.asfortranarray(_plain(category, mask), dtype=np.uint8))
    return {"category": category, "size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode()}


def category_masks(segmentations: Any, only: Collection[str] | None = None) -> dict[str, Mask]:
    """The mask of each category: the union of its entries.

    Args:
        segmentations: Entries as `encode_mask` makes them; or category -> mask (height, width) of booleans or numbers, of which
            all but 0 are inside. One size for all of them.
        only: Categories to read; others are left out without being decoded. None reads all.

    Returns:
        Category -> (height, width) of booleans. A category without entry is not in it.

    Raises:
        ValueError: An entry of another form, a mask that is not (height, width), counts that do not cover the mask's size, or
            masks of several sizes.

    Example:
        >>> {name: mask.mean() for name, mask in category_masks([encode_mask("dog", np.eye(2))]).items()}
        {'dog': np.float64(0.5)}
    """
    found: dict[str, Mask] = {}
    if isinstance(segmentations, Mapping):
        pairs = [(name, given) for name, given in segmentations.items() if only is None or name in only]
        decoded = [(name, _plain(name, given)) for name, given in pairs]
    elif isinstance(segmentations, Sequence) and not isinstance(segmentations, str):
        entries = [_entry(entry, place) for place, entry in enumerate(segmentations)]
        decoded = [(name, _decoded(name, rle)) for name, rle in entries if only is None or name in only]
    else:
        raise ValueError(
            f"segmentations are {segmentations!r:.60}; give a list of entries {{category, size, counts}}, or category -> mask."
        )
    for name, mask in decoded:
        first = next(iter(found.values()), mask)
        if first.shape != mask.shape:
            raise ValueError(
                f"the mask of {name!r} has shape {mask.shape}, others of the image {first.shape}; give all in the image's size."
            )
        found[name] = found[name] | mask if name in found else mask
    return found


def named_categories(segmentations: Any) -> list[str]:
    """The names of the categories, each once.

    Args:
        segmentations: As `category_masks` takes them, or None.
    """
    given = (
        segmentations if isinstance(segmentations, Mapping) else (entry["category"] for entry in segmentations or ())
    )
    return list(dict.fromkeys(given))


def _plain(name: str, given: Any) -> Mask:
    mask = np.asarray(given)
    if mask.ndim != 2 or not mask.size or mask.dtype.kind not in "biuf":
        raise ValueError(
            f"the mask of {name!r} is {mask.dtype} of shape {mask.shape}; give numbers or booleans, (height, width)."
        )
    if not np.isfinite(mask).all():
        raise ValueError(f"the mask of {name!r} holds NaN or infinity; give 0 outside, and any other number inside.")
    return np.asarray(mask != 0)


def _entry(entry: Any, place: int) -> tuple[str, dict[str, Any]]:
    fields = ("category", "size", "counts")
    if not isinstance(entry, Mapping) or any(entry.get(field) is None for field in fields):
        raise ValueError(f"segmentations[{place}] is {entry!r:.80}; give an object with {', '.join(fields)}.")
    name, counts = entry["category"], entry["counts"]
    if not isinstance(name, str):
        raise ValueError(f"segmentations[{place}] has the category {name!r:.60}; give its name, as 'dog'.")
    return name, {"size": _size(entry["size"], place), "counts": counts}


def _size(given: Any, place: int) -> list[int]:
    try:
        height, width = map(operator.index, given)
    except (TypeError, ValueError):
        height = width = 0
    if min(height, width) < 1:
        raise ValueError(
            f"segmentations[{place}] has the size {given!r:.60}; give [height, width], whole numbers above 0."
        )
    return [height, width]


def _decoded(name: str, rle: dict[str, Any]) -> Mask:
    height, width = rle["size"]
    counts = rle["counts"]
    if not isinstance(counts, str | bytes) or run_total(counts) != height * width:
        raise ValueError(
            f"the mask of {name!r} has counts that do not cover its size {height}x{width}; encode it again by encode_mask."
        )
    return np.asarray(coco.decode(rle), dtype=bool)


def run_total(counts: str | bytes) -> int:
    """The pixels that compressed counts cover, which pycocotools does not check before it writes them.

    Args:
        counts: pycocotools' text: 5-bit digits, lowest first; from the fourth run on relative to the run two before.

    Returns:
        Their sum; -1 where a run is negative or the text ends within one.

    Example:
        >>> run_total(encode_mask("dog", np.eye(4))["counts"])
        16
    """
    runs: list[int] = []
    value = shift = 0
    for byte in counts.encode() if isinstance(counts, str) else counts:
        digit = byte - 48
        value, shift = value | (digit & 31) << shift, shift + 5
        if not digit & 32:
            value -= (1 << shift) if digit & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return -1 if shift or min(runs, default=0) < 0 else sum(runs)
