"""The picture of a card: images with what people marked, and the maps of the model before training and now."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_guidance.common.card_text import one_line
from hf_guidance.common.whole_file import whole_file
from hf_guidance.evaluation.figures import attribution_figure

PICTURE = "attribution_maps.png"
_BOXES = "visual_pos"  # batch column of boxes, xyxy in [0, 1]
_CANVAS = 160  # pixels of a picture of boxes
_SMALLEST = 1e-7

Array = npt.NDArray[Any]


def draw_maps(
    folder: Path,
    images: Array | None,
    boxes: Array | None,
    importance: Sequence[Array],
    names: Sequence[str],
    columns: dict[str, Sequence[Array]],
) -> bool:
    """Write the picture into a folder, whole or not at all.

    Args:
        folder: Where to.
        images: (images, height, width, 3) in [0, 1]; None where the model sees boxes only.
        boxes: (images, objects, 4) xyxy in [0, 1], of maps over boxes; None for maps over pixels.
        importance: What people marked, one array per image: (height, width), or (objects,).
        names: Of each image.
        columns: Title -> maps of the shapes of ``importance``.

    Returns:
        False where the maps have no places that could be drawn.
    """
    over_boxes = importance[0].ndim == 1
    if (boxes is None) if over_boxes else (images is None):
        return False
    rows = []
    for index, marked in enumerate(importance):
        if over_boxes:
            assert boxes is not None
            row: dict[str, Any] = {"image": np.ones((_CANVAS, _CANVAS, 3))}
            corners = np.asarray(boxes[index], float)[: len(marked)] * _CANVAS
            row["boxes"] = corners[marked >= max(marked.max() / 2, _SMALLEST)]
        else:
            assert images is not None
            row, corners = {"image": images[index]}, None
            row["boxes"] = _frame(marked)
        titles = {"image": _title(names[index])}
        for title, maps in columns.items():
            drawn = maps[index] if corners is None else _painted(maps[index], corners)
            row[title] = drawn
            titles[title] = f"{title}\n{_inside(maps[index], marked)}"
        rows.append(row | {"titles": titles})
    with whole_file(folder / PICTURE) as draft:
        attribution_figure(rows, list(columns), draft)
    return True


def _frame(marked: Array) -> Array:
    """The box around all that is marked, (1, 4) xyxy, or (0, 4)."""
    down, across = np.nonzero(marked > 0)
    if not len(down):
        return np.zeros((0, 4))
    return np.array([[across.min(), down.min(), across.max() + 1, down.max() + 1]], float)


def _painted(values: Array, corners: Array) -> Array:
    """Values of boxes on a canvas; where boxes overlap, the largest."""
    canvas = np.zeros((_CANVAS, _CANVAS))
    for value, (left, top, right, bottom) in zip(values, corners.round().astype(int), strict=True):
        part = canvas[max(top, 0) : bottom, max(left, 0) : right]
        np.maximum(part, value, out=part)
    return canvas


def _inside(values: Array, marked: Array) -> str:
    positive = np.maximum(values, 0)
    total = float(positive.sum())
    return f"{(positive * marked).sum() / total:.0%} inside" if total > _SMALLEST else "no positive attribution"


def _title(name: str) -> str:
    # A dollar sign would begin a formula of matplotlib's.
    return "\n".join(textwrap.wrap(one_line(name, 60), 26)).replace("$", r"\$")
