"""Where answers are kept: an SQLite file, in which every answer is on disk before anything else happens."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hf_guidance.apps.annotation.items.scale import YES_NO, Scale
from hf_guidance.common.checks import check_choice

__all__ = ["AnswerStore"]

_FORM, _BEFORE = "2", "1"  # before, nothing was compared, and no table had "swapped"
_TABLES = """
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
    item INTEGER NOT NULL, annotator TEXT NOT NULL, answer TEXT NOT NULL, boxes TEXT NOT NULL, time REAL NOT NULL,
    swapped INTEGER, PRIMARY KEY (item, annotator)
);
CREATE TABLE IF NOT EXISTS log (
    number INTEGER PRIMARY KEY, item INTEGER NOT NULL, annotator TEXT NOT NULL, before TEXT, answer TEXT NOT NULL,
    boxes TEXT NOT NULL, time REAL NOT NULL, swapped INTEGER
);
"""
_PUT = (
    "INSERT INTO answers (item, annotator, answer, boxes, swapped, time) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (item, annotator) DO UPDATE SET answer = excluded.answer, boxes = excluded.boxes, "
    "swapped = excluded.swapped, time = excluded.time"
)


class AnswerStore:
    """The answers about some items: one of each annotator an item, and a log of all that was ever said.

    ``put`` returns when its answer is on disk (WAL, synchronous FULL): a process killed afterwards has not lost it. The same
    answer a second time changes nothing. One process may write a file; several may read it.

    Args:
        path: The file; it is made if it is new.
        fingerprint: That of the items. A file with answers about other items is refused.
        count: How many items there are.
        scale: The answers that are allowed.
        read_only: Only look, beside a page that is open.

    Raises:
        ValueError: The file is damaged, of a later form, or about other items; or another page is open on it; or there is none
            to be read.

    Example:
        >>> store = AnswerStore("answers.sqlite", items.fingerprint, len(items))
        >>> store.put(3, "anna", "yes")
        True
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        fingerprint: str,
        count: int,
        scale: Scale = YES_NO,
        *,
        read_only: bool = False,
    ) -> None:
        self.path, self.scale, self._count, self._lock = Path(path), scale, count, threading.RLock()
        self._only = None if read_only else _only_writer(self.path)
        if read_only and not self.path.is_file():
            raise ValueError(
                f"{self.path} is not there: no answers yet. Open the page first, or name the file of answers."
            )
        try:
            mode = "ro" if read_only else "rwc"
            self._base = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
            )
            self._prepare(fingerprint, read_only)
        except sqlite3.DatabaseError as error:
            self.close()
            raise ValueError(
                f"{self.path} cannot be read as a file of answers ({error}); take the last good copy of it, or move it away."
            ) from error
        except ValueError:
            self.close()
            raise

    def _prepare(self, fingerprint: str, read_only: bool) -> None:
        checked = self._base.execute("PRAGMA quick_check(1)").fetchone()[0]
        if checked != "ok":
            raise sqlite3.DatabaseError(checked)
        if not read_only:
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = FULL")
            self._base.executescript(_TABLES)
            with self._written():
                for key, value in (("form", _FORM), ("items", fingerprint), ("count", str(self._count))):
                    self._base.execute("INSERT OR IGNORE INTO about VALUES (?, ?)", (key, value))
        about = dict(self._base.execute("SELECT key, value FROM about"))
        self._form = about.get("form")
        if self._form not in (_FORM, _BEFORE):
            raise ValueError(f"{self.path} has form {self._form}, known is {_FORM}; update hf_guidance.")
        if about.get("items") != fingerprint or about.get("count") != str(self._count):
            raise ValueError(
                f"{self.path} holds answers about other items ({about.get('count')} of them, fingerprint {about.get('items')}; "
                f"given are {self._count}, {fingerprint}). Images, maps or their order have changed since; take them back, or "
                "name another file of answers."
            )
        if self._form == _BEFORE and not read_only:
            with self._written():
                for table in ("answers", "log"):
                    self._base.execute(f"ALTER TABLE {table} ADD COLUMN swapped INTEGER")
                self._base.execute("UPDATE about SET value = ? WHERE key = 'form'", (_FORM,))
            self._form = _FORM

    @contextmanager
    def _written(self) -> Iterator[None]:
        """A transaction: on disk when the block has ended, or not at all."""
        with self._lock:
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._base.execute("ROLLBACK")
                raise
            self._base.execute("COMMIT")

    def put(
        self,
        item: int,
        annotator: str,
        answer: str,
        boxes: Sequence[Sequence[float]] = (),
        swapped: bool | None = None,
    ) -> bool:
        """Keep an answer; it is on disk when this returns. One that was there is replaced, and stays in the log.

        Args:
            item: Place of the item.
            annotator: Who answers.
            answer: One of the scale's words; about things that are compared, in their own order.
            boxes: What was drawn, [left, top, right, bottom] in pixels of the image.
            swapped: Whether two things that are compared had changed places when the annotator saw them; None where nothing is
                compared, or it is not known.

        Returns:
            Whether anything changed: False where just this answer was there.

        Raises:
            ValueError: An unknown word, or no such item.
        """
        return self.put_all([(item, answer)], annotator, boxes, swapped) == 1

    def put_all(
        self,
        answers: Sequence[tuple[int, str]],
        annotator: str,
        boxes: Sequence[Sequence[float]] = (),
        swapped: bool | None = None,
    ) -> int:
        """Keep several answers of one annotator: all of them or, where one is refused, none.

        Returns:
            How many changed something.

        Raises:
            ValueError: As of ``put``.
        """
        for item, answer in answers:
            check_choice("answer", answer, self.scale.words)
            if not 0 <= item < self._count:
                raise ValueError(f"item {item} is none of the {self._count} items.")
        drawn, now, changed = json.dumps([list(map(float, box)) for box in boxes]), time.time(), 0
        with self._written():
            for item, answer in answers:
                before = self._base.execute(
                    "SELECT answer, boxes, swapped FROM answers WHERE item = ? AND annotator = ?", (item, annotator)
                ).fetchone()
                if before == (answer, drawn, swapped):
                    continue
                changed += 1
                self._base.execute(_PUT, (item, annotator, answer, drawn, swapped, now))
                said = None if before is None else before[0]
                self._base.execute(
                    "INSERT INTO log (item, annotator, before, answer, boxes, swapped, time) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (item, annotator, said, answer, drawn, swapped, now),
                )
        return changed

    def remembered(self, key: str, value: str) -> str:
        """What was given for a key when it was first asked for: ``value`` if that is now."""
        with self._written():
            self._base.execute("INSERT OR IGNORE INTO about VALUES (?, ?)", (key, value))
        return str(self._rows("SELECT value FROM about WHERE key = ?", key)[0][0])

    def annotators(self) -> list[str]:
        """Names of all who answered, sorted."""
        return [name for (name,) in self._rows("SELECT DISTINCT annotator FROM answers ORDER BY annotator")]

    def answers_of(self, annotator: str) -> dict[int, str]:
        """Place of an item to the answer of one annotator."""
        return dict(self._rows("SELECT item, answer FROM answers WHERE annotator = ?", annotator))

    def answer_of(self, item: int, annotator: str) -> str | None:
        """The answer of one annotator about one item; None where there is none."""
        found = self._rows("SELECT answer FROM answers WHERE item = ? AND annotator = ?", item, annotator)
        return found[0][0] if found else None

    def drawn_on(self, item: int, annotator: str) -> list[list[float]]:
        """The boxes that one annotator drew on one item."""
        found = self._rows("SELECT boxes FROM answers WHERE item = ? AND annotator = ?", item, annotator)
        return json.loads(found[0][0]) if found else []

    def boxes_of(self, annotator: str) -> dict[int, list[list[float]]]:
        """Place of an item to what one annotator drew, of the items where anything was drawn."""
        found = self._rows("SELECT item, boxes FROM answers WHERE annotator = ? AND boxes != '[]'", annotator)
        return {item: json.loads(boxes) for item, boxes in found}

    def columns(self) -> dict[str, list[str | None]]:
        """Annotator to their answers, one an item, None where there is none."""
        found: dict[str, list[str | None]] = {}
        for item, annotator, answer in self._rows("SELECT item, annotator, answer FROM answers ORDER BY annotator"):
            found.setdefault(annotator, [None] * self._count)[item] = answer
        return found

    def swapped_of(self, annotator: str) -> dict[int, bool]:
        """Place of an item to whether two things that are compared had changed places, of the answers of which it is known."""
        if self._form == _BEFORE:  # read only
            return {}
        found = self._rows("SELECT item, swapped FROM answers WHERE annotator = ? AND swapped NOT NULL", annotator)
        return {item: bool(swapped) for item, swapped in found}

    def log(self) -> list[tuple[int, str, str | None, str]]:
        """All that was said, in its order: item, annotator, the answer before (None for the first), the answer."""
        return self._rows("SELECT item, annotator, before, answer FROM log ORDER BY number")

    def _rows(self, query: str, *values: object) -> list[Any]:
        with self._lock:
            return self._base.execute(query, values).fetchall()

    def close(self) -> None:
        """Close the file, so that another page may open it."""
        if hasattr(self, "_base"):
            self._base.close()
        if self._only is not None:
            self._only.release()

    def __enter__(self) -> AnswerStore:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _only_writer(path: Path) -> FileLock:
    """A lock beside the file, which the system releases with the process, however that ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{path}.lock", timeout=0)
    try:
        lock.acquire()
        return lock
    except Timeout:
        raise ValueError(
            f"another page is open on {path}; use that one, close it, or name another file of answers."
        ) from None
