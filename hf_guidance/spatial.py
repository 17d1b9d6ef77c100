"""Pure tensor operations on maps, tokens and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


def boxes_to_mask(boxes: Tensor | Sequence[Sequence[float]], height: int, width: int) -> Tensor:
    """Rasterise the union of boxes.

    ``mask[y, x] = 1`` where some box has ``ymin <= y < ymax`` and ``xmin <= x < xmax`` (upper edges exclusive),
    coordinates truncated to whole pixels first; the union over boxes is M_k of arXiv 2303.11932, section 3.

    Args:
        boxes: (n, 4) xyxy in pixels, any dtype; n may be 0. Parts outside the image are cut.
        height: Rows of the mask.
        width: Columns of the mask.

    Returns:
        (height, width) float32 of zeros and ones, on the device of ``boxes``.

    Raises:
        ValueError: ``boxes`` is not (n, 4), holds NaN or infinity, or the size is not positive.
    """
    boxes = torch.as_tensor(boxes)
    if boxes.numel() == 0:
        boxes = boxes.reshape(0, 4)
    _check_boxes(boxes, height, width)
    xmin, ymin, xmax, ymax = boxes.long().unbind(-1)
    rows = torch.arange(height, device=boxes.device)
    columns = torch.arange(width, device=boxes.device)
    inside_rows = (rows >= ymin[:, None]) & (rows < ymax[:, None])
    inside_columns = (columns >= xmin[:, None]) & (columns < xmax[:, None])
    # The product counts the boxes over a pixel, and never holds one mask a box.
    return ((inside_rows.float().T @ inside_columns.float()) > 0).float()


def resize_boxes(boxes: Tensor | Sequence[Sequence[float]], size: tuple[int, int], to: tuple[int, int]) -> Tensor:
    """Carry pixel boxes from one image size to another as the official data preparation does.

    ``int(min(max(v * to / size, 0), to - 1))`` for every coordinate (arXiv 2303.11932, released code).

    Args:
        boxes: (n, 4) xyxy in pixels of an image of ``size``.
        size: (height, width) the boxes refer to.
        to: (height, width) wanted.

    Returns:
        (n, 4) int64.

    Note:
        The last row and column are never inside such a box: the code clips to ``to - 1`` and masks exclude upper edges.
    """
    boxes = torch.as_tensor(boxes)
    if boxes.numel() == 0:
        boxes = boxes.reshape(0, 4)
    _check_boxes(boxes, *to)
    limit = torch.tensor([to[1] - 1, to[0] - 1] * 2, dtype=torch.float64, device=boxes.device)
    # v * to / size, in this order: v * (to / size) truncates differently where the product is a whole number.
    to_size = torch.tensor([to[1], to[0]] * 2, dtype=torch.float64, device=boxes.device)
    from_size = torch.tensor([size[1], size[0]] * 2, dtype=torch.float64, device=boxes.device)
    return torch.minimum((boxes.double() * to_size / from_size).clamp_min(0), limit).long()


def dilate_boxes(boxes: Tensor, fraction: float, height: int, width: int) -> Tensor:
    """Grow each box by ``int(fraction * size)`` on every side, clipped to ``[0, size - 1]``.

    The annotation-quality study of arXiv 2303.11932 (section 5.4) as the released code does it: the total growth is
    twice the fraction.

    Args:
        boxes: (n, 4) xyxy in pixels.
        fraction: Margin as a share of the box's width and height, >= 0.
        height: Rows of the image.
        width: Columns of the image.

    Returns:
        (n, 4) int64.

    Raises:
        ValueError: ``fraction`` is negative, or ``boxes`` is not (n, 4).
    """
    if fraction < 0:
        raise ValueError(f"fraction={fraction} is negative; give the margin as a share of the box, for example 0.25.")
    _check_boxes(boxes, height, width)
    boxes = boxes.long()
    margin = (fraction * (boxes[:, 2:] - boxes[:, :2]).double()).long()
    limit = torch.tensor([width - 1, height - 1] * 2, device=boxes.device)
    grown = torch.cat([boxes[:, :2] - margin, boxes[:, 2:] + margin], dim=1)
    return torch.minimum(grown.clamp_min(0), limit)


def resize_maps(maps: Tensor, size: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """Resize maps, bilinear without antialias (as published code upsamples attributions) or by area (importance).

    Args:
        maps: (rows, height, width) or (rows, channels, height, width), floating point.
        size: (height, width) wanted.
        mode: ``"bilinear"`` (half-pixel centres) or ``"area"`` (average over the covered cells).

    Returns:
        Maps of the wanted size, other axes kept. The input itself where nothing changes.
    """
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    flat = maps if maps.dim() == 4 else maps[:, None]
    align = {"align_corners": False} if mode == "bilinear" else {}
    resized = F.interpolate(flat, size=tuple(size), mode=mode, **align)
    return resized if maps.dim() == 4 else resized[:, 0]


def tokens_to_grid(tokens: Tensor, prefix: int, image_size: tuple[int, int]) -> Tensor:
    """Lay out patch tokens as a grid of the image's aspect ratio.

    Args:
        tokens: (rows, prefix + height * width, channels).
        prefix: Leading tokens without a place in the image (class, distillation, register).
        image_size: (height, width) of the image in pixels, which gives the aspect ratio.

    Returns:
        (rows, channels, height, width).

    Raises:
        ValueError: The tokens do not fill a grid of that aspect ratio.
    """
    count = tokens.shape[1] - prefix
    height = _grid_height(count, image_size)
    if height is None:
        raise ValueError(
            f"{tokens.shape[1]} tokens with {prefix} prefix tokens do not fill a grid for an image of "
            f"{image_size[0]}x{image_size[1]}; choose a layer whose output keeps one token per patch."
        )
    patches = tokens[:, prefix:].transpose(1, 2)
    return patches.reshape(*patches.shape[:2], height, count // height)


@lru_cache
def _grid_height(count: int, image_size: tuple[int, int]) -> int | None:
    # Patches of one square stride cover the image: padded to whole ones (ceil) or cut to them (floor).
    height, width = image_size
    guess = (height * width / max(count, 1)) ** 0.5
    for stride in sorted(range(1, max(image_size) + 1), key=lambda s: abs(s - guess)):
        for rows, columns in ((-(-height // stride), -(-width // stride)), (height // stride, width // stride)):
            if rows * columns == count and count > 0:
                return rows
    return None


def _check_boxes(boxes: Tensor, height: int, width: int) -> None:
    if boxes.dim() != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes have shape {tuple(boxes.shape)}; expected (n, 4) as xmin, ymin, xmax, ymax in pixels.")
    if height < 1 or width < 1:
        raise ValueError(f"the size {height}x{width} is not positive; give the image's height and width in pixels.")
    if boxes.is_floating_point() and not torch.isfinite(boxes).all():
        raise ValueError("boxes hold NaN or infinity; correct or drop those rows.")
