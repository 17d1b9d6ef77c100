"""GQA's own object features: HDF5 files, and a JSON file that says where each image is in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hf_guidance.data.builder_base import read_json
from hf_guidance.data.questions.region_files.hdf5 import open_hdf5
from hf_guidance.data.questions.region_files.numbers import check_real, whole_number
from hf_guidance.data.questions.region_files.opened import KNOWN_LAYOUTS, Array, OpenedFile, present

_ARRAYS = ("features", "bboxes")


class Place(NamedTuple):
    """Where an image is, and how large it is in pixels."""

    file: int
    position: int
    boxes: int
    width: int
    height: int


class GqaFiles(OpenedFile):
    """objects_info.json, image id -> {idx or index, file, objectsNum, width, height}; <name>_<file>.h5 lie beside it."""

    def __init__(self, path: Any) -> None:
        super().__init__(path)
        self.files: dict[int, Path] = {}

    def open(self) -> dict[int, Any]:
        """Files are opened one by one, when an image in them is read."""
        return {}

    def index(self) -> dict[str, Place]:
        """Image id -> its place.

        Raises:
            ValueError: The JSON file is not of this layout, or it names a file, an index or a number that is not there.
        """
        places = {str(image): self._place(str(image), entry) for image, entry in self._entries().items()}
        self.files = {number: self._beside(number) for number in sorted({place.file for place in places.values()})}
        shapes = {number: self._arrays(number)["features"].shape for number in self.files}
        for image, place in places.items():
            rows, most, _ = shapes[place.file]
            if place.position >= rows or place.boxes > most:
                raise ValueError(
                    f"{self.path}, image {image!r}: index {place.position}, objectsNum {place.boxes}; {self.files[place.file]} "
                    f"holds {rows} images with {most} places each."
                )
        return places

    def is_empty(self, row: Place) -> bool:
        """See the base."""
        return not row.boxes

    def read(self, row: Place) -> tuple[Array, Array]:
        """See the base."""
        arrays = self._arrays(row.file)
        try:
            features, boxes = (np.asarray(arrays[key][row.position, : row.boxes]) for key in _ARRAYS)
        except OSError as error:
            raise ValueError(f"{self.files[row.file]} is cut short ({error}); copy it again.") from None
        features, boxes = present(features, boxes, None)
        return features, self.unit(boxes, (row.width, row.height), row.position)

    def _entries(self) -> Mapping[str, Any]:
        content: Mapping[str, Any] = read_json(str(self.path))
        first = next(iter(content.values()), None) if isinstance(content, Mapping) else None
        if not isinstance(first, Mapping) or "objectsNum" not in first:
            raise ValueError(
                f"{self.path} is not GQA's objects_info.json: allowed is image id -> idx (or index), file, objectsNum, width "
                f"and height; {KNOWN_LAYOUTS}."
            )
        return content

    def _place(self, image: str, entry: Any) -> Place:
        index = [name for name in ("idx", "index") if isinstance(entry, Mapping) and name in entry]
        names = ["file", *index, "objectsNum", "width", "height"]
        if len(index) != 1 or any(name not in entry for name in names):
            raise ValueError(
                f"{self.path}, image {image!r} has {entry}; allowed are idx (or index), file, objectsNum, width, height."
            )
        what = f"{self.path}, image {image!r}"
        return Place(*(whole_number(entry[name], f"{what}: {name}") for name in names))

    def _beside(self, number: int) -> Path:
        found = [path for path in sorted(self.path.parent.glob(f"*_{number}.h5")) if _has_objects(path)]
        if len(found) != 1:
            raise ValueError(
                f"{self.path} names file {number}, but {len(found)} files *_{number}.h5 with features and bboxes lie beside it"
                f"{f': {[path.name for path in found]}' if found else ''}; put GQA's gqa_objects_{number}.h5 there."
            )
        with open_hdf5(found[0]) as content:
            features, boxes = (content[key].shape for key in _ARRAYS)
            for key in _ARRAYS:
                check_real(content[key].dtype, f"{found[0]}: {key}")
        if len(features) != 3 or boxes != (*features[:2], 4):
            raise ValueError(
                f"{found[0]}: features has shape {features}, bboxes {boxes}; allowed are (images, objects, dims) and "
                "(images, objects, 4)."
            )
        return found[0]

    def _arrays(self, number: int) -> Any:
        if number not in self.handle:
            self.handle[number] = open_hdf5(self.files[number])
        return self.handle[number]


def _has_objects(path: Path) -> bool:
    with open_hdf5(path) as content:
        return all(key in content for key in _ARRAYS)
