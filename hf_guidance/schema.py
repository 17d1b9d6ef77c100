"""The one row format of annotated images, the checks every row passes, and the builder base that keeps count.

| column   | feature                                                    | meaning                                      |
|----------|------------------------------------------------------------|----------------------------------------------|
| image    | `Image()`                                                  | as `datasets` decodes it, EXIF applied       |
| image_id | `Value("string")`                                          | unique within a split                        |
| labels   | `List(ClassLabel)`                                         | sorted, each once; one entry if single-label |
| objects  | `List({"bbox": List(float32, 4), "category": ClassLabel})` | xyxy in pixels, 0-based, half-open           |
| mask     | `Image()`, one channel, 8 bit, optional                    | see below and `class_mask`                   |
| group    | `ClassLabel` or `Value("int64")`, optional                 | subgroup for worst-group accuracy            |

A mask pixel is 0 outside every object, 255 inside an object whose class is not told apart (a binary mask), and
`1 + category` inside an object of that class. A binary 0/255 mask is therefore already in the format.
"""

import hashlib
import json
import logging
import math
import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import datasets
import numpy as np
import numpy.typing as npt
from datasets.exceptions import DatasetGenerationError
from PIL import Image

__all__ = [
    "ANY_CLASS", "AnnotatedImageBuilder", "AnnotatedImageConfig", "InvalidAnnotation", "Report",
    "annotated_image_features", "check_box", "class_mask", "read_text", "shards", "verify_image",
]  # fmt: skip

ANY_CLASS = 255
_REPORT = "report.json"
_ROTATED = (5, 6, 7, 8)  # EXIF orientations that swap width and height
_logger = logging.getLogger(__name__)


def annotated_image_features(
    names: Sequence[str], *, mask: bool = False, groups: Sequence[str] | bool | None = None
) -> datasets.Features:
    """The `datasets.Features` of annotated images.

    Args:
        names: class names in the order of their indices.
        mask: whether rows carry a mask.
        groups: names of the groups, True for plain integers, None for no group column.

    Returns:
        Features with the columns of this module's table.

    Raises:
        ValueError: without names, or with a name given twice.

    Example:
        >>> list(annotated_image_features(["cat", "dog"], mask=True))
        ['image', 'image_id', 'labels', 'objects', 'mask']
    """
    names = list(names)
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        raise ValueError(f"names: got {names}; allowed: at least one, each once (twice: {twice}). Rename or merge.")
    label = datasets.ClassLabel(names=names)
    columns: dict[str, Any] = {
        "image": datasets.Image(),
        "image_id": datasets.Value("string"),
        "labels": datasets.List(label),
        "objects": datasets.List({"bbox": datasets.List(datasets.Value("float32"), length=4), "category": label}),
    }
    if mask:
        columns["mask"] = datasets.Image()
    if groups is not None and groups is not False:
        columns["group"] = datasets.Value("int64") if groups is True else datasets.ClassLabel(names=list(groups))
    return datasets.Features(columns)


def class_mask(mask: npt.ArrayLike, category: int) -> npt.NDArray[np.bool_]:
    """Where a class is: `mask == 255` (any class) or `mask == category + 1`.

    Args:
        mask: (height, width) integers as stored in the `mask` column.
        category: class index, 0 to 253.

    Returns:
        (height, width) booleans.

    Example:
        >>> class_mask([[0, 1, 2, 255]], 1).tolist()
        [[False, False, True, True]]
    """
    pixels = np.asarray(mask)
    return cast(npt.NDArray[np.bool_], (pixels == ANY_CLASS) | (pixels == category + 1))


class InvalidAnnotation(ValueError):
    """A raw row or object that cannot be used: `reason` is what is counted, `item` names it, `message` explains it."""

    def __init__(self, reason: str, item: str, message: str):
        super().__init__(reason, item, message)  # all of them in args, so that it survives pickling between processes
        self.reason, self.item, self.message = reason, item, message

    def __str__(self) -> str:
        return f"{self.item}: {self.message} Fix it, or pass invalid='skip' to leave it out and count it."


