"""Region features in HDF5: padded, all boxes in one array, rows of varying length, or a group per image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hf_guidance.common.progress import progress
from hf_guidance.data.questions.region_files.boxes import PLAIN_COLUMNS, spatial_boxes
from hf_guidance.data.questions.region_files.numbers import box_counts, check_real, real_numbers, whole_number
from hf_guidance.data.questions.region_files.opened import KNOWN_LAYOUTS, Array, OpenedFile, present
from hf_guidance.data.questions.region_files.records import FIELDS, Reading, field_names, record_objects

_ARRAYS, _IDS = ("image_features", "spatial_features"), ("image_ids", "image_id", "img_ids", "img_id")


def open_hdf5(path: Path) -> Any:
    """Open an HDF5 file for reading.

    Raises:
        ImportError: h5py is missing.
        ValueError: The file is cut short, or none.
    """
    try:
        import h5py  # type: ignore
    except ImportError:
        raise ImportError("HDF5 features need h5py: pip install 'hf_guidance[vqa]'.") from None
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} is not a complete HDF5 file ({error}); copy it again.") from None


def hdf5_file(path: Any, reading: Reading) -> ArraysFile | GroupsFile:
    """The layout of an HDF5 file, recognised by the names and shapes in it.

    Raises:
        ValueError: No known layout; the error lists those.
    """
    file = OpenedFile(path)
    with open_hdf5(file.path) as content:
        names = sorted(content)
        arrays = [name for name in _ARRAYS if name in content]
        if arrays:
            first = None if _is_group(content, arrays[0]) else content[arrays[0]]
            if _varying(getattr(first, "dtype", None)) is not None:
                return VaryingFile(path)
            return FlatFile(path) if len(getattr(first, "shape", ())) == 2 else PaddedFile(path)
        if any(_is_group(content, name) for name in names):
            return GroupsFile(path, reading)
    if {"features", "bboxes"} <= set(names):
        raise ValueError(
            f"{file.path} holds features and bboxes, a part of GQA's objects; pass gqa_objects_info.json, which says what "
            "images they are, to RegionFeatures.from_gqa."
        )
    raise ValueError(f"{file.path} has no image_features and no spatial_features but {names[:10]}; {KNOWN_LAYOUTS}.")


class ArraysFile(OpenedFile):
    """What the layouts with image_features and spatial_features share."""

    images: int

    def __init__(self, path: Any) -> None:
        super().__init__(path)
        missing = [key for key in _ARRAYS if key not in self.handle]
        if missing:
            raise ValueError(
                f"{self.path} has no {' and no '.join(missing)} but {sorted(self.handle)}; rename the data sets; "
                f"{KNOWN_LAYOUTS}."
            )
        for key in _ARRAYS:
            if _is_group(self.handle, key):
                raise ValueError(f"{self.path}: {key} is a group, where a data set is meant; {KNOWN_LAYOUTS}.")
            dtype = self.handle[key].dtype
            check_real(dtype if _varying(dtype) is None else _varying(dtype), f"{self.path}: {key}")

    def open(self) -> Any:
        """Open the file, for reading."""
        return open_hdf5(self.path)

    def __len__(self) -> int:
        return self.images

    def image_ids(self) -> list[Any] | None:
        """The image ids in the file, by row, if it holds any."""
        held = [name for name in _IDS if name in self.handle and not _is_group(self.handle, name)]
        # One row per image, as a column or not. An array of another length, such as one with an id per box, is not read.
        found = [name for name in held if self.handle[name].shape in ((len(self),), (len(self), 1))]
        return None if not found else list(self.handle[found[0]][()].reshape(-1))

    def part(self, name: str, place: Any, row: int) -> Array:
        """Some places of a data set."""
        try:
            return np.asarray(self.handle[name][place])
        except OSError as error:
            raise ValueError(f"{self.path} is cut short: row {row} cannot be read ({error}); copy it again.") from None

    def objects(self, features: Array, spatial: Array, row: int) -> tuple[Array, Array]:
        """Features, and the boxes of their spatial_features."""
        boxes, size = spatial_boxes(spatial)
        return features, self.unit(boxes, size, row)

    def shape_error(self, allowed: str) -> ValueError:
        """The error that names both shapes."""
        features, spatial = (self.handle[key].shape for key in _ARRAYS)
        return ValueError(
            f"{self.path}: image_features has shape {features}, spatial_features {spatial}; allowed {allowed}."
        )


class PaddedFile(ArraysFile):
    """image_features (images, objects, dims), spatial_features, and num_boxes (images,) where images differ in number."""

    def __init__(self, path: Any) -> None:
        super().__init__(path)
        features, spatial = (self.handle[key].shape for key in _ARRAYS)
        if len(features) != 3 or len(spatial) != 3 or features[:2] != spatial[:2] or spatial[2] < PLAIN_COLUMNS:
            raise self.shape_error(
                "are (images, objects, dims) and (images, objects, 6) in [0, 1], or 7 columns and more in pixels with height "
                "and width in 5 and 6; or two axes and pos_boxes"
            )
        self.images = int(features[0])
        given = self.handle["num_boxes"][()] if "num_boxes" in self.handle else None
        self.counts_of = (
            None if given is None else box_counts(given, features[0], features[1], f"{self.path}: num_boxes")
        )

    def is_empty(self, row: int) -> bool:
        """See the base."""
        return self.counts_of is not None and not self.counts_of[row]

    def read(self, row: int) -> tuple[Array, Array]:
        """See the base."""
        count = None if self.counts_of is None else self.counts_of[row]
        features, spatial = (self.part(key, row, row) for key in _ARRAYS)
        return self.objects(*present(features, spatial, count), row=row)


class FlatFile(ArraysFile):
    """image_features (all boxes, dims), spatial_features, and pos_boxes (images, 2): first box and the one after the last."""

    def __init__(self, path: Any) -> None:
        super().__init__(path)
        features, spatial = (self.handle[key].shape for key in _ARRAYS)
        if len(features) != 2 or len(spatial) != 2 or features[0] != spatial[0] or spatial[1] < PLAIN_COLUMNS:
            raise self.shape_error("are (all boxes, dims) and (all boxes, 6 or more), with pos_boxes (images, 2)")
        self.places = self._places(int(features[0]))
        self.images = len(self.places)

    def _places(self, total: int) -> Array:
        what = f"{self.path}: pos_boxes"
        if "pos_boxes" not in self.handle and "num_boxes" in self.handle:
            given = self.handle["num_boxes"][()]
            counts = box_counts(given, np.size(given), total, f"{self.path}: num_boxes")
            if counts.sum() != total:
                raise ValueError(f"{self.path}: num_boxes add up to {counts.sum()}, but there are {total} boxes.")
            return np.stack([counts.cumsum() - counts, counts.cumsum()], 1)
        if "pos_boxes" not in self.handle:
            raise self.shape_error(
                "in two axes is only with pos_boxes (images, 2), the first box of each image and its end"
            )
        places = real_numbers(self.handle["pos_boxes"][()], what)
        if places.ndim != 2 or places.shape[1] != 2:
            raise ValueError(f"{what} has shape {places.shape}; allowed is (images, 2), the first box and its end.")
        wrong = ~((places >= 0) & (places <= total) & (places == np.floor(places))).all(1) | (
            places[:, 0] > places[:, 1]
        )
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(
                f"{what}, row {row}, is {places[row].tolist()}; allowed are whole numbers, start <= end <= {total}. "
                f"{int(wrong.sum())} of {len(places)} rows are wrong."
            )
        places = places.astype(np.int64)
        filled = places[places[:, 0] < places[:, 1]]
        filled = filled[filled[:, 0].argsort()]
        shared = int((filled[1:, 0] < filled[:-1, 1]).sum())
        if shared:
            raise ValueError(
                f"{what}: {shared} images share boxes with another; give start and end, not start and number."
            )
        return places

    def is_empty(self, row: int) -> bool:
        """See the base."""
        return bool(self.places[row, 0] == self.places[row, 1])

    def read(self, row: int) -> tuple[Array, Array]:
        """See the base."""
        place = slice(*self.places[row].tolist())
        features, spatial = (self.part(key, place, row) for key in _ARRAYS)
        return self.objects(*present(features, spatial, None), row=row)


class VaryingFile(ArraysFile):
    """image_features (images,), spatial_features (images,) of rows of varying length, and num_boxes (images,)."""

    def __init__(self, path: Any) -> None:
        super().__init__(path)
        features, spatial = (self.handle[key].shape for key in _ARRAYS)
        if len(features) != 1 or features != spatial or "num_boxes" not in self.handle:
            raise self.shape_error("for rows of varying length are (images,) and (images,), with num_boxes (images,)")
        self.images = int(features[0])
        self.counts_of = box_counts(self.handle["num_boxes"][()], self.images, None, f"{self.path}: num_boxes")

    def is_empty(self, row: int) -> bool:
        """See the base."""
        return not self.counts_of[row]

    def read(self, row: int) -> tuple[Array, Array]:
        """See the base."""
        count = int(self.counts_of[row])
        features, spatial = (self.part(key, row, row) for key in _ARRAYS)
        if not features.size or features.size % count or spatial.size % count or spatial.size < count * PLAIN_COLUMNS:
            raise ValueError(
                f"{count} boxes are declared, but there are {features.size} numbers of features and {spatial.size} of "
                "spatial_features; correct num_boxes."
            )
        return self.objects(*present(features.reshape(count, -1), spatial.reshape(count, -1), None), row=row)


class GroupsFile(OpenedFile):
    """A group per image, named by its id: features, boxes, and num_boxes, image_h and image_w as data sets or attributes."""

    def __init__(self, path: Any, reading: Reading) -> None:
        super().__init__(path)
        self.reading = reading
        first = self.keys()[0]
        try:
            field_names(_Group(self.handle[first]))
        except ValueError as error:
            raise ValueError(f"{self.path}, group {first!r}: {error}") from None

    def open(self) -> Any:
        """Open the file, for reading."""
        return open_hdf5(self.path)

    def keys(self) -> list[str]:
        """The name of every group. Data sets beside them, such as a list of the ids, are no images."""
        return [name for name in progress(self.handle, "reading groups") if _is_group(self.handle, name)]

    def has_no_box(self, row: str) -> bool:
        """See the base. The shape of boxes says it without reading them."""
        try:
            group = self.handle[row]
            number = next((name for name in FIELDS["num_boxes"] if name in _Group(group)), None)
            if number is not None:
                return not whole_number(_Group(group)[number], number)
            return any(group[name].shape[:1] == (0,) for name in FIELDS["boxes"] if name in group)
        except (OSError, RuntimeError, KeyError, AttributeError, TypeError, ValueError):
            return False  # what is damaged or no record is refused when it is read

    def read(self, row: str) -> tuple[Array, Array]:
        """See the base."""
        try:
            features, boxes, size = record_objects(_Group(self.handle[row]), self.reading)
        except OSError as error:
            raise ValueError(f"{self.path} is cut short: {row!r} cannot be read ({error}); copy it again.") from None
        return features, self.unit(boxes, size, row)


class _Group(Mapping[str, Any]):
    def __init__(self, group: Any) -> None:
        self._group = group

    def __getitem__(self, name: str) -> Any:
        return self._group[name][()] if name in self._group else self._group.attrs[name]

    def __contains__(self, name: object) -> bool:
        return name in self._group or name in self._group.attrs  # that of Mapping would read the data

    def __iter__(self) -> Iterator[str]:
        yield from self._group
        yield from self._group.attrs

    def __len__(self) -> int:
        return len(self._group) + len(self._group.attrs)


def _varying(dtype: Any) -> Any:
    # The dtype of the numbers in rows of varying length, else None.
    return None if dtype is None else (dtype.metadata or {}).get("vlen")


def _is_group(content: Any, name: str) -> bool:
    import h5py

    try:
        kind = content.get(name, getclass=True)
    except (KeyError, RuntimeError):
        kind = None
    if kind is None:
        raise ValueError(
            f"{content.file.filename}: {name!r} is a link to what is not there; put its file there, or remove it."
        )
    return bool(kind is h5py.Group)
