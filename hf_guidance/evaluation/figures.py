"""Pictures of attributions: images with maps or boxes over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hf_guidance.common.whole_file import whole_file
from hf_guidance.forward.maps import boxes_onto_image, onto_image

Floats = npt.NDArray[np.floating]
_SHARE = 99.5  # the percentile of |map| at which colours are full: of maps of pixels single ones stand far out
_OPAQUE = 0.8  # of the strongest colour
_DPI = 110
_TALLEST, _FLATTEST = 2.5, 0.1  # heights of a line by the width of a panel; in it the image keeps its own form


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture of a figure.

    Attributes:
        image: (height, width, 3) in [0, 1].
        map: (height, width) what is drawn over it; None for the image alone.
        boxes: (n, 4) xyxy in pixels.
        box_scores: (n,) by which the boxes are coloured; None frames them alike.
        seen: (top, bottom, left, right) of a dashed frame, in pixels; None for none.
        title: Text above it.
    """

    image: Floats
    map: Floats | None = None
    boxes: npt.ArrayLike = ()
    box_scores: Floats | None = None
    seen: tuple[int, int, int, int] | None = None
    title: str = ""


def panel_figure(lines: Sequence[Sequence[Panel]], title: str = "", side: float = 2.4) -> Any:
    """A matplotlib Figure of lines of panels.

    A map is drawn over its image in grey, the stronger the more opaque, each to its own scale: colours are full where 0.5 % of
    the places are stronger. Maps without a negative value go from yellow to red; if one of the figure has negative values, red
    is for positive and blue for negative ones, in all of them.

    Args:
        lines: Panels, line by line; lines may differ in length.
        title: Text above the figure.
        side: Width of a panel in inches.

    Raises:
        ValueError: There is no panel.

    Example:
        >>> panel_figure([[Panel(image), Panel(image, map=attribution, title="cat 0.93")]]).savefig("map.png")
    """
    if not lines or not any(lines):
        raise ValueError("there is nothing to draw; give at least one image.")
    from matplotlib.figure import Figure  # imported here: plotting is slow to import

    panels = [panel for line in lines for panel in line]
    scored = [values for panel in panels for values in (panel.map, panel.box_scores) if values is not None]
    signed = any(np.nanmin(values, initial=0.0) < 0 for values in scored)
    heights = [max(_height(panel.image) for panel in line) for line in lines]
    columns = max(map(len, lines))
    size = (side * columns, side * sum(heights) + 0.3 * len(lines) + (0.4 if title else 0.0))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(lines), columns, squeeze=False, height_ratios=heights)
    for line, drawn in zip(axes, lines, strict=True):
        for axis in line:
            axis.set_axis_off()
            axis.xaxis.set_visible(False)  # or else ticks that nobody sees are placed, for longer than all else takes
            axis.yaxis.set_visible(False)
        for axis, panel in zip(line, drawn, strict=False):
            _draw(axis, panel, signed)
    if title:
        figure.suptitle(title, fontsize=8, parse_math=False)
    return figure


def map_over(
    image: npt.ArrayLike, values: npt.ArrayLike, boxes: Any = None, *, overlap: str = "mean", signed: bool = False
) -> npt.NDArray[np.uint8]:
    """The pixels of an image in grey with a map over it, in the colours of `panel_figure`; nothing is written or framed.

    The map has its own scale: the colour is full at its largest value, or where 0.5 % of the pixels are stronger.

    Args:
        image: (height, width, 3), floating point in [0, 1] or uint8.
        values: One number for each box, (objects,), as the attribution or the importance of a word of a caption; without boxes
            a map of places, which is resized to the image.
        boxes: (objects, 4) xyxy in [0, 1], no padding; None for a map of places.
        overlap: What a pixel in several boxes gets: the "mean" of their values, or their "sum"; see `boxes_onto_image`.
        signed: False draws the positive part, from yellow to red; True positive values red and negative ones blue.

    Returns:
        (height, width, 3) uint8, of the image's size.

    Raises:
        ValueError: An image or a map of another shape, boxes that are not as many as the values or not in [0, 1], or an
            unknown ``overlap``.

    Example:
        >>> map_over(np.ones((2, 4, 3)), [1.0, 3.0], [[0, 0, 0.5, 1], [0.5, 0, 1, 1]]).shape
        (2, 4, 3)
    """
    pixels = _pixels(image)
    drawn = on_pixels(values, boxes, (pixels.shape[0], pixels.shape[1]), overlap)
    colours = _coloured(drawn if signed else np.maximum(drawn, 0), signed)
    strength = colours[..., 3:]
    blended = (1 - strength) * _grey(pixels)[..., None] + strength * colours[..., :3]
    return np.asarray((255 * blended).round(), np.uint8)


def _pixels(image: npt.ArrayLike) -> Floats:
    """An image as floating point in [0, 1]."""
    given = np.asarray(image)
    if given.ndim != 3 or given.shape[2] != 3 or not given.size:
        raise ValueError(
            f"the image has shape {given.shape}; give (height, width, 3), for example np.asarray(picture)."
        )
    whole = given / 255 if given.dtype == np.uint8 else np.asarray(given, float)
    pixels: Floats = np.clip(whole, 0, 1)
    return pixels


