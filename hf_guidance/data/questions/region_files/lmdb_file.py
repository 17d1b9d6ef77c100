"""Region features in LMDB."""

from __future__ import annotations

import os
from typing import Any

from hf_guidance.common.progress import progress
from hf_guidance.data.questions.region_files.opened import KNOWN_LAYOUTS, Array, OpenedFile, UnknownImage
from hf_guidance.data.questions.region_files.records import Reading, field_names, has_no_box, record_objects
from hf_guidance.data.safe_pickle import safe_loads

_SMALL = 4096  # bytes
_NOT_IMAGES = (b"keys", b"__len__", b"__keys__")


class LmdbFile(OpenedFile):
    """LMDB, one pickled dict per image: see `records`."""

    may_be_folder = True

    def __init__(self, path: Any, reading: Reading) -> None:
        super().__init__(path)
        self.reading = reading

    def open(self) -> Any:
        """Open the environment, for reading."""
        try:
            import lmdb  # type: ignore  # noqa: F401
        except ImportError:
            raise ImportError("LMDB features need lmdb: pip install 'hf_guidance[vqa]'.") from None
        return _environment(str(self.path))

    def keys(self) -> list[str]:
        """Every key that stands for an image.

        Raises:
            ValueError: There is none, a key is not text, or the first value is no record of features.
        """
        with self.handle.begin() as transaction:
            found = transaction.cursor().iternext(values=False)
            total = transaction.stat()["entries"]
            keys = [bytes(key) for key in progress(found, f"reading the keys of {self.path.name}", total=total)]
        try:
            names = [key.decode() for key in keys if key not in _NOT_IMAGES]
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.path} has keys that are not text ({error}); {KNOWN_LAYOUTS}.") from None
        if not names:
            raise ValueError(f"{self.path} holds no image; {KNOWN_LAYOUTS}.")
        try:
            field_names(self._record(names[0]))
        except ValueError as error:
            raise ValueError(f"{self.path}, key {names[0]!r} is not as expected: {error}") from None
        return names

    def has_no_box(self, row: str) -> bool:
        """See the base. Only records without room for features are unpickled."""
        with self.handle.begin(buffers=True) as transaction:
            small = len(transaction.get(row.encode())) < _SMALL
        return small and has_no_box(self._record(row))

    def read(self, row: str) -> tuple[Array, Array]:
        """See the base."""
        try:
            features, boxes, size = record_objects(self._record(row), self.reading)
        except UnknownImage:
            raise
        except ValueError as error:
            raise ValueError(f"key {row!r} is not as expected: {error}") from None
        return features, self.unit(boxes, size, row)

    def _record(self, key: str) -> Any:
        with self.handle.begin() as transaction:
            return safe_loads(transaction.get(key.encode()), f"{self.path}, key {key!r}")


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
