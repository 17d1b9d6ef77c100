"""The folders shipped with the package, metrics/ and dataset_scripts/: beside it in a checkout, inside it in a wheel."""

from __future__ import annotations

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
    """Every folder of a kind by its name: in the package (installed from a wheel), or beside it (a checkout)."""
    package = Path(__file__).resolve().parents[1]
    roots = [package / kind, package.parent / kind]
    return {folder.name: folder for root in reversed(roots) for folder in root.glob("*") if script_of(folder).is_file()}


def script_of(folder: Path) -> Path:
    """The script of a shipped folder: ``<name>/<name>.py``."""
    return folder / f"{folder.name}.py"
