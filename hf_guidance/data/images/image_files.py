"""Files of a raw data set, found by the names that annotations use for them."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Sequence

__all__ = ["IMAGE_EXTENSIONS", "FileIndex", "files_below", "stem", "with_slashes"]

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")
"""Endings of the image files that builders look for; upper case counts too."""


def with_slashes(name: str) -> str:
    """A name written on any system, as ``train\\\\0.jpg`` or ``./train/0.jpg``, in the one form ``train/0.jpg``."""
    return posixpath.normpath(name.strip().replace("\\", "/"))


def stem(name: str, extensions: Sequence[str] = IMAGE_EXTENSIONS) -> str:
    """A name without its ending, if that is one of ``extensions``."""
    base, extension = os.path.splitext(name)
    return base if extension.lower() in extensions else name


def files_below(folder: str, above: frozenset[str] = frozenset()) -> Iterator[str]:
    """Paths of all files of a folder and its sub-folders, links among them; none where there is no such folder.

    Names that begin with a dot are passed over, files and folders: systems write them beside the data (.DS_Store, ._0.png,
    .thumbnails/). A linked folder is entered too, but not one that leads back to a folder above it (``above``, told by their
    real paths): each file would be there once more with every round.

    Raises:
        ValueError: A folder must not be read.
    """
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise ValueError(f"{folder} cannot be read ({error}); give it the right to be read, or move it away.") from None
    for entry in found:
        # isdir takes a link that leads to itself for no folder, where is_dir fails
        if os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():
            yield from files_below(entry.path, above | {real})
        else:
            yield entry.path


class FileIndex:
    """The files of a folder and its sub-folders, by name.

    Args:
        folder: The folder; one that does not exist holds no file.
        extensions: Endings of the files that count, in lower case; None for all files.

    Attributes:
        names: Paths below the folder with slashes, sorted.
    """

    def __init__(self, folder: str, extensions: Sequence[str] | None = None) -> None:
        self.folder = folder
        paths = [
            path
            for path in files_below(folder)
            if extensions is None or os.path.splitext(path)[1].lower() in extensions
        ]
        start = len(os.path.join(folder, ""))
        self.names = sorted(path[start:].replace(os.sep, "/") for path in paths)
        self._by_base: dict[str, list[str]] = {}
        for name in self.names:
            base = posixpath.basename(name)
            for key in dict.fromkeys((base, posixpath.splitext(base)[0])):
                self._by_base.setdefault(key, []).append(name)

    def find(self, name: str) -> list[str]:
        """Files that a name may mean: those of just this path below the folder, else those whose path ends with it.

        Args:
            name: A name or a path with slashes, with or without its ending.

        Returns:
            Paths below the folder; several where the name is not enough to tell.
        """
        near = self.named(posixpath.basename(name))
        exact = [each for each in near if name in (each, posixpath.splitext(each)[0])]
        return exact or [each for each in near if self._ends(each, name)]

    def named(self, base: str) -> list[str]:
        """Files of this last part of a path, with or without its ending, in whatever folder."""
        return self._by_base.get(base, [])

    def _ends(self, each: str, name: str) -> bool:
        path = posixpath.join(self.folder.replace(os.sep, "/"), each)
        return any(ending.endswith(f"/{name}") for ending in (path, posixpath.splitext(path)[0]))

    def path(self, name: str) -> str:
        """The path of one of ``names``."""
        return os.path.join(self.folder, *name.split("/"))
