"""Files and folders that are complete or absent, even if the process is killed while it writes."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: str | Path, *, shared: bool = False) -> Iterator[Path]:
    """Yield a draft to write to; it replaces the file when the block ends without an error.

    The draft lies beside the file and always has the same name, so the next attempt overwrites what a killed process left.
    Only one process at a time may write a file, unless it is shared.

    Args:
        path: The file; missing folders are made.
        shared: Whether several processes may write it at once: then each has a draft of its own, and the last one stays.

    Yields:
        Path of the draft, a hidden file with the file's suffix.

    Example:
        >>> with whole_file("runs/sweep.csv") as draft:
        ...     draft.write_text("weight,epg\\n")
    """
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    owner = f"{socket.gethostname()}-{os.getpid()}-" if shared else ""
    draft = file.with_name(f".draft-{owner}{file.name}")
    try:
        yield draft
        with draft.open("rb") as written:
            os.fsync(written.fileno())  # else a power cut after the rename may leave an empty file
        os.replace(draft, file)
    finally:
        draft.unlink(missing_ok=True)


def free_place(folder: str | os.PathLike[str]) -> Path:
    """Where a new folder may be written, as an absolute path.

    Raises:
        ValueError: There is a file, or a folder that is not empty.
    """
    place = Path(folder).absolute()
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise ValueError(f"{place} is there already and not empty; name another folder.")
    return place


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield a draft folder; it replaces the target when the block ends without an error, and is removed otherwise."""
    target.parent.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    draft, before = workplace / "draft", workplace / "before"
    draft.mkdir()
    try:
        yield draft
        if target.exists():
            target.rename(before)
        try:
            draft.rename(target)
        except OSError:
            if before.exists():
                before.rename(target)
            raise
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
