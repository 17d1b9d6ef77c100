"""What is shipped with the package: metrics/, dataset_scripts/, model_cards/, beside it in a checkout, inside it in a wheel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def shipped_folder(kind: str, name: str) -> Path:
    """The folder `<kind>/<name>`.

    Raises:
        ValueError: No folder has this name; the message lists the known names.
    """
    known = shipped_folders(kind)
    if name not in known:
        raise ValueError(f"{kind}: got {name!r}; allowed: {', '.join(sorted(known)) or 'none found'}.")
    return known[name]


def shipped_folders(kind: str) -> dict[str, Path]:
    """Every folder of a kind that holds a script, by its name."""
    return {folder.name: folder for folder in _entries(kind) if script_of(folder).is_file()}


def shipped_file(kind: str, name: str) -> Path:
    """The file `<kind>/<name>`.

    Raises:
        ValueError: No file has this name; the message lists the known names.
    """
    known = {file.name: file for file in _entries(kind) if file.is_file()}
    if name not in known:
        raise ValueError(f"{kind}: got {name!r}; allowed: {', '.join(sorted(known)) or 'none found'}.")
    return known[name]


def script_of(folder: Path) -> Path:
    """The script of a shipped folder: ``<name>/<name>.py``."""
    return folder / f"{folder.name}.py"


def _entries(kind: str) -> Iterator[Path]:
    # Beside the package (a checkout), then in it (a wheel), so that what is installed comes before a folder of this name.
    package = Path(__file__).resolve().parents[1]
    for root in (package.parent / kind, package / kind):
        yield from root.glob("*")
