"""JointTransform: a transform for ``Dataset.with_transform`` that carries boxes and masks along."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_guidance.common.checks import check_choice
from hf_guidance.data.columns import ANNOTATED, IMPORTANCE
from hf_guidance.data.images.importance import map_array
from hf_guidance.data.images.objects import BBOX_FORMATS, CATEGORY, MovedBox, object_boxes, object_list
from hf_guidance.data.images.photo import photo, row_name


@dataclass(frozen=True)
class JointTransform:
    """Apply a pipeline of torchvision.transforms.v2 to image, boxes, mask and importance of a row alike.

    For ``dataset.with_transform(JointTransform(pipeline))``: rows then hold ``pixel_values`` in the place of ``image``, and
    ``objects``, ``mask`` and ``importance`` refer to those pixels. Columns are read and checked as `GuidanceCollator` does it,
    so a bad row is refused here as there. Boxes come out as xyxy, cut off at the border of the pixels, and are left out where
    the transform leaves nothing of them; after a rotation a box is the upright box around it. Importance comes out as floats
    in [0, 1], a mask with the numbers that it has; both are resized by nearest neighbour, as torchvision does. The annotations
    of a row whose ``annotated`` is False, which no collator reads, become None; objects may lack a category beside a mask.

    Args:
        transform: Called with an image and tv_tensors; its image must be (channels, height, width) floating point, as
            ``v2.ToImage()`` and ``v2.ToDtype(torch.float32, scale=True)`` make it.
        bbox_format: What the numbers of boxes in the rows are: "xyxy", or "xywh" as in COCO. The moved boxes are xyxy, so
            a `GuidanceCollator` behind keeps its bbox_format "xyxy"; it refuses them under "xywh".

    Raises:
        ValueError: On construction, ``bbox_format`` is unknown. On call, an image, a box, a mask or importance is one that
            `GuidanceCollator` refuses; the transform does not take boxes and masks along (as those of torchvision.transforms
            without v2 do not), or does not make floating-point pixels.

    Example:
        >>> crop = v2.Compose([v2.RandomResizedCrop(224), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
        >>> train = train.with_transform(JointTransform(crop))
    """

    transform: Callable[..., Any]
    bbox_format: str = "xyxy"

    def __post_init__(self) -> None:
        check_choice("bbox_format", self.bbox_format, BBOX_FORMATS)

    def __call__(self, rows: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """Transform a batch of rows, column name to values, as ``with_transform`` gives it."""
        count = len(next(iter(rows.values())))
        if "image" not in rows:  # single columns may be read, such as the labels
            return {name: list(values) for name, values in rows.items()}
        made = [self._row({name: values[index] for name, values in rows.items()}, index) for index in range(count)]
        return {name: [row[name] for row in made] for name in (made[0] if made else ())}

    def _row(self, row: dict[str, Any], index: int) -> dict[str, Any]:
        from torchvision import tv_tensors  # imported here: torchvision is slow to import and rarely needed

        name = row_name(row, index)
        image = photo(row, name)
        size = (image.height, image.width)
        if row.get(ANNOTATED) is not None and not row[ANNOTATED]:
            row |= {column: None for column in ("objects", "mask", IMPORTANCE) if column in row}
        maps = [column for column in ("mask", IMPORTANCE) if row.get(column) is not None]
        given = row.get("objects")
        objects = [] if given is None else object_list(given, self.bbox_format, name, classes=not maps)
        checked = [_classed(entry) for entry in objects] if maps else objects
        corners = [box for _, box in object_boxes(checked, size, None, self.bbox_format, name)]
        boxes = torch.tensor(corners, dtype=torch.float32).reshape(-1, 4)
        moving = [tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size)]
        moving += [tv_tensors.Mask(_map(row[column], size, column, name)) for column in maps]
        pixels, boxes, *moved = self._apply(image, *moving)
        del row["image"]
        row["pixel_values"] = pixels
        if given is not None:
            row["objects"] = self._within(boxes, objects, pixels.shape[-2:])
        return row | {column: value[0].numpy() for column, value in zip(maps, moved, strict=True)}

    def _apply(self, image: Any, *moving: Any) -> Sequence[Any]:
        try:
            found = self.transform(image, *moving)
        except TypeError as error:
            raise ValueError(
                f"the transform cannot be called with an image, boxes and masks ({error}); build it of "
                "torchvision.transforms.v2, whose transforms move them together."
            ) from error
        pixels = found[0]
        if not (isinstance(pixels, Tensor) and pixels.dim() == 3 and pixels.is_floating_point()):
            raise ValueError(
                f"the transform made a {type(pixels).__name__} of an image, not (channels, height, width) floating point; end "
                "it with v2.ToImage(), v2.ToDtype(torch.float32, scale=True)."
            )
        sizes = {tuple(found[1].canvas_size), *(tuple(each.shape[-2:]) for each in found[2:])}
        if sizes != {tuple(pixels.shape[-2:])}:
            raise ValueError(
                f"the transform made pixels of {tuple(pixels.shape[-2:])}, boxes and masks of {sorted(sizes)}: some part of it "
                "moves the image alone; use those of torchvision.transforms.v2 only."
            )
        return list(found)

    def _within(self, boxes: Tensor, objects: Sequence[Mapping[str, Any]], size: Sequence[int]) -> list[dict[str, Any]]:
        height, width = size
        corners = boxes.as_subclass(Tensor).clamp(min=0)
        corners = corners.minimum(torch.tensor([width, height, width, height], dtype=corners.dtype))
        held = (corners[:, 2:] > corners[:, :2]).all(1).tolist()
        pairs = zip(objects, corners.tolist(), held, strict=True)
        return [{**entry, "bbox": MovedBox(box)} for entry, box, inside in pairs if inside]


def _classed(entry: Any) -> Any:
    """An object whose category the check of its box may read: any class where it has none."""
    return {"category": 0, **entry} if isinstance(entry, Mapping) and not {*CATEGORY} & {*entry} else entry


def _map(value: Any, size: tuple[int, int], column: str, name: str) -> Tensor:
    values = map_array(value, size, column, name)
    return torch.as_tensor(values.astype(np.float32) if column == IMPORTANCE else np.array(values))[None]
