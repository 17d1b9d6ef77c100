"""The picture of a panel: each image beside its map, or the boxes of each question as bars."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_guidance.training.panels.maps import Drawn, PanelMaps

_ACROSS = 4  # rows of a data set beside each other
_DPI = 110
_OUTLINE, _MAP = "#39ff14", "inferno"
_LONGEST = 48  # letters of a question


def panel_picture(maps: PanelMaps, heading: str) -> npt.NDArray[np.uint8]:
    """Draw a panel.

    Images are drawn twice: with the outline of what people marked, and with the positive part of the map, scaled by its
    largest value, over it. Of a question, each box has two bars, the attribution and the importance, both scaled by their
    largest value.

    Args:
        maps: What to draw.
        heading: A line above it.

    Returns:
        (height, width, 3) uint8, the same for the same input.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # imported here: it takes a second
    from matplotlib.figure import Figure

    boxes = maps.drawn[0].picture is None
    across = min(_ACROSS if not boxes else _ACROSS // 2, len(maps.drawn))
    lines = -(-len(maps.drawn) // across)
    cells = 1 if boxes else 2
    size = (5.2 * across, 1.9 * lines + 0.6) if boxes else (3.1 * across, 1.8 * lines + 0.6)
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained", facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(lines, across * cells, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for number, drawn in enumerate(maps.drawn):
        first = axes[number // across][number % across * cells :]
        draw = _bars if drawn.picture is None else _images
        draw(first[:cells], drawn)
    figure.suptitle("\n".join(textwrap.wrap(heading, 52 * across)), fontsize=9, parse_math=False)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def _images(axes: Any, drawn: Drawn) -> None:
    plain, over = axes
    grey = np.asarray(drawn.picture) @ np.array([0.299, 0.587, 0.114])
    plain.imshow(drawn.picture, interpolation="nearest")
    over.imshow(grey, cmap="gray", vmin=0, vmax=1)
    scaled = _scaled(drawn.attribution)
    over.imshow(scaled, cmap=_MAP, vmin=0, vmax=1, alpha=0.25 + 0.6 * scaled)
    told = drawn.importance
    if told is not None and told.max() > told.min():
        for axis in axes:
            axis.contour(told, levels=[told.max() / 2], colors=_OUTLINE, linewidths=1.2)
    _title(plain, drawn)
    if drawn.dead:
        over.set_title("no positive part", fontsize=7, color="firebrick")


def _bars(axes: Any, drawn: Drawn) -> None:
    (axis,) = axes
    places = np.arange(len(drawn.attribution))
    axis.set_axis_on()
    axis.bar(places - 0.2, _scaled(drawn.attribution, signed=True), 0.4, color="#d9480f", label="attribution")
    if drawn.importance is not None:
        axis.bar(places + 0.2, _scaled(drawn.importance), 0.4, color="#2f9e44", label="importance")
    axis.axhline(0, color="black", linewidth=0.5)
    axis.set_ylim(-1.05, 1.05)
    axis.tick_params(labelsize=6)
    axis.set_xlabel("box", fontsize=6, labelpad=1)
    axis.legend(fontsize=6, loc="lower right", ncols=2, frameon=False)
    _title(axis, drawn)


def _title(axis: Any, drawn: Drawn) -> None:
    lines = [textwrap.shorten(line, _LONGEST, placeholder="…") for line in drawn.title.split("\n")]
    axis.set_title("\n".join(lines), fontsize=7, loc="left", parse_math=False)


def _scaled(values: npt.NDArray[Any], signed: bool = False) -> npt.NDArray[Any]:
    values = np.nan_to_num(np.asarray(values, float))
    values = values if signed else np.maximum(values, 0)
    return np.asarray(values / max(np.abs(values).max(initial=0), 1e-12))
