"""Region features in two .npy files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from hf_guidance.data.questions.region_files.numbers import box_counts, check_real
from hf_guidance.data.questions.region_files.opened import Array, OpenedFile, present


class NumpyFile(OpenedFile):
    """Features (images, objects, dims) and boxes (images, objects, 4) in .npy files, memory-mapped; box counts (images,)."""

    def __init__(self, path: Any, boxes: Any, counts: Any = None) -> None:
        super().__init__(path)
        self.boxes, self.box_counts = Path(boxes).expanduser().absolute(), None
        features, places = self.handle
        if features.ndim != 3 or places.shape[:2] != features.shape[:2] or places.shape[2:] != (4,):
            raise ValueError(
                f"{self.path} has shape {features.shape} and {self.boxes} {places.shape}; give (images, objects, dims) and "
                "(images, objects, 4)."
            )
        check_real(features.dtype, str(self.path))
        check_real(places.dtype, str(self.boxes))
        if counts is not None:
            stored = isinstance(counts, (str, os.PathLike))
            what = f"num_boxes {counts if stored else f'of {self.path}'}"
            given = _mapped(Path(counts).expanduser()) if stored else counts
            self.box_counts = box_counts(given, features.shape[0], features.shape[1], what)

    def open(self) -> tuple[Array, Array]:
        """Map the files."""
        return _mapped(self.path), _mapped(self.boxes)

    def __len__(self) -> int:
        return len(self.handle[0])

    def is_empty(self, row: int) -> bool:
        """See the base."""
        return self.box_counts is not None and not self.box_counts[row]

    def read(self, row: int) -> tuple[Array, Array]:
        """See the base."""
        features, boxes = self.handle
        count = None if self.box_counts is None else self.box_counts[row]
        features, boxes = present(features[row], boxes[row], count)
        return features, self.unit(boxes, None, row)


def _mapped(path: Any) -> Array:
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is not a complete .npy file ({error}); copy it again.") from None
