"""The images that ``hf-guidance explain`` is given: files and folders, and the names of their results."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from hf_guidance.apps.cli.application import check_utf8, refuse
from hf_guidance.apps.cli.output import say

_RESULTS = (".png", ".npy", ".safetensors")
_NO_PICTURES = {".pdf", ".palm", ".mpg", ".mpeg", ".h5", ".hdf", ".bufr", ".grib"}
"""Endings that Pillow knows, and cannot read by itself."""


def image_files(given: Sequence[Path], output: Path) -> tuple[list[Path], dict[Path, str]]:
    """The files to explain, and the names of their results.

    Args:
        given: Files, and folders, whose files with the ending of an image are taken, those of their folders too; what is hidden
            is left out, and said so.
        output: Where results go; what lies there is no input.

    Returns:
        The files, and the path of each one's results in ``output``, without ending.

    Raises:
        typer.BadParameter: Something that does not exist, a folder without images, or a name that no text can hold.
    """
    files: dict[Path, Path] = {}
    for one in given:
        if one.is_dir():
            files |= {path: path.relative_to(one) for path in _inside(one, output)}
        elif one.exists():
            files[one] = Path(one.name)
        else:
            refuse(f"{one} does not exist.", "IMAGES")
    for file in files:
        check_utf8(file, "IMAGES")
    stems = Counter(place.with_suffix("") for place in files.values())
    names = {p: str(q.with_suffix("") if stems[q.with_suffix("")] == 1 else q) for p, q in files.items()}
    if len(set(names.values())) < len(names):
        twice = next(name for name, count in Counter(names.values()).items() if count > 1)
        refuse(
            f"two images are called {twice}, whose results would lie in one file; explain them into two folders.",
            "IMAGES",
        )
    return list(files), names


def refuse_to_overwrite(names: Mapping[Path, str], output: Path) -> None:
    """Refuse results that would replace an image.

    Args:
        names: Image to the path of its results in ``output``, without ending.
        output: Where results go.

    Raises:
        typer.BadParameter: A result has the place of an image.
    """
    results = {(output / f"{name}{end}").resolve() for name in names.values() for end in _RESULTS}
    lost = next((file for file in names if file.resolve() in results), None)
    if lost is not None:
        refuse(f"the image {lost} would be overwritten by a result; name another folder.", "--output")


def content_of(file: Path) -> str:
    """The sha256 of a file: the same where it was only copied or touched."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _inside(folder: Path, output: Path) -> list[Path]:
    endings = Image.registered_extensions().keys() - _NO_PICTURES
    inside = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    inside = [path for path in inside if not path.resolve().is_relative_to(output.resolve())]
    hidden = [path for path in inside if any(part.startswith(".") for part in path.relative_to(folder).parts)]
    shown = [path for path in inside if path not in set(hidden)]
    images = [path for path in shown if path.suffix.lower() in endings]
    _say_left_out(f"{folder}: no images by their names", [p.name for p in shown if p.suffix.lower() not in endings])
    _say_left_out(
        f"{folder}: hidden, so left out",
        [str(path.relative_to(folder)) for path in hidden if path.suffix.lower() in endings],
    )
    if not images:
        refuse(f"{folder} holds no file with the ending of an image.", "IMAGES")
    return images


def _say_left_out(what: str, names: Sequence[str]) -> None:
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        say(f"{what}: {', '.join(names[:3])}{more}")
