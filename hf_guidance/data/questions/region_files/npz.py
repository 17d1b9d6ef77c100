"""Region features in a folder with one .npz file per image."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from hf_guidance.data.images.image_files import files_below
from hf_guidance.data.questions.region_files.opened import KNOWN_LAYOUTS, Array, OpenedFile
from hf_guidance.data.questions.region_files.records import Reading, field_names, record_objects

_PICTURES = (".jpg", ".jpeg", ".png")
_BROKEN = (OSError, EOFError, zipfile.BadZipFile, zlib.error)


class NpzFolder(OpenedFile):
    """A folder of <image>.npz or <image>.jpg.npz, in sub-folders too; pickled members are never read."""

    may_be_folder = True

    def __init__(self, path: Any, reading: Reading) -> None:
        super().__init__(path)
        self.reading = reading
        if not self.path.is_dir():
            raise ValueError(f"{self.path} is a file; give the folder that holds one .npz file per image.")

    def open(self) -> Path:
        """The folder; files are opened one by one."""
        return self.path

    def index(self) -> dict[str, str]:
        """Image id, the name of its file -> the file's path in the folder.

        Raises:
            ValueError: No file; two files of one image; or the first file is no record of features.
        """
        files = [Path(file) for file in files_below(str(self.path)) if file.endswith(".npz")]
        rows: dict[str, str] = {}
        for file in files:
            stem = Path(file.stem)
            image = stem.stem if stem.suffix.lower() in _PICTURES else stem.name
            where = str(file.relative_to(self.path))
            if image in rows:
                raise ValueError(
                    f"{self.path}: {rows[image]} and {where} are both of image {image!r}; keep one of them."
                )
            rows[image] = where
        if not rows:
            raise ValueError(f"{self.path} holds no .npz file; {KNOWN_LAYOUTS}.")
        try:
            with _loaded(files[0]) as content:
                field_names(content)
        except ValueError as error:
            raise ValueError(f"{files[0]}: {error}") from None
        return rows

    def read(self, row: str) -> tuple[Array, Array]:
        """See the base."""
        try:
            with _loaded(self.path / row) as content:
                features, boxes, size = record_objects(content, self.reading)
        except _BROKEN as error:
            raise ValueError(f"{row} is not a complete .npz file ({error}); copy it again.") from None
        return features, self.unit(boxes, size, row)


def _loaded(path: Path) -> Any:
    try:
        content = np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a complete .npz file ({error}); copy it again.") from None
    if not isinstance(content, np.lib.npyio.NpzFile):
        raise ValueError(f"{path} holds one array, not several by name; save it with numpy.savez.")
    return content
