"""JointTransform: a transform for ``Dataset.with_transform`` that carries boxes and masks along."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_guidance.data.columns import IMPORTANCE


@dataclass(frozen=True)
class JointTransform:
    """Apply a pipeline of torchvision.transforms.v2 to image, boxes, mask and importance of a row alike.

    For ``dataset.with_transform(JointTransform(pipeline))``: rows then hold ``pixel_values`` in the place of ``image``, and
    ``objects``, ``mask`` and ``importance`` refer to those pixels. Boxes are cut off at the border of the pixels, and left out
    where nothing of them remains; after a rotation a box is the upright box around it. Masks and importance are resized by
    nearest neighbour, as torchvision does.

    Args:
        transform: Called with an image and tv_tensors; its image must be (channels, height, width) floating point, as
            ``v2.ToImage()`` and ``v2.ToDtype(torch.float32, scale=True)`` make it.

    Raises:
        ValueError: On call, the transform does not take boxes and masks along (as those of torchvision.transforms without v2
            do not), or does not make floating-point pixels.

    Example:
        >>> crop = v2.Compose([v2.RandomResizedCrop(224), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
        >>> train = train.with_transform(JointTransform(crop))
    """

    transform: Callable[..., Any]

    def __call__(self, rows: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """Transform a batch of rows, column name to values, as ``with_transform`` gives it."""
        count = len(next(iter(rows.values())))
        if "image" not in rows:  # single columns may be read, such as the labels
            return {name: list(values) for name, values in rows.items()}
        made = [self._row({name: values[index] for name, values in rows.items()}) for index in range(count)]
        return {name: [row[name] for row in made] for name in (made[0] if made else ())}

    def _row(self, row: dict[str, Any]) -> dict[str, Any]:
        from torchvision import tv_tensors  # imported here: torchvision is slow to import and rarely needed

        image = row.pop("image").convert("RGB")
        size = (image.height, image.width)
        objects = _listed(row.get("objects"))
        boxes = torch.tensor([entry["bbox"] for entry in objects], dtype=torch.float32).reshape(-1, 4)
        moving = [tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size)]
        maps = [name for name in ("mask", IMPORTANCE) if row.get(name) is not None]
        moving += [tv_tensors.Mask(torch.as_tensor(np.array(row[name]))[None]) for name in maps]
        pixels, boxes, *moved = self._apply(image, *moving)
        row["pixel_values"] = pixels
        if row.get("objects") is not None:
            row["objects"] = _within(boxes, objects, pixels.shape[-2:])
        return row | {name: value[0].numpy() for name, value in zip(maps, moved, strict=True)}

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


def _listed(objects: Any) -> list[dict[str, Any]]:
    if isinstance(objects, Mapping):  # a dict of lists, as older versions of `datasets` give
        return [dict(zip(objects, values, strict=True)) for values in zip(*objects.values(), strict=True)]
    return list(objects or [])


def _within(boxes: Tensor, objects: Sequence[Mapping[str, Any]], size: Sequence[int]) -> list[dict[str, Any]]:
    height, width = size
    corners = boxes.as_subclass(Tensor).clamp(min=0)
    corners = corners.minimum(torch.tensor([width, height, width, height], dtype=corners.dtype))
    held = (corners[:, 2:] > corners[:, :2]).all(1).tolist()
    pairs = zip(objects, corners.tolist(), held, strict=True)
    return [{**entry, "bbox": box} for entry, box, inside in pairs if inside]
