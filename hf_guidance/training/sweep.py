"""Sweep: a grid of runs and its CSV with one line per run; it may be interrupted at any point.

A *run* is one experiment, a *cell* its settings; the CSV holds one *line* per finished run.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hf_guidance.common.progress import progress
from hf_guidance.common.whole_file import whole_file

Scalar = str | int | float | bool | None

_OWN = ("run", "settings")  # the first columns of the CSV
_LOCKED: set[Path] = set()  # files in use in this process: the lock of the operating system is between processes only


class Sweep:
    """Runs every cell of a grid once, and keeps one line per finished run in a CSV.

    The CSV is replaced as a whole after every run, so a kill at any point leaves complete lines. Calling ``run`` again, in a
    new process, runs the cells that have no line yet. A run is identified by the values of its cell and the settings of the
    sweep: the column "run" is the fingerprint of both, the column "settings" that of the settings. When either changes, it
    is a new run with a line of its own. The names of the results may differ from run to run: the CSV has the columns of
    all, empty where a run lacks the result.

    A second process on the same CSV is refused. The operating system frees the lock (``.<name>.lock`` beside the CSV) when
    a process ends, however it ends; on systems without ``fcntl`` there is no lock between processes.

    Args:
        file: The CSV.
        settings: Settings that all cells share, such as the number of epochs.

    Raises:
        ValueError: A setting that is not a number, text, bool or None.

    Example:
        >>> cells = [{"loss": loss, "weight": weight} for loss in ("energy", "l1") for weight in (1e-3, 5e-3)]
        >>> lines = Sweep("runs/grid.csv", settings={"epochs": 5}).run(cells, lambda cell: {"epg": train(**cell)})
    """

    def __init__(self, file: str | Path, settings: Mapping[str, Scalar] | None = None) -> None:
        self.file = Path(file).resolve()  # so that the target of a link is replaced, not the link
        self._settings = _plain(settings or {}, "settings")

    def run(
        self, cells: Sequence[Mapping[str, Scalar]], function: Callable[[dict[str, Any]], Mapping[str, Scalar]]
    ) -> list[dict[str, Any]]:
        """Run the cells that have no line yet, in order.

        Args:
            cells: Values by column name; all have the same names.
            function: Takes a cell, returns the results of its run by column name. When it raises, the lines of earlier runs
                are kept.

        Returns:
            One dict per cell, in the order of the cells: its values, and a value for each result column of the CSV: None
            where it is empty, a number where it looks like one.

        Raises:
            ValueError: No cells, cells with different names, the same cell twice, a name that the CSV uses itself or that
                results share with cells, results that are not a mapping, a CSV of another grid or with a damaged line, or
                another process at work on the CSV.
        """
        keys = _checked(cells)
        runs = {self.fingerprint(cell): dict(cell) for cell in cells}
        if len(runs) < len(cells):
            known = [self.fingerprint(cell) for cell in cells]
            twice = next(dict(cell) for index, cell in enumerate(cells) if known[index] in known[:index])
            raise ValueError(
                f"the cell {twice} is given twice; give every cell once, with the seed as one of its columns."
            )
        with _locked(self.file):
            table = _read(self.file, keys)
            _check_values(table, runs, self.file)
            todo = [run for run in runs if run not in table]
            for run in progress(todo, "runs of the sweep", unit="run"):
                cell = runs[run]
                results = _results_of(function, cell)
                if clash := sorted(set(results) & {*keys, *_OWN}):
                    raise ValueError(f"the results {clash} have names of the cell's columns; rename them.")
                own = {"run": run, "settings": _short(self._settings)}
                table[run] = own | _texts(_plain(cell, "cell")) | _texts(results)
                _write(self.file, keys, table)
        names = _columns(keys, table)[len(_OWN) + len(keys) :]
        return [cell | _results(table[run], names) for run, cell in runs.items()]

    def pending(self, cells: Sequence[Mapping[str, Scalar]]) -> list[dict[str, Any]]:
        """The cells without a line in the CSV, in order.

        Raises:
            ValueError: As for ``run``, except for the results and the lock.
        """
        table = _read(self.file, _checked(cells))
        return [dict(cell) for cell in cells if self.fingerprint(cell) not in table]

    def fingerprint(self, cell: Mapping[str, Scalar]) -> str:
        """Identifies a run: 16 hexadecimal digits of the cell and the settings.

        The order of names does not matter. 1 and 1.0 are the same; "1" and True differ from them.
        """
        return _short({"cell": _plain(cell, "cell"), "settings": self._settings})


def _results_of(function: Callable[[dict[str, Any]], Any], cell: Mapping[str, Scalar]) -> dict[str, Scalar]:
    found = function(dict(cell))
    if not isinstance(found, Mapping):
        raise ValueError(f"the function of a sweep returned {found!r}; it returns results by name, as {{'epg': 0.5}}.")
    return _scalars(found, "results")


def _scalars(values: Mapping[str, Any], what: str) -> dict[str, Scalar]:
    plain: dict[str, Scalar] = {}
    for name, value in values.items():
        if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
            value = value.item()  # a scalar of NumPy or torch
        if not isinstance(value, str | int | float | None):
            raise ValueError(
                f"{what}: {name!r} is {value!r}; allowed are numbers, text, bool and None: give the name of an object."
            )
        plain[str(name)] = value
    return plain


def _plain(values: Mapping[str, Any], what: str) -> dict[str, Scalar]:
    # For fingerprints, where 1.0 is the same as 1.
    plain = _scalars(values, what)
    whole = {name: int(x) for name, x in plain.items() if isinstance(x, float) and math.isfinite(x) and x.is_integer()}
    return plain | whole


def _short(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _checked(cells: Sequence[Mapping[str, Scalar]]) -> tuple[str, ...]:
    if not cells:
        raise ValueError("cells is empty; give at least one cell.")
    keys = tuple(cells[0])
    for number, cell in enumerate(cells):
        if set(cell) != set(keys):
            raise ValueError(
                f"cell {number} has the names {sorted(cell)}, cell 0 has {sorted(keys)}; all must have the same."
            )
    if not keys or set(keys) & set(_OWN):
        raise ValueError(f"cells have the names {list(keys)}; give at least one, and none of {list(_OWN)}.")
    return keys


def _text(value: Scalar) -> str:
    if value is None:
        return ""
    return " ".join(str(value).splitlines()) if isinstance(value, str) else repr(value)


def _texts(values: Mapping[str, Scalar]) -> dict[str, str]:
    return {name: _text(value) for name, value in values.items()}


def _value(text: str) -> Scalar:
    if not text:
        return None
    if text in ("True", "False"):
        return text == "True"
    if "_" in text:  # Python reads 1_0 as 10
        return text
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _results(line: Mapping[str, str], names: Sequence[str]) -> dict[str, Scalar]:
    return {name: _value(line.get(name, "")) for name in names}


def _columns(keys: Sequence[str], table: Mapping[str, Mapping[str, str]]) -> list[str]:
    return list(dict.fromkeys([*_OWN, *keys, *(name for line in table.values() for name in line)]))


def _read(file: Path, keys: Sequence[str]) -> dict[str, dict[str, str]]:
    """Lines by run; a last line that was cut off is dropped, so that its run is done again."""
    if not file.is_file():
        return {}
    text = file.read_text(encoding="utf-8-sig", errors="replace")  # for the BOM of spreadsheets, and a cut letter
    lines = list(csv.reader(io.StringIO(text, newline="")))
    if lines and not text.endswith("\n"):
        warnings.warn(f"{file}: the last line is cut off and its run is done again: {lines[-1]}", stacklevel=4)
        lines.pop()
    if not lines:
        return {}
    header, table = lines[0], {}
    own = header[: len(_OWN) + len(keys)]
    if own != [*_OWN, *own[len(_OWN) :]] or set(own[len(_OWN) :]) != set(keys) or len(set(header)) < len(header):
        raise ValueError(
            f"{file} is of another grid: its columns begin with {own}, those of the cells are {[*_OWN, *keys]}; give the cells "
            "of that grid, or another file."
        )
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(header):
            raise ValueError(f"{file}, line {number}: {len(line)} values for {len(header)} columns; remove the line.")
        if line[0] in table:
            raise ValueError(f"{file}, line {number}: the run {line[0]} has a line already; remove one of the two.")
        table[line[0]] = dict(zip(header, line, strict=True))
    return table


def _check_values(table: Mapping[str, Mapping[str, str]], runs: Mapping[str, Mapping[str, Any]], file: Path) -> None:
    for run, cell in runs.items():
        wanted = _texts(_plain(cell, "cell"))
        found = {name: table[run][name] for name in wanted} if run in table else wanted
        if found != wanted:
            raise ValueError(f"{file}: the line of run {run} was edited: {found} is not {wanted}; remove the line.")


def _write(file: Path, keys: Sequence[str], table: Mapping[str, Mapping[str, str]]) -> None:
    with whole_file(file) as draft, draft.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, _columns(keys, table), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(table.values())


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    taken = f"{file} is in use by another sweep; wait until it ends, or give this one a file of its own."
    if file in _LOCKED:
        raise ValueError(taken)
    file.parent.mkdir(parents=True, exist_ok=True)
    _LOCKED.add(file)
    try:
        with file.with_name(f".{file.name}.lock").open("w") as lock:
            try:
                import fcntl  # not on Windows

                # Not flock, which stays locked in worker processes that outlive a killed sweep.
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except ImportError:
                pass
            except OSError as error:
                raise ValueError(taken) from error
            yield
    finally:
        _LOCKED.discard(file)
