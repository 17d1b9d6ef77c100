"""Which layout a file or folder of region features has, told by what it holds."""

from __future__ import annotations

import os
from pathlib import Path

from hf_guidance.data.questions.region_files.opened import KNOWN_LAYOUTS

_HDF5 = b"\x89HDF\r\n\x1a\n"
_LMDB = b"\xde\xc0\xef\xbe"  # 0xBEEFC0DE, behind the 16 bytes of a page's head
_START = 1 << 20


def layout_of(path: str | os.PathLike[str]) -> tuple[str, Path]:
    """The layout of a file or folder, "hdf5", "lmdb", "tsv", "npz" or "gqa", and the path to open.

    Raises:
        ValueError: There is no such path, or its layout is not known; the error lists those that are.
    """
    if not isinstance(path, str | os.PathLike):
        raise ValueError(f"{path!r:.80} is no path; give paths one by one, as RegionFeatures.open(*paths).")
    given = Path(path).expanduser().absolute()
    if not given.exists():
        raise ValueError(f"{given} does not exist; give the path of the features.")
    layout, inner = _folder(given) if given.is_dir() else (_file(given), given)
    if layout is None:
        raise ValueError(f"{given} is of no known layout; {KNOWN_LAYOUTS}.")
    return layout, inner


def _folder(folder: Path) -> tuple[str | None, Path]:
    if (folder / "data.mdb").is_file():
        return "lmdb", folder
    infos = sorted(folder.glob("*objects_info.json"))
    if len(infos) == 1:
        return "gqa", infos[0]
    return ("npz" if next(folder.rglob("*.npz"), None) is not None else None), folder


def _file(path: Path) -> str | None:
    with open(path, "rb") as file:
        start = file.read(_START)
    if start.startswith(_HDF5):
        return "hdf5"
    if start[16:20] == _LMDB:
        return "lmdb"
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return "gqa"
    return "tsv" if b"\t" in start and b"\0" not in start else None