def on_pixels(values: npt.ArrayLike, boxes: Any, size: tuple[int, int], overlap: str = "mean") -> Floats:
    """Values of boxes, or a map of places, as a map of pixels.

    Args:
        values: As for `map_over`.
        boxes: As for `map_over`.
        size: (height, width) wanted.
        overlap: As for `map_over`.

    Returns:
        (height, width).

    Raises:
        ValueError: As `map_over`.
    """
    given = np.asarray(values, float)
    if boxes is not None:
        places = torch.as_tensor(np.asarray(boxes, float)).reshape(-1, 4)
        found = boxes_onto_image(torch.from_numpy(given)[None], places[None], size, overlap)
    elif given.ndim == 2 and given.size:
        found = onto_image(torch.from_numpy(given)[None], size)
    else:
        raise ValueError(f"the map has shape {given.shape}; give (height, width), or one number a box and the boxes.")
    drawn: Floats = found[0].numpy().astype(float)
    return drawn


def _height(image: Floats) -> float:
    return float(min(_TALLEST, max(_FLATTEST, image.shape[0] / image.shape[1])))


def save_figure(figure: Any, path: str | Path) -> None:
    """Write a figure; the file is whole or absent, and its suffix decides the format.

    Raises:
        ValueError: The suffix is no format of matplotlib's.
    """
    suffix = Path(path).suffix.lstrip(".").lower()
    known = figure.canvas.get_supported_filetypes()
    if suffix not in known:
        raise ValueError(f"{path}: {suffix or 'no suffix'!r} is no format of a picture; choose one of {sorted(known)}.")
    with whole_file(path) as draft:
        figure.savefig(draft, dpi=_DPI, format=suffix)


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
        ValueError: ``rows`` is empty, or the suffix is unknown.
    """
    lines = [
        [
            Panel(
                image=np.clip(row[image_key], 0, 1),
                map=None if name == image_key else np.maximum(np.asarray(row[name], float), 0),
                boxes=row.get("boxes", ()),
                title=row.get("titles", {}).get(name, name),
            )
            for name in (image_key, *columns)
        ]
        for row in rows
    ]
    save_figure(panel_figure(lines), path)


def _draw(axis: Any, panel: Panel, signed: bool) -> None:
    from matplotlib.patches import Rectangle

    scored = panel.map is not None or panel.box_scores is not None
    image = np.clip(np.asarray(panel.image, float), 0, 1)
    axis.imshow(np.repeat(_grey(image)[..., None], 3, axis=-1) if scored else image)
    if panel.map is not None:
        axis.imshow(_coloured(np.asarray(panel.map, float), signed), interpolation="nearest")
    if panel.seen is not None:
        top, bottom, left, right = panel.seen
        style: dict[str, Any] = {"fill": False, "color": "black", "linestyle": "--", "linewidth": 0.8}
        axis.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, **style))
    for frame in _frames(panel, signed):
        axis.add_patch(frame)
    axis.set_xlim(-0.5, image.shape[1] - 0.5)
    axis.set_ylim(image.shape[0] - 0.5, -0.5)
    axis.set_title(panel.title, fontsize=8, parse_math=False)


def _frames(panel: Panel, signed: bool) -> list[Any]:
    from matplotlib.patches import Rectangle

    boxes = np.asarray(panel.boxes, float).reshape(-1, 4)
    places = [((xmin - 0.5, ymin - 0.5), xmax - xmin, ymax - ymin) for xmin, ymin, xmax, ymax in boxes]
    if panel.box_scores is None:
        return [Rectangle(*place, fill=False, color="lime") for place in places]
    colours = _coloured(np.asarray(panel.box_scores, float), signed, share=100)
    frames = []
    for index in np.argsort(np.abs(panel.box_scores), kind="stable"):  # the strongest ones on top
        colour, strength = colours[index, :3], colours[index, 3] / _OPAQUE
        frames.append(Rectangle(*places[index], facecolor=(*colour, 0.2 * strength), edgecolor="none"))
        frames.append(
            Rectangle(
                *places[index], fill=False, edgecolor=(*colour, 0.25 + 0.75 * strength), linewidth=0.6 + 1.4 * strength
            )
        )
    return frames


def _grey(image: Floats) -> Floats:
    # Lighter than the image, so that dark places do not swallow the colours.
    grey: Floats = 0.25 + 0.75 * (image @ np.array([0.299, 0.587, 0.114]))
    return grey


def _coloured(values: Floats, signed: bool, share: float = _SHARE) -> Floats:
    """Values as (..., 4) colours in [0, 1], the weak ones transparent; NaN is not drawn."""
    import matplotlib

    values = np.nan_to_num(values, nan=0.0)
    scaled = np.clip(values / _scale(values, share), -1 if signed else 0, 1)
    # From yellow, or from white at zero, to the full colour.
    coloured = matplotlib.colormaps["bwr"](0.5 + 0.5 * scaled) if signed else matplotlib.colormaps["YlOrRd"](scaled)
    found: Floats = np.asarray(coloured, float)
    found[..., 3] = _OPAQUE * np.sqrt(np.abs(scaled))
    return found


def _scale(values: Floats, share: float) -> float:
    strength = np.abs(values)
    most = float(np.percentile(strength, share)) if strength.size else 0.0
    return most or float(strength.max(initial=0.0)) or 1.0
