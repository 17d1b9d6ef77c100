"""Files and folders that are whole or absent, whenever the process ends."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A draft to write to, which takes the file's place when the block ends well.

    The draft lies beside the file, under one name, so what a kill leaves is overwritten by the next attempt. One process at
    a time may write a file.

    Args:
        path: The file; missing folders are made.

    Yields:
        Path of the draft, hidden, with the file's suffix.

    Example:
        >>> with whole_file("runs/sweep.csv") as draft:
        ...     draft.write_text("weight,epg\\n")
    """
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".draft-{file.name}")
    try:
        yield draft
        with draft.open("rb") as written:
            os.fsync(written.fileno())  # before the rename, or a power cut may leave an empty file under the name
        os.replace(draft, file)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A draft folder that takes the target's place when the block ends well, and is removed when it does not."""
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
