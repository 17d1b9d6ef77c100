"""Boxes drawn by hand beside an answer, by the component of the package gradio-image-annotation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from PIL import Image

from hf_guidance.apps.annotation.items.item import Item

__all__ = ["box_tool", "drawn_boxes", "tool_value"]

SIDE = 560  # pixels of the longer side of the image that is drawn on
_MOST = 100
_SIDES = ("xmin", "ymin", "xmax", "ymax")


def box_tool() -> Any:
    """The component. Its keys are off, since those of the answers would meet them."""
    from gradio_image_annotation import image_annotator

    return image_annotator(
        label="Draw boxes where a yes or no is not enough", sources=None, disable_edit_boxes=True, elem_id="boxes",
        show_download_button=False, show_share_button=False, show_clear_button=False, show_remove_button=True,
        enable_keyboard_shortcuts=False, image_type="filepath", boxes_alpha=0.2,
    )  # fmt: skip


def tool_value(item: Item, boxes: Sequence[Sequence[float]]) -> dict[str, Any]:
    """What the component shows for an item: its image, and the boxes that were drawn on it before.

    Args:
        item: The item.
        boxes: [left, top, right, bottom] in pixels of its image.
    """
    scale = SIDE / max(item.image.size)
    size = (max(1, round(item.image.width * scale)), max(1, round(item.image.height * scale)))
    drawn = [{name: side * scale for name, side in zip(_SIDES, box, strict=True)} for box in boxes]
    return {"image": item.image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0), "boxes": drawn}


def drawn_boxes(drawn: Any, item: Item) -> list[list[float]]:
    """What was drawn, in pixels of the item's own image.

    Args:
        drawn: {"boxes": [{"xmin", "ymin", "xmax", "ymax", "scaleFactor"}, ...], "orientation"} as the browser sends it.
        item: What it was drawn on.

    Returns:
        [left, top, right, bottom] of every box, inside the image; what lies outside is cut off.

    Raises:
        ValueError: It is of another form, too many boxes, or the image was turned.
    """
    form = drawn if isinstance(drawn, dict) else {}
    boxes = form.get("boxes") or []
    if form.get("orientation"):
        raise ValueError("The image was turned, so that the boxes do not lie where they were drawn; turn it back.")
    if not isinstance(boxes, list) or len(boxes) > _MOST:
        raise ValueError(f"boxes: give a list of at most {_MOST}.")
    scale = SIDE / max(item.image.size)
    limits = (*item.image.size, *item.image.size)
    found = []
    for box in boxes:
        try:
            shown = float(box.get("scaleFactor") or 1)  # of the browser's canvas to the image that it was sent
            sides = [float(box[side]) / shown / scale for side in _SIDES]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"boxes: {box!r} is none; each has the numbers {', '.join(_SIDES)}.") from error
        if not all(map(math.isfinite, sides)):
            raise ValueError(f"boxes: {box!r} has numbers that are not finite.")
        left, top, right, bottom = (min(max(side, 0.0), float(most)) for side, most in zip(sides, limits, strict=True))
        if left < right and top < bottom:
            found.append([left, top, right, bottom])
    return found
