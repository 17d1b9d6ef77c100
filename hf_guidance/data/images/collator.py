"""GuidanceCollator: turns rows of annotated images into the tensors of a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from hf_guidance.common.checks import check_choice
from hf_guidance.data.collator import RowCollator
from hf_guidance.data.columns import ANNOTATED, IMAGE_COLUMNS, IMAGE_SOURCES, IMPORTANCE, QUADRANT, ROW, SLOT, TARGET
from hf_guidance.data.images.importance import ImportanceReader
from hf_guidance.data.images.labels import PROBLEM_TYPES, no_labels, row_labels
from hf_guidance.data.images.photo import row_name
from hf_guidance.data.images.processed_pixels import ProcessedPixels, all_tensors, row_pixels
from hf_guidance.data.images.quadrants import row_quadrants


@dataclass
class GuidanceCollator(RowCollator):
    """Collate rows ``{image, labels, objects, mask, ...}`` into the batch that a guided step reads.

    Every (image, positive class) pair becomes an explained row; training draws one per image, evaluation takes all. Its
    importance is the union of the class's boxes (every pixel that a box touches), or the class's part of the mask. It goes
    through the same image processor as the image, so that resizing and cropping agree. A hard mask too thin to fill half of
    any processed pixel keeps its brightest pixels. An explained row is not annotated if its importance is empty or if the
    row's ``annotated`` is False: it counts in the task loss only.

    A mask of integers follows the row format: 0 is nothing, 255 any class, and ``1 + class`` that class. So in a mask of
    zeros and ones, 1 is class 0. A mask of booleans (dtype bool, PIL mode "1") names no class: True is any class.

    Args:
        image_processor: Called as ``image_processor(images=[...], return_tensors="pt")``; None when rows already hold
            ``pixel_values`` (channels, height, width). Boxes and masks of such rows refer to those pixels and are used at
            their size, whether or not there is a processor.
        problem_type: "single_label_classification" or "multi_label_classification", as in the model's config.
        num_labels: Number of classes, for multi-hot labels and to check every label.
        source: Where importance comes from: "boxes", "mask", "importance" (a float map in [0, 1]), or "auto": the first
            present of importance, mask, boxes.
        transform: Joint augmentation ``(image, masks) -> (image, masks)``, for example
            `hf_guidance.data.RandomCropAndFlip` or a torchvision.transforms.v2 pipeline; masks are a
            tv_tensors.Mask (pairs, height, width) of uint8 0 to 255. For training only.
        control_seed: When set, every box (or mask) keeps its size but is moved to a random place, which depends only on
            this seed, the row's ``image_id`` and the class. This is the control that guidance must beat.
        box_dilation: Grow every box by ``int(box_dilation * size)`` pixels of its image on each side, >= 0: the study of
            annotation quality of arXiv 2303.11932, section 5.4. For training only, and for boxes only. Boxes grow before
            a control moves them. The trainer evaluates with ``for_evaluation()``, which neither grows nor moves them.
        bbox_format: What the numbers of boxes in column ``objects`` are: "xyxy" (xmin, ymin, xmax, ymax), as every builder of
            this library writes them, or "xywh" (xmin, ymin, width, height), as COCO and most ``imagefolder`` sets of the
            Hub have them. Boxes are in pixels of the image as it is decoded, EXIF rotation applied. A
            `JointTransform` makes xyxy of all boxes: behind it this must be "xyxy".

    Returns:
        On call: ``pixel_values`` (images, channels, height, width) float32; ``labels`` (images,) int64 or (images,
        classes) float32. With one entry per explained row: lists ``row``, ``slot`` and ``annotated``; ``target`` (rows,)
        int64; ``importance`` (rows, height, width) float32 in [0, 1]. Where rows have it, ``quadrant`` (images,) int64.

    Raises:
        ValueError: On construction for unknown options; on call for a row that cannot be used, which the message names.

    Example:
        >>> collator = GuidanceCollator(image_processor, "multi_label_classification", num_labels=20)
    """

    columns: ClassVar[tuple[str, ...]] = IMAGE_COLUMNS
    sources: ClassVar[tuple[str, ...]] = IMAGE_SOURCES

    image_processor: Any
    problem_type: str = "single_label_classification"
    num_labels: int | None = None
    source: str = "auto"
    transform: Callable[[Any, Any], tuple[Any, Any]] | None = None
    control_seed: int | None = None
    box_dilation: float = 0.0
    bbox_format: str = "xyxy"

    def __post_init__(self) -> None:
        check_choice("problem_type", self.problem_type, PROBLEM_TYPES)
        if self.num_labels is None and self.problem_type == "multi_label_classification":
            raise ValueError("multi-label classification needs num_labels; pass num_labels=model.config.num_labels.")
        self._reader()
        self._pixels = ProcessedPixels(self.image_processor)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collate; see the class."""
        if all(no_labels(row, row_name(row, i)) for i, row in enumerate(rows)):  # such rows can only be predicted
            return {
                "pixel_values": self._pixels.of([self._image(row, row_name(row, i))[0] for i, row in enumerate(rows)])
            }
        images: list[Any] = []
        masks: list[Tensor] = []
        pairs: list[tuple[int, int, int]] = []
        read = self._reader()
        labels = [row_labels(row, row_name(row, i), self.problem_type, self.num_labels) for i, row in enumerate(rows)]
        for index, (row, classes) in enumerate(zip(rows, labels, strict=True)):
            name = row_name(row, index)
            image, size = self._image(row, name)
            flag = row.get(ANNOTATED)
            used = flag is None or bool(flag)
            # Rows that are not annotated keep their pairs, so that the class drawn does not depend on annotation.
            found = [read(row, size, c, name) if used else np.zeros(size, np.uint8) for c in classes]
            stack = torch.from_numpy(np.stack(found)) if found else torch.zeros(0, *size, dtype=torch.uint8)
            if self.transform is not None:
                image, stack = self._augment(image, stack)
            masks.extend(stack)
            pairs.extend((index, slot, target) for slot, target in enumerate(classes))
            images.append(image)
        batch: dict[str, Any] = {"pixel_values": self._pixels.of(images), "labels": self._labels(labels)}
        importance = self._pixels.importance(masks, batch["pixel_values"].shape[-2:], all_tensors(images))
        batch[ROW] = [index for index, _, _ in pairs]
        batch[SLOT] = [slot for _, slot, _ in pairs]
        batch[ANNOTATED] = importance.flatten(1).any(1).tolist()
        batch[TARGET] = torch.tensor([target for _, _, target in pairs], dtype=torch.long)
        batch[IMPORTANCE] = importance
        if any(QUADRANT in row for row in rows):
            batch[QUADRANT] = torch.tensor(row_quadrants(rows), dtype=torch.long)
        return batch

    def for_evaluation(self) -> Self:
        """The same collator without augmentation, and with boxes as annotated: neither dilated nor moved."""
        return replace(self, transform=None, control_seed=None, box_dilation=0.0)

    def _reader(self) -> ImportanceReader:
        return ImportanceReader(self.source, self.num_labels, self.control_seed, self.box_dilation, self.bbox_format)

    def _image(self, row: Mapping[str, Any], name: str) -> tuple[Any, tuple[int, int]]:
        return row_pixels(row, name, self.image_processor)

    def _augment(self, image: Any, stack: Tensor) -> tuple[Any, Tensor]:
        from torchvision import tv_tensors  # imported here: torchvision is slow to import and rarely needed

        assert self.transform is not None
        image, masks = self.transform(image, tv_tensors.Mask(stack))
        return image, masks.as_subclass(Tensor)

    def _labels(self, labels: list[list[int]]) -> Tensor:
        if self.problem_type == "single_label_classification":
            return torch.tensor([classes[0] for classes in labels], dtype=torch.long)
        multi_hot = torch.zeros(len(labels), self.num_labels or 0, dtype=torch.float32)
        for index, classes in enumerate(labels):
            multi_hot[index, classes] = 1
        return multi_hot
