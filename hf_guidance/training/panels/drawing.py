"""The picture of a panel: each image or word beside its map, or the boxes of each question as bars."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_guidance.training.panels.maps import Drawn, PanelMaps

_ACROSS = 4  # images beside each other
_DPI = 110
_MARGIN, _LINE, _TITLE, _GAP, _SIDE = 0.12, 0.17, 0.3, 0.04, 1.3  # inches; placed by hand, which is quick
_OUTLINE, _MAP = "#39ff14", "inferno"
_LONGEST = 48  # letters of a question


@dataclass(frozen=True)
class _Cell:
    """The place of one row, in inches.

    Attributes:
        width: With the space beside it.
        height: With the title above it.
        inside: Height of the axes.
        parts: Where each axis begins, and its width.
    """

    width: float
    height: float
    inside: float
    parts: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> _Cell:
        """Two pictures of (height, width) beside each other."""
        inside = min(2.5 * _SIDE, _SIDE * shape[0] / shape[1])
        return cls(2 * _SIDE + 4 * _GAP, inside + _TITLE, inside, ((0.0, _SIDE), (_SIDE + _GAP, _SIDE)))


_BARS = _Cell(4.6, 1.85, 1.2, ((0.3, 4.1),))


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
    tallest = max((drawn.attribution.shape for drawn in maps.drawn), key=lambda shape: shape[0] / shape[-1])
    cell = _BARS if boxes else _Cell.of(tallest)
    across = min(2 if boxes else _ACROSS, len(maps.drawn))
    lines = -(-len(maps.drawn) // across)
    words = textwrap.wrap(heading, int(13 * cell.width * across))
    width, height = cell.width * across + _MARGIN, cell.height * lines + _MARGIN + _LINE * len(words)
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    for number, drawn in enumerate(maps.drawn):
        left = _MARGIN + number % across * cell.width
        bottom = _MARGIN + (lines - 1 - number // across) * cell.height
        places = [(left + first, bottom, part, cell.inside) for first, part in cell.parts]
        axes = [figure.add_axes((x / width, y / height, w / width, h / height)) for x, y, w, h in places]
        (_bars if drawn.picture is None else _images)(axes, drawn)
    figure.text(_MARGIN / width, 1 - 0.06 / height, "\n".join(words), fontsize=8, va="top", parse_math=False)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def _images(axes: Any, drawn: Drawn) -> None:
    plain, over = axes
    for axis in axes:
        axis.set_axis_off()
        axis.xaxis.set_visible(False)  # or else ticks that nobody sees are placed, for longer than all else takes
        axis.yaxis.set_visible(False)
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
        over.set_title("no positive part", fontsize=7, color="firebrick", loc="right", pad=3)


def _bars(axes: Any, drawn: Drawn) -> None:
    (axis,) = axes
    places = np.arange(len(drawn.attribution))
    axis.bar(places - 0.2, _scaled(drawn.attribution, signed=True), 0.4, color="#d9480f", label="attribution")
    if drawn.importance is not None:
        axis.bar(places + 0.2, _scaled(drawn.importance), 0.4, color="#2f9e44", label="importance")
    axis.axhline(0, color="black", linewidth=0.5)
    axis.set_ylim(-1.05, 1.05)
    axis.tick_params(labelsize=6)
    axis.legend(fontsize=6, loc="lower right", ncols=2, frameon=False)
    _title(axis, drawn)


def _title(axis: Any, drawn: Drawn) -> None:
    lines = [textwrap.shorten(line, _LONGEST, placeholder="…") for line in drawn.title.split("\n")]
    axis.set_title("\n".join(lines), fontsize=7, loc="left", pad=3, parse_math=False)


def _scaled(values: npt.NDArray[Any], signed: bool = False) -> npt.NDArray[Any]:
    values = np.nan_to_num(np.asarray(values, float))
    values = values if signed else np.maximum(values, 0)
    return np.asarray(values / max(np.abs(values).max(initial=0), 1e-12))
