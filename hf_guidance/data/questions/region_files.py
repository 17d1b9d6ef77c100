"""Files of region features, opened once per process and read one image at a time."""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_guidance.data.safe_pickle import safe_loads

Array = npt.NDArray[Any]
# Columns of `spatial_features`: 6 are a normalised box and its size; 7 or more a pixel box, height in column 5, width in 6.
_PLAIN, _PIXELS = 6, 7


class OpenedFile:
    """A file that is opened when first needed, and again in every process, so that it works in workers and can be pickled."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser().absolute()
        self._opened: tuple[int, Any] | None = None
        if not self.path.exists():
            raise ValueError(f"{self.path} does not exist; give the path of the features.")

    def open(self) -> Any:
        """Open the file; subclasses say how."""
        raise NotImplementedError

    def read(self, row: Any) -> tuple[Array, Array]:
        """Features and boxes of one image, as the file has them."""
        raise NotImplementedError

    @property
    def handle(self) -> Any:
        """The result of `open` in this process."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), self.open())
        return self._opened[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


class NumpyFile(OpenedFile):
    """Features (images, objects, dims) and boxes (images, objects, 4) in .npy files, memory-mapped; box counts (images,)."""

    def __init__(self, path: Any, boxes: Any, counts: Any = None) -> None:
        super().__init__(path)
        self.boxes, self.counts = Path(boxes).expanduser().absolute(), counts
        features, places, _ = self.handle
        if features.ndim != 3 or places.shape[:2] != features.shape[:2] or places.shape[2:] != (4,):
            raise ValueError(
                f"{self.path} has shape {features.shape} and {self.boxes} {places.shape}; give (images, objects, dims) and "
                "(images, objects, 4)."
            )

    def open(self) -> tuple[Array, Array, Array | None]:
        """Map the files."""
        counts = _mapped(self.counts) if isinstance(self.counts, (str, os.PathLike)) else self.counts
        return _mapped(self.path), _mapped(self.boxes), None if counts is None else np.asarray(counts)

    def __len__(self) -> int:
        return len(self.handle[0])

    def read(self, row: int) -> tuple[Array, Array]:
        """See the base."""
        features, boxes, counts = self.handle
        return _present(features[row], boxes[row], None if counts is None else counts[row])


class Hdf5File(OpenedFile):
    """An HDF5 file of bottom-up features: image_features, spatial_features, and num_boxes where images differ in number."""

    def __init__(self, path: Any) -> None:
        super().__init__(path)
        keys = [key for key in ("image_features", "spatial_features") if key not in self.handle]
        if keys:
            raise ValueError(
                f"{self.path} has no {' and no '.join(keys)} but {sorted(self.handle)}; rename the data sets."
            )
        features, spatial = (self.handle[key].shape for key in ("image_features", "spatial_features"))
        if len(features) != 3 or len(spatial) != 3 or features[:2] != spatial[:2] or spatial[2] < _PLAIN:
            raise ValueError(
                f"{self.path}: image_features has shape {features}, spatial_features {spatial}; allowed are (images, objects, "
                "dims) and (images, objects, 6) in [0, 1], or 7 columns and more in pixels with height and width in 5 and 6."
            )

    def open(self) -> Any:
        """Open the file, for reading."""
        try:
            import h5py  # type: ignore
        except ImportError:
            raise ImportError("HDF5 features need h5py: pip install 'hf_guidance[vqa]'.") from None
        try:
            return h5py.File(self.path, "r")
        except OSError as error:
            raise ValueError(f"{self.path} is not a complete HDF5 file ({error}); copy it again.") from None

    def __len__(self) -> int:
        return int(self.handle["image_features"].shape[0])

    def read(self, row: int) -> tuple[Array, Array]:
        """See the base."""
        try:
            features, spatial = (np.asarray(self.handle[key][row]) for key in ("image_features", "spatial_features"))
            count = self.handle["num_boxes"][row] if "num_boxes" in self.handle else None
        except OSError as error:
            raise ValueError(f"{self.path} is cut short: row {row} cannot be read ({error}); copy it again.") from None
        features, spatial = _present(features, spatial, count)
        boxes = spatial[:, :4]
        if spatial.shape[1] >= _PIXELS:
            boxes = boxes / spatial[:, [6, 5, 6, 5]]
        return features, boxes


class LmdbFile(OpenedFile):
    """LMDB, one pickled dict per image: num_boxes, image_h, image_w; float32 features and pixel boxes as base64 or bytes."""

    def open(self) -> Any:
        """Open the environment, for reading."""
        try:
            import lmdb  # type: ignore  # noqa: F401
        except ImportError:
            raise ImportError("LMDB features need lmdb: pip install 'hf_guidance[vqa]'.") from None
        return _environment(str(self.path))

    def keys(self) -> list[str]:
        """Every key that stands for an image."""
        with self.handle.begin() as transaction:
            keys = list(transaction.cursor().iternext(values=False))
        return [bytes(key).decode() for key in keys if bytes(key) not in (b"keys", b"__len__", b"__keys__")]

    def read(self, row: str) -> tuple[Array, Array]:
        """See the base."""
        with self.handle.begin() as transaction:
            entry = safe_loads(transaction.get(row.encode()), f"{self.path}, key {row!r}")
        try:
            count, height, width = (int(entry[key]) for key in ("num_boxes", "image_h", "image_w"))
            features, boxes = _floats(entry["features"]), _floats(entry["boxes"])
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise ValueError(
                f"{self.path}, key {row!r} is not as expected ({error!r}); allowed is a dict with num_boxes, image_h, image_w, "
                "features and boxes."
            ) from None
        if count < 1 or boxes.size != 4 * count or features.size == 0 or features.size % count:
            raise ValueError(
                f"{count} boxes are declared, but there are {features.size} numbers of features and {boxes.size} of boxes; "
                "extract the features again."
            )
        return features.reshape(count, -1), boxes.reshape(count, 4) / np.array(
            [width, height, width, height], np.float32
        )


def _environment(path: str) -> Any:
    # LMDB allows an environment to be opened only once per process, so several `LmdbFile`, such as copies, share it.
    import lmdb

    if path not in _ENVIRONMENTS:
        try:
            _ENVIRONMENTS[path] = lmdb.open(
                path, readonly=True, lock=False, readahead=False, create=False, subdir=os.path.isdir(path)
            )
        except lmdb.Error as error:
            raise ValueError(f"{path} is not an LMDB environment ({error}); copy it again.") from None
    return _ENVIRONMENTS[path]


def _close_environments() -> None:
    while _ENVIRONMENTS:
        _ENVIRONMENTS.popitem()[1].close()


_ENVIRONMENTS: dict[str, Any] = {}
# A forked worker must not use the environments that its parent opened, and cannot open them again while they count as
# open: so they are closed in the worker.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_environments)


def _floats(value: Any) -> npt.NDArray[np.float32]:
    # Python 2 wrote base64 as text. Bytes outside the alphabet of base64 are raw float32.
    content = value.encode("latin1") if isinstance(value, str) else value
    try:
        content = base64.b64decode(content, validate=True)
    except binascii.Error:
        if isinstance(value, str):
            raise
    return np.frombuffer(content, np.float32)


def _mapped(path: Any) -> Array:
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is not a complete .npy file ({error}); copy it again.") from None


def _present(features: Array, boxes: Array, count: Any) -> tuple[Array, Array]:
    declared = len(features) if count is None else int(count)
    if not 1 <= declared <= len(features):
        raise ValueError(f"{declared} boxes are declared, the file holds {len(features)} places; correct num_boxes.")
    features, boxes = np.asarray(features[:declared]), np.asarray(boxes[:declared])
    empty = ~features.any(1) & ~boxes[:, :4].any(1)
    if empty.any():
        raise ValueError(
            f"{declared} boxes are declared, but only {int((~empty).sum())} are there, the others are all zero; say how many "
            "each image has (num_boxes)."
        )
    return features, boxes
