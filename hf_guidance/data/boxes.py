"""Pure tensor operations on boxes: rasterise, resize and dilate them, and compute their importance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_WHOLE = 1e-5  # a box that leaves out less than this share of the image counts as the whole image


def boxes_to_mask(boxes: Tensor | Sequence[Sequence[float]], height: int, width: int) -> Tensor:
    """Rasterise the union of boxes.

    ``mask[y, x] = 1`` where some box has ``ymin <= y < ymax`` and ``xmin <= x < xmax`` (upper edges exclusive),
    coordinates truncated to whole pixels first; the union over boxes is M_k of arXiv 2303.11932, section 3.

    Args:
        boxes: (n, 4) xyxy in pixels, any dtype; n may be 0. Parts outside the image are cut.
        height: Height of the mask in pixels.
        width: Width of the mask in pixels.

    Returns:
        (height, width) float32 of zeros and ones, on the device of ``boxes``.

    Raises:
        ValueError: ``boxes`` is not (n, 4), holds NaN or infinity, or the size is not positive.
    """
    boxes = _checked_boxes(boxes, height, width)
    xmin, ymin, xmax, ymax = boxes.long().unbind(-1)
    rows = torch.arange(height, device=boxes.device)
    columns = torch.arange(width, device=boxes.device)
    inside_rows = (rows >= ymin[:, None]) & (rows < ymax[:, None])
    inside_columns = (columns >= xmin[:, None]) & (columns < xmax[:, None])
    # The product counts the boxes over each pixel without holding one mask per box.
    return ((inside_rows.float().T @ inside_columns.float()) > 0).float()


def resize_boxes(boxes: Tensor | Sequence[Sequence[float]], size: tuple[int, int], to: tuple[int, int]) -> Tensor:
    """Resize pixel boxes from one image size to another as the official data preparation does.

    ``int(min(max(v * to / size, 0), to - 1))`` for every coordinate (arXiv 2303.11932, released code).

    Args:
        boxes: (n, 4) xyxy in pixels of an image of ``size``.
        size: (height, width) of the image that the boxes refer to.
        to: (height, width) of the new image.

    Returns:
        (n, 4) int64.

    Note:
        The last line and column of pixels are never inside such a box: the code clips to ``to - 1``, and masks exclude upper
        edges.
    """
    boxes = _checked_boxes(boxes, *to)
    limit = torch.tensor([to[1] - 1, to[0] - 1] * 2, dtype=torch.float64, device=boxes.device)
    # v * to / size, in this order: v * (to / size) truncates differently where the product is a whole number.
    to_size = torch.tensor([to[1], to[0]] * 2, dtype=torch.float64, device=boxes.device)
    from_size = torch.tensor([size[1], size[0]] * 2, dtype=torch.float64, device=boxes.device)
    return torch.minimum((boxes.double() * to_size / from_size).clamp_min(0), limit).long()


def dilate_boxes(boxes: Tensor | Sequence[Sequence[float]], fraction: float, height: int, width: int) -> Tensor:
    """Grow each box by ``int(fraction * size)`` on every side, clipped to ``[0, size - 1]``.

    The annotation-quality study of arXiv 2303.11932 (section 5.4) as the released code does it: the total growth is
    twice the fraction.

    Args:
        boxes: (n, 4) xyxy in pixels; n may be 0.
        fraction: Margin as a share of the box's width and height, >= 0.
        height: Height of the image in pixels.
        width: Width of the image in pixels.

    Returns:
        (n, 4) int64.

    Raises:
        ValueError: ``fraction`` is negative, or ``boxes`` is not (n, 4).
    """
    if fraction < 0:
        raise ValueError(f"fraction={fraction} is negative; give the margin as a share of the box, for example 0.25.")
    boxes = _checked_boxes(boxes, height, width).long()
    margin = (fraction * (boxes[:, 2:] - boxes[:, :2]).double()).long()
    limit = torch.tensor([width - 1, height - 1] * 2, device=boxes.device)
    grown = torch.cat([boxes[:, :2] - margin, boxes[:, 2:] + margin], dim=1)
    return torch.minimum(grown.clamp_min(0), limit)


def box_importance_from_map(
    importance_map: Tensor | Sequence[Sequence[float]], boxes: Tensor | Sequence[Sequence[float]], soft: bool = False
) -> Tensor:
    """Importance of boxes from an attention map or a mask, eq. 1 of HINT (arXiv 1902.03751).

    ``s = E_in / (E_in + E_out)``, where E_in is the sum of the map inside the box over the box's area, and E_out the sum
    outside over the remaining area. As in the released code a box covers the lines of pixels from ``int(y1 * height)`` up
    to ``int(y2 * height)``, exclusive, and its area is ``(x2 - x1) * (y2 - y1)`` of the image. The products with the size
    are computed in the dtype of the boxes, at least float32.

    Where eq. 1 is 0 / 0, which happens for an empty map and for a box without area, the importance is 0. A box that covers
    every pixel, or leaves out less than 1e-5 of the image, has no outside to compare with. It gets 0.5, the value of every
    box on a flat map, or 0 if the map is empty.

    Args:
        importance_map: (height, width), finite and not negative; its scale does not matter.
        boxes: (n, 4) xyxy in [0, 1], relative to the image; n may be 0. A list becomes float64.
        soft: First replace pixels of value 0 by 0.1, as an unused option of the released code does.

    Returns:
        (n,) float64 in [0, 1].

    Raises:
        ValueError: The map is not (height, width), negative or not finite; a box is not finite, reversed or outside [0, 1].

    Example:
        >>> box_importance_from_map([[1.0, 0.0]], [[0.0, 0.0, 0.5, 1.0], [0.0, 0.0, 1.0, 1.0]]).tolist()
        [1.0, 0.5]
    """
    energy = _double(importance_map)
    if energy.dim() != 2 or energy.numel() == 0:
        raise ValueError(f"the map has shape {tuple(energy.shape)}; give one channel, (height, width).")
    if not torch.isfinite(energy).all() or (energy < 0).any():
        raise ValueError("the map holds NaN, infinity or negative values; replace them, for example by 0.")
    given = relative_boxes(boxes, "boxes").to(energy.device)
    if soft:
        energy = torch.where(energy == 0, 0.1, energy)
    height, width = energy.shape
    # above[i, j] is the sum over the pixels above line i and left of column j, so that a box takes four look-ups.
    above = F.pad(energy.cumsum(0).cumsum(1), (1, 0, 1, 0))
    # Multiplied in the dtype of the boxes: 0.7 is a bit low in float32, and times 30 it is 21 in float32 but 20.9999996
    # in float64.
    left, top, right, bottom = (given * given.new_tensor([width, height, width, height])).long().unbind(1)
    exact = given.double()
    inside = above[bottom, right] - above[top, right] - above[bottom, left] + above[top, left]
    area = (exact[:, 2] - exact[:, 0]) * (exact[:, 3] - exact[:, 1])
    pixels = height * width
    # A box that leaves out so little is the whole image up to rounding. Truncation may still put a line of pixels outside,
    # whose sum would be divided by almost no area.
    everything = ((right - left) * (bottom - top) == pixels) | (1 - area < _WHOLE)
    inside = torch.where(everything, above[-1, -1], inside.clamp_min(0))
    outside = (above[-1, -1] - inside).clamp_min(0)
    mean_inside = inside / area.where(area > 0, 1)
    mean_outside = outside / (1 - area).where(area < 1, 1)
    mean_outside = torch.where(everything, mean_inside, mean_outside)
    both = mean_inside + mean_outside
    return torch.where(both > 0, mean_inside / both.where(both > 0, 1), 0)


def box_importance_from_iou(
    boxes: Tensor | Sequence[Sequence[float]], reference_boxes: Tensor | Sequence[Sequence[float]]
) -> Tensor:
    """Importance of boxes: their best overlap with the boxes of the objects that matter (VisFIS on GQA).

    ``s_k = max_j |b_k and r_j| / |b_k or r_j|`` (arXiv 2206.11212, appendix B). All zero without reference boxes.

    Args:
        boxes: (n, 4) xyxy in [0, 1].
        reference_boxes: (m, 4) xyxy in [0, 1]; m may be 0.

    Returns:
        (n,) float64 in [0, 1].

    Raises:
        ValueError: A box is not finite, reversed or outside [0, 1].

    Example:
        >>> box_importance_from_iou([[0.0, 0.0, 1.0, 1.0]], [[0.0, 0.0, 0.5, 1.0]]).tolist()
        [0.5]
    """
    boxes = relative_boxes(boxes, "boxes").double()
    references = relative_boxes(reference_boxes, "reference_boxes").double().to(boxes.device)
    if not len(references):
        return boxes.new_zeros(len(boxes))
    corner = torch.maximum(boxes[:, None, :2], references[None, :, :2])
    opposite = torch.minimum(boxes[:, None, 2:], references[None, :, 2:])
    shared = (opposite - corner).clamp_min(0).prod(-1)
    areas = [(each[:, 2:] - each[:, :2]).prod(-1) for each in (boxes, references)]
    union = areas[0][:, None] + areas[1][None] - shared
    return torch.where(union > 0, shared / union.where(union > 0, 1), 0).amax(1)


def _double(values: Any) -> Tensor:
    if isinstance(values, Tensor):
        return values.double()
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"the map is no array of numbers ({error}); give one channel, (height, width).") from None
    if array.dtype.kind not in "biuf":
        raise ValueError(f"the map holds {array.dtype}, not numbers; give one channel, (height, width).")
    return torch.from_numpy(array.astype(np.float64))


def relative_boxes(boxes: Tensor | Sequence[Sequence[float]], name: str) -> Tensor:
    """Boxes as a tensor, or an error that names the first that is none.

    Args:
        boxes: (n, 4) xyxy relative to the image.
        name: What the boxes are called in the error.

    Returns:
        (n, 4) floating point, at least float32; a list becomes float64.

    Raises:
        ValueError: The boxes are not (n, 4), or one is not finite, reversed or outside [0, 1].
    """
    # An array or tensor keeps its dtype; half precision, which cannot hold every size of an image, becomes float32.
    listed = not isinstance(boxes, Tensor) and not hasattr(boxes, "__array__")
    boxes = _four_columns(boxes, torch.float64 if listed else None, name, "xmin, ymin, xmax, ymax in [0, 1]")
    boxes = boxes.to(torch.promote_types(boxes.dtype, torch.float32))
    # Written so that NaN is refused too.
    right = (boxes >= 0).all(1) & (boxes <= 1).all(1) & (boxes[:, :2] <= boxes[:, 2:]).all(1)
    if not right.all():
        index = int((~right).int().argmax())
        raise ValueError(
            f"{name}[{index}] is {[round(float(v), 4) for v in boxes[index]]}; allowed are 0 <= xmin <= xmax <= 1 and 0 <= "
            "ymin <= ymax <= 1. Divide pixel boxes by the image's width and height."
        )
    return boxes


def _checked_boxes(boxes: Tensor | Sequence[Sequence[float]], height: int, width: int) -> Tensor:
    boxes = _four_columns(boxes, None, "boxes", "xmin, ymin, xmax, ymax in pixels")
    if height < 1 or width < 1:
        raise ValueError(f"the size {height}x{width} is not positive; give the image's height and width in pixels.")
    if boxes.is_floating_point() and not torch.isfinite(boxes).all():
        raise ValueError("boxes hold NaN or infinity; correct or drop those rows.")
    return boxes


def _four_columns(boxes: Any, dtype: torch.dtype | None, name: str, meaning: str) -> Tensor:
    expected = f"expected (n, 4) as {meaning}"
    try:
        if hasattr(boxes, "__array__") and not isinstance(boxes, Tensor):
            array = np.asarray(boxes)
            # Torch has no longdouble, and no other order of bytes.
            boxes = array.astype(np.float64 if array.dtype == np.longdouble else array.dtype.newbyteorder("="))
        # A copy, so that arrays that cannot be written to are taken without a warning.
        tensor = boxes if isinstance(boxes, Tensor) else torch.tensor(boxes, dtype=dtype)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{name} are no array of numbers ({error}); {expected}, every box with four numbers."
        ) from None
    if tensor.dtype == torch.bool or tensor.is_complex():
        raise ValueError(f"{name} hold {tensor.dtype}, not real numbers; {expected}.")
    if tensor.shape == (0,):  # an empty list
        tensor = tensor.reshape(0, 4)
    if tensor.dim() != 2 or tensor.shape[1] != 4:
        raise ValueError(f"{name} have shape {tuple(tensor.shape)}; {expected}.")
    return tensor