def check_box(box: Sequence[float], width: int, height: int, item: str, hint: str = "") -> None:
    """Check one xyxy box (pixels, 0-based, half-open) against the size of its image.

    Args:
        box: xmin, ymin, xmax, ymax.
        width: width of the image in pixels.
        height: height of the image in pixels.
        item: names the image and the object in the error.
        hint: how such a box usually comes about, for the error.

    Raises:
        InvalidAnnotation: (a `ValueError`) for a box that is not finite, reversed, empty, or not inside the image.
    """
    x0, y0, x1, y1 = box
    if not all(map(math.isfinite, box)):
        reason = "box not finite"
    elif x1 < x0 or y1 < y0:
        reason = "box reversed"
    elif x1 == x0 or y1 == y0:
        reason = "box of zero width or height"
    elif x0 < 0 or y0 < 0 or x1 > width or y1 > height:
        reason = "box outside the image"
    else:
        return
    allowed = f"0 <= xmin < xmax <= {width} and 0 <= ymin < ymax <= {height}"
    got = ", ".join(f"{value:g}" for value in box)
    message = f"{reason}: ({got}) as xyxy, 0-based and half-open; allowed: {allowed}.{hint}"
    raise InvalidAnnotation(reason, item, message)


def verify_image(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Read an image file to its end and return its size as `datasets` decodes it (EXIF rotation applied).

    Args:
        path: the file.

    Returns:
        (width, height) in pixels.

    Raises:
        InvalidAnnotation: (a `ValueError`) when the file is unreadable or truncated.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            rotated = image.getexif().get(0x0112) in _ROTATED
            image.draft("L", (1, 1))  # JPEG: reads every byte, but skips most of the arithmetic
            image.load()
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        message = f"the image is unreadable or truncated ({error})."
        raise InvalidAnnotation("unreadable or truncated image", str(path), message) from None
    return (height, width) if rotated else (width, height)


def read_text(path: str) -> str:
    """The text of a file, without the byte order mark of some editors; a `ValueError` where it is not UTF-8."""
    with open(path, "rb") as file:
        content = file.read()
    try:
        return content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: this is not UTF-8 ({error}). Save it as UTF-8.") from None


class Report:
    """What was left out or repaired: reason -> names of the items, each once, so that a second pass adds nothing."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, None]] = {}

    def add(self, reason: str, item: str) -> bool:
        """Count an item; True if it is the first one with this reason."""
        new = reason not in self.items
        self.items.setdefault(reason, {})[item] = None
        return new

    def merge(self, items: dict[str, list[str]]) -> None:
        """Add the items of another report, as written by `to_json`."""
        for reason, names in items.items():
            self.items.setdefault(reason, {}).update(dict.fromkeys(names))

    def to_json(self) -> str:
        """Every reason with all of its items."""
        return json.dumps({reason: list(names) for reason, names in self.items.items()})

    def summary(self, examples: int = 5) -> dict[str, dict[str, Any]]:
        """reason -> {"count": int, "examples": the first few items}."""
        return {
            reason: {"count": len(names), "examples": list(names)[:examples]}
            for reason, names in sorted(self.items.items())
        }


def shards(items: Sequence[Any], size: int = 64) -> list[tuple[Any, ...]]:
    """Cut items into tuples for `gen_kwargs`: 16 or more where there are enough, so that num_proc has work to share."""
    step = max(1, min(size, len(items) // 16))
    return [tuple(items[start : start + step]) for start in range(0, len(items), step)] or [()]


@dataclass
class AnnotatedImageConfig(datasets.BuilderConfig):  # type: ignore[misc]
    """Options every builder has: `invalid` is "raise" (an error names the item) or "skip" (left out and counted)."""

    invalid: str = "raise"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("invalid", ("raise", "skip"))

    def check_choice(self, option: str, allowed: Sequence[str]) -> None:
        """Raise a ValueError unless the option has one of the allowed values."""
        if getattr(self, option) not in allowed:
            raise ValueError(f"{option}: got {getattr(self, option)!r}; allowed: {', '.join(map(repr, allowed))}.")

    def raw_files(self) -> tuple[Iterable[str], Iterable[str]]:
        """Annotation files, known by content, and image files, known by name, size and time of change."""
        return (), ()

    def create_config_id(self, config_kwargs: dict[str, Any], custom_features: Any = None) -> str:
        """The cache key: the options, and a fingerprint of the raw files, so that changed files are read again."""
        digest = hashlib.sha256()
        annotations, images = self.raw_files()
        for path in sorted(annotations):
            with open(path, "rb") as file:
                digest.update(f"{path}\n{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
        for path in sorted(images):
            state = os.stat(path)
            digest.update(f"{path}\n{state.st_size} {state.st_mtime_ns}\n".encode())
        return str(super().create_config_id({**config_kwargs, "raw_files": digest.hexdigest()}, custom_features))


class AnnotatedImageBuilder(datasets.GeneratorBasedBuilder):  # type: ignore[misc]
    """A builder that counts what it leaves out or repairs, in one process or several, and keeps the count in the cache.

    Subclasses yield rows, call `problem` with each `InvalidAnnotation`, and `count` what they repair.
    """

    BUILDER_CONFIG_CLASS = AnnotatedImageConfig

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._counted, self._preparing = Report(), False
        super().__init__(*args, **kwargs)

    @property
    def report(self) -> dict[str, dict[str, Any]]:
        """What was left out or repaired: reason -> {"count", "examples"}; streaming counts what was read so far."""
        path, report = posixpath.join(self._output_dir, _REPORT), Report()
        if not self._fs.exists(path):
            return self._counted.summary()
        report.merge(json.loads(self._fs.cat_file(path)))
        return report.summary()

    def problem(self, error: InvalidAnnotation) -> None:
        """Raise the error, or with invalid="skip" count it."""
        if self.config.invalid == "raise":
            raise error
        self.count(error.reason, error.item)

    def count(self, reason: str, item: str) -> None:
        """Count an item; while streaming, the first one of each reason is logged at once."""
        if self._counted.add(reason, item) and not self._preparing:
            _logger.warning("%s: %s (%s). All are counted in builder.report.", self.name, reason, item)

    def _prepare_split_single(self, *args: Any, fpath: str, job_id: int, **kwargs: Any) -> Iterator[Any]:
        before, self._counted, self._preparing = self._counted, Report(), True
        try:
            yield from super()._prepare_split_single(*args, fpath=fpath, job_id=job_id, **kwargs)
        except DatasetGenerationError as error:
            # the row's own error says which row and what to do; the wrapper does not
            raise (error.__cause__ if isinstance(error.__cause__, ValueError) else error) from None
        finally:
            self._fs.pipe_file(f"{fpath}-{job_id}.{_REPORT}", self._counted.to_json().encode())
            self._counted, self._preparing = before, False

    def _download_and_prepare(self, *args: Any, **kwargs: Any) -> None:
        self._counted, self._preparing = Report(), True
        try:
            super()._download_and_prepare(*args, **kwargs)
        finally:
            self._preparing = False
        files = self._fs.ls(self._output_dir, detail=False)
        for part in sorted(path for path in files if path.endswith(f".{_REPORT}")):
            self._counted.merge(json.loads(self._fs.cat_file(part)))
            self._fs.rm_file(part)
        self._fs.pipe_file(posixpath.join(self._output_dir, _REPORT), self._counted.to_json().encode())
        counts = "; ".join(f"{entry['count']} x {reason}" for reason, entry in self._counted.summary().items())
        empty = [name for name, split in self.info.splits.items() if not split.num_examples]
        if empty:  # `datasets` could write such a split, but not read it
            raise ValueError(f"{self.name}: no row left in {', '.join(empty)}. Left out or repaired: {counts}.")
        if counts:
            _logger.warning("%s left out or repaired: %s. See builder.report.", self.name, counts)
