"""OpenedFile: what every layout of region features shares, and the list of layouts for errors."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from hf_guidance.data.counting import count_and_log
from hf_guidance.data.questions.region_files.boxes import clipped_shares, unit_boxes

Array = npt.NDArray[Any]
KNOWN_LAYOUTS = (
    "known layouts: HDF5 with image_features (images, objects, dims) and spatial_features, and num_boxes where images differ; "
    "HDF5 with image_features (all boxes, dims), spatial_features and pos_boxes (images, 2); the same with rows of varying "
    "length and num_boxes; HDF5 with a group per image; "
    "GQA's objects_info.json beside its HDF5 files with features and bboxes; LMDB of pickled dicts; bottom-up-attention TSV; "
    "a folder with one .npz per image; two .npy files (RegionFeatures.from_numpy)"
)


class UnknownImage(KeyError, ValueError):
    """No file has features of the image that was asked for."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would quote the sentence


class OpenedFile:
    """A file that is opened when first needed, and again in every process, so that it works in workers and can be pickled.

    Attributes:
        path: The file.
        may_be_folder: Whether the layout is, or may be, a folder.
        counts: What was repaired or left out, counted in this process; the first of each kind is logged.
    """

    may_be_folder: ClassVar[bool] = False

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser().absolute()
        self.counts: Counter[str] = Counter()
        self._opened: tuple[int, Any] | None = None
        if not self.path.exists():
            raise ValueError(f"{self.path} does not exist; give the path of the features.")
        if self.path.is_dir() and not self.may_be_folder:
            raise ValueError(f"{self.path} is a folder; give the file of the features.")

    def open(self) -> Any:
        """Open the file; subclasses say how."""
        raise NotImplementedError

    def read(self, row: Any) -> tuple[Array, Array]:
        """Features (objects, dims) and boxes (objects, 4) xyxy in [0, 1] of one image, as numbers of any type."""
        raise NotImplementedError

    def is_empty(self, row: Any) -> bool:
        """Whether what was read at opening says that this image has no box."""
        return False

    def has_no_box(self, row: Any) -> bool:
        """Whether an image has no box though it is not `is_empty`; asks its record, unless that is as slow as to read it.

        False where the record cannot be read: that is an error of `read`.
        """
        return False

    def count(self, reason: str, number: int, item: str) -> None:
        """Add to `counts`, and log the first of each reason."""
        count_and_log(self.counts, reason, number, f"{item} of {self.path}", "RegionFeatures.counts")

    def unit(self, boxes: Array, size: tuple[float, float] | None, row: Any) -> Array:
        """Boxes in [0, 1]; those that leave the image by a rounding are clipped and counted.

        Args:
            boxes: (objects, 4) xyxy.
            size: Width and height of the image where boxes are in pixels; None where they are in [0, 1].
            row: Names the image in the log.
        """
        boxes, clipped = clipped_shares(boxes) if size is None else unit_boxes(boxes, *size)
        self.count("boxes clipped to the image", clipped, f"image {row!r}")
        return boxes

    @property
    def handle(self) -> Any:
        """The result of `open` in this process."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), self.open())
        return self._opened[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


def present(features: Array, boxes: Array, count: Any) -> tuple[Array, Array]:
    """The boxes of an image that are there, of places that are padded with zeros.

    Args:
        features: (places, dims).
        boxes: (places, columns), the first four of which are a box.
        count: How many are there; None where nothing is padded.

    Raises:
        ValueError: Some of the boxes that should be there are all zero, features and box.
    """
    declared = len(features) if count is None else int(count)
    features, boxes = np.asarray(features[:declared]), np.asarray(boxes[:declared])
    empty = ~features.any(1) & ~boxes[:, :4].any(1)
    if empty.any():
        raise ValueError(
            f"{declared} boxes are declared, but only {int((~empty).sum())} are there, the others are all zero; say how many "
            "each image has (num_boxes)."
        )
    return features, boxes
