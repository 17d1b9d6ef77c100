"""Pictures of attributions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def attribution_figure(
    rows: Sequence[dict[str, Any]], columns: Sequence[str], path: str | Path, image_key: str = "image"
) -> None:
    """Save a grid with one line per image: the image with its boxes, then the same with each of its maps drawn over it.

    Args:
        rows: One dict per image with ``image_key`` (height, width, 3) in [0, 1], one map (height, width) per column name,
            optionally "boxes" (n, 4) xyxy and "titles" {column: text}. Only the positive part of a map is drawn.
        columns: Names of the maps.
        path: File to write; the suffix decides the format.
        image_key: Key of the image.

    Raises:
        ValueError: ``rows`` is empty.
    """
    if not rows:
        raise ValueError("rows is empty: there is nothing to draw; give at least one image.")
    from matplotlib.figure import Figure  # imported here: plotting is optional
    from matplotlib.patches import Rectangle

    figure = Figure(figsize=(2.2 * (len(columns) + 1), 2.3 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(columns) + 1, squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        for axis, name in zip(line, [image_key, *columns], strict=True):
            axis.imshow(np.clip(row[image_key], 0, 1))
            if name != image_key:
                axis.imshow(_scaled(row[name]), cmap="jet", alpha=0.5, vmin=0, vmax=1)
            for xmin, ymin, xmax, ymax in row.get("boxes", []):
                frame = Rectangle((xmin - 0.5, ymin - 0.5), xmax - xmin, ymax - ymin, fill=False, color="lime")
                axis.add_patch(frame)
            axis.set_title(row.get("titles", {}).get(name, name), fontsize=8)
            axis.set_axis_off()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _scaled(attribution: npt.ArrayLike) -> npt.NDArray[Any]:
    positive = np.maximum(np.asarray(attribution, float), 0)
    scaled: npt.NDArray[Any] = positive / max(positive.max(), 1e-12)
    return scaled
