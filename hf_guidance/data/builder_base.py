"""What all dataset builders share: unusable rows are counted or refused, and the cache key depends on the raw files."""

import hashlib
import json
import logging
import numbers
import os
import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import datasets
from datasets.exceptions import DatasetGenerationError

from hf_guidance.common.processes import forks_end_with_this_process
from hf_guidance.common.progress import progress
from hf_guidance.common.text_files import read_json, read_text

__all__ = [
    "RECORD_ERRORS", "AnnotatedImageBuilder", "AnnotatedImageConfig", "InvalidAnnotation", "Report", "id_text", "read_json",
    "read_text", "shards",
]  # fmt: skip

RECORD_ERRORS = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
"""What reading a raw record raises where the record has another form: a missing field, a list for a dict, a text for a
number. All else (OSError, MemoryError, NameError, AssertionError, RuntimeError, ...) is a fault of the machine or of the
program: it is never skipped."""
_REPORT = "report.json"
_SHOWN = 160  # characters of a malformed record that the error quotes
_Record = TypeVar("_Record")
_Read = TypeVar("_Read")
_logger = logging.getLogger(__name__)


class InvalidAnnotation(ValueError):
    """A raw row or object that cannot be used: `reason` is counted, `item` names it, `message` explains."""

    def __init__(self, reason: str, item: str, message: str):
        super().__init__(reason, item, message)  # all of them in args, so that it survives pickling between processes
        self.reason, self.item, self.message = reason, item, message

    def __str__(self) -> str:
        return f"{self.item}: {self.message} Fix it, or pass invalid='skip' to leave it out and count it."


def id_text(value: Any) -> str:
    """The text of an id, so that ids name the same thing whether a file has them as text or as number: 3, 3.0 and "3" are "3".

    Args:
        value: Text, which is kept but for blanks around it (so "03" is not "3"), or a whole number, of NumPy or torch too.

    Raises:
        ValueError: Anything else: a fraction, a truth value, None, an empty text, a list.
    """
    if getattr(value, "ndim", None) == 0:
        value = value.item()
    text = value.strip() if isinstance(value, str) else ""
    whole = isinstance(value, numbers.Real) and not isinstance(value, bool) and value == value // 1
    if not text and not whole:
        raise ValueError(f"the id {value!r:.60} is neither text nor a whole number.")
    return text or str(int(value))


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


_GONE = "a link to a file that does not exist"  # which is refused or counted where its row is read


def _content(path: str) -> str:
    if not os.path.exists(path):
        return _GONE
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _state(path: str) -> str:
    if not os.path.exists(path):
        return _GONE
    state = os.stat(path)
    return f"{state.st_size} {state.st_mtime_ns}"


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

    def check_names(self, option: str) -> None:
        """Raise a ValueError unless the option is None or a list of texts: a single text would be read as its letters."""
        given = getattr(self, option)
        listed = isinstance(given, Sequence) and not isinstance(given, str)
        if given is not None and not (listed and all(isinstance(name, str) and name for name in given)):
            raise ValueError(f"{option}: got {given!r}; allowed: a list of names, such as ['cat', 'dog'].")

    def option_file(self, option: str) -> str:
        """The path of the file that an option names, in data_dir unless it is absolute; a ValueError where there is none."""
        given = os.path.expanduser(str(getattr(self, option)))
        path = os.path.abspath(os.path.join(os.path.expanduser(str(self.data_dir or "")), given))
        if not os.path.isfile(path):
            raise ValueError(f"{option}: {path} is not a file; give its path, absolute or in data_dir.")
        return path

    def raw_files(self) -> tuple[Iterable[str], Iterable[str]]:
        """Annotation files, which enter the cache key by content, and image files, by path, size and time of change."""
        return (), ()

    def create_config_id(self, config_kwargs: dict[str, Any], custom_features: Any = None) -> str:
        """The cache key: the options, and a fingerprint of the raw files, so that changed files are read again."""
        digest = hashlib.sha256()
        annotations, images = self.raw_files()
        for path in progress(sorted(annotations), "fingerprint of annotation files", unit="file"):
            digest.update(f"{path}\n{_content(path)}\n".encode())
        for path in progress(sorted(images), "fingerprint of image files", unit="file"):
            digest.update(f"{path}\n{_state(path)}\n".encode())
        return str(super().create_config_id({**config_kwargs, "raw_files": digest.hexdigest()}, custom_features))


class AnnotatedImageBuilder(datasets.GeneratorBasedBuilder):  # type: ignore[misc]
    """A builder that counts what it leaves out or repairs, in one process or several, and keeps the count in the cache.

    Subclasses yield rows, read every record by `read`, and `count` what they repair. Where a bad part of a record leaves the
    rest of it usable, they catch its `InvalidAnnotation` themselves and hand it to `problem`.
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

    def read(self, item: str, make: Callable[[_Record], _Read], record: _Record) -> _Read | None:
        """What ``make(record)`` returns; None where the record is bad, which is raised, or with invalid="skip" counted.

        Bad is an `InvalidAnnotation`, counted under its own reason and item, and whatever else of `RECORD_ERRORS` comes up,
        counted as "malformed record" with the kind of error. The first of each kind is logged with its traceback, so that
        a mistake in a builder does not pass for bad data.

        Args:
            item: Names the record: its file and its place or id there.
            make: Reads the record; never returns None.
            record: The raw record, which the error quotes.
        """
        try:
            return make(record)
        except InvalidAnnotation as error:
            self.problem(error)
        except RECORD_ERRORS as error:
            self._malformed(item, record, error)
        return None

    def _malformed(self, item: str, record: Any, error: Exception) -> None:
        kind = type(error).__name__
        reason = f"malformed record ({kind})"
        said = f"it has no {error.args[0]!r}" if isinstance(error, KeyError) and error.args else f"{kind}: {error}"
        wrong = InvalidAnnotation(reason, item, f"the record cannot be read ({said}); it is {record!r:.{_SHOWN}}.")
        if self.config.invalid == "raise":
            raise wrong from error
        if reason not in self._counted.items:
            _logger.warning("%s left out: %s", self.name, wrong, exc_info=error)
        self.problem(wrong)

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
