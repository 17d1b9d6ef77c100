"""Maps of any meaning: resizing, and bringing to full precision."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_guidance.common.checks import check_choice
from hf_guidance.data.boxes import relative_boxes

OVERLAPS = ("mean", "sum")
"""What a pixel in several boxes gets of theirs."""
_FINE = 224  # pixels of a side on which boxes are drawn, at least: a box may be smaller than a pixel of the map that is wanted


def resize_maps(maps: Tensor, size: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """Resize maps, bilinear without antialias (as published code upsamples attributions) or by area (importance).

    Args:
        maps: (rows, height, width) or (rows, channels, height, width), floating point.
        size: (height, width) wanted.
        mode: ``"bilinear"`` (half-pixel centres) or ``"area"`` (average over the covered cells).

    Returns:
        Maps of the wanted size, other axes kept; the input itself if it has that size.
    """
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    flat = maps if maps.dim() == 4 else maps[:, None]
    align = {"align_corners": False} if mode == "bilinear" else {}
    resized = F.interpolate(flat, size=tuple(size), mode=mode, **align)
    return resized if maps.dim() == 4 else resized[:, 0]


def onto_image(maps: Tensor, size: tuple[int, int], seen: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """Resize maps of places to the size of an image: bilinear, with 0 where no place sees the image.

    Args:
        maps: (rows, height, width) or (rows, channels, height, width), floating point.
        size: (height, width) of the image.
        seen: (height, width) of the part that the places cover, as shares of the image's, from its upper left corner. More
            than 1 where they reach beyond the image; what lies outside is cut off.
    """
    if seen == (1.0, 1.0):
        return resize_maps(maps, size)
    height, width = (max(1, round(share * side)) for share, side in zip(seen, size, strict=True))
    resized = resize_maps(maps, (height, width))[..., : size[0], : size[1]]
    return F.pad(resized, (0, size[1] - resized.shape[-1], 0, size[0] - resized.shape[-2]))


def boxes_onto_image(
    values: Tensor, boxes: Tensor, size: tuple[int, int], overlap: str = "mean", real: Tensor | None = None
) -> Tensor:
    """Give every pixel the values of the boxes that cover it, and 0 where no box does.

    A box covers the pixels whose centres lie in it. They are those of an image of at least 224 pixels a side, a multiple of
    ``size``, over which the map is averaged by area: each pixel of the result holds the share of it that boxes cover.

    Args:
        values: (rows, objects) floating point, one number for each box, of any sign.
        boxes: (rows, objects, 4) xyxy in [0, 1].
        size: (height, width) of the map wanted.
        overlap: What a pixel in several boxes gets: the "mean" of their values, which does not grow with the number of boxes
            that a detector puts on an object, or their "sum", which is what the pixel adds to the score where values do.
        real: (rows, objects) bool, False at padding; None where all boxes are real.

    Returns:
        (rows, *size) float32, so that what is equal but for rounding is equal: the map is made to be ranked.

    Raises:
        ValueError: The shapes differ, an unknown ``overlap``, or a box is not finite, reversed or outside [0, 1].

    Example:
        >>> boxes = torch.tensor([[[0.0, 0.0, 0.5, 1.0], [0.25, 0.0, 0.5, 1.0]]])
        >>> boxes_onto_image(torch.tensor([[1.0, 3.0]]), boxes, (1, 4)).tolist()
        [[[1.0, 2.0, 0.0, 0.0]]]
    """
    check_choice("overlap", overlap, OVERLAPS)
    if values.dim() != 2 or tuple(boxes.shape) != (*values.shape, 4):
        raise ValueError(
            f"attributions of shape {tuple(values.shape)} and boxes of shape {tuple(boxes.shape)}; give one number and one box "
            "for each of (rows, objects). Take the attribution at a layer with boxes, as 'input'."
        )
    kept = torch.ones_like(values, dtype=torch.bool) if real is None else real
    filled = boxes.masked_fill(~kept[..., None], 0).flatten(0, 1)
    given = relative_boxes(filled, "boxes").double().unflatten(0, kept.shape)
    fine = [side * -(-_FINE // side) for side in size]
    down, across = (_covered(given, axis, count) for axis, count in ((1, fine[0]), (0, fine[1])))
    maps = torch.einsum("rk,rky,rkx->ryx", values.double(), down, across)
    if overlap == "mean":
        maps = maps / torch.einsum("rky,rkx->ryx", down, across).clamp_min(1)
    return resize_maps(maps, size, "area").float()


def _covered(boxes: Tensor, axis: int, count: int) -> Tensor:
    # (rows, objects, count) of 0 and 1: which of so many pixels have their centre in a box; axis 0 is x, 1 is y.
    centres = (torch.arange(count, dtype=boxes.dtype, device=boxes.device) + 0.5) / count
    return ((boxes[..., axis, None] <= centres) & (centres < boxes[..., axis + 2, None])).to(boxes.dtype)


def onto_places(values: Tensor, grid: tuple[int, int], seen: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """Average the values of an image over the area of each place; outside of the image they count as 0.

    Args:
        values: (rows, height, width), floating point.
        grid: (height, width) of the places.
        seen: As for ``onto_image``.
    """
    if seen != (1.0, 1.0):
        height, width = (max(1, round(share * side)) for share, side in zip(seen, values.shape[1:], strict=True))
        values = values[:, :height, :width]
        values = F.pad(values, (0, width - values.shape[2], 0, height - values.shape[1]))
    return resize_maps(values, grid, "area")


def full_precision(tensor: Tensor) -> Tensor:
    """Cast half precision to float32, because guidance is computed in full precision."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
