"""RegionFeatures: features and boxes of images by id, read from files one image at a time."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hf_guidance.data.questions.region_files.gqa import GqaFiles
from hf_guidance.data.questions.region_files.hdf5 import GroupsFile, hdf5_file
from hf_guidance.data.questions.region_files.lmdb_file import LmdbFile
from hf_guidance.data.questions.region_files.npy import NumpyFile
from hf_guidance.data.questions.region_files.npz import NpzFolder
from hf_guidance.data.questions.region_files.opened import OpenedFile, UnknownImage
from hf_guidance.data.questions.region_files.recognition import layout_of
from hf_guidance.data.questions.region_files.records import Reading
from hf_guidance.data.questions.region_files.tsv import TsvFile
from hf_guidance.data.questions.region_ids import Ids, Names, ids_beside, image_key, rows_of, shown_key
from hf_guidance.data.questions.region_objects import Objects, checked_objects

__all__ = ["Objects", "RegionFeatures", "UnknownImage", "checked_objects"]

PathLike = str | os.PathLike[str]
_NOT_KEPT = {"_names": None, "_dims": None}  # what every process finds for itself


class RegionFeatures:
    """Features of an image's boxes by image id: ``features, boxes = regions[image_id]``.

    Files are memory-mapped or read one image at a time, never as a whole, and opened again in every worker of a
    DataLoader. `open` finds the layout by what a file holds; the other constructors have its options.

    | layout | what it holds | constructor |
    |---|---|---|
    | HDF5, padded | ``image_features`` (images, objects, dims), ``spatial_features``; ``num_boxes`` (images,) | `from_hdf5` |
    | HDF5, flat, 10 to 100 boxes | ``image_features`` (boxes, dims), ``spatial_features``, ``pos_boxes`` | `from_hdf5` |
    | HDF5, rows of varying length | ``image_features``, ``spatial_features``, ``num_boxes``, each (images,) | `from_hdf5` |
    | HDF5, a group per image | ``features``, ``boxes``, ``num_boxes``, ``image_h``, ``image_w`` | `from_hdf5` |
    | GQA's objects | ``gqa_objects_info.json``; ``gqa_objects_<file>.h5``: ``features``, ``bboxes`` | `from_gqa` |
    | LMDB | a pickled dict per image: the same fields as a group | `from_lmdb` |
    | TSV of bottom-up-attention, LXMERT | a line per image: the same as columns, base64 | `from_tsv` |
    | .npz per image | the same, or ``x``, ``bbox``, ``num_bbox``, ``img_h``, ``img_w`` | `from_npz` |
    | .npy | (images, objects, dims), and boxes (images, objects, 4) | `from_numpy` |

    Numbers have any real dtype and byte order; they are read as they were written and given as float32. Pixel boxes are
    divided by the size of the image; those that leave it by a rounding (a pixel, or 1 % of the side) are clipped and
    counted in ``counts``. Images without any box have no features: they are counted there too, or, where each has a record
    of its own in one file (groups, small ones of LMDB), found by `missing`; of .npz and padded LMDB, when they are read.

    Ids are compared as text, so 42 and "42" are the same image, and so are "000000000042" and, in files whose names are
    COCO's, COCO_val2014_000000000042. Give `open` several files, or `joined` several `RegionFeatures`, where images are
    spread over files, as in VQA-CP.

    Returns:
        On ``regions[image_id]``: features (objects, dims) float32 and boxes (objects, 4) float32 xyxy in [0, 1].

    Raises:
        KeyError: On ``regions[image_id]`` for an unknown id, or an image without a box (also a `ValueError`); see `missing`.
        ValueError: On construction for an unknown layout, or shapes, dtypes and numbers of boxes that cannot be. On
            ``regions[image_id]`` for fewer boxes than declared, NaN, a box reversed or outside the image, boxes in [0, 1]
            where pixels are expected, other dims than the images before, or a file that was cut short.

    Example:
        >>> regions = RegionFeatures.open("train36.hdf5", "val36.hdf5")
        >>> features, boxes = regions["262148"]
        >>> regions.missing(train["image_id"])
        []
    """

    def __init__(self, parts: Sequence[tuple[OpenedFile, Mapping[str, Any]]]) -> None:
        self._parts = tuple(parts)
        self._names: Names | None = None
        self._dims: int | None = None

    @classmethod
    def _of(cls, file: OpenedFile, rows: Mapping[str, Any]) -> RegionFeatures:
        filled = {image: row for image, row in rows.items() if not file.is_empty(row)}
        empty = next((image for image in rows if image not in filled), None)
        file.count("images without a box", len(rows) - len(filled), f"image {empty!r}")
        return cls([(file, filled)])

    @classmethod
    def open(cls, *paths: PathLike) -> RegionFeatures:
        """Open files or folders of any layout but .npy, found by what they hold.

        Args:
            paths: One or several; several are `joined`.

        Raises:
            ValueError: A layout that is not known (the error lists those), or none of its options' defaults fits.
        """
        openers: dict[str, Any] = {
            "hdf5": cls.from_hdf5, "lmdb": cls.from_lmdb, "tsv": cls.from_tsv, "npz": cls.from_npz, "gqa": cls.from_gqa,
        }  # fmt: skip
        found = [layout_of(path) for path in paths]
        return cls.joined(*(openers[layout](path) for layout, path in found))

    @classmethod
    def joined(cls, *regions: RegionFeatures) -> RegionFeatures:
        """One `RegionFeatures` of several, whose images differ.

        Raises:
            ValueError: An image is in two of them, or none is given.
        """
        parts = [part for each in regions for part in each._parts]
        if not parts:
            raise ValueError("no region features are given; pass at least one file.")
        seen: dict[str, OpenedFile] = {}
        for file, rows in parts:
            twice = [image for image in rows if image in seen]
            if twice:
                raise ValueError(
                    f"{len(twice)} images are in {file.path} and in {seen[twice[0]].path} (first: {twice[:3]}); keep one "
                    "of each."
                )
            seen.update(dict.fromkeys(rows, file))
        return cls(parts)

    @classmethod
    def from_numpy(cls, features: PathLike, boxes: PathLike, ids: Ids, num_boxes: Any = None) -> RegionFeatures:
        """Read two .npy files.

        Args:
            features: Path of (images, objects, dims).
            boxes: Path of (images, objects, 4) xyxy in [0, 1].
            ids: The image id of each row in their order, a mapping id -> row, or a .json or .pkl file of either.
            num_boxes: (images,) or the path of such a file: how many boxes each image has, where the files are padded.
        """
        file = NumpyFile(features, boxes, num_boxes)
        return cls._of(file, _rows(file, ids, len(file)))

    @classmethod
    def from_hdf5(cls, path: PathLike, ids: Ids | None = None, normalized: bool = False) -> RegionFeatures:
        """Read an HDF5 file of bottom-up features: padded, flat, of varying length, or with a group per image.

        ``spatial_features`` has 6 columns, xyxy, width and height in [0, 1]; or 7 and more: the first four are xyxy in
        pixels, and columns 5 and 6 the image's height and width. ``num_boxes`` (images,) says how many boxes of each image
        are real. In the flat layout the boxes of image i are ``pos_boxes[i, 0]`` up to but without ``pos_boxes[i, 1]``.

        Args:
            path: The file.
            ids: As for `from_numpy`; None takes ``image_ids`` of the file, or looks for ``<name>_imgid2idx`` and
                ``<name>_imgid2img`` (.pkl or .json) beside it. A group per image is named by its id.
            normalized: Boxes of groups are in [0, 1], although groups give the size of the image.
        """
        file = hdf5_file(path, Reading(normalized=normalized))
        if isinstance(file, GroupsFile):
            if ids is not None:
                raise ValueError(f"{file.path} has a group per image, named by its id; leave ids out.")
            return cls._of(file, {name: name for name in file.keys()})  # noqa: SIM118
        if normalized:
            raise ValueError(
                f"{file.path}: normalized is for a group per image; spatial_features say it by their columns."
            )
        given: Any = file.image_ids() if ids is None else ids
        return cls._of(file, _rows(file, ids_beside(file.path) if given is None else given, len(file)))

    @classmethod
    def from_gqa(cls, path: PathLike) -> RegionFeatures:
        """Read GQA's object features.

        Args:
            path: gqa_objects_info.json, image id -> {idx, file, objectsNum, width, height}. Beside it lie
                gqa_objects_<file>.h5, each with ``features`` (images, 100, dims) and ``bboxes`` (images, 100, 4) in pixels.
        """
        file = GqaFiles(path)
        return cls._of(file, file.index())

    @classmethod
    def from_lmdb(cls, path: PathLike, dtype: Any = None, normalized: bool = False) -> RegionFeatures:
        """Read an LMDB environment whose keys are image ids.

        A value is a pickled dict: ``features``, ``boxes`` (xyxy), ``num_boxes``, ``image_h`` and ``image_w``, or the names of
        `from_npz`. Arrays have the dtype that they have; base64 and raw bytes hold float32, unless ``dtype`` says other.
        The keys ``keys``, ``__keys__`` and ``__len__`` are not images.

        Args:
            path: The folder or file.
            dtype: Of features in base64 or bytes; boxes there are floats of its byte order, of any size. None: float32, as
                published; bytes that do not look it are refused.
            normalized: Boxes are in [0, 1]; by default they are pixels, or in [0, 1] where values have no image_h and image_w.
        """
        file = LmdbFile(path, Reading(dtype, normalized))
        return cls._of(file, {key: key for key in file.keys()})  # noqa: SIM118

    @classmethod
    def from_tsv(
        cls, path: PathLike, columns: Sequence[str] | None = None, dtype: Any = None, normalized: bool = False
    ) -> RegionFeatures:
        """Read tab-separated text, a line per image; the file is read once, a line at a time, to find where each begins.

        Args:
            path: The file.
            columns: Names of the columns. None: the first line has them; or 6 are those of bottom-up-attention (image_id,
                image_w, image_h, num_boxes, boxes, features), 7 those and cls_prob, 10 those of LXMERT.
            dtype: As for `from_lmdb`.
            normalized: As for `from_lmdb`.
        """
        file = TsvFile(path, Reading(dtype, normalized), columns)
        return cls._of(file, file.index())

    @classmethod
    def from_npz(cls, path: PathLike, normalized: bool = False) -> RegionFeatures:
        """Read a folder with one .npz file per image, named by the image id, in sub-folders too.

        A file holds ``features`` or ``x``, (objects, dims) or (dims, objects); ``boxes`` or ``bbox`` (objects, 4) xyxy;
        ``num_boxes`` or ``num_bbox``; and ``image_h`` and ``image_w``, or ``img_h`` and ``img_w``. Members with pickled
        objects, such as ``info``, are not read.

        Args:
            path: The folder.
            normalized: As for `from_lmdb`.
        """
        file = NpzFolder(path, Reading(normalized=normalized))
        return cls._of(file, file.index())

    def __len__(self) -> int:
        return sum(len(rows) for _, rows in self._parts)

    def __contains__(self, image_id: object) -> bool:
        try:
            found = self._find(image_id)
        except ValueError:
            return False
        return found is not None and not found[0].has_no_box(found[1])

    @property
    def ids(self) -> list[str]:
        """Every image id."""
        return [image for _, rows in self._parts for image in rows]

    @property
    def counts(self) -> Counter[str]:
        """What was left out or repaired by reason: images without a box, boxes clipped to the image, and such."""
        return sum((file.counts for file, _ in self._parts), Counter())

    def missing(self, image_ids: Iterable[Any]) -> list[str]:
        """Those of the images that have no features, each once, in the order given.

        Example:
            >>> len(regions.missing(train["image_id"]))
            0
        """
        return list(dict.fromkeys(shown_key(image) for image in image_ids if image not in self))

    def __repr__(self) -> str:
        return f"RegionFeatures({len(self)} images of {self._paths})"

    @property
    def _paths(self) -> str:
        return ", ".join(str(file.path) for file, _ in self._parts)

    def __getitem__(self, image_id: Any) -> Objects:
        found = self._find(image_id)
        if found is None:
            raise UnknownImage(
                f"{self._paths}, image {image_key(image_id)!r}: no such image among {len(self)} (first: {self.ids[:3]}); is it "
                "another split's file?"
            )
        file, row = found
        name = f"{file.path}, image {image_key(image_id)!r}"
        try:
            read = file.read(row)
        except ValueError as error:
            raise (UnknownImage if isinstance(error, UnknownImage) else ValueError)(f"{name}: {error}") from None
        features, boxes = checked_objects(*read, name)
        if self._dims not in (None, features.shape[1]):
            raise ValueError(
                f"{name}: features have {features.shape[1]} numbers per box, the images read before have {self._dims}; "
                "extract the features again, all in one way."
            )
        self._dims = features.shape[1]
        return features, boxes

    def _find(self, image_id: Any) -> tuple[OpenedFile, Any] | None:
        key = image_key(image_id)
        for file, rows in self._parts:
            if key in rows:
                return file, rows[key]
        if self._names is None:
            self._names = Names(self.ids)
        found = {
            name: (file, rows[name])
            for name in self._names.candidates(key)
            for file, rows in self._parts
            if name in rows
        }
        if len(found) > 1:
            raise ValueError(f"image {key!r} may be any of {list(found)}; ask for one of these names.")
        return next(iter(found.values()), None)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, **_NOT_KEPT}


def _rows(file: OpenedFile, ids: Ids, count: int) -> dict[str, int]:
    rows, shared = rows_of(ids, count, file.path)
    file.count("images that share a row with another", shared, "the ids")
    return rows
