"""RegionFeatures: features and boxes of images by id, read from files one image at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_guidance.data.questions.region_files import Hdf5File, LmdbFile, NumpyFile, OpenedFile
from hf_guidance.data.safe_pickle import safe_load

Objects = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
Ids = Sequence[Any] | Mapping[Any, int] | str | os.PathLike[str]
_ROUNDING = 1e-4  # detectors clip boxes in float32 pixels, so the quotient may end this far outside


class RegionFeatures:
    """Features of an image's boxes by image id: ``features, boxes = regions[image_id]``.

    Files are memory-mapped or read one image at a time, never as a whole, and opened again in every worker of a
    DataLoader. Ids are compared as text, so 42 and "42" are the same image. Create it with `from_numpy`, `from_hdf5` or
    `from_lmdb`.

    Returns:
        On ``regions[image_id]``: features (objects, dims) float32 and boxes (objects, 4) float32 xyxy in [0, 1].

    Raises:
        ValueError: On ``regions[image_id]`` for an unknown id, fewer boxes than declared, NaN, a box outside the image, or
            a file that was cut short.

    Example:
        >>> regions = RegionFeatures.from_hdf5("train36.hdf5", "train36_imgid2img.pkl")
        >>> features, boxes = regions["262148"]
    """

    def __init__(self, file: OpenedFile, rows: Mapping[str, Any]) -> None:
        self._file, self._rows = file, rows

    @classmethod
    def from_numpy(
        cls, features: str | os.PathLike[str], boxes: str | os.PathLike[str], ids: Ids, num_boxes: Any = None
    ) -> RegionFeatures:
        """Read two .npy files.

        Args:
            features: Path of (images, objects, dims).
            boxes: Path of (images, objects, 4) xyxy in [0, 1].
            ids: The image id of each row of the files, a mapping id -> row, or a .json or .pkl file of either.
            num_boxes: (images,) or the path of such a file: how many boxes each image has, where the files are padded.
        """
        file = NumpyFile(features, boxes, num_boxes)
        return cls(file, _rows(ids, len(file), file.path))

    @classmethod
    def from_hdf5(cls, path: str | os.PathLike[str], ids: Ids | None = None) -> RegionFeatures:
        """Read an HDF5 file of bottom-up features.

        It holds ``image_features`` (images, objects, dims) and ``spatial_features`` (images, objects, columns): 6 columns
        are xyxy, width and height in [0, 1]; from 7 columns on the first four are xyxy in pixels, and columns 5 and 6 the
        image's height and width. An optional ``num_boxes`` (images,) says how many boxes of each image are real.

        Args:
            path: The file.
            ids: As for `from_numpy`; None looks for ``<name>_imgid2img.pkl`` or ``.json`` beside the file.
        """
        file = Hdf5File(path)
        if ids is None:
            beside = [file.path.with_name(f"{file.path.stem}_imgid2img{ending}") for ending in (".pkl", ".json")]
            found = [candidate for candidate in beside if candidate.is_file()]
            if not found:
                raise ValueError(f"none of {[str(each) for each in beside]} exists; pass ids, image id -> row.")
            ids = found[0]
        return cls(file, _rows(ids, len(file), file.path))

    @classmethod
    def from_lmdb(cls, path: str | os.PathLike[str]) -> RegionFeatures:
        """Read an LMDB environment whose keys are image ids.

        A value is a pickled dict: ``num_boxes``, ``image_h``, ``image_w``, and ``features`` and ``boxes`` (xyxy in pixels)
        as float32, base64 or raw bytes. The keys ``keys``, ``__keys__`` and ``__len__`` are not images.

        Args:
            path: The folder or file.
        """
        file = LmdbFile(path)
        return cls(file, {key: key for key in file.keys()})  # noqa: SIM118

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, image_id: object) -> bool:
        return str(image_id) in self._rows

    @property
    def ids(self) -> list[str]:
        """Every image id."""
        return list(self._rows)

    def __getitem__(self, image_id: Any) -> Objects:
        name = f"{self._file.path}, image {str(image_id)!r}"
        if image_id not in self:
            raise ValueError(
                f"{name}: no such image among {len(self)} (first: {self.ids[:3]}); is it another split's file?"
            )
        try:
            features, boxes = self._file.read(self._rows[str(image_id)])
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        return checked_objects(features, boxes, name)


def checked_objects(features: Any, boxes: Any, name: str) -> Objects:
    """Features and boxes of an image as float32, or an error that names it.

    Args:
        features: (objects, dims), at least one object.
        boxes: (objects, 4) xyxy in [0, 1]; what rounding puts up to 1e-4 outside is clipped.
        name: Names the image or the row in errors.

    Raises:
        ValueError: Other shapes, NaN or infinity, a box reversed or outside the image.
    """
    features, boxes = np.asarray(features, np.float32), np.asarray(boxes, np.float32)
    if features.ndim != 2 or not features.size:
        raise ValueError(
            f"{name}: features have shape {features.shape}; give (objects, dims) with at least one object."
        )
    if boxes.shape != (len(features), 4):
        raise ValueError(
            f"{name}: {len(features)} rows of features but boxes of shape {boxes.shape}; give one box per object."
        )
    if not np.isfinite(features).all():
        raise ValueError(f"{name}: features hold NaN or infinity; extract them again, or leave the row out.")
    inside = (boxes >= -_ROUNDING).all() and (boxes <= 1 + _ROUNDING).all()  # NaN is not inside
    if not inside or not (boxes[:, :2] <= boxes[:, 2:]).all():
        raise ValueError(
            f"{name}: boxes reach from {boxes.min():g} to {boxes.max():g} or are reversed; allowed are xmin, ymin, xmax, ymax "
            "in [0, 1]. Divide pixel boxes by the image's width and height."
        )
    return features, boxes.clip(0, 1)


def _rows(ids: Ids, count: int, path: Path) -> dict[str, int]:
    given: Any = _read_ids(Path(ids).expanduser()) if isinstance(ids, (str, os.PathLike)) else ids
    pairs = list(given.items()) if isinstance(given, Mapping) else [(each, row) for row, each in enumerate(given)]
    rows = {str(image_id): int(row) for image_id, row in pairs}
    if len(rows) < len(pairs):
        raise ValueError(f"{path}: {len(pairs) - len(rows)} image ids are listed twice; give each image one row.")
    wrong = {image_id: row for image_id, row in rows.items() if not 0 <= row < count}
    if wrong or (not isinstance(given, Mapping) and len(rows) != count):
        raise ValueError(
            f"{path} has {count} rows, the ids name {len(rows)}{f', rows {wrong} among them' if wrong else ''}: the file "
            "is cut short, or the ids are those of another file."
        )
    return rows


def _read_ids(path: Path) -> Any:
    if path.suffix in (".pkl", ".pickle"):
        ids = safe_load(path)
    else:
        try:
            ids = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is not well-formed JSON ({error}); write it again.") from None
    if not isinstance(ids, (list, tuple, Mapping)):
        raise ValueError(f"{path} holds a {type(ids).__name__}; allowed: a list of image ids, or image id -> row.")
    return ids
