"""A folder of questions as it is written: whole or absent, never over answers."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_guidance.apps.annotation.items.image_folder import ITEMS, MAPS
from hf_guidance.common.whole_file import whole_file, whole_folder

__all__ = ["new_folder", "open_maps", "refuse_full", "write_items"]


@contextmanager
def new_folder(folder: str | os.PathLike[str]) -> Iterator[tuple[Path, Path]]:
    """A new folder with a room for images.

    Args:
        folder: Where it will be.

    Yields:
        Where it will be, and the draft, which takes that place when the block has ended without an error.

    Raises:
        ValueError: There is something already.
    """
    target = refuse_full(folder)
    with whole_folder(target) as draft:
        (draft / "images").mkdir()
        yield target, draft


def refuse_full(folder: str | os.PathLike[str]) -> Path:
    """Where a new folder will be, whole.

    Raises:
        ValueError: There is something already.
    """
    target = Path(folder).absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target} is there already, perhaps with answers; name another folder, or move it away.")
    return target


def open_maps(draft: Path, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """The file of maps of a draft, mapped into memory; ``flush()`` it at the end."""
    maps: npt.NDArray[np.float32] = np.lib.format.open_memmap(draft / MAPS, "w+", np.float32, shape)
    return maps


def write_items(draft: Path, entries: Sequence[Mapping[str, Any]], **about: Any) -> None:
    """Write items.json; what is None of ``about`` is left out.

    Raises:
        ValueError: Two entries have one id.
    """
    twice = Counter(str(entry["id"]) for entry in entries if "id" in entry).most_common(1)
    if twice and twice[0][1] > 1:
        raise ValueError(f"the id {twice[0][0]!r} is there {twice[0][1]} times; give every row an image_id of its own.")
    told = {name: value for name, value in about.items() if value is not None}
    with whole_file(draft / ITEMS) as file:
        file.write_text(json.dumps({**told, "items": entries}), encoding="utf-8")
