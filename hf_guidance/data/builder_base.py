"""What all dataset builders share: unusable rows are counted or refused, and the cache key depends on the raw files."""

import hashlib
import json
import logging
import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
from datasets.exceptions import DatasetGenerationError

from hf_guidance.common.processes import forks_end_with_this_process

__all__ = [
    "AnnotatedImageBuilder", "AnnotatedImageConfig", "InvalidAnnotation", "Report", "read_json", "read_text", "shards",
]  # fmt: skip

_REPORT = "report.json"
_logger = logging.getLogger(__name__)


class InvalidAnnotation(ValueError):
    """A raw row or object that cannot be used: `reason` is counted, `item` names it, `message` explains."""

    def __init__(self, reason: str, item: str, message: str):
        super().__init__(reason, item, message)  # all of them in args, so that it survives pickling between processes
        self.reason, self.item, self.message = reason, item, message

    def __str__(self) -> str:
        return f"{self.item}: {self.message} Fix it, or pass invalid='skip' to leave it out and count it."


def read_text(path: str) -> str:
    """The text of a file, without the byte order mark of some editors; a `ValueError` where it is not UTF-8."""
    with open(path, "rb") as file:
        content = file.read()
    try:
        return content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: this is not UTF-8 ({error}). Save it as UTF-8.") from None


def read_json(path: str) -> Any:
    """The content of a JSON file; a `ValueError` where it is not well-formed."""
    try:
        with open(path, "rb") as file:
            return json.loads(file.read())
    except ValueError as error:
        raise ValueError(f"{path}: this is not well-formed JSON ({error}). Write the file again.") from None


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
    """Cut items into tuples for `gen_kwargs`: 16 or more if there are enough items, so that num_proc has work to share."""
    step = max(1, min(size, len(items) // 16))
    return [tuple(items[start : start + step]) for start in range(0, len(items), step)] or [()]


@dataclass
class AnnotatedImageConfig(datasets.BuilderConfig):  # type: ignore[misc]
    """Options that every builder has: `invalid` is "raise" (an error names the item) or "skip" (left out and counted)."""

    invalid: str = "raise"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("invalid", ("raise", "skip"))

    def check_choice(self, option: str, allowed: Sequence[str]) -> None:
        """Raise a ValueError unless the option has one of the allowed values."""
        if getattr(self, option) not in allowed:
            raise ValueError(f"{option}: got {getattr(self, option)!r}; allowed: {', '.join(map(repr, allowed))}.")

    def raw_files(self) -> tuple[Iterable[str], Iterable[str]]:
        """Annotation files, which enter the cache key by content, and image files, by path, size and time of change."""
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
        """What was left out or repaired: reason -> {"count", "examples"}; while streaming, what was read so far."""
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
            # the error raised for the row says which row and what to do; the wrapper of `datasets` does not
            raise (error.__cause__ if isinstance(error.__cause__, ValueError) else error) from None
        finally:
            self._fs.pipe_file(f"{fpath}-{job_id}.{_REPORT}", self._counted.to_json().encode())
            self._counted, self._preparing = before, False

    def _download_and_prepare(self, *args: Any, **kwargs: Any) -> None:
        self._counted, self._preparing = Report(), True
        try:
            with forks_end_with_this_process():  # those of num_proc
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
